"""What a published claim says, and how the runs that test it are reported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.analysis.comparison import Comparison

YES, NO, UNDECIDED, NOT_TESTED, OURS = "yes", "no", "undecided", "not tested", "no claim"


@dataclass(frozen=True)
class Finding:
    """One line of the table "published / expected / ours / holds?".

    what: the quantity. published: what the source says of it. expected: its value by theory, or the condition. ours:
    what the runs show, with an interval. holds: `YES`, `NO`, `UNDECIDED` (the seeds cannot tell), `NOT_TESTED` (the
    study has not what it takes, which `ours` says), or `OURS` (nothing was claimed).
    """

    what: str
    published: str
    expected: str
    ours: str
    holds: str


@dataclass(frozen=True)
class Table:
    """Further numbers of a claim's page, all cells as text."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Evidence:
    """What the runs show of a claim."""

    findings: Sequence[Finding]
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Claim:
    """A published claim.

    name: of its file in conf/experiment. statement: one sentence. sources: authors, year, title, place. derivation: how
    the expectation follows, in a few sentences. falsified_by: what would have shown it wrong.
    """

    name: str
    statement: str
    sources: Sequence[str]
    derivation: str
    falsified_by: str
    evaluate: Callable[[Sequence[Comparison]], Evidence]


def holds(is_so: bool) -> str:
    """The word for a condition that was met, or not."""
    return YES if is_so else NO


def prose(text: str) -> str:
    """A text of several indented lines as one line."""
    return " ".join(text.split())

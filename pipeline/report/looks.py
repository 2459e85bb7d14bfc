"""What the looks of a declared design say of each arm, as a table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipeline.analysis.formatting import p_value
from pipeline.report.format import UNKNOWN
from pipeline.stats.intervals import ALPHA

MEANINGS = {
    "arm": "",
    "verdict": "",
    "look": "the last one that the arm took part in, of those that were declared",
    "seeds": "its pairs at that look, which alone count",
    "difference": "mean, whose repeated interval stands in the table above and holds at every look",
    "corrected": "the difference without what ending early adds to it",
    "p (stage-wise)": "among the studies that had not ended at an earlier look",
    "p (looks)": "the smallest level at which the looks so far would have ended it",
    "p (Holm)": "the same, corrected over the arms, which decides better and worse",
    "p (equivalent)": "two one-sided tests of the same design, corrected over the arms",
}
P_VALUES = ("p_stagewise", "p", "p_holm", "p_equivalent")
OVERSTATED = (
    "Seeds were added look by look, and an arm that a look decided got no more, so arms may rest on unlike numbers of "
    "seeds. A study ends early where chance makes a difference large, so the plain difference of an arm that is better "
    "or worse overstates it; the corrected one does not."
)


def looks_headings() -> list[tuple[str, str]]:
    """What stands above `looks_rows`, each with its meaning."""
    return list(MEANINGS.items())


def looks_rows(verdicts: Iterable[Mapping[str, Any]], number: Callable[..., str], n_looks: int) -> list[list[str]]:
    """A row for each arm that took part in a look. verdicts: as comparison.json has them. n_looks: that were declared.

    number: see `formatting.number_format`.
    """
    return [_row(verdict, number, n_looks) for verdict in verdicts if verdict.get("look")]


def _row(verdict: Mapping[str, Any], number: Callable[..., str], n_looks: int) -> list[str]:
    unbiased, alpha = verdict["difference_unbiased"], verdict.get("alpha", ALPHA)
    cells = [verdict["arm"], verdict["verdict"], f"{verdict['look']}/{n_looks}", str(verdict["pairs"])]
    cells += [number(verdict["difference"], "+"), UNKNOWN if unbiased is None else number(unbiased, "+")]
    return cells + [UNKNOWN if verdict[name] is None else p_value(verdict[name], alpha=alpha) for name in P_VALUES]


def looks_meanings(headings: Sequence[tuple[str, str]]) -> str:
    """The headings that need it, explained in a sentence."""
    return "; ".join(f"_{heading}_: {meaning}" for heading, meaning in headings if meaning) + "."

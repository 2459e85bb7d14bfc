"""What the looks of a declared design say of each arm, as a table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipeline.analysis.formatting import p_value
from pipeline.analysis.wording import MOST_NAMED
from pipeline.report.format import UNKNOWN
from pipeline.stats.intervals import ALPHA

MEANINGS = {
    "arm": "",
    "verdict": "",
    "look": "the last one that the arm took part in, of those that were declared",
    "seeds": "its pairs at that look, which alone count",
    "difference": "mean, whose repeated interval stands in the table above and holds at every look",
    "corrected": "the difference without what ending early adds to it, of arms that a difference has ended so",
    "p (stage-wise)": "how often chance ends a study at an earlier look, or shows as large a difference at this one",
    "p (looks)": "the smallest level of a grid at which the looks so far would have ended it, so an upper bound",
    "p (Holm)": "the same, corrected over the arms, which decides better and worse",
    "p (equivalent)": "two one-sided tests of the same design, corrected over the arms",
}
P_VALUES = ("p_stagewise", "p", "p_holm", "p_equivalent")


def about_looks(verdicts: Iterable[Mapping[str, Any]]) -> str:
    """What to know before reading the table: how seeds were added, and which plain differences overstate."""
    added = "Seeds were added look by look, and an arm that a look decided got no more"
    early = [verdict["arm"] for verdict in verdicts if verdict.get("difference_unbiased") is not None]
    if not early:
        return f"{added}."
    which = f"that of {', '.join(early)}" if len(early) <= MOST_NAMED else f"those of {len(early)} arms"
    return (
        f"{added}, so arms may rest on unlike numbers of seeds. An arm ends before the last look where chance makes "
        f"its difference large, so the plain difference overstates it, here {which}; the corrected one is right on "
        "average over all studies."
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
    shown = {name: None if _says_nothing(verdict, name) else verdict[name] for name in P_VALUES}
    return cells + [
        UNKNOWN if p is None else p_value(p, alpha=alpha, is_bound=name != "p_stagewise") for name, p in shown.items()
    ]


def _says_nothing(verdict: Mapping[str, Any], name: str) -> bool:
    """Whether a p tests nothing: no test finds an arm identical, and by construction there is no chance at all."""
    is_identical = verdict["verdict"] == "identical"
    return is_identical and (name == "p_equivalent" or verdict.get("construction") is not None)


def looks_meanings(headings: Sequence[tuple[str, str]]) -> str:
    """The headings that need it, explained in a sentence."""
    return "; ".join(f"_{heading}_: {meaning}" for heading, meaning in headings if meaning) + "."

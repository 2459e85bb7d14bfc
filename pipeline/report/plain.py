"""The answer in words that need no statistics, for the head of the page."""

import re
from collections.abc import Sequence

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.pairing import SHIFTS
from pipeline.analysis.verdict import Verdict
from pipeline.analysis.wording import MOST_NAMED


def plain_answer(comparison: Comparison) -> tuple[str, list[str]]:
    """The headline without its list of verdicts, and what else there is to say: the other arms, then the blocks."""
    first, *others = comparison.answer
    headline = first.split(" (")[0].rstrip(".") + "."
    baseline = comparison.headlines[0].baseline
    family = [verdict for verdict in comparison.compared if verdict.baseline == baseline]
    metric = re.compile(rf"(?<![\w=.]){re.escape(comparison.study.metric)}(?![\w=.(]\w)")
    words = comparison.study.metric.replace("_", " ")
    headline, *leads = (
        metric.sub(words, text) for text in [headline, *_other_arms(family, comparison.study.margin), *others]
    )
    return headline, leads


def _other_arms(family: Sequence[Verdict], margin: float) -> list[str]:
    arms: dict[str, list[str]] = {}
    for verdict in family:
        word = "rounding" if verdict.construction == SHIFTS else "may fail" if verdict.may_fail else verdict.verdict
        arms.setdefault(word, []).append(verdict.short_name)
    base = family[0].short_baseline if family else ""
    sentences = []
    if "worse" in arms:
        sentences.append(f"Worse than {base}: {_names(arms['worse'])}.")
    if "identical" in arms:
        sentences.append(f"Exactly the same as {base}, epoch by epoch: {_names(arms['identical'])}.")
    if "rounding" in arms:
        sentences.append(f"The same as {base} by construction, but for rounding: {_names(arms['rounding'])}.")
    if "equivalent" in arms:
        sentences.append(f"As good as {base}, to within {margin:g}: {_names(arms['equivalent'])}.")
    seeds = max((verdict.pairs or 0 for verdict in family), default=0)
    after = f"{seeds} seeds" if seeds > 1 else "so few seeds"
    if 0 < len(arms.get("may fail", ())) < len(family):
        sentences.append(
            f"As good as {base} on average, to within {margin:g}, but after {after} rare failures are not excluded: "
            f"{_names(arms['may fail'])}."
        )
    if 0 < len(arms.get("undecided", ())) < len(family):
        sentences.append(f"Not clearly better or worse than {base} after {after}: {_names(arms['undecided'])}.")
    return [" ".join(sentences)] if sentences else []


def _names(arms: Sequence[str]) -> str:
    if len(arms) > MOST_NAMED:
        return f"{len(arms)} arms"
    return " and ".join([", ".join(arms[:-1]), arms[-1]]) if len(arms) > 1 else arms[0]

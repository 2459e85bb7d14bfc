"""What tuning changes, in words: at the shared value, and each arm at its best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.analysis.study import Study
from pipeline.analysis.tuning import Point, TunedArm, TunedFamily, spell_point
from pipeline.analysis.tuning_edges import ends_chosen
from pipeline.analysis.verdict import Verdict
from pipeline.analysis.wording import Headline, Number
from pipeline.stats.intervals import mean_interval

COLUMNS = ["arm", "rest", "points", "chosen", "mean", "low", "high"]


@dataclass(frozen=True)
class Choice:
    """The values of a bias setting: chosen, one by each half of the seeds, and how much better than the shared value
    the judged seeds are on average; None where some seed diverged at the shared value, and where other seeds judge.
    edges: the keys of which an end
    of the grid was chosen.
    """

    setting: str
    chosen: tuple[Point, Point]
    gain: float | None
    edges: tuple[str, ...]


@dataclass(frozen=True)
class TuningAnswer:
    """What comes of comparing arms at their best, see `tuning.TunedFamily` for its entries.

    block: stands for the tuned arms in `verdicts` and `headlines`. shared_block: the block of the shared point, one of
    `blocks`, those of all points.
    by_first_look: whether the first look of a design chose, with seeds that do not judge.
    same_order: whether the arms' means have the same order in both. changed: the settings whose verdicts differ.
    """

    keys: tuple[str, ...]
    points: tuple[Point, ...]
    shared: Point
    chosen_by: str
    seeds: tuple[int, ...]
    block: str
    shared_block: str | None
    blocks: tuple[str, ...]
    choices: tuple[Choice, ...]
    same_order: bool
    changed: tuple[str, ...]
    sentences: tuple[str, ...]
    by_first_look: bool = False


def tuning_answers(
    study: Study, verdicts: Sequence[Verdict], said: Sequence[Headline], number: Number
) -> list[TuningAnswer]:  # fmt: skip
    """One answer for each family of tuned arms. said: the headlines. number: see `formatting.number_format`."""
    return [_answer(study, family, verdicts, said, number) for family in study.tuned]


def _answer(
    study: Study, family: TunedFamily, verdicts: Sequence[Verdict], said: Sequence[Headline], number: Number
) -> TuningAnswer:
    block = family.block
    index = family.points.index(family.shared)
    shared_arms = {arm.setting: arm.parts[index] for arm in family.arms}
    shared_block = next((arm.block for arm in shared_arms.values()), None)
    at_best = {v.setting: v for v in verdicts if v.tuned and v.block == block}
    at_shared = {v.setting: v for v in verdicts if not v.pooled and v.block == shared_block and v.setting in at_best}
    orders = [_order(of, study.higher_is_better) for of in (at_shared, at_best)]
    changed = tuple(s for s, v in at_best.items() if s in at_shared and at_shared[s].verdict != v.verdict)
    choices = tuple(_choice(family, arm) for arm in family.arms)
    point = spell_point(family.keys, family.shared)
    at = f"On the {len(family.seeds)} seeds of the first look, at" if family.only_choose else "At"
    sentences = [
        *(_at_shared(headline, f"{at} the shared {point}") for headline in said if headline.block == shared_block),
        _which_order(study.metric, orders) if family.only_choose
        else _what_depends(study.metric, orders, changed, at_shared, at_best),
        _what_was_chosen(family, choices, number),
    ]  # fmt: skip
    return TuningAnswer(
        family.keys, family.points, family.shared, family.chosen_by, family.seeds, block, shared_block,
        tuple(arm.block for arm in family.arms[0].parts), choices,
        orders[0] == orders[1], changed, tuple(sentences), family.only_choose,
    )  # fmt: skip


def _order(verdicts: dict[str, Verdict], higher_is_better: bool) -> list[str]:
    known = {setting: v.mean for setting, v in verdicts.items() if v.mean is not None}
    return sorted(known, key=lambda setting: -known[setting] if higher_is_better else known[setting])


def _at_shared(headline: Headline, where: str) -> str:
    """The headline of the shared block, its arms without the block."""
    sentence = headline.sentence.replace(f",{headline.block}", "") if headline.block else headline.sentence
    return f"{where}, {sentence[0].lower()}{sentence[1:]}"


def _what_depends(
    metric: str, orders: Sequence[list[str]], changed: Sequence[str], at_shared: dict[str, Verdict],
    at_best: dict[str, Verdict],
) -> str:  # fmt: skip
    """Whether verdicts and order of the arms depend on tuning."""
    shared, best = (", ".join(order) for order in orders)
    verdicts = ", ".join(
        f"{s} ({at_shared[s].verdict} at the shared value, {at_best[s].verdict} at its best)" for s in changed
    )
    if shared == best and not changed:
        return f"Tuning changes no verdict, nor the order of the arms by mean {metric}: {best}."
    first = f"Tuning changes the verdict on {verdicts}" if changed else "Tuning changes no verdict"
    if shared == best:
        return f"{first}, but not the order of the arms by mean {metric}: {best}."
    order = f"the order of the arms by mean {metric}: {shared} at the shared value; {best} at their best"
    return f"{first}, {'and' if changed else 'but'} {order}."


def _which_order(metric: str, orders: Sequence[list[str]]) -> str:
    """Whether the order of the arms depends on the values; verdicts of different numbers of seeds do not compare."""
    shared, chosen = (", ".join(order) for order in orders)
    if shared == chosen:
        return (
            f"The order of the arms by mean {metric} is the same at the shared value as at the chosen ones: {chosen}."
        )
    return f"The order of the arms by mean {metric}: {shared} at the shared value; {chosen} at the chosen ones."


def _choice(family: TunedFamily, arm: TunedArm) -> Choice:
    gain = None
    if family.shared in arm.points and not family.only_choose:
        shared = arm.result.test[:, arm.points.index(family.shared)]
        gain = float((arm.result.judged - shared).mean())
    keys = tuple(key for key in family.keys if any(ends_chosen(family, arm, key)))
    return Choice(arm.setting, arm.chosen, gain, keys)


def _what_was_chosen(family: TunedFamily, choices: Sequence[Choice], number: Number) -> str:
    if family.only_choose:
        texts = [f"{one.setting} {' and '.join(f'{value:g}' for value in one.chosen[0])}" for one in choices]
        return (
            f"Chosen {' and '.join(family.keys)}, by {family.chosen_by} on the {len(family.seeds)} seeds of the first "
            f"look, which judge nothing: {', '.join(texts)}."
        )
    texts = []
    for choice in choices:
        values = [" and ".join(f"{value:g}" for value in point) for point in choice.chosen]
        chosen = f"{values[0]} twice" if values[0] == values[1] else f"{values[0]} and {values[1]}"
        gain = "" if choice.gain is None else f" ({number(choice.gain, '+')})"
        texts.append(f"{choice.setting} {chosen}{gain}")
    return (
        f"Chosen {' and '.join(family.keys)}, by {family.chosen_by} on half of the {len(family.seeds)} seeds and "
        f"judged on the other half, with the difference from the shared value: {', '.join(texts)}."
    )


def tuning_curve(study: Study) -> pd.DataFrame:
    """The metric over the tuned values: a row per bias setting and point, over the seeds that choose and judge.

    Columns: arm (its setting, and the other overrides), rest, points (the values of the keys), chosen (by how many
    halves), mean, low, high (95 % interval of the mean). A point at which a seed diverged has no row.
    """
    rows = []
    for family in study.tuned:
        for arm in family.arms:
            for point, values in sorted(zip(arm.points, arm.result.test.T, strict=True), key=lambda entry: entry[0]):
                mean, _, low, high = mean_interval(np.asarray(values))
                chosen = sum(point == one for one in arm.chosen)
                rows.append(dict(zip(COLUMNS, (arm.setting, arm.rest, point, chosen, mean, low, high), strict=True)))
    return pd.DataFrame(rows, columns=COLUMNS)

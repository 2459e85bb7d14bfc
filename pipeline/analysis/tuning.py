"""The arms of a study, each at the best of the values that its runs were trained at, see `stats.tuning`.

A bias setting whose arms differ by the tuned keys alone is one `TunedArm`; those that have all other settings in common
are a `TunedFamily`, with one baseline, one grid of values, and the same seeds in the same halves.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.analysis.arms import STARTING_CONDITIONS, Arm
from pipeline.analysis.pairing import AT_ANY_VALUE
from pipeline.config.metrics import higher_is_better
from pipeline.config.tuning import Values, read_tune
from pipeline.errors import ConfigError
from pipeline.installation import command_text
from pipeline.stats.tuning import FEWEST_SEEDS, Tuned, choose_and_judge, choose_once, halves
from pipeline.store.runs import HISTORY

AT_BEST = " at its best"
Point = tuple[float, ...]  # a value of each tuned key


@dataclass(frozen=True)
class TunedArm:
    """A bias setting at the values that were chosen for it.

    keys: the tuned ones. rest: the overrides besides, "" without any. seeds: in the order of `result`. points: the
    values in the order of `result`'s columns, those alone at which no seed diverged. parts: the arms of all points.
    """

    setting: str
    keys: tuple[str, ...]
    rest: str
    metric: str
    seeds: tuple[int, ...]
    points: tuple[Point, ...]
    result: Tuned
    parts: tuple[Arm, ...]

    @property
    def name(self) -> str:
        """The setting, e.g. `ones at its best`, and the other overrides."""
        return ",".join(filter(None, [f"{self.setting}{AT_BEST}", self.rest]))

    @property
    def block(self) -> str:
        """What stands for a block, and the other overrides."""
        return best_block(self.keys, self.rest)

    @property
    def family(self) -> str:
        """The arms of one grid are corrected together."""
        return self.block

    @property
    def complete_seeds(self) -> set[int]:
        """The seeds that every arm has at every value."""
        return set(self.seeds)

    @property
    def diverged(self) -> list[int]:
        """None: a value at which a seed diverged is not chosen."""
        return []

    @property
    def chosen(self) -> tuple[Point, Point]:
        """The values that were judged on the two halves."""
        first, second = self.result.chosen
        return self.points[first], self.points[second]

    def values(self, metric: str) -> dict[int, float]:
        """The judged value of each seed; of the metric that the choice was made for alone."""
        return dict(zip(self.seeds, self.result.judged.tolist(), strict=True)) if metric == self.metric else {}

    def censored(self, metric: str) -> list[int]:
        """The seeds that never reached the level at the value that they were judged at."""
        if metric != self.metric:
            return []
        return [seed for seed, part in self._judged_parts() if seed in part.censored(metric)]

    def curve_digests(self) -> list[Any]:
        """Digest of each seed's learning curves at the value that it was judged at."""
        return [part.complete[seed].meta["digests"][HISTORY] for seed, part in self._judged_parts()]

    def _judged_parts(self) -> list[tuple[int, Arm]]:
        """Each seed with the arm of the value that it was judged at."""
        by_point = {point_of(arm, self.keys): arm for arm in self.parts}
        judged = [by_point[point] for point in self.chosen]
        return [(seed, judged[half]) for seed, half in zip(self.seeds, halves(len(self.seeds)), strict=True)]


@dataclass(frozen=True)
class TunedFamily:
    """The arms that are tuned over one grid, and compared with each other.

    points: the grid, ascending. shared: the point that all arms would have without tuning. chosen_by: the metric that
    chooses. left_out: bias setting -> why it is not among the arms. seeds_left_out: seeds that not every arm has at
    every value, or that started differently there. only_choose: whether all seeds chose, and others judge.
    """

    keys: tuple[str, ...]
    rest: str
    points: tuple[Point, ...]
    shared: Point
    chosen_by: str
    arms: tuple[TunedArm, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    seeds_left_out: tuple[int, ...] = ()
    only_choose: bool = False

    @property
    def block(self) -> str:
        """What stands for the block of the arms at the chosen values."""
        return (chosen_block if self.only_choose else best_block)(self.keys, self.rest)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that choose and judge."""
        return self.arms[0].seeds

    def grid(self, key: str) -> Values:
        """The values of one key, ascending."""
        i = self.keys.index(key)
        return tuple(sorted({point[i] for point in self.points}))


def best_block(keys: Sequence[str], rest: str) -> str:
    """What stands for the block of tuned arms."""
    return ", ".join(filter(None, [f"{AT_BEST.strip()} {' and '.join(keys)}", rest]))


def chosen_block(keys: Sequence[str], rest: str) -> str:
    """What stands for the block of arms at the values that the first look of a design chose."""
    return ", ".join(filter(None, [f"at the {' and '.join(keys)} that the first look chose", rest]))


def tune_arms(
    study: str, arms: Sequence[Arm], baseline: str, metric: str, tune: Mapping[str, Values], only_choose: bool = False
) -> list[TunedFamily]:  # fmt: skip
    """Choose and judge, for every set of arms that differ by the bias setting and the tuned keys alone.

    tune: key -> the values to choose from; none for those that the baseline was trained at. only_choose: all seeds
    choose, and none judges, see `tuned_looks`. Raises ConfigError where no set has a baseline with two values and
    enough seeds.
    """
    keys = tuple(tune)
    by_rest: dict[str, dict[str, dict[Point, Arm]]] = {}
    for arm in arms:
        point = point_of(arm, keys)
        if point is not None and all(value in tune[key] for key, value in zip(keys, point, strict=True) if tune[key]):
            of_setting = by_rest.setdefault(_rest(arm.block, keys), {}).setdefault(arm.setting, {})
            if point not in of_setting or len(arm.complete) > len(of_setting[point].complete):
                of_setting[point] = arm
    families, reasons = [], []
    for rest, settings in by_rest.items():
        family = _family(keys, rest, settings, baseline, metric, only_choose)
        if isinstance(family, TunedFamily):
            families.append(family)
        else:
            reasons.append(family)
    if not families:
        why = reasons[0] if reasons else f"no run was trained at such values of {' and '.join(keys)}"
        train = f"{command_text('train')} -m tune={','.join(keys)}"
        raise ConfigError(f"tune: {', '.join(keys)} given, but of {study} {why}; allowed: after {train}")
    return families


def point_of(arm: Arm, keys: Sequence[str]) -> Point | None:
    """The values of these keys that an arm was trained with; None where a setting has none."""
    values = []
    for key in keys:
        value: Any = arm.runs[0].meta["config"]
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        values.append(value)
    return tuple(values) if all(isinstance(value, (int, float)) for value in values) else None


def _rest(block: str, keys: Sequence[str]) -> str:
    """A block without the tuned keys."""
    overrides = re.findall(r"(?:^|,)([\w.@/]+=.*?)(?=,[\w.@/]+=|$)", block)
    return ",".join(text for text in overrides if text.partition("=")[0] not in keys)


def _family(
    keys: tuple[str, ...], rest: str, settings: Mapping[str, Mapping[Point, Arm]], baseline: str, metric: str,
    only_choose: bool,
) -> TunedFamily | str:  # fmt: skip
    """The family of these arms, or why it cannot be tuned. settings: bias setting -> point -> arm."""
    points = tuple(sorted(settings.get(baseline, {})))
    if not points:
        return f"no {baseline} was trained at such values"
    only, *more = points
    if not more:
        return f"{baseline} was trained at one value only, {spell_point(keys, only)}"
    left_out = {
        setting: f"it was not trained at {' or '.join(spell_point(keys, point) for point in missing)}"
        for setting, by_point in settings.items()
        if (missing := [point for point in points if point not in by_point])
    }
    grids = {s: [by_point[p] for p in points] for s, by_point in settings.items() if s not in left_out}
    every = [arm for of_setting in grids.values() for arm in of_setting]
    seeds = _common_seeds(list(grids.values()))
    others = sorted({run.seed for arm in every for run in arm.runs} - set(seeds))
    if len(seeds) < (1 if only_choose else FEWEST_SEEDS):
        return f"every arm has {len(seeds)} seeds in common at all values, and choosing takes {FEWEST_SEEDS}"
    shared = _shared(keys, rest, points, grids[baseline])
    chosen_by = _validation_metric(every, metric)
    arms = []
    for setting, of_setting in grids.items():
        tuned = _tune(keys, rest, setting, points, shared, of_setting, seeds, metric, chosen_by, only_choose)
        if tuned is None:
            left_out[setting] = "some seed diverged at every value"
        else:
            arms.append(tuned)
    if baseline in left_out:
        return f"some seed of {baseline} diverged at every value"
    return TunedFamily(keys, rest, points, shared, chosen_by, tuple(arms), left_out, tuple(others), only_choose)


def _common_seeds(grids: Sequence[Sequence[Arm]]) -> tuple[int, ...]:
    """The seeds that every arm has at every value, with the same start: of all arms at one value in everything, at
    different values in kernels, data and device.
    """
    at_value = [[arm.starting_conditions for arm in column] for column in zip(*grids, strict=True)]
    decisive = [i for i, name in enumerate(STARTING_CONDITIONS) if name in AT_ANY_VALUE]
    every = [arm for of_setting in grids for arm in of_setting]
    seeds = sorted(set.intersection(*({run.seed for run in arm.runs} for arm in every)))
    common = []
    for seed in seeds:
        starts = [[start[seed] for start in column if seed in start] for column in at_value]
        alike = all(start == column[0] for column in starts for start in column)
        first = [[column[0][i] for i in decisive] for column in starts if column]
        if alike and all(start == first[0] for start in first):
            common.append(seed)
    return tuple(common)


def _shared(keys: Sequence[str], rest: str, points: Sequence[Point], arms: Sequence[Arm]) -> Point:
    """The recorded shared value, else that of the arm without an override of the keys, else the middle one."""
    for arm in arms:
        for run in arm.runs:
            words = run.machine.get("overrides") or ()
            for word in words if isinstance(words, list) else ():
                if isinstance(word, str) and word.startswith("tune="):
                    tuned: dict[str, Sequence[float]] = {**read_tune(word.removeprefix("tune="))}
                    point = tuple(tuned[key][0] for key in keys if tuned.get(key))
                    if point in points:
                        return point
    named = [point for point, arm in zip(points, arms, strict=True) if arm.block == rest]
    return named[0] if named else points[(len(points) - 1) // 2]


def _validation_metric(arms: Sequence[Arm], metric: str) -> str:
    """The validation's counterpart of a test metric; another metric chooses itself, on seeds that do not judge."""
    name = f"val_{metric.removeprefix('test_')}"
    has_it = all(name in history for arm in arms for history in arm.histories.values())
    return name if metric.startswith("test_") and has_it else metric


def _tune(
    keys: tuple[str, ...], rest: str, setting: str, points: Sequence[Point], shared: Point, arms: Sequence[Arm],
    seeds: Sequence[int], metric: str, chosen_by: str, only_choose: bool,
) -> TunedArm | None:  # fmt: skip
    """Choose and judge for one bias setting; None where some seed diverged at every value."""
    able = [(p, arm) for p, arm in zip(points, arms, strict=True) if set(seeds) <= arm.values(metric).keys()]
    able.sort(key=lambda entry: entry[0] != shared)  # of equally good values the shared one, else the smallest
    if not able:
        return None
    test = np.array([[arm.values(metric)[seed] for _, arm in able] for seed in seeds])
    validation = np.array([[_validation(arm, seed, chosen_by) for _, arm in able] for seed in seeds])
    choose = choose_once if only_choose else choose_and_judge
    result = choose(validation, test, higher_is_better(metric))
    return TunedArm(setting, keys, rest, metric, tuple(seeds), tuple(p for p, _ in able), result, tuple(arms))


def _validation(arm: Arm, seed: int, metric: str) -> float:
    """The metric that chooses, of the weights that were tested."""
    if metric not in arm.histories[seed]:
        return arm.values(metric)[seed]
    best = arm.complete[seed].best_epoch
    return arm.histories[seed][metric][-1 if best is None else best]


def spell_point(keys: Sequence[str], point: Point) -> str:
    """A point in words: `optimizer.learning_rate=0.001`."""
    return " and ".join(f"{key}={value:g}" for key, value in zip(keys, point, strict=True))

"""A study as it is compared: its arms, their baselines and pairs, each computed once."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from pipeline.analysis.arms import EPOCHS_TO, Arm, ComparedArm, final_metrics, load_arms, seed_spans, stored_means
from pipeline.analysis.blocks import PooledArm, pool_arms
from pipeline.analysis.curves import different_epochs, higher_is_better, measure_curves
from pipeline.analysis.earlier import looks_at
from pipeline.analysis.pairing import AT_ANY_VALUE, construction, mismatches
from pipeline.analysis.tuned_looks import (
    ChosenArm,
    first_look,
    judged_arms,
    of_first_look,
    require_declared,
    require_seed_of_looks,
)
from pipeline.analysis.tuning import TunedArm, TunedFamily, tune_arms
from pipeline.config.metrics import MARGIN, RUN_LENGTHS, check_margin, is_in_unit
from pipeline.config.tuning import Values
from pipeline.errors import ConfigError, closest, require
from pipeline.stats.intervals import ALPHA
from pipeline.store.answers import read_answers
from pipeline.store.designs import DeclaredDesign, Progress, read_progress
from pipeline.store.runs import DamagedRun, Run, RunStore


@dataclass(frozen=True)
class Study:
    """The arms of a study and the question they are asked.

    baseline: the bias setting that arms are compared with. metric: what the verdict is about. margin: the largest
    difference of it that does not matter. damaged: the runs that do not count. progress: how far the declared design
    has come whose question this is; None without a design, or for another question. design: the declared one, whatever
    is asked. undeclared: the arms that it leaves out. answers: the seeds of each arm in the answers that were given
    before, see `earlier`. tuned: the arms at their best, where that is asked for, see `tuning`.
    chosen: of a design that is tuned, the arms that its first look chose, with the seeds that judge them; `arms` then
    have those of the first look alone. stored_means: see `arms.stored_means`; of a design some of whose seeds judge
    nothing.
    """

    name: str
    baseline: str
    metric: str
    margin: float
    arms: Sequence[Arm]
    damaged: Sequence[DamagedRun] = ()
    progress: Progress | None = None
    design: DeclaredDesign | None = None
    undeclared: Sequence[str] = ()
    answers: Sequence[Mapping[str, Sequence[int]]] = ()
    tuned: Sequence[TunedFamily] = ()
    chosen: Sequence[ChosenArm] = ()
    stored_means: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def arm_names(self) -> list[str]:
        """The names of the arms, in the order of every table and legend."""
        return [arm.name for arm in self.arms]

    @cached_property
    def shown_names(self) -> dict[str, str]:
        """The folder of each arm -> the name that is shown."""
        return {arm.folder: arm.name for arm in self.arms}

    @property
    def shared(self) -> list[str]:
        """The overrides that all arms share, which their names leave out."""
        return sorted(self.arms[0].shared)

    @property
    def seeds(self) -> dict[str, list[int]]:
        """The complete seeds of each arm, by its folder: what an answer rests on."""
        return {arm.folder: sorted(arm.complete_seeds) for arm in self.arms}

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better."""
        return higher_is_better(self.metric)

    @property
    def primary(self) -> str:
        """The metric that the study is about: that of its design, whatever is asked, else that of the verdict."""
        return self.design.metric if self.design else self.metric

    @property
    def alpha(self) -> float:
        """The level of the verdicts: that of the design whose question this is, else `ALPHA`."""
        return self.progress.design.alpha if self.progress else ALPHA

    @cached_property
    def metrics(self) -> list[str]:
        """All final and derived metrics, see `arms.final_metrics`."""
        return final_metrics(list(self.arms))

    @cached_property
    def pooled_arms(self) -> list[PooledArm]:
        """Each setting over the blocks it can be compared in; empty where there is one block, see `blocks`.

        A design judges the arms of each block alone, so then there are none either.
        """
        if self.progress is not None:
            return []
        return pool_arms(list(self.arms), self.baseline)

    @cached_property
    def compared_arms(self) -> list[ComparedArm]:
        """The tuned arms, in their absence the pooled ones, then the arms."""
        if self.chosen:
            return [*self.chosen, *self.arms]
        if self.tuned:
            return [*(arm for family in self.tuned for arm in family.arms), *self.arms]
        return [*self.pooled_arms, *self.arms]

    @property
    def judged_arms(self) -> Sequence[ComparedArm]:
        """The arms that the looks of a design judge."""
        return self.chosen or self.arms

    @cached_property
    def baselines(self) -> dict[str, ComparedArm]:
        """Block -> its baseline arm, where it has one; pooled ones included."""
        return {arm.block: arm for arm in (*self.compared_arms, *self.pooled_arms) if arm.setting == self.baseline}

    @cached_property
    def block_epochs(self) -> dict[str, list[int]]:
        """The blocks whose runs were trained for different numbers of epochs, and which numbers."""
        return different_epochs(self.arms)

    def baseline_of(self, arm: ComparedArm) -> ComparedArm | None:
        """The arm that `arm` is compared with; None for a baseline, and in a block without one."""
        baseline = self.baselines.get(arm.block)
        return None if baseline is arm else baseline

    def earlier_looks(self, arm: ComparedArm, seeds: Sequence[int]) -> tuple[list[int], list[int]]:
        """Order an arm's paired seeds by the answers that had them before, see `earlier.looks_at`.

        An arm over several blocks has had a seed where all its arms had it.
        """
        base = self.baseline_of(arm)
        if base is None or not self.answers or self.progress is not None:
            return list(seeds), [len(seeds)]
        names = [part.folder for side in (arm, base) for part in side.parts]
        return looks_at(seeds, [set.intersection(*(set(one.get(name, ())) for name in names)) for one in self.answers])

    def mismatches(self, arm: ComparedArm) -> dict[int, list[str]]:
        """The seeds on which an arm and its baseline started differently, see `pairing.mismatches`."""
        if isinstance(arm, TunedArm):  # none of its seeds started differently
            return {}
        if arm.name not in self._mismatches:
            baseline = self.baseline_of(arm)
            found = mismatches(arm, baseline) if baseline else {}
            if isinstance(arm, ChosenArm):  # the values that were chosen may differ
                found = {s: shared for s, names in found.items() if (shared := [n for n in names if n in AT_ANY_VALUE])}
            self._mismatches[arm.name] = found
        return self._mismatches[arm.name]

    def paired_seeds(self, arm: ComparedArm, metric: str) -> list[int]:
        """The seeds of which an arm and its baseline both have the metric.

        None, if any seed that both completed started differently: then the others may differ in ways that no digest
        shows, and the arms are compared unpaired.
        """
        baseline = self.baseline_of(arm)
        if baseline is None or self.mismatches(arm):
            return []
        return sorted(arm.values(metric).keys() & baseline.values(metric).keys())

    def construction(self, arm: ComparedArm, seeds: Sequence[int]) -> str | None:
        """Why an arm is the same as its baseline by construction on these seeds, see `pairing.construction`."""
        baseline, key = self.baseline_of(arm), (arm.name, tuple(seeds))
        if baseline is None:
            return None
        if isinstance(arm, ChosenArm) and isinstance(baseline, ChosenArm) and arm.point != baseline.point:
            return None
        if key not in self._constructions:
            self._constructions[key] = construction(arm, baseline, list(seeds))
        return self._constructions[key]

    @cached_property
    def _constructions(self) -> dict[tuple[str, tuple[int, ...]], str | None]:
        return {}

    @cached_property
    def _mismatches(self) -> dict[str, dict[int, list[str]]]:
        return {}


def load_study(
    store: RunStore,
    baseline: str,
    metric: str = "",
    margin: float | None = None,
    threshold: float | None = None,
    keep: Callable[[Run], bool] | None = None,
    tune: Mapping[str, Values] | None = None,
) -> Study:
    """Read a study and measure its learning curves.

    baseline, metric, margin: empty or None for those that the study declared in a design; without one for zeros, the
    model's first test metric and the default, see `_default_margin`. threshold: see
    `curves.measure_curves`. keep: which runs to take; None: all. tune: compare each arm at its best, see
    `tuning.tune_arms`.
    Raises ConfigError when there is no complete run, no arm with the setting `baseline`, no
    run with the metric, or no seed in common.
    """
    require(math.isfinite(threshold or 0), "threshold", threshold, "a number")
    progress = read_progress(store)
    design = progress.design if progress else None
    is_asked = design is not None and design.answers(baseline, metric, margin)
    undeclared: list[str] = []
    if design is not None and is_asked:
        baseline, metric, margin = design.baseline, design.metric, design.margin
        declared = {arm.arm for arm in design.arms}
        undeclared = sorted({*store.arm_names()} - declared)
        begin = 0 if design.tune else design.first_seed
        keep = _both(keep, lambda run: run.arm in declared and run.seed >= begin)
        require_seed_of_looks(store, begin)
    asked = progress if is_asked else None
    if asked is not None and tune:
        require_declared(tune, asked.design, store.study)
    is_tuned = asked is not None and bool(asked.design.tune)
    arms, damaged = load_arms(store, of_first_look(asked.design, keep) if asked is not None and is_tuned else keep)
    baseline = baseline or "zeros"
    baseline = _baseline_setting(store.study, arms, baseline)
    arms = measure_curves(store.study, arms, baseline, metric, threshold)
    metrics = final_metrics(arms)
    metric = metric or metrics[0]
    if metric not in metrics:
        raise ConfigError(f"metric: no run of {store.study} has {metric}; {closest(metric, metrics)}")
    check_margin("margin", margin, metric)
    margin = _default_margin(arms, baseline, metric) if margin is None else margin
    chosen: Sequence[ChosenArm] = ()
    if asked is not None and is_tuned:
        tuned = first_look(store.study, arms, asked.design)
        chosen = judged_arms(store, asked, tuned, keep)
    else:
        tuned = tune_arms(store.study, arms, baseline, metric, tune) if tune else ()
    answers = read_answers(store)
    study = Study(
        store.study, baseline, metric, margin, arms, damaged, asked, design, undeclared, answers, tuned, chosen,
        stored_means(store) if asked is not None and asked.design.first_seed else {},
    )  # fmt: skip
    _require_common_seed(study)
    return study


def _both(first: Callable[[Run], bool] | None, second: Callable[[Run], bool]) -> Callable[[Run], bool]:
    return second if first is None else lambda run: first(run) and second(run)


def _baseline_setting(study: str, arms: Sequence[Arm], baseline: str) -> str:
    """The bias setting that `baseline` names: itself, or that of the arm with this shown or stored name.

    Raises ConfigError for another name, and for an arm of one block among several, which the others have none of.
    """
    settings = list(dict.fromkeys(arm.setting for arm in arms))
    shown = {arm.runs[0].meta["config"]["bias_setting"]: arm.setting for arm in arms}
    if baseline in settings or baseline in shown:
        return baseline if baseline in settings else shown[baseline]
    named = next((arm for arm in arms if baseline in (arm.name, arm.folder)), None)
    if named is None:
        raise ConfigError(f"baseline: {study} has no arm {baseline}; {closest(baseline, settings)}")
    if len({arm.block for arm in arms}) > 1:
        raise ConfigError(
            f"baseline: {baseline} is the arm of one block, and each block is compared with its own; "
            f"to compare with {named.setting} everywhere: baseline={named.setting}"
        )
    return named.setting


def _default_margin(arms: Sequence[Arm], baseline: str, metric: str) -> float:
    """0.005 of a share or a loss; one epoch of their number; of an error in a unit, 0.5 % of the baseline's mean."""
    if metric in RUN_LENGTHS or metric.startswith(EPOCHS_TO):
        return 1
    values = [value for arm in arms if arm.setting == baseline for value in arm.values(metric).values()]
    in_unit = is_in_unit(metric) and any(values)
    return float(f"{MARGIN * fmean(values):.2g}") if in_unit else MARGIN


def _require_common_seed(study: Study) -> None:
    """Raise ConfigError if there are arms to compare with a baseline, and not one of them shares a seed with it."""
    couples = [(arm, base) for arm in study.arms if (base := study.baseline_of(arm)) is not None]
    couples = [(arm, base) for arm, base in couples if arm.complete_seeds and base.complete_seeds]
    if couples and not any(arm.complete_seeds & base.complete_seeds for arm, base in couples):
        sides = {side.name: side for arm, base in couples for side in (base, arm)}
        listed = "; ".join(f"{name} has {seed_spans(list(side.complete_seeds))}" for name, side in sides.items())
        raise ConfigError(f"seeds: no arm of {study.name} shares a complete seed with {study.baseline}: {listed}")

"""All that is known of a study when its arms are compared: words, tables, and what the figures are drawn from."""

from dataclasses import dataclass

import pandas as pd

from pipeline.analysis.ablation import ablation_over_seeds, dead_shares, load_ablation, load_dead_units
from pipeline.analysis.bias_dynamics import (
    Trajectories,
    arm_distances,
    bias_quantiles,
    bias_trajectories,
    drawn_trajectories,
    drift_table,
    dynamics_table,
)
from pipeline.analysis.curves import different_epochs, learning_curves, measure_curves
from pipeline.analysis.study import Arm, baseline_arms, damaged_runs, final_metrics, load_arms, require_common_seeds
from pipeline.analysis.summary import MARGIN, seed_differences, summarize
from pipeline.analysis.wording import (
    ablation_sentences,
    bias_sentences,
    block_sentences,
    run_remarks,
    verdict_sentences,
)
from pipeline.errors import ConfigError, closest
from pipeline.store.runs import RunStore


@dataclass(frozen=True)
class Comparison:
    """What `python -m pipeline.compare` found. Frames without a row have their columns all the same."""

    study: str
    baseline: str  # the setting that arms are compared with
    metric: str  # what the verdict is about
    margin: float  # a difference of it that does not matter
    arms: list[Arm]
    said: list[str]  # the answer in one sentence, then one per arm, then what a reader must know of the runs
    of_biases: list[str]  # see verdicts.of_biases and verdicts.of_ablation
    table: pd.DataFrame  # see summary.summarize
    differences: pd.DataFrame  # see summary.differences
    curves: pd.DataFrame  # see gather.curves
    courses: Trajectories  # see bias_dynamics.Trajectory
    dynamics: pd.DataFrame  # see dynamics.table
    drift: pd.DataFrame  # see dynamics.drift
    distances: pd.DataFrame  # see dynamics.distances
    quantiles: pd.DataFrame  # see dynamics.quantiles
    trajectories: pd.DataFrame  # see dynamics.trajectories
    ablation: pd.DataFrame  # see ablation.over_seeds
    dead_units: pd.DataFrame  # see ablation.dead_shares

    @property
    def names(self) -> list[str]:
        """The arms, in the order of every table and legend."""
        return [arm.name for arm in self.arms]

    @property
    def chosen(self) -> pd.DataFrame:
        """The rows of `table` that the verdict is about."""
        return self.table[self.table["metric"] == self.metric]


def compare_study(
    store: RunStore, baseline: str, metric: str = "", margin: float = MARGIN,
    threshold: float | None = None,
) -> Comparison:  # fmt: skip
    """Compare the arms of a study. metric: empty for the first. threshold: see `measures.measure`.

    Raises ConfigError when there is nothing to compare.
    """
    study = store.study
    arms = load_arms(store)
    if baseline not in {arm.setting for arm in arms}:
        raise ConfigError(f"baseline: {study} has no arm {baseline}; {closest(baseline, [a.setting for a in arms])}")
    arms = measure_curves(study, arms, baseline, metric, threshold)
    known = final_metrics(arms)
    metric = metric or known[0]
    if metric not in known:
        raise ConfigError(f"metric: no run of {study} has {metric}; {closest(metric, known)}")
    require_common_seeds(study, arms, baseline)
    table = summarize(arms, baseline, metric, margin)
    chosen = table[table["metric"] == metric]
    said = verdict_sentences(chosen, baseline, margin)
    said[1:1] = block_sentences(arms, chosen, baseline, metric)
    said += run_remarks(arms, baseline, metric)
    said += [
        f"Warning: {block or 'without overrides'}: runs of {' and '.join(map(str, epochs))} epochs are compared; "
        "their learning curves are not."
        for block, epochs in different_epochs(arms).items()
    ]
    said += [f"Warning: {run} is damaged and left out." for run in damaged_runs(store, arms)]
    courses = bias_trajectories(arms)
    distances = arm_distances(courses, arms)
    bases = {arm.name for arm in baseline_arms(arms, baseline).values()}
    place = {arm.name: i for i, arm in enumerate(arms)}
    tested, dead = (
        found.sort_values("arm", key=lambda names: names.map(place), kind="stable")
        for found in (load_ablation(store), load_dead_units(store))
    )
    without = ablation_over_seeds(tested, metric)
    of_biases = bias_sentences(distances, bases) + ablation_sentences(without, arms)
    return Comparison(
        study, baseline, metric, margin, arms, said, of_biases, table,
        seed_differences(arms, baseline), learning_curves(arms), courses, dynamics_table(courses),
        drift_table(courses), distances, bias_quantiles(courses),
        drawn_trajectories(arms), without, dead_shares(dead),
    )  # fmt: skip

"""All that is known of a study when its arms are compared: words, tables, and what the figures are drawn from."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline import ablation, dynamics, gather, measures, summary, verdicts
from pipeline.errors import ConfigError, closest


@dataclass(frozen=True)
class Answer:
    """What `python -m pipeline.compare` found. Frames without a row have their columns all the same."""

    study: str
    baseline: str  # the setting that arms are compared with
    metric: str  # what the verdict is about
    margin: float  # a difference of it that does not matter
    arms: list[gather.Arm]
    said: list[str]  # the answer in one sentence, then one per arm, then what a reader must know of the runs
    of_biases: list[str]  # see verdicts.of_biases and verdicts.of_ablation
    table: pd.DataFrame  # see summary.summarize
    differences: pd.DataFrame  # see summary.differences
    curves: pd.DataFrame  # see gather.curves
    courses: dynamics.Courses  # see dynamics.Course
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


def of_study(
    results: Path, study: str, baseline: str, metric: str = "", margin: float = summary.MARGIN,
    threshold: float | None = None,
) -> Answer:  # fmt: skip
    """Compare the arms of a study. metric: empty for the first. threshold: see `measures.measure`.

    Raises ConfigError when there is nothing to compare.
    """
    arms = gather.load_arms(results, study)
    if baseline not in {arm.setting for arm in arms}:
        raise ConfigError(f"baseline: {study} has no arm {baseline}; {closest(baseline, [a.setting for a in arms])}")
    arms = measures.measure(study, arms, baseline, metric, threshold)
    known = gather.final_metrics(arms)
    metric = metric or known[0]
    if metric not in known:
        raise ConfigError(f"metric: no run of {study} has {metric}; {closest(metric, known)}")
    gather.require_common_seeds(study, arms, baseline)
    table = summary.summarize(arms, baseline, metric, margin)
    chosen = table[table["metric"] == metric]
    said = verdicts.sentences(chosen, baseline, margin)
    said[1:1] = verdicts.dependence(arms, chosen, baseline, metric)
    said += verdicts.remarks(arms, baseline, metric)
    said += [
        f"Warning: {block or 'without overrides'}: runs of {' and '.join(map(str, epochs))} epochs are compared; "
        "their learning curves are not."
        for block, epochs in measures.different_epochs(arms).items()
    ]
    said += [f"Warning: {run} is damaged and left out." for run in gather.damaged(results, study, arms)]
    courses = dynamics.courses(arms)
    distances = dynamics.distances(courses, arms)
    bases = {arm.name for arm in gather.baselines(arms, baseline).values()}
    place = {arm.name: i for i, arm in enumerate(arms)}
    tested, dead = (
        found.sort_values("arm", key=lambda names: names.map(place), kind="stable")
        for found in (ablation.load(results, study), ablation.load_dead_units(results, study))
    )
    without = ablation.over_seeds(tested, metric)
    of_biases = verdicts.of_biases(distances, bases) + verdicts.of_ablation(without, arms)
    return Answer(
        study, baseline, metric, margin, arms, said, of_biases, table,
        summary.differences(arms, baseline), gather.curves(arms), courses, dynamics.table(courses),
        dynamics.drift(courses), distances, dynamics.quantiles(courses),
        dynamics.trajectories(arms), without, ablation.dead_shares(dead),
    )  # fmt: skip

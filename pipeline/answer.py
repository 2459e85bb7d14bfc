"""All that is known of a study when its arms are compared: words, tables, and what the figures are drawn from."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pipeline import gather, summary, verdicts
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
    table: pd.DataFrame  # see summary.summarize
    differences: pd.DataFrame  # see summary.differences
    curves: pd.DataFrame  # see gather.curves
    quantiles: pd.DataFrame  # see gather.bias_quantiles
    trajectories: pd.DataFrame = field(default_factory=pd.DataFrame)  # columns arm, seed, layer, unit, epoch, value
    drift: pd.DataFrame = field(default_factory=pd.DataFrame)  # columns arm, layer, epoch, drift, low, high
    dynamics: pd.DataFrame = field(
        default_factory=pd.DataFrame
    )  # columns arm, layer, drift, cosine, sign_flips, half_life
    distances: pd.DataFrame = field(default_factory=pd.DataFrame)  # columns arm, other, layer, before, after
    ablation: pd.DataFrame = field(default_factory=pd.DataFrame)  # columns arm, biases, seeds, mean, change, low, high
    dead_units: pd.DataFrame = field(default_factory=pd.DataFrame)  # columns arm, layer, units, before, after
    of_biases: list[str] = field(default_factory=list)  # what is said of the biases

    @property
    def names(self) -> list[str]:
        """The arms, in the order of every table and legend."""
        return [arm.name for arm in self.arms]

    @property
    def chosen(self) -> pd.DataFrame:
        """The rows of `table` that the verdict is about."""
        return self.table[self.table["metric"] == self.metric]


def of_study(results: Path, study: str, baseline: str, metric: str = "", margin: float = summary.MARGIN) -> Answer:
    """Compare the arms of a study. metric: empty for the first. Raises ConfigError when there is nothing to compare."""
    arms = gather.load_arms(results, study)
    if baseline not in {arm.setting for arm in arms}:
        raise ConfigError(f"baseline: {study} has no arm {baseline}; {closest(baseline, [a.setting for a in arms])}")
    known = gather.final_metrics(arms)
    metric = metric or known[0]
    if metric not in known:
        raise ConfigError(f"metric: no run of {study} has {metric}; {closest(metric, known)}")
    gather.require_common_seeds(study, arms, baseline)
    table = summary.summarize(arms, baseline, metric, margin)
    said = verdicts.sentences(table[table["metric"] == metric], baseline, margin)
    said += verdicts.remarks(arms, baseline, metric)
    said += [f"Warning: {run} is damaged and left out." for run in gather.damaged(results, study, arms)]
    return Answer(
        study, baseline, metric, margin, arms, said, table,
        summary.differences(arms, baseline), gather.curves(arms), gather.bias_quantiles(arms),
    )  # fmt: skip

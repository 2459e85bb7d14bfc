"""Measure learning curves: one number per run for where it started, its best epoch, its course and its pace.

    initial_loss                    over all training rows, before the first step
    best_val_<metric>               at the best epoch, the one before training included
    area_under_val_<metric>         mean height of the curve, in the metric's own unit
    epochs_to_val_<metric>_<level>  first epoch that reached the level

By default the baseline sets the level, as benchmarks of training speed do: Dahl et al. 2023, "Benchmarking Neural
Network Training Algorithms". A run that never reached it in E epochs is censored: it counts as E + 1, the earliest
epoch at which it still could. Since every run was followed for E epochs, min(epoch, E + 1) is known for all of them,
and its mean, the restricted mean time, can be compared like any other: Royston and Parmar 2013, "Restricted mean
survival time". A run that stopped early keeps the model of its best epoch, and so its curve stays there until E.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.analysis.arms import EPOCHS_TO, Arm, final_metrics
from pipeline.config import metrics
from pipeline.errors import ConfigError, closest
from pipeline.stats.intervals import band

INITIAL = "initial_loss"
PROGRESS = 0.95  # share of the baseline's progress, from before training to its best epoch, that sets the default level
_EPOCHS_TO_METRIC = re.compile(rf"{EPOCHS_TO}(val_\w+?)_(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
_CURVE_METRIC = re.compile(r"(?:test|best_val|area_under_val)_(\w+)")


def learning_curves(arms: Sequence[Arm]) -> pd.DataFrame:
    """Average the learning curves over complete runs: columns arm, metric, epoch, mean, low, high (95 % interval).

    Where the runs of an arm differ in length, only the longest ones are averaged. Those of seeds that stopped early go
    on, see `arms.carried_on`, but no further than the longest run of any arm.
    """
    parts, trained = [], max((arm.longest for arm in arms), default=0) + 1
    for arm in arms:
        longest = max((len(history["epoch"]) for history in arm.histories.values()), default=0)
        histories = [history for history in arm.histories.values() if len(history["epoch"]) == longest]
        for metric in dict.fromkeys(name for history in histories for name in history if name != "epoch"):
            mean, _, low, high = band(np.array([h[metric][:trained] for h in histories if metric in h]))
            part = {"epoch": np.arange(len(mean)), "mean": mean, "low": low, "high": high}
            parts.append(pd.DataFrame({"arm": arm.name, "metric": metric} | part))
    return pd.concat(parts, ignore_index=True)


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better, by the table of metrics; fewer epochs are better, of whatever metric."""
    return not metric.startswith(EPOCHS_TO) and metrics.higher_is_better(metric)


def best_point(curve: Sequence[float], higher: bool) -> float:
    """The best point of a curve [epochs + 1]."""
    return float(max(curve) if higher else min(curve))


def mean_height(curve: Sequence[float]) -> float:
    """The area under a curve [epochs + 1], by trapezoids, divided by its number of epochs; a single point's height."""
    return float(np.trapezoid(curve) / (len(curve) - 1)) if len(curve) > 1 else float(curve[0])


def epochs_to(curve: Sequence[float], level: float, higher: bool) -> int:
    """The first epoch at which a curve [epochs + 1] reaches the level; epochs + 1 if it never does (censored)."""
    reached = (epoch for epoch, value in enumerate(curve) if (value >= level if higher else value <= level))
    return next(reached, len(curve))


def measure_history(history: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Best points, mean heights and initial loss of a run's history; the measures of the loss after the metrics'."""
    columns = sorted((name for name in history if name.startswith("val_")), key=lambda name: name == "val_loss")
    measures = {f"best_{name}": best_point(history[name], higher_is_better(name)) for name in columns}
    measures |= {f"area_under_{name}": mean_height(history[name]) for name in columns}
    return measures | {INITIAL: history["loss"][0]}


def default_level(curves: Iterable[np.ndarray], higher: bool) -> float | None:
    """The level at the share `PROGRESS` of the baseline's progress, to three digits; None if it never improved.

    curves: one array [seeds, epochs + 1] per block. Progress leads from the mean before training to the best of the
    mean curve, both averaged over the blocks.
    """
    means = [curve.mean(0) for curve in curves]
    if not means:
        return None
    start = float(np.mean([mean[0] for mean in means]))
    way = float(np.mean([best_point(mean, higher) for mean in means])) - start
    if not way:
        return None
    return round(start + PROGRESS * way, 2 - int(np.floor(np.log10(abs(way)))))


def measure_curves(
    study: str, arms: list[Arm], baseline: str, metric: str = "", threshold: float | None = None
) -> list[Arm]:
    """Return the arms with the measures of every complete run in `derived`.

    threshold: the level of the epochs_to_ metric. None: the one in the name of `metric` (`epochs_to_val_loss_0.3`), or
    else the baseline's. Where runs of a block were trained for different numbers of epochs, only the initial loss is
    measured. Raises ConfigError for a threshold that no run reaches, or of a metric that no run has.
    """
    uneven = different_epochs(arms)
    even = [arm for arm in arms if arm.block not in uneven]
    has_curve = _CURVE_METRIC.fullmatch(metric) or _EPOCHS_TO_METRIC.fullmatch(metric)
    column, level = _find_level(study, even, baseline, metric if has_curve else final_metrics(arms)[0], threshold)
    measured = []
    for arm in arms:
        derived = {}
        for seed, history in arm.histories.items():
            measures = measure_history(history)
            start = measures.pop(INITIAL)
            if arm.block in uneven:
                measures = {}
            elif level is not None and column in history:
                epochs = epochs_to(history[column], level, higher_is_better(column))
                measures[f"{EPOCHS_TO}{column}_{level or 0:.10g}"] = epochs
            derived[seed] = measures | {INITIAL: start}
        measured.append(replace(arm, derived=derived))
    return measured


def different_epochs(arms: Iterable[Arm]) -> dict[str, list[int]]:
    """Find blocks whose runs were trained for different numbers of epochs: block -> these numbers."""
    epochs: dict[str, set[int]] = {}
    for arm in arms:
        epochs.setdefault(arm.block, set()).update(len(h["epoch"]) - 1 for h in arm.histories.values())
    return {block: sorted(numbers) for block, numbers in epochs.items() if len(numbers) > 1}


def _find_level(
    study: str, arms: list[Arm], baseline: str, metric: str, threshold: float | None
) -> tuple[str, float | None]:
    """The validation column that belongs to a metric, and the level it must reach; None where there is no level."""
    histories = [history for arm in arms for history in arm.histories.values()]
    columns = list(dict.fromkeys(name for history in histories for name in history if name.startswith("val_")))
    epochs_metric, curve_metric = _EPOCHS_TO_METRIC.fullmatch(metric), _CURVE_METRIC.fullmatch(metric)
    column = epochs_metric[1] if epochs_metric else f"val_{curve_metric[1]}" if curve_metric else ""
    if column not in columns:
        if threshold is not None:
            problem = f"threshold: no run of {study} has {column or 'such a curve'}"
            raise ConfigError(f"{problem}; {closest(column, columns)}")
        return column, None
    higher = higher_is_better(column)
    key = "threshold" if threshold is not None else "metric"
    requested = threshold if threshold is not None else float(epochs_metric[2]) if epochs_metric else None
    level = requested if requested is not None else _baseline_level(arms, baseline, column, higher)
    if level is None:
        return column, None
    best = best_point([best_point(history[column], higher) for history in histories if column in history], higher)
    if best >= level if higher else best <= level:
        return column, level
    if requested is not None:
        raise ConfigError(f"{key}: no run of {study} reaches {column} {level:g}; the best is {best:.6g}")
    return column, None


def _baseline_level(arms: list[Arm], baseline: str, column: str, higher: bool) -> float | None:
    """`default_level` of the baseline arms' curves."""
    curves = []
    for arm in arms:
        rows = [history[column] for history in arm.histories.values() if column in history]
        if arm.setting == baseline and rows:
            curves.append(np.array(rows))
    return default_level(curves, higher)

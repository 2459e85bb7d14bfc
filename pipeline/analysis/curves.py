"""What the learning curves of one run come to, in one number each: where it began, its best, its course, its pace.

    initial_loss                    of all training rows, before the first step
    best_val_<metric>               the best epoch's, the one before training included
    area_under_val_<metric>         the mean height of the curve, in the metric's own unit
    epochs_to_val_<metric>_<level>  the first epoch that reached the level

A level that is not given is set by the baseline, as benchmarks of training speed do: Dahl et al. 2023, "Benchmarking
Neural Network Training Algorithms". A run that never reached it in E epochs is censored: it counts as E + 1, the first
epoch it could still have. As every run was followed for E epochs, min(epoch, E + 1) is known of all of them, and its
mean, the restricted mean time, can be compared as any other: Royston and Parmar 2013, "Restricted mean survival time".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.analysis.study import EPOCHS_TO, Arm, final_metrics
from pipeline.errors import ConfigError, closest
from pipeline.stats.intervals import band


def learning_curves(arms: list[Arm]) -> pd.DataFrame:
    """Learning curves over complete runs, an arm's longest ones: columns arm, metric, epoch, mean, low, high."""
    parts = []
    for arm in arms:
        longest = max((len(history["epoch"]) for history in arm.histories.values()), default=0)
        histories = [history for history in arm.histories.values() if len(history["epoch"]) == longest]
        for metric in dict.fromkeys(name for history in histories for name in history if name != "epoch"):
            mean, _, low, high = band(np.array([h[metric] for h in histories if metric in h]))
            part = {"epoch": np.arange(len(mean)), "mean": mean, "low": low, "high": high}
            parts.append(pd.DataFrame({"arm": arm.name, "metric": metric} | part))
    return pd.concat(parts, ignore_index=True)


INITIAL = "initial_loss"
SHARE = 0.95  # of the baseline's way from before training to its best epoch: the level of `epochs_to`
_EPOCHS = re.compile(rf"{EPOCHS_TO}(val_\w+?)_(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
_OF_COLUMN = re.compile(r"(?:test|best_val|area_under_val)_(\w+)")


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better: accuracies and areas under a ROC curve, not losses, errors and epochs."""
    return metric.endswith(("accuracy", "auc")) and not metric.startswith(EPOCHS_TO)


def best_point(curve: Sequence[float], higher: bool) -> float:
    """The best point of a curve [epochs + 1]."""
    return float(max(curve) if higher else min(curve))


def mean_height(curve: Sequence[float]) -> float:
    """The area under a curve [epochs + 1], by trapezia, over its number of epochs; of one point its height."""
    return float(np.trapezoid(curve) / (len(curve) - 1)) if len(curve) > 1 else float(curve[0])


def epochs_to(curve: Sequence[float], level: float, higher: bool) -> int:
    """The first epoch of a curve [epochs + 1] at the level or beyond; epochs + 1 when there is none (censored)."""
    reached = (epoch for epoch, value in enumerate(curve) if (value >= level if higher else value <= level))
    return next(reached, len(curve))


def of_history(history: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Initial loss, best points and mean heights of a run's columns; the loss after the metrics."""
    columns = sorted((name for name in history if name.startswith("val_")), key=lambda name: name == "val_loss")
    found = {f"best_{name}": best_point(history[name], higher_is_better(name)) for name in columns}
    found |= {f"area_under_{name}": mean_height(history[name]) for name in columns}
    return found | {INITIAL: history["loss"][0]}


def default_level(curves: Iterable[np.ndarray], higher: bool) -> float | None:
    """The level that `SHARE` of the baseline's way leads to, in three digits of that way; None where it leads nowhere.

    curves: of each block [seeds, epochs + 1]; the way is from the mean before training to the best of the mean curve,
    both averaged over the blocks.
    """
    means = [curve.mean(0) for curve in curves]
    if not means:
        return None
    start = float(np.mean([mean[0] for mean in means]))
    way = float(np.mean([best_point(mean, higher) for mean in means])) - start
    if not way:
        return None
    return round(start + SHARE * way, 2 - int(np.floor(np.log10(abs(way)))))


def measure_curves(
    study: str, arms: list[Arm], baseline: str, metric: str = "", threshold: float | None = None
) -> list[Arm]:
    """The arms with these measures of every complete run, as `Arm.values` gives them.

    The level is that of `metric`, or of its name (`epochs_to_val_loss_0.3`); None: the baseline's. Of runs that are
    compared, but were trained for different numbers of epochs, only the initial loss is measured. Raises ConfigError
    for a threshold that no run reaches, or of a metric that no run has.
    """
    uneven = different_epochs(arms)
    even = [arm for arm in arms if arm.block not in uneven]
    asked = metric if _OF_COLUMN.fullmatch(metric) or _EPOCHS.fullmatch(metric) else final_metrics(arms)[0]
    column, threshold = _target(study, even, baseline, asked, threshold)
    higher, name = higher_is_better(column), f"{EPOCHS_TO}{column}_{threshold or 0:.10g}"
    paces = {
        (arm.name, seed): epochs_to(history[column], threshold, higher)
        for arm in (even if threshold is not None else ())
        for seed, history in arm.histories.items()
        if column in history
    }
    measured = []
    for arm in arms:
        derived = {seed: of_history(history) for seed, history in arm.histories.items()}
        for seed, found in derived.items():
            start = found.pop(INITIAL)
            if arm.block in uneven:
                found.clear()
            if (arm.name, seed) in paces:
                found[name] = paces[arm.name, seed]
            found[INITIAL] = start
        measured.append(replace(arm, derived=derived))
    return measured


def different_epochs(arms: list[Arm]) -> dict[str, list[int]]:
    """The blocks whose runs were trained for different numbers of epochs, and which numbers."""
    epochs: dict[str, set[int]] = {}
    for arm in arms:
        epochs.setdefault(arm.block, set()).update(len(h["epoch"]) - 1 for h in arm.histories.values())
    return {block: sorted(numbers) for block, numbers in epochs.items() if len(numbers) > 1}


def _target(
    study: str, arms: list[Arm], baseline: str, metric: str, threshold: float | None
) -> tuple[str, float | None]:
    """The validation column that must reach a level, and the level; None where there is none."""
    histories = [history for arm in arms for history in arm.histories.values()]
    there = list(dict.fromkeys(name for history in histories for name in history if name.startswith("val_")))
    named, given = _EPOCHS.fullmatch(metric), threshold is not None
    of = _OF_COLUMN.fullmatch(metric)
    column = named[1] if named else f"val_{of[1]}" if of else ""
    if column not in there:
        if given:
            raise ConfigError(f"threshold: no run of {study} has {column or 'such a curve'}; {closest(column, there)}")
        return column, None
    higher = higher_is_better(column)
    if named and not given:
        threshold = float(named[2])
    elif not given:
        bases = [arm for arm in arms if arm.setting == baseline and any(column in h for h in arm.histories.values())]
        curves = [np.array([h[column] for h in arm.histories.values() if column in h]) for arm in bases]
        threshold = default_level(curves, higher)
    if threshold is None:
        return column, None
    top = best_point([best_point(history[column], higher) for history in histories if column in history], higher)
    if not (top >= threshold if higher else top <= threshold):
        if given or named:
            key = "threshold" if given else "metric"
            raise ConfigError(f"{key}: no run of {study} reaches {column} {threshold:g}; the best is {top:.6g}")
        return column, None
    return column, threshold

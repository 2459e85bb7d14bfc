"""The table of metrics: name, direction, tasks and unit, for whoever trains, compares or explains them.

    accuracy, balanced_accuracy, f1, ...   as functions of scikit-learn, which the tests hold them to
    top_<k>                                share of rows whose class is among the k likeliest, such as top_5

Where scikit-learn needs to be told what a score of several classes is, it is the mean over them (macro).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import require

CLASSES = ("binary", "multiclass")
MARGIN = 0.005  # default of the largest difference of a metric that does not matter
RUN_LENGTHS = ("epochs_run", "best_epoch")  # what a run that may stop early records besides
_own_directions: dict[str, bool] = {}  # of metrics of the user's own code
_TOP_K = re.compile(r"top_([1-9]\d*)")
_MEASURE = re.compile(r"(?:test|val|best_val|area_under_val)_(.+)")  # of a run: the metric is the rest of its name


@dataclass(frozen=True)
class Metric:
    """A metric beside the loss. tasks: those it fits. higher: whether more of it is better. in_unit: whether it is in
    a unit of the data's, so that what is a small difference depends on the data.
    """

    name: str
    tasks: tuple[str, ...]
    higher: bool
    meaning: str
    in_unit: bool = False


# The first of each task is its default.
METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", CLASSES, True, "share of rows whose class is predicted"),
        Metric("balanced_accuracy", CLASSES, True, "mean share of each class's rows that are predicted"),
        Metric("f1", CLASSES, True, "harmonic mean of precision and recall of the second class; of more, their mean"),
        Metric("f1_macro", CLASSES, True, "mean over all classes, also of two"),
        Metric("precision", CLASSES, True, "share of rows predicted as the second class that are; of more, their mean"),
        Metric("recall", CLASSES, True, "share of rows of the second class that are predicted; of more, their mean"),
        Metric("auc", ("binary",), True, "area under the ROC curve, by Keras' thresholds"),
        Metric("top_5", ("multiclass",), True, "share of rows whose class is among the 5 likeliest; also top_3, ..."),
        Metric("log_loss", CLASSES, False, "cross-entropy without class weights, label smoothing and penalties"),
        Metric("mae", ("regression",), False, "mean absolute error", in_unit=True),
        Metric("mse", ("regression",), False, "mean squared error", in_unit=True),
        Metric("rmse", ("regression",), False, "root of the mean squared error; the mean of several targets", True),
        Metric("r2", ("regression",), True, "share of the variance that is explained; the mean of several targets"),
    )
}


def first_metric(entries: Any, measured: Collection[str]) -> str:
    """The first of `training.metrics` that was measured, of `auto` the default of a task; "" for none."""
    listed = entries if isinstance(entries, list) else [entries]
    if listed == ["auto"]:
        listed = [metrics_of(task)[0] for task in (*CLASSES, "regression")]
    return next((name for name in map(metric_name, listed) if name in measured), "")


def metrics_of(task: str) -> tuple[str, ...]:
    """The names of the metrics that fit a task, its default first."""
    return tuple(metric.name for metric in METRICS.values() if task in metric.tasks)


def top_k(name: str) -> int:
    """The k of a `top_<k>`; 0 for another metric."""
    match = _TOP_K.fullmatch(name)
    return int(match[1]) if match else 0


def own_class_name(entry: Any) -> str:
    """The name of a loss or metric of the user's own, from `mine>Mine` or `{class_name: mine>Mine}`; else ""."""
    name = entry.get("class_name") if isinstance(entry, Mapping) else entry
    return name if isinstance(name, str) and ">" in name else ""


def metric_name(entry: Any) -> str:
    """What a metric of `training.metrics` is called in histories and tables: `my_metric` of `mine>MyMetric`."""
    name = own_class_name(entry)
    if not name:
        return str(entry)
    given = (entry.get("config") or {}).get("name") if isinstance(entry, Mapping) else None
    return str(given or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.rpartition(">")[2]).lower())


def own_metrics(entries: Any) -> dict[str, Any]:
    """The metrics of the user's own code among `training.metrics`, by what they are called."""
    listed = entries if isinstance(entries, list) else [entries]
    return {metric_name(entry): entry for entry in listed if own_class_name(entry)}


def know_directions(entries: Any) -> None:
    """Have `higher_is_better` know the user's own metrics of these settings, as they say: `higher_is_better: true`."""
    for name, entry in own_metrics(entries).items():
        if isinstance(entry, Mapping) and "higher_is_better" in entry:
            _own_directions[name] = bool(entry["higher_is_better"])


def fits_task(name: object, task: str) -> bool:
    """Whether there is a metric of this name for the task."""
    return isinstance(name, str) and ("top_5" if top_k(name) else name) in metrics_of(task)


def higher_is_better(measure: str) -> bool:
    """Whether more of a measure is better: of a metric, or of a run's (`test_f1`, `best_val_f1`, ...).

    Losses, and whatever is not in the table, are better lower, unless the name ends in accuracy or auc.
    """
    metric, name = _metric(measure), metric_part(measure)
    if metric is None and name in _own_directions:
        return _own_directions[name]
    return metric.higher if metric else measure.endswith(("accuracy", "auc"))


def is_share(measure: str) -> bool:
    """Whether a measure is a share, so from 0 to 1."""
    metric = _metric(measure)
    return metric is not None and metric.tasks != ("regression",) and metric.higher


def check_margin(key: str, margin: float | None, measure: str) -> None:
    """Raise ConfigError for a margin that cannot be in the unit of a measure: shares differ by 1 at most."""
    fits = margin is None or margin < 1 or not is_share(measure)
    require(fits, key, margin, f"a number below 1, since {measure} is a share (0.005 is half a percent)")


def is_in_unit(measure: str) -> bool:
    """Whether a measure is in a unit of the data's, as errors of a regression are."""
    metric = _metric(measure)
    return metric is not None and metric.in_unit


def _metric(measure: str) -> Metric | None:
    name = metric_part(measure)
    return METRICS.get("top_5" if top_k(name) else name)


def metric_part(measure: str) -> str:
    """The metric that a run's measure is of: `f1` for `test_f1` or `best_val_f1`."""
    match = _MEASURE.fullmatch(measure)
    return match[1] if match else measure

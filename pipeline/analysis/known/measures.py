"""Quantities that several claims read off stored runs."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from pipeline.analysis.verdict import Verdict
from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset
from pipeline.data.sources import load_dataset
from pipeline.errors import ConfigError
from pipeline.stats.intervals import mean_interval
from pipeline.store.runs import Run

DATA_FIELDS = {field.name for field in fields(Data)}


def load_rows_of(run: Run) -> Dataset:
    """The dataset that a run was trained on, loaded again. Raises ConfigError if its rows have changed since."""
    settings = {k: v for k, v in run.meta["config"]["data"].items() if k in DATA_FIELDS}
    dataset = load_dataset(Data(**settings))
    if dataset.digest() != run.meta["data_digest"]:
        raise ConfigError(f"study: the rows of {settings['name']} are not those that {run.path} was trained on")
    return dataset


def training_targets(run: Run) -> np.ndarray:
    """The targets of a run's training rows as its model saw them: class codes, or numbers in float64."""
    rows, dataset = run.rows(), load_rows_of(run)
    y = dataset.y[rows["train"]]
    if dataset.task != "regression":
        return y
    return (y.astype(np.float64) - rows["target_mean"]) / rows["target_scale"]


def one_bias(arrays: Mapping[str, np.ndarray], moment: str, layer: str = "output") -> np.ndarray:
    """The bias of a layer at this moment (`before`, `after`, `trajectory`), in float64."""
    return np.asarray(arrays[f"{moment}/{layer}/bias"], np.float64)


def number(value: float) -> str:
    """A number with four significant digits."""
    return f"{value:.4g}"


def over_seeds(values: Iterable[float]) -> str:
    """The mean of values by seed with its 95 % interval."""
    sample = np.asarray(list(values), np.float64)
    if not len(sample):
        return "no complete run"
    mean, _, low, high = mean_interval(sample)
    return number(mean) if len(sample) < 2 else f"{number(mean)} [{number(low)}, {number(high)}]"


def span(values: Iterable[float]) -> str:
    """The lowest and the highest of values: where a claim is about every seed, not about their mean."""
    sample = np.asarray(list(values), np.float64)
    return f"[{number(sample.min())}, {number(sample.max())}]" if len(sample) else "no complete run"


def difference(verdict: Verdict) -> str:
    """The mean difference of an arm from its baseline with its interval, and the verdict."""
    if verdict.difference is None:
        return verdict.verdict
    numbers = [verdict.difference, verdict.difference_ci_low, verdict.difference_ci_high]
    signed = [f"{value:+.4g}" for value in numbers if value is not None]
    interval = f" [{signed[1]}, {signed[2]}]" if len(signed) == 3 else ""
    return f"{signed[0]}{interval} {verdict.metric}, {verdict.verdict}"


def setting_of(run: Run, *keys: str) -> Any:
    """A setting of a run, e.g. `setting_of(run, "optimizer", "learning_rate")`."""
    value = run.meta["config"]
    for key in keys:
        value = value[key]
    return value

"""Shared by tests: configs of command lines, stored runs with made-up values, models and layers, data frames."""

import functools
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import pytest

from pipeline.config.keras_signatures import constructor_arguments, is_custom
from pipeline.config.schema import Config
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows, standardized_targets
from pipeline.experiment.validate import compose_jobs
from pipeline.models.build import build_model
from pipeline.models.spec import complete_layers
from pipeline.runtime.device import start_tensorflow
from pipeline.store.meta import seal_meta
from pipeline.store.replaced import write_run
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.client import client_class

# Layers whose randomness is hard to keep apart: dropout, a recurrent layer, and two directions of it.
DROPOUT_GRU = (
    "model.name=dropout_gru",
    "model.layers=[{class_name:Reshape,config:{target_shape:[8,8]}},{class_name:Dropout,config:{rate:0.5}},"
    "{class_name:Bidirectional,config:{layer:{class_name:GRU,config:{units:4,dropout:0.5}}}},"
    "{class_name:Dropout,config:{rate:0.5}},{class_name:Dense,config:{name:output}}]",
)


def share(cases: Sequence[Any], every: int = 3) -> list[Any]:
    """Cases of a parametrized test: each third one is in the fast tier, the others in the slow one."""
    arguments = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*a, marks=[pytest.mark.slow] if i % every else []) for i, a in enumerate(arguments)]


class CommandResult(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class TrainedStudy:
    """The study that the fixture `trained_study` trains; `overrides` and `arms` are the command lines that made it."""

    results: Path
    name: ClassVar = "iris-linear"
    overrides: ClassVar = ("data=iris", "model=linear", "training.epochs=2", "seeds=3")
    arms: ClassVar = {
        "no_bias,training.epochs=2": "use_bias=false",
        "zeros,training.epochs=2": "bias_initializer=zeros",
        "glorot_uniform,training.epochs=2": "bias_initializer=glorot",
    }


def last_of_each(overrides: Sequence[str]) -> list[str]:
    """The last override of each key: a command line refuses two, and tests change a part of their common overrides."""
    return list({override.partition("=")[0].lstrip("+"): override for override in overrides}.values())


@functools.cache
def compose_config(*overrides: str) -> Config:
    """The checked config of a command line, composed from conf/ (0.2 s of CPU, hence the cache)."""
    (config,) = compose_jobs(last_of_each(overrides))
    return config


def change_config(config: Config, **changes: Any) -> Config:
    """A config with some fields changed, those of a group as `training={"epochs": 3}`. The arm keeps its name."""
    nested = {name: replace(getattr(config, name), **v) for name, v in changes.items() if isinstance(v, dict)}
    return replace(config, **(changes | nested))


@dataclass(frozen=True)
class MLflowStore:
    """An MLflow store, read through MLflow's own client."""

    uri: str

    @property
    def client(self) -> Any:
        return client_class()(self.uri)

    def active(self, study: str) -> list[Any]:
        """All runs of a study that are not deleted."""
        client = self.client
        return client.search_runs([client.get_experiment_by_name(study).experiment_id], max_results=1000)

    def by_name(self, study: str) -> dict[str, Any]:
        """Those runs by the whole name of the arm, and `-s<seed>`; none is there twice."""
        runs = self.active(study)
        names = [
            run.data.tags["arm"] + (f"-s{run.data.params.get('seed')}" if run.data.tags["role"] == "seed" else "")
            for run in runs
        ]
        assert len(set(names)) == len(names), f"uploaded twice: {sorted(names)}"
        return dict(zip(names, runs, strict=True))

    def curve(self, run: Any, metric: str) -> list[tuple[int, float]]:
        """(step, value) of every value that the store holds of a metric."""
        return [(point.step, point.value) for point in self.client.get_metric_history(run.info.run_id, metric)]

    @staticmethod
    def parent(run: Any) -> str | None:
        """Id of the run that this run is a child of."""
        return run.data.tags.get("mlflow.parentRunId")


def copy_runs(source: Path, target: RunStore, arm: str, seeds: Sequence[int]) -> RunStore:
    """Copy runs of the trained study's results folder into another study, to count there."""
    for seed in seeds:
        folder = target.run_folder(arm, seed)
        shutil.copytree(RunStore(source, TrainedStudy.name).run_folder(arm, seed), folder)
        meta = seal_meta(json.loads((folder / "run.json").read_text()) | {"study": target.study})
        (folder / "run.json").write_text(json.dumps(meta, indent=2) + "\n")
    return target


def multiply_run(source: Path, target: RunStore, arm: str, seeds: Iterable[int], version: str = "") -> RunStore:
    """Store a run of the trained study's results folder as many: each seed has a key of its own in each version."""
    run = RunStore(source, TrainedStudy.name).runs(arm)[0]
    columns = {name: np.array(values) for name, values in run.history().items() if name != "epoch"}
    for seed in seeds:
        key = f"{target.study}{seed}{version}"
        write_run(target, run.meta | {"seed": seed, "key": key}, run.biases(), columns)
    return target


ARRAYS = {
    "before/dense/bias": np.zeros(4, np.float32),
    "after/dense/bias": np.float32([-0.3, 0.1, 0.2, 0.5]),
    "trajectory/dense/bias": np.float32([[0, 0, 0, 0], [-0.1, 0, 0.1, 0.2], [-0.3, 0.1, 0.2, 0.5]]),
    "epoch": np.arange(3),
}


# The entries of a run.json that readers rely on, besides those that say which run it is.
CONFIG = {
    "bias_setting": "zeros", "use_bias": True, "bias_initializer": None, "bias_layers": "all",
    "data": {"name": "d", "source": "d"}, "model": {"name": "m", "layers": []},
    "optimizer": {"class_name": "Adam", "learning_rate": 0.1, "config": {}, "schedule": None},
    "training": {"epochs": 2, "loss": "auto", "metrics": "auto"},
}  # fmt: skip
ENVIRONMENT = {"device": "CPU", "platform": "Linux", "python": "3.13", "packages": {"keras": "3.15"}}


def settings(**changes: Any) -> dict[str, Any]:
    """The `CONFIG` of a run with some entries changed, those of a group as `training={"epochs": 3}`."""
    nested = {name: CONFIG[name] | value for name, value in changes.items() if isinstance(CONFIG.get(name), dict)}
    return CONFIG | changes | nested


def made_meta(arm: str, seed: int, **changes: Any) -> dict[str, Any]:
    """What `write_run` takes of a run that was never trained."""
    meta = {
        "key": f"{arm}-{seed}", "recipe": "r", "arm": arm, "seed": seed, "status": "complete",
        "metrics": {"test_accuracy": 0.5}, "initial_kernels_digest": str(seed), "data_digest": "d",
        "config": settings(bias_setting=arm.split(",")[0]), "environment": ENVIRONMENT,
    }  # fmt: skip
    return meta | changes


def put(
    results: Path, arm: str, seed: int, accuracy: float, *, study: str = "s", setting: str | None = None,
    status: str = "complete", kernels: str = "k", data: str = "d", key: str | None = None, biased: bool = True,
    device: str = "CPU", metrics: dict[str, float] | None = None,
    bend: float = 0, history: dict[str, Any] | None = None, **decisive: Any,
) -> Run:  # fmt: skip
    """Store a run with this test accuracy; its test loss is 1 - accuracy, unless `metrics` says otherwise."""
    curve = np.linspace(0.2, accuracy, 3)
    history = history or {
        "loss": 2 - curve + bend, "accuracy": curve, "val_loss": 2.1 - curve, "val_accuracy": curve - 0.01,
    }  # fmt: skip
    diverged = status == "diverged"
    meta = made_meta(
        arm,
        seed,
        key=key or f"{study}-{arm}-{seed}".replace(",", "-"),
        status=status,
        metrics={"test_accuracy": accuracy, "test_loss": None if diverged else 1 - accuracy} | (metrics or {}),
        initial_kernels_digest=f"{kernels}{seed}",
        data_digest=data,
        config=settings(bias_setting=setting or arm.split(",")[0], **decisive),
        environment=ENVIRONMENT | {"device": device},
    )
    arrays = ARRAYS if biased else {"epoch": np.arange(3)}
    if diverged:
        history = {name: np.array([2.0, np.nan, np.nan]) for name in history}
    return write_run(RunStore(results, study), meta, arrays, history)


def put_all(results: Path, arm: str, accuracies: list[float], **more: Any) -> None:
    """Store one run of an arm per accuracy, with the seeds 0, 1, ..."""
    for seed, accuracy in enumerate(accuracies):
        put(results, arm, seed, accuracy, **more)


def change_meta(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the run.json of a run, and leave it without a seal, as earlier versions stored it."""
    meta = json.loads((folder / "run.json").read_text())
    change(meta)
    meta.pop("seal", None)
    (folder / "run.json").write_text(json.dumps(meta, indent=2) + "\n")


# Accuracies of eight seeds, and differences from them that all have one sign: the exact p is 2 / 2^8 = 0.0078.
EIGHT = np.array([0.5, 0.52, 0.47, 0.55, 0.49, 0.51, 0.53, 0.46])
APART = np.array([0.01, 0.02, 0.03, 0.02, 0.01, 0.03, 0.02, 0.02])
MANY, FAR = np.tile(EIGHT, 4), np.tile(APART, 4)  # the same on 32 seeds: enough to call arms equivalent

# `model.layers=` with a place for a layer that reads digits as 8 steps of 8 features.
LSTM_LAYERS = "[{class_name: Reshape, config: {target_shape: [8, 8]}}, %s, {class_name: Dense, config: {name: output}}]"


def layer(class_name, **config):
    """A layer as it is written in an override, `{class_name: ..., config: {...}}`."""
    return f"{{class_name: {class_name}, config: {{{', '.join(f'{k}: {v}' for k, v in config.items())}}}}}"


def build(*overrides, seed=0):
    """The model of a command line for one seed, and its training targets."""
    start_tensorflow("cpu")
    config = compose_config(*overrides)
    dataset = load_dataset(config.data)
    rows = split_rows(dataset, config.data, seed)
    labels = standardized_targets(dataset, rows, rows.train)
    shape = dataset.x.shape[1:]
    return build_model(complete_layers(config), shape, dataset.task, dataset.n_targets, seed, labels), labels


def draws(class_name, config, shape):
    """An initializer of Keras or of this project, and what it draws with 60 seeds: [60, *shape]."""
    import keras

    from pipeline.models.initializers import custom

    start_tensorflow("cpu")
    module = custom if is_custom("initializers", class_name) else keras.initializers
    seeded = "seed" in constructor_arguments("initializers", class_name)
    made = [getattr(module, class_name)(**config, **({"seed": s} if seeded else {})) for s in range(60)]
    return made[0], np.stack([np.array(one(shape)) for one in made])


def wide(body):
    """A model of digits with the given layers in front of its output."""
    return ("model.name=wide", f"model.layers=[{', '.join(body)}, {{class_name: Dense, config: {{name: output}}}}]")


FLAT = layer("Flatten")

# Arms, and layers with their number of units, of the made-up frames that figures are drawn from.
ARMS = ["zeros", "ones", "glorot_uniform"]
LAYERS = {"dense/bias": 4, "output/bias": 2}


def quantiles(arms: list[str] = ARMS, spread: float = 1.0) -> pd.DataFrame:
    """Quantiles of the biases by arm, layer and moment (before, after): columns q05, q25, q50, q75, q95."""
    return pd.DataFrame([
        {"arm": arm, "layer": layer, "moment": moment}
        | {f"q{q:02}": 0.5 + spread * (q / 100 + j) for q in (5, 25, 50, 75, 95)}
        for arm, layer, (j, moment) in product(arms, LAYERS, enumerate(("before", "after")))
    ])  # fmt: skip


def trajectories(arms: list[str] = ARMS, epochs: int = 5, layers: dict[str, int] = LAYERS) -> pd.DataFrame:
    """One seed's biases by arm, layer, unit and epoch."""
    parts = []
    for (i, arm), layer in product(enumerate(arms), layers):
        part = pd.DataFrame(product(range(epochs + 1), range(layers[layer])), columns=["epoch", "unit"])
        value = i + 0.1 * part["unit"] + 0.01 * part["epoch"]
        parts.append(part.assign(arm=arm, seed=3, layer=layer, value=value))
    return pd.concat(parts, ignore_index=True)[["arm", "seed", "layer", "unit", "epoch", "value"]]


def drift(arms: list[str] = ARMS, epochs: int = 5) -> pd.DataFrame:
    """Mean drift with its interval, by arm, layer and epoch."""
    return pd.DataFrame([
        {"arm": arm, "layer": layer, "epoch": t, "drift": 0.1 * t + i, "low": 0.09 * t + i, "high": 0.11 * t + i}
        for (i, arm), layer, t in product(enumerate(arms), LAYERS, range(epochs + 1))
    ])  # fmt: skip


def found(spec: Any, key: str) -> list[Any]:
    """All values under a key, at any depth of a Vega-Lite specification."""
    if isinstance(spec, list):
        return [value for inner in spec for value in found(inner, key)]
    if not isinstance(spec, dict):
        return []
    return ([spec[key]] if key in spec else []) + [value for inner in spec.values() for value in found(inner, key)]


# Demsar 2006, table 6: AUC of C4.5, with m, with cf, with both, on 14 datasets. The last row but one is printed with
# 0.975 twice, but ranked 2 and 3: the values differed before they were rounded.
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip

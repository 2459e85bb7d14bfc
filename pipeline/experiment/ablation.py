"""Stored models on their test rows: with their own biases and with others, and which of their ReLU units are dead.

`update` computes what is missing of a study's `ablation.csv` and `dead_units.csv`; only for that it imports TensorFlow.
One model per structure is built and traced; the weights of each run are put into it. With its own biases it must come
to the test loss that was stored when it was trained: where it does not, the model was not what the run says.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.analysis.ablation import (
    BEFORE,
    LABELS,
    NUMBERS,
    OWN,
    VERSION,
    ZEROED,
    Row,
    is_bias,
    relu_layers,
    row_identity,
    stored_rows,
    wanted_rows,
)
from pipeline.config.schema import Data, Training
from pipeline.data.dataset import Dataset
from pipeline.data.sources import load_dataset
from pipeline.data.splits import Split, split_rows
from pipeline.experiment.plan import Plan
from pipeline.experiment.run import Outcome
from pipeline.models.build import build_model
from pipeline.runtime.device import start_tensorflow
from pipeline.runtime.hashing import digest
from pipeline.store.files import arm_lock
from pipeline.store.runs import Run, stored_runs
from pipeline.store.tables import ABLATION, DEAD_UNITS, read_table, write_table
from pipeline.training.cache import model_structure
from pipeline.training.memory import evaluation_rows
from pipeline.training.objectives import Objective, without_output_activation

TOLERANCE = 1e-3  # of the test loss: on one machine they agree to 1e-6, in half precision or on another device to less


def update_tables(results: Path, study: str, device: str, files: Mapping[str, str]) -> list[str]:
    """Bring both tables of a study up to date; what could not be computed, in words.

    Rows whose runs are as they were are kept, rows of other runs go. device: as `runtime.start` takes it. files: where
    the data files of `data=file` are, by their digest; runs on another one have no new rows.
    """
    with arm_lock(results, study, ""):
        runs = stored_runs(results, study)
        wanted = wanted_rows(runs)
        rows = {name: stored_rows(results, study, name, VERSION) for name in wanted}
        missing: dict[tuple[str, str], list[tuple[str, Row]]] = {}
        for name, all_of_them in wanted.items():
            for row in all_of_them:
                if row_identity(name, row) not in rows[name]:
                    missing.setdefault((row["arm"], row["seed"]), []).append((name, row))
        by_name = {(run.arm, str(run.seed)): run for run in runs}
        todo = [run for name, run in by_name.items() if name in missing and _file(run) in (None, *files)]
        problems = []
        if todo:
            start_tensorflow(device)
        for same in _groups(todo):
            try:
                for run, found in _evaluated(same, missing, by_name, files):
                    if not found:
                        problems.append(f"{run.arm}, seed {run.seed}: it does not come to its stored test loss")
                    for name, row in found:
                        rows[name][row_identity(name, row)] = row | {"version": VERSION}
            except Exception as error:  # what is made from results must not cost any
                problems.append(f"{same[0].arm}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        for name, all_of_them in wanted.items():
            identities = [row_identity(name, row) for row in all_of_them]
            found = [rows[name][one] for one in identities if one in rows[name]]
            if found != read_table(results, study, name):
                write_table(results, study, name, _columns(name, found), found)
        return problems


def _columns(name: str, rows: Sequence[Row]) -> list[str]:
    labels = [label for label in LABELS[name] if not label.endswith("key")]
    keys = [label for label in LABELS[name] if label.endswith("key")]
    metrics = [column for row in rows for column, value in row.items() if column.startswith("test_") and value]
    return [*labels, *dict.fromkeys([*NUMBERS[name], *metrics]), *keys, "version"]


def _file(run: Run) -> str | None:
    """The digest of the data file that a run was trained on, if it was one."""
    return run.meta["config"]["data"].get("file")


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that one traced model serves, seeds together since they share their test rows."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        own = run.meta["config"]
        same = [model_structure(own["model"]["layers"]), own["data"], own["training"]["loss"],
                own["training"]["metrics"]]  # fmt: skip
        groups.setdefault(digest(same), []).append(run)
    return [sorted(group, key=lambda run: run.seed) for group in groups.values()]


def _evaluated(
    runs: Sequence[Run], missing: Mapping[tuple[str, str], Sequence[tuple[str, Row]]],
    by_name: Mapping[tuple[str, str], Run], files: Mapping[str, str],
) -> Iterator[tuple[Run, list[tuple[str, Row]]]]:  # fmt: skip
    """Each run of one structure and dataset with its missing rows (table, row), or none where it is not trusted."""
    own = runs[0].meta["config"]
    asked = Data(**{k: v for k, v in own["data"].items() if k != "file"}, path=files.get(_file(runs[0]) or ""))
    dataset = load_dataset(asked)
    if dataset.digest() != runs[0].meta["data_digest"]:
        raise ValueError(f"{asked.name} is not the data that it was trained on")
    model = None
    for seed, same in itertools.groupby(runs, lambda run: run.seed):
        rows = split_rows(dataset, asked, seed)
        x, y = (dataset.x[rows.test] - rows.mean) / rows.scale, _targets(dataset, rows, rows.test)
        model = model or Model(own, dataset, _targets(dataset, rows, rows.train))
        of_seed = [(run, missing[run.arm, str(seed)]) for run in same]
        swapped = {row["biases"] for _, asked_for in of_seed for _, row in asked_for if row.get("from_key")}
        trained = {arm: by_name[arm, str(seed)].biases() for arm in swapped}
        for run, asked_for in of_seed:
            yield run, _with_numbers(model, run, asked_for, trained, x, y)


def _with_numbers(
    model: "Model", run: Run, asked: Sequence[tuple[str, Row]],
    trained: Mapping[str, Mapping[str, np.ndarray]], x: np.ndarray, y: np.ndarray,
) -> list[tuple[str, Row]]:  # fmt: skip
    """A run's rows with their numbers; none where its model does not come to the stored loss. trained: by arm."""
    weights, stored = run.weights(), run.meta["metrics"]["test_loss"]
    after = model.put(weights, "after").measure(x, y)
    if not abs(after.metrics["test_loss"] - stored) <= TOLERANCE * max(abs(stored), TOLERANCE):
        return []
    found = []
    for name, row in asked:
        if name == ABLATION:
            changed = _biases(weights, row["biases"], trained)
            measured = model.put_some(changed).measure(x, y) if changed else after
            found.append((name, row | {metric: repr(value) for metric, value in measured.metrics.items()}))
    alive = {"after": after.alive}
    if after.alive:
        alive["before"] = model.put(weights, "before").measure(x, y).alive
    for name, row in asked:
        if name == DEAD_UNITS:
            units = alive[row["moment"]][row["layer"]]
            found.append((name, row | {"units": str(units.size), "dead": str(int((~units).sum()))}))
    return found


def _biases(
    weights: Mapping[str, np.ndarray], which: str, trained: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The biases by path that a row of ablation.csv asks for, of the model with these weights; {} for its own."""
    own = {path: a for name, a in weights.items() if is_bias(path := name.removeprefix("after/"))
           and name.startswith("after/")}  # fmt: skip
    if which == OWN:
        return {}
    if which == ZEROED:
        return {path: np.zeros_like(a) for path, a in own.items()}
    return {path: weights[f"before/{path}"] if which == BEFORE else trained[which][f"after/{path}"]
            for path in own}  # fmt: skip


def _targets(dataset: Dataset, rows: Split, part: np.ndarray) -> np.ndarray:
    y = dataset.y[part]
    return np.float32((y - rows.target_mean) / rows.target_scale) if dataset.task == "regression" else y


@dataclass(frozen=True)
class Measured:
    """Test metrics by name, and by ReLU layer which units [units] put out something for some row."""

    metrics: dict[str, float]
    alive: dict[str, np.ndarray]


class Model:
    """A model of one structure, traced once; weights are put into it, and test rows measured.

    own: the config of a run of that structure. labels: the training targets of any seed, which some initializers read.
    """

    def __init__(self, own: dict[str, Any], dataset: Dataset, labels: np.ndarray) -> None:
        import tensorflow as tf

        layers, shape = own["model"]["layers"], dataset.x.shape[1:]
        asked = Training(**own["training"])
        self._model = build_model(layers, shape, dataset.task, len(dataset.classes), 0, labels)
        self._relu, self._rows = relu_layers(layers), evaluation_rows(self._model, 1)
        self._by_path: dict[str, Any] = {}
        with without_output_activation(self._model, asked, dataset.task) as activation:
            units = self._model.output_shape[-1]
            self._objective = Objective(asked, dataset.task, activation, units)
            self._traced = tf.function(self._forward, autograph=False).get_concrete_function(
                tf.TensorSpec([None, *shape]), tf.TensorSpec([None], tf.as_dtype(labels.dtype))
            )

    def put(self, weights: Mapping[str, np.ndarray], moment: str) -> "Model":
        """Give the model all the weights that a run had before or after training."""
        values = {name.removeprefix(f"{moment}/"): v for name, v in weights.items() if name.startswith(f"{moment}/")}
        self._by_path = dict(zip(values, self._model.weights, strict=True))
        return self.put_some(values)

    def put_some(self, values: Mapping[str, np.ndarray]) -> "Model":
        """Exchange those weights alone whose paths are given."""
        for path, value in values.items():
            self._by_path[path].value.assign(value)  # past Keras' checks, which take longer than a small model's test
        return self

    def measure(self, x: np.ndarray, y: np.ndarray) -> Measured:
        """What the model makes of standardised rows x [rows, ...] and targets y [rows], some at a time."""
        import tensorflow as tf

        total: np.ndarray | None = None
        alive = [np.False_ for _ in self._relu]
        for start in range(0, len(x), self._rows):
            piece = slice(start, start + self._rows)
            sums, some = self._traced(tf.constant(x[piece]), tf.constant(y[piece]))
            total = np.asarray(sums) if total is None else total + np.asarray(sums)
            alive = [a | np.asarray(b) for a, b in zip(alive, some, strict=True)]
        names = ("loss", *self._objective.names)
        values = self._objective.means(total[None], len(x))[0]
        metrics = {f"test_{name}": float(value) for name, value in zip(names, values, strict=True)}
        return Measured(metrics, dict(zip(self._relu, alive, strict=True)))

    def _forward(self, x: Any, y: Any) -> tuple[Any, list[Any]]:
        """(what the rows add up to [objective.size], alive units [units] of each ReLU layer)."""
        import tensorflow as tf

        outputs = x
        alive = {}
        for path, layer in _layers(self._model):
            outputs = layer(outputs)
            if path in self._relu:
                alive[path] = tf.reduce_any(outputs > 0, list(range(outputs.shape.rank - 1)))
        counts = tf.ones(tf.shape(x)[:1])
        losses = self._objective.losses(y[None], outputs[None])
        penalty = tf.add_n([tf.cast(v, tf.float32) for v in self._model.losses] or [tf.constant(0.0)])
        total = tf.reduce_sum(losses) + penalty * tf.reduce_sum(counts)
        added = self._objective.metric_sums(y[None], outputs[None], counts)
        return tf.concat([total[None], *(part[0] for part in added)], 0), [alive[path] for path in self._relu]


def _layers(model: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The layers of a Sequential in order, those of a Sequential within it in its place, by path."""
    for layer in model.layers:
        if type(layer).__name__ == "Sequential":
            yield from _layers(layer, f"{above}{layer.name}/")
        else:
            yield f"{above}{layer.name}", layer


def ablate_studies(outcomes: Sequence[Outcome]) -> list[str]:
    """Bring `ablation.csv` and `dead_units.csv` of the studies up to date; what of them is missing, a line each."""
    studies: dict[tuple[Any, str], list[Plan]] = {}
    for o in outcomes:
        if o.plan.config.ablation:
            studies.setdefault((o.plan.config.results_dir, o.plan.config.study), []).append(o.plan)
    lines = []
    for (results, study), plans in studies.items():
        files = {p.effective["data"]["file"]: p.config.data.path or "" for p in plans if "file" in p.effective["data"]}
        try:
            problems = update_tables(results, study, plans[0].config.runtime.device, files)
        except Exception as error:  # what is made from results must not cost any
            problems = [f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"]
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            lines.append(f"ablation of {study}: some rows are missing: {problems[0]}{more}")
    return lines

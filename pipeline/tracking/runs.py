"""The MLflow mirror of the results.

A study is an experiment. Its top-level runs are the arms, with mean, standard deviation and 95 % interval over the
seeds; the seeds are their children. Every run carries its key as a tag and is looked up by it, so that sending twice
makes one run. Results are never lost to a tracking server: whatever it refuses can be sent later (`pipeline.sync`).
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.biases.tables import bias_statistics
from pipeline.config.schema import Tracking
from pipeline.runtime.hashing import digest
from pipeline.stats.intervals import mean_interval
from pipeline.store.runs import Run
from pipeline.tracking.client import open_experiment, read_sqlite, store_lock, store_uri

BATCH = 1000  # metrics that MLflow takes in one call
FORM = 2  # of what an arm's run holds; an arm that was sent in another form is sent anew

Point = tuple[str, float, int]  # metric, value, step


def mirror_arm(tracking: Tracking, results: Path, study: str, arm: str, runs: Sequence[Run]) -> str:
    """Send what MLflow has not received of an arm, and take away what is no longer so. What went wrong, or "".

    `runs` are all stored runs of the arm. MLflow is imported only when there is something to do.
    """
    if up_to_date(tracking, study, arm, runs):
        return ""
    uri = store_uri(tracking)
    try:
        with store_lock(uri, results):
            client, experiment_id = open_experiment(uri, study)
            send_arm(client, experiment_id, arm, runs)
    except Exception as error:  # MLflow, SQLAlchemy and requests share no base class; none may cost a result
        return f"MLflow at {uri} did not take it: {' '.join(str(error).split())[:300]}"
    return ""


def up_to_date(tracking: Tracking, study: str, arm: str, runs: Sequence[Run]) -> bool:
    """Whether nothing of an arm is to be sent, as far as that can be known without MLflow."""
    received = tracking.enabled and runs and _received(store_uri(tracking), study, arm)
    return not tracking.enabled or not runs or received == sorted(_keys(arm, runs))


def _keys(arm: str, runs: Sequence[Run]) -> set[str]:
    return {run.key for run in runs} | {_arm_key(arm, runs)}


def _arm_key(arm: str, runs: Sequence[Run]) -> str:
    return digest([FORM, arm, *sorted(run.key for run in runs)])


def _received(uri: str, study: str, arm: str) -> list[str] | None:
    """Keys of the runs that an SQLite store holds of an arm, sorted; an unfinished run counts as key ""."""
    found = """SELECT CASE runs.status WHEN 'FINISHED' THEN COALESCE(own.value, '') ELSE '' END
               FROM runs JOIN experiments USING (experiment_id)
               JOIN tags arm ON arm.run_uuid = runs.run_uuid AND arm.key = 'arm' AND arm.value = ?
               LEFT JOIN tags own ON own.run_uuid = runs.run_uuid AND own.key = 'key'
               WHERE runs.lifecycle_stage = 'active' AND experiments.name = ?"""
    rows = read_sqlite(uri, found, [arm, study])
    return None if rows is None else sorted(key for (key,) in rows)


def send_arm(client: Any, experiment_id: str, arm: str, runs: Sequence[Run]) -> None:
    """Make the runs of an arm and its seeds that are not there, and take away those that are no longer so."""
    from mlflow.entities import ViewType

    there = client.search_runs([experiment_id], f"tags.arm = '{arm}'", ViewType.ACTIVE_ONLY, max_results=50_000)
    wanted = _keys(arm, runs)
    kept: dict[str, str] = {}  # key -> MLflow's run id
    outdated = []
    for run in there:
        key = run.data.tags.get("key", "")
        if run.info.status == "FINISHED" and key in wanted and key not in kept:
            kept[key] = run.info.run_id
        else:  # of another key, sent twice, or left half-sent by a killed process
            outdated.append(run.info.run_id)
    arm_key = _arm_key(arm, runs)
    parent = kept.get(arm_key) or client.create_run(experiment_id, run_name=arm, tags={"arm": arm}).info.run_id
    for run in runs:
        if run.key in kept:
            client.set_tag(kept[run.key], "mlflow.parentRunId", parent)
        else:
            _send_seed(client, experiment_id, parent, run)
    if arm_key not in kept:
        with tempfile.TemporaryDirectory() as folder:
            _write_config(Path(folder), runs[0])
            points, tags = list(_arm_points(runs)), _tags(runs[0], arm_key, "arm") | _counts(runs)
            _fill(client, parent, runs[0], points, _params(runs[0]), tags, Path(folder))
    for run_id in outdated:
        client.delete_run(run_id)


def _send_seed(client: Any, experiment_id: str, parent: str, run: Run) -> None:
    tags = {"arm": run.arm, "mlflow.parentRunId": parent}
    run_id = client.create_run(experiment_id, run_name=f"{run.arm}-s{run.seed}", tags=tags).info.run_id
    arrays = run.biases()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "biases").mkdir()
        for moment in ("before", "after", "trajectory"):
            chosen = {k.removeprefix(f"{moment}/"): v for k, v in arrays.items() if k.startswith(f"{moment}/")}
            np.savez(Path(folder) / "biases" / f"{moment}.npz", allow_pickle=False, **chosen)
        _write_config(Path(folder), run)
        params = _params(run) | {"seed": str(run.seed)}
        tags = _tags(run, run.key, "seed")
        _fill(client, run_id, run, list(_seed_points(run, arrays)), params, tags, Path(folder))


def _fill(
    client: Any, run_id: str, run: Run, points: list[Point], params: dict[str, str], tags: dict[str, str], folder: Path
) -> None:
    """Everything of one MLflow run; it counts as received only when this came to its end."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, value, step in points if np.isfinite(value)]
    named = [Param(k, v[:6000]) for k, v in params.items()]
    client.log_batch(run_id, metrics[:BATCH], named, [RunTag(k, v) for k, v in tags.items()])
    for start in range(BATCH, len(metrics), BATCH):
        client.log_batch(run_id, metrics[start : start + BATCH])
    source = run.meta["config"]["data"]
    dataset = Dataset(source["name"], run.meta["data_digest"], "local", f'{{"source": "{source["source"]}"}}')
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train, validation, test")])])
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id)


def _seed_points(run: Run, arrays: dict[str, np.ndarray]) -> Iterator[Point]:
    history = run.history()
    epochs = [int(e) for e in history.pop("epoch")]
    for name, values in history.items():
        yield from ((name, value, epoch) for epoch, value in zip(epochs, values, strict=True))
    for name, value in run.meta["metrics"].items():
        if name.startswith("test_") and value is not None:
            yield name, value, 0  # of no epoch: MLflow draws a single value as a bar, and at another step as a lone dot
    for key, trajectory in arrays.items():
        if key.startswith("trajectory/"):
            layer = key.removeprefix("trajectory/").removesuffix("/bias")
            for epoch, values in zip(epochs, trajectory, strict=True):
                described = bias_statistics(trajectory[0], values)
                yield from ((f"bias/{layer}/{what}", value, epoch) for what, value in described.items())


def _arm_points(runs: Sequence[Run]) -> Iterator[Point]:
    """Mean over seeds of every metric and step, and for those of the model its spread and 95 % interval.

    Diverged seeds are left out, and counted in the tags.
    """
    values: dict[tuple[str, int], list[float]] = {}
    for run in runs:
        if run.meta["status"] == "complete":
            for name, value, step in _seed_points(run, run.biases()):
                values.setdefault((name, step), []).append(value)
    for (name, step), over_seeds in values.items():
        mean, std, low, high = mean_interval(np.array(over_seeds))
        yield name, mean, step
        if not name.startswith("bias/"):  # the prefix gives them charts of their own, beside those of the means
            spread = (("std", std), ("ci_low", low), ("ci_high", high))
            yield from ((f"spread/{name}_{what}", value, step) for what, value in spread)


def _counts(runs: Sequence[Run]) -> dict[str, str]:
    diverged = [str(run.seed) for run in runs if run.meta["status"] == "diverged"]
    return {"seeds": str(len(runs)), "diverged": f"{len(diverged)} (seeds {', '.join(diverged)})" if diverged else "0"}


def _params(run: Run) -> dict[str, str]:
    """Flat parameters, so that MLflow can show them as columns and compare them."""
    config = run.meta["config"]
    chosen = config["bias_initializer"] or {"class_name": "none", "config": {}}
    layers = [layer["class_name"] for layer in config["model"]["layers"]]
    flat = {
        "arm": run.arm,
        "use_bias": config["use_bias"],
        "bias_initializer": chosen["class_name"],
        **{f"bias_initializer.{k}": v for k, v in chosen["config"].items()},
        "bias_layers": config["bias_layers"],
        "data": config["data"]["name"],
        **{f"data.{k}": v for k, v in config["data"].items() if k != "name" and v is not None},
        "model": config["model"]["name"],
        "model.layers": "-".join(layers),
        "optimizer": config["optimizer"]["class_name"],
        "optimizer.learning_rate": config["optimizer"]["learning_rate"],
        "optimizer.schedule": config["optimizer"]["schedule"],
        **{f"optimizer.{k}": v for k, v in config["optimizer"]["config"].items()},
        **{f"training.{k}": v for k, v in config["training"].items()},
    }
    return {name: str(value) for name, value in flat.items()}


def _tags(run: Run, key: str, role: str) -> dict[str, str]:
    environment = run.meta["environment"]
    return {
        "key": key,
        "role": role,
        "arm": run.arm,
        "status": run.meta["status"],
        "device": environment["device"],
        "platform": environment["platform"],
        "python": environment["python"],
        **environment["packages"],
        "initial_kernels_digest": run.meta["initial_kernels_digest"],
    } if role == "seed" else {"key": key, "role": role, "arm": run.arm, "device": environment["device"]}  # fmt: skip


def _write_config(folder: Path, run: Run) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(run.meta["config"], sort_keys=False))

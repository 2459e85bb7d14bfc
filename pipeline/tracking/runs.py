"""Mirror stored runs in MLflow.

A study is an experiment. Its top-level runs are the arms, with mean, standard deviation and 95 % interval over the
seeds; the seeds are their children. Every MLflow run carries its key as a tag and is looked up by it, so uploading
twice makes one run. An unreachable server never costs a result: `python -m pipeline.sync` retries.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.config.schema import Tracking
from pipeline.runtime.hashing import digest
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.client import hide_passwords, open_experiment, read_sqlite, store_lock, store_uri
from pipeline.tracking.records import Point, arm_points, arm_tags, parameters, seed_points, seed_tags

METRICS_PER_CALL = 1000  # MLflow's limit
FORM = 2  # version of what an arm's run holds; an arm uploaded in another form is uploaded again


def mirror_arm(tracking: Tracking, store: RunStore, arm: str, runs: Sequence[Run]) -> str:
    """Upload what MLflow lacks of an arm, and delete what is out of date. Returns the problem in one line, or "".

    runs: all stored runs of the arm. MLflow is imported only when there is something to do.
    """
    if up_to_date(tracking, store.study, arm, runs):
        return ""
    uri = store_uri(tracking)
    try:
        with store_lock(uri, store.results):
            client, experiment_id = open_experiment(uri, store.study)
            send_arm(client, experiment_id, arm, runs)
    except Exception as error:  # MLflow, SQLAlchemy and requests share no base class; none may cost a result
        return hide_passwords(f"Could not upload to MLflow at {uri}: {' '.join(str(error).split())[:300]}")
    return ""


def up_to_date(tracking: Tracking, study: str, arm: str, runs: Sequence[Run]) -> bool:
    """Whether there is nothing to upload, as far as that can be known without importing MLflow."""
    if not tracking.enabled or not runs:
        return True
    return _uploaded_keys(store_uri(tracking), study, arm) == sorted(_keys(arm, runs))


def send_arm(client: Any, experiment_id: str, arm: str, runs: Sequence[Run]) -> None:
    """Create the missing MLflow runs of an arm and its seeds, and delete those that are out of date.

    client: an MlflowClient. runs: all stored runs of the arm.
    """
    from mlflow.entities import ViewType

    present = client.search_runs([experiment_id], f"tags.arm = '{arm}'", ViewType.ACTIVE_ONLY, max_results=50_000)
    keys = _keys(arm, runs)
    run_ids: dict[str, str] = {}  # key -> MLflow's run id
    outdated = []
    for run in present:
        key = run.data.tags.get("key", "")
        if run.info.status == "FINISHED" and key in keys and key not in run_ids:
            run_ids[key] = run.info.run_id
        else:  # of another key, uploaded twice, or left half-done by a killed process
            outdated.append(run.info.run_id)
    arm_key = _arm_key(arm, runs)
    parent = run_ids.get(arm_key) or client.create_run(experiment_id, run_name=arm, tags={"arm": arm}).info.run_id
    for run in runs:
        if run.key in run_ids:
            client.set_tag(run_ids[run.key], "mlflow.parentRunId", parent)
        else:
            _send_seed(client, experiment_id, parent, run)
    if arm_key not in run_ids:
        with tempfile.TemporaryDirectory() as folder:
            _write_config(Path(folder), runs[0])
            tags = arm_tags(runs) | {"key": arm_key}
            _fill(client, parent, runs[0], arm_points(runs), parameters(runs[0]), tags, Path(folder))
    for run_id in outdated:
        client.delete_run(run_id)


def _keys(arm: str, runs: Sequence[Run]) -> set[str]:
    return {run.key for run in runs} | {_arm_key(arm, runs)}


def _arm_key(arm: str, runs: Sequence[Run]) -> str:
    return digest([FORM, arm, *sorted(run.key for run in runs)])


def _uploaded_keys(uri: str, study: str, arm: str) -> list[str] | None:
    """Keys of the runs that an SQLite store holds of an arm, sorted; "" for an unfinished run. None: unknown."""
    query = """SELECT CASE runs.status WHEN 'FINISHED' THEN COALESCE(own.value, '') ELSE '' END
               FROM runs JOIN experiments USING (experiment_id)
               JOIN tags arm ON arm.run_uuid = runs.run_uuid AND arm.key = 'arm' AND arm.value = ?
               LEFT JOIN tags own ON own.run_uuid = runs.run_uuid AND own.key = 'key'
               WHERE runs.lifecycle_stage = 'active' AND experiments.name = ?"""
    rows = read_sqlite(uri, query, [arm, study])
    return None if rows is None else sorted(key for (key,) in rows)


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
        params = parameters(run) | {"seed": str(run.seed)}
        _fill(client, run_id, run, seed_points(run, arrays), params, seed_tags(run), Path(folder))


def _fill(
    client: Any,
    run_id: str,
    run: Run,
    points: list[Point],
    params: dict[str, str],
    tags: dict[str, str],
    folder: Path,
) -> None:
    """Log everything of one MLflow run. It counts as uploaded only when it is terminated, which comes last."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, value, step in points if np.isfinite(value)]
    named = [Param(k, v[:6000]) for k, v in params.items()]
    client.log_batch(run_id, metrics[:METRICS_PER_CALL], named, [RunTag(k, v) for k, v in tags.items()])
    for start in range(METRICS_PER_CALL, len(metrics), METRICS_PER_CALL):
        client.log_batch(run_id, metrics[start : start + METRICS_PER_CALL])
    source = run.meta["config"]["data"]
    dataset = Dataset(source["name"], run.meta["data_digest"], "local", f'{{"source": "{source["source"]}"}}')
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train, validation, test")])])
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id)


def _write_config(folder: Path, run: Run) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(run.meta["config"], sort_keys=False))

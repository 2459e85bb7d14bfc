"""Create the MLflow runs of seeds and arms.

A run carries the tags that it is looked up by from its creation. It counts as uploaded only when it is terminated,
which comes last.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.errors import one_line
from pipeline.store.aside import temporary_folder
from pipeline.store.runs import Run
from pipeline.tracking.client import hide_passwords
from pipeline.tracking.logged_models import best_model, log_model
from pipeline.tracking.names import seed_name
from pipeline.tracking.records import Point, arm_points, arm_tags, parameters, seed_points, seed_tags
from pipeline.tracking.waiting import explain, no_answer, watched

METRICS_PER_CALL = 1000  # MLflow's limit
NAMINGS = 4  # tries to name a dataset that other runs name at the same time
LONGEST_TAG = 5000  # characters, MLflow's limit
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C takes a tenth of the time
UNLOGGED = "model_not_logged"  # tag of an arm's run: why MLflow lacks the model that its best seed keeps


def start_arm_run(client: Any, experiment_id: str, arm: str, name: str, tags: Mapping[str, str]) -> str:
    """Create the run of an arm, which `fill_arm_run` completes. Returns its id.

    client: an MlflowClient. arm: its whole name, by which it is found. name: what MLflow shows.
    """
    return client.create_run(experiment_id, run_name=name, tags={"role": "arm", "arm": arm, **tags}).info.run_id


def fill_arm_run(client: Any, experiment_id: str, run_id: str, runs: Sequence[Run]) -> str:
    """Log means and spreads over the stored runs of an arm, and the model of its best seed where models are kept.

    Returns why the model could not be logged, else "": the run is complete without it. Where it is the server that is
    away, what follows fails too, and the whole arm is sent again.
    """
    best, unlogged = best_model(runs), ""
    if best is not None:
        unlogged = _try_to_log(client, experiment_id, run_id, best)
        unlogged = unlogged and _try_to_log(client, experiment_id, run_id, best)  # a reply may have been lost
    tags = arm_tags(runs) | ({UNLOGGED: unlogged[:LONGEST_TAG]} if unlogged else {})
    with _upload_folder(runs[0]) as folder:
        _write_config(folder, runs[0])
        _fill(client, run_id, runs[0], arm_points(runs), parameters(runs[0]), tags, folder)
    return unlogged


def create_seed_run(client: Any, experiment_id: str, run: Run, name: str, tags: Mapping[str, str]) -> None:
    """Create the run of one seed, with metrics, parameters and arrays. name: what MLflow shows of its arm."""
    born_with = {"role": "seed", "arm": run.arm, "key": run.key, **tags}
    info = client.create_run(experiment_id, run_name=seed_name(name, run.seed), tags=born_with).info
    arrays = run.biases()
    with _upload_folder(run) as folder:
        (folder / "biases").mkdir()
        for moment in ("before", "after", "trajectory"):
            chosen = {k.removeprefix(f"{moment}/"): v for k, v in arrays.items() if k.startswith(f"{moment}/")}
            np.savez(folder / "biases" / f"{moment}.npz", allow_pickle=False, **chosen)
        _write_config(folder, run)
        params = parameters(run) | {"seed": str(run.seed)}
        _fill(client, info.run_id, run, seed_points(run, arrays), params, seed_tags(run), folder, info.artifact_uri)


def _try_to_log(client: Any, experiment_id: str, run_id: str, best: Run) -> str:
    """Log a model; return why it could not be, else ""."""
    try:
        with _upload_folder(best) as folder:
            log_model(client, experiment_id, run_id, best, folder)
    except Exception as error:  # whatever it is, it may not cost the arm its runs
        return one_line(hide_passwords(f"{type(error).__name__}: {explain(error)}"))
    return ""


@contextmanager
def _upload_folder(run: Run) -> Iterator[Path]:
    """Make a folder for artifacts beside the results, where that of an uploader that is killed is swept."""
    with temporary_folder(run.path.parents[2]) as aside:
        (aside / "artifacts").mkdir()  # not the folder itself, which holds a lock file
        yield aside / "artifacts"


def _fill(
    client: Any,
    run_id: str,
    run: Run,
    points: list[Point],
    params: dict[str, str],
    tags: dict[str, str],
    folder: Path,
    artifact_uri: str = "",
) -> None:
    """Log all that a run has, then end it. artifact_uri: where its files go, if that is known."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, step) for name, value, step in points if np.isfinite(value)]
    named = [Param(k, v[:6000]) for k, v in params.items()]
    client.log_batch(run_id, metrics[:METRICS_PER_CALL], named, [RunTag(k, v) for k, v in tags.items()])
    for start in range(METRICS_PER_CALL, len(metrics), METRICS_PER_CALL):
        client.log_batch(run_id, metrics[start : start + METRICS_PER_CALL])
    source = run.meta["config"]["data"]
    dataset = Dataset(source["name"], run.meta["data_digest"], "local", f'{{"source": "{source["source"]}"}}')
    inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "train, validation, test")])]
    for left in reversed(range(NAMINGS)):
        try:
            client.log_inputs(run_id, inputs)
            break
        except Exception as error:  # another run of the dataset is just naming it to the server
            if no_answer(error) or not left:
                raise
    _log_files(client, run_id, artifact_uri, folder)
    client.set_terminated(run_id)


def _log_files(client: Any, run_id: str, artifact_uri: str, folder: Path) -> None:
    """Upload a folder. MLflow's client would ask its server first for the run, with all its metrics, to see where."""
    if not artifact_uri.startswith("mlflow-artifacts:"):
        client.log_artifacts(run_id, str(folder))
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(artifact_uri, tracking_uri=client.tracking_uri)
    watched(repository.log_artifacts)(str(folder))


def _write_config(folder: Path, run: Run) -> None:
    text = yaml.dump(run.meta["config"], Dumper=DUMPER, sort_keys=False)
    (folder / "config.yaml").write_text(text)

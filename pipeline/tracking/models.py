"""The saved models that a run of MLflow keeps: found, and brought here as a file.

A run keeps files of its own, and since MLflow 3 also models (`mlflow.keras.log_model`, autologging), which are stored
apart from it and which it only names. Our own runs keep their biases.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.biases.safe_files import one_line_error
from pipeline.config.schema import Tracking
from pipeline.errors import ConfigError
from pipeline.tracking.client import client_class, store_uri

RUNS, AFTER = "runs:/", "biases/after.npz"
ENDINGS = (".keras", ".h5")


class _Kept(NamedTuple):
    """A file: where it is, and what it can be asked for by."""

    uri: str
    names: tuple[str, ...]


def fetch_model(model: str, folder: str) -> Path:
    """Bring `runs:/<id>` into a folder: our own biases, else the model that was logged, else the Keras file it keeps.

    `runs:/<id>/<name>` is one of several: the name or the id of a logged model, or the path of an artifact.
    """
    uri = store_uri(Tracking())
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise ConfigError(f"{model}: no MLflow store at {uri}; MLFLOW_TRACKING_URI can name another one")
    run_id, _, named = model.removeprefix(RUNS).partition("/")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        client = client_class()(uri)
        from mlflow.artifacts import download_artifacts

        models, files = _models(client, run_id), _files(client, run_id)
        found = _named([*models, *files], run_id, named) if named else _ours(files) or models or files
        if len(found) == 1:
            return Path(download_artifacts(artifact_uri=found[0].uri, dst_path=folder, tracking_uri=uri))
    except Exception as error:  # MLflow, SQLAlchemy and requests share no base class
        raise ConfigError(f"{model}: MLflow at {uri}: {one_line_error(error)}") from error
    there = found or [*models, *files]
    if not there:
        raise ConfigError(f"{model}: the run has neither {AFTER} nor a .keras or .h5 file, nor a model with one")
    names = Counter(kept.names[0] for kept in there)
    choice = ", ".join(f"{RUNS}{run_id}/{kept.names[names[kept.names[0]] > 1]}" for kept in there)
    raise ConfigError(f"{model}: {'several models' if found else 'no such model'}; one of: {choice}")


def _ours(files: list[_Kept]) -> list[_Kept]:
    return [kept for kept in files if AFTER in kept.names]


def _named(kept: list[_Kept], run_id: str, name: str) -> list[_Kept]:
    """What has this name; a path within a run may be one that MLflow knows, and does not list."""
    return [one for one in kept if name in one.names] or [_Kept(f"{RUNS}{run_id}/{name}", (name,))] * ("/" in name)


def _files(client: Any, run_id: str) -> list[_Kept]:
    """The files of a run itself."""
    paths = _paths(lambda path: client.list_artifacts(run_id, path))
    return [_Kept(f"{RUNS}{run_id}/{path}", (path, path)) for path in paths]


def _models(client: Any, run_id: str) -> list[_Kept]:
    """The files of the models that a run logged, by the model's name, or its id."""
    found = []
    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs else ():
        logged = client.get_logged_model(output.model_id)
        for path in _paths(lambda path, logged=logged: client.list_logged_model_artifacts(logged.model_id, path)):
            found.append(_Kept(f"{logged.artifact_location}/{path}", (logged.name, logged.model_id)))
    return found


def _paths(listed: Callable[[str | None], Any]) -> Iterator[str]:
    """The paths of the files that can be read."""
    waiting = [None]
    while waiting:
        for artifact in listed(waiting.pop()):
            if artifact.is_dir:
                waiting.append(artifact.path)
            elif artifact.path == AFTER or artifact.path.endswith(ENDINGS):
                yield artifact.path

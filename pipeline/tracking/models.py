"""Fetch a saved model from an MLflow run.

A run has artifacts of its own, and since MLflow 3 logged models (`mlflow.keras.log_model`, autologging), which are
stored apart and which the run only names. Runs of this project keep their biases as an artifact.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pipeline.config.schema import Tracking
from pipeline.errors import ConfigError, ModelFileError, one_line
from pipeline.tracking.client import database_file, hide_passwords, open_client, store_uri
from pipeline.tracking.waiting import NoAnswerError, explain, wait_for_server, watched

SCHEME, OWN_BIASES = "runs:/", "biases/after.npz"
MODEL_SUFFIXES = (".keras", ".h5")

Result = TypeVar("Result")


class _Candidate(NamedTuple):
    """A file that can be read: its address, and the names it can be asked for by (a short one, a unique one)."""

    uri: str
    names: tuple[str, str]


def read_model(model: str, read: Callable[[Path], Result], wait: float) -> Result:
    """Call `read` with the model file of `runs:/<id>`, which is downloaded into a temporary folder.

    wait: most seconds for the download. Raises ConfigError, also where a server does not answer.
    """
    uri = hide_passwords(store_uri(Tracking()))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # a late download may still write there
        try:
            path = wait_for_server(uri, wait, "--wait", partial(fetch_model, model, folder))
        except NoAnswerError as error:
            raise ConfigError(f"{model}: MLflow at {uri} did not send it{error}") from error
        try:
            return read(path)
        except ConfigError as error:  # name what the user typed, not the temporary file
            raise ModelFileError(str(error).replace(str(path), model)) from error


def fetch_model(model: str, folder: str) -> Path:
    """Download the model file of `runs:/<id>` into a folder.

    That is this project's biases, else the one logged model, else the one Keras file among the artifacts. Of several,
    `runs:/<id>/<name>` chooses by the name or id of a logged model, or by the path of an artifact. Raises ConfigError,
    with the possible names, where there is none or more than one.
    """
    uri = store_uri(Tracking())
    database = database_file(uri)
    if database is not None and not database.is_file():
        raise ConfigError(f"{model}: no MLflow store at {uri}; MLFLOW_TRACKING_URI can name another one")
    run_id, _, name = model.removeprefix(SCHEME).partition("/")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        client = open_client(uri)
        from mlflow.artifacts import download_artifacts

        logged, artifacts = _logged_models(client, run_id), _artifacts(client, run_id)
        matches = _matching(logged, artifacts, run_id, name)
        if len(matches) == 1:
            return Path(watched(download_artifacts)(artifact_uri=matches[0].uri, dst_path=folder, tracking_uri=uri))
    except Exception as error:  # MLflow, SQLAlchemy and requests share no base class
        reason = one_line(hide_passwords(explain(error)))
        raise ConfigError(f"{model}: MLflow at {hide_passwords(uri)}: {reason}") from error
    candidates = matches or [*logged, *artifacts]
    if not candidates:
        raise ConfigError(f"{model}: the run has neither {OWN_BIASES} nor a .keras or .h5 file, nor a model with one")
    uses = Counter(candidate.names[0] for candidate in candidates)
    choices = [f"{SCHEME}{run_id}/{short if uses[short] == 1 else unique}" for _, (short, unique) in candidates]
    raise ConfigError(f"{model}: {'several models' if matches else 'no such model'}; one of: {', '.join(choices)}")


def _matching(logged: list[_Candidate], artifacts: list[_Candidate], run_id: str, name: str) -> list[_Candidate]:
    if not name:
        return [file for file in artifacts if OWN_BIASES in file.names] or logged or artifacts
    matches = [candidate for candidate in (*logged, *artifacts) if name in candidate.names]
    if not matches and "/" in name:  # MLflow may serve a path that it does not list
        return [_Candidate(f"{SCHEME}{run_id}/{name}", (name, name))]
    return matches


def _artifacts(client: Any, run_id: str) -> list[_Candidate]:
    """The run's own model files."""
    paths = _model_paths(lambda path: client.list_artifacts(run_id, path))
    return [_Candidate(f"{SCHEME}{run_id}/{path}", (path, path)) for path in paths]


def _logged_models(client: Any, run_id: str) -> list[_Candidate]:
    """The files of the models that the run logged."""
    candidates = []
    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs else ():
        model = client.get_logged_model(output.model_id)
        for path in _model_paths(lambda path, model=model: client.list_logged_model_artifacts(model.model_id, path)):
            candidates.append(_Candidate(f"{model.artifact_location}/{path}", (model.name, model.model_id)))
    return candidates


def _model_paths(list_folder: Callable[[str | None], Any]) -> Iterator[str]:
    """Paths of all files that can be read, folder by folder."""
    folders: list[str | None] = [None]
    while folders:
        for artifact in list_folder(folders.pop()):
            if artifact.is_dir:
                folders.append(artifact.path)
            elif artifact.path == OWN_BIASES or artifact.path.endswith(MODEL_SUFFIXES):
                yield artifact.path

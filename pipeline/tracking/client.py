"""Open MLflow's store, and let one process at a time upload to it.

MLflow takes seconds to import, so an SQLite store is read directly where that is enough.
"""

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.config.schema import PROJECT, Tracking
from pipeline.runtime.hashing import digest
from pipeline.store.locks import hold_lock
from pipeline.tracking.waiting import WatchedClient, no_answer

EMBEDDED = f"sqlite:///{PROJECT / 'mlflow.db'}"
ENVIRONMENT = {  # set before MLflow is imported, where the user has not set them
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def prepare_store(tracking: Tracking, results: Path, study: str = "") -> None:
    """Import MLflow, and create its store and the study's experiment where they are missing."""
    client_class()
    if study:
        uri = store_uri(tracking)
        with store_lock(uri, results):
            open_experiment(uri, study)


def store_uri(tracking: Tracking) -> str:
    """Address of the MLflow store: `tracking.uri`, else `MLFLOW_TRACKING_URI`, else the embedded store."""
    uri = tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or EMBEDDED
    database = database_file(uri)
    return uri if database is None else f"sqlite:///{database}"


def database_file(uri: str) -> Path | None:
    """The file of an SQLite store; relative paths start at the working directory. None for other stores."""
    return Path(uri.removeprefix("sqlite:///")).resolve() if uri.startswith("sqlite:///") else None


def read_sqlite(uri: str, query: str, values: list[str]) -> list[tuple] | None:
    """Query an SQLite store without importing MLflow. None for other stores, and where it cannot be read at once."""
    database = database_file(uri)
    if database is None or not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", timeout=0, uri=True)) as connection:
            return connection.execute(query, values).fetchall()
    except sqlite3.Error:
        return None


@contextmanager
def store_lock(uri: str, results: Path) -> Iterator[None]:
    """Hold the store: two processes would create it twice, and take each other's unfinished runs for debris."""
    path = lock_file(uri, results)
    path.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(path, f"MLflow's store {hide_passwords(uri)} is being written"):
        yield


def lock_file(uri: str, results: Path) -> Path:
    """The lock of a store: beside an SQLite file; for a server, in the results folder that is sent there."""
    database = database_file(uri)
    if database is None:
        return results / ".aside" / f"mlflow-{digest(uri.encode())}.lock"
    return database.with_name(f"{database.name}.lock")


def hide_passwords(text: str) -> str:
    """A text as it may be printed: without the passwords of the addresses in it."""
    return re.sub(r"(://[^/@\s:]*):[^/\s]*@", r"\1:***@", text)


def password_hint(text: str) -> str:
    """What to do with a command whose address has lost its password, to follow what the command is for."""
    return ", with the password in the place of ***" if ":***@" in text else ""


def client_class() -> Any:
    """Import MlflowClient, after setting the environment variables that MLflow reads at import."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each retry is a warning; who waits is told so by `waiting`
    return MlflowClient


def open_client(uri: str) -> Any:
    """An MlflowClient; one of a server is watched, see `waiting`."""
    client = client_class()(uri)
    return client if database_file(uri) else WatchedClient(client)


def is_away(uri: str, error: BaseException) -> bool:
    """Whether an error is that of a store that does not answer, and not of what was to be sent: it is asked again."""
    if isinstance(error, TimeoutError) or no_answer(error):
        return True
    try:
        open_client(uri).search_experiments(max_results=1)
    except Exception:
        return True
    return False


def open_experiment(uri: str, study: str) -> tuple[Any, str]:
    """Return an MlflowClient and the id of the study's experiment; store and experiment are created if missing.

    The caller holds the `store_lock`.
    """
    MlflowClient = client_class()
    location, database = None, database_file(uri)
    if database is not None:
        location = (database.parent / "mlartifacts" / quote(study)).as_uri()
        _remove_unfinished(database)
        if not database.exists():
            # Created aside and renamed: a store whose first migration is killed would stay half-made.
            unfinished = database.with_name(f"{database.name}.{os.getpid()}.new")
            MlflowClient(f"sqlite:///{unfinished}").search_experiments(max_results=1)
            unfinished.rename(database)
    client = open_client(uri)
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        try:
            return client, client.create_experiment(study, artifact_location=location)
        except Exception:  # another sender was faster, or the reply was lost
            experiment = client.get_experiment_by_name(study)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        client.restore_experiment(experiment.experiment_id)
    return client, experiment.experiment_id


def _remove_unfinished(database: Path) -> None:
    """Remove stores that killed processes have not finished; stores are made under the lock, so nobody else is."""
    name = re.compile(rf"{re.escape(database.name)}\.\d+\.new(-journal|-wal|-shm)?")
    for path in database.parent.iterdir():
        if name.fullmatch(path.name):
            path.unlink()

"""Runs that were deleted in the embedded MLflow store: MLflow keeps them, and their artifacts, until `mlflow gc`."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

from pipeline.tracking.client import ENVIRONMENT, database_file, read_sqlite, store_lock

RUNS_AT_ONCE = 200  # as a command line holds


def deleted_runs(uri: str) -> dict[str, Path]:
    """The deleted runs of an SQLite store, with their folders; {} for other stores, which are someone else's."""
    query = "SELECT run_uuid, artifact_uri FROM runs WHERE lifecycle_stage = 'deleted'"
    rows = read_sqlite(uri, query, []) or []
    return {run: Path(unquote(urlparse(place).path)).parent for run, place in rows}


def remove_deleted_runs(uri: str, results: Path) -> None:
    """Have MLflow remove them for good, with their artifacts. Raises RuntimeError with MLflow's last line."""
    runs, database = list(deleted_runs(uri)), database_file(uri)
    environment = os.environ | ENVIRONMENT | {"MLFLOW_TRACKING_URI": uri}
    with store_lock(uri, results):
        for start in range(0, len(runs), RUNS_AT_ONCE):
            chosen = ",".join(runs[start : start + RUNS_AT_ONCE])
            command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--run-ids", chosen]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"mlflow gc of {database}: {done.stderr.strip().splitlines()[-1:]}")

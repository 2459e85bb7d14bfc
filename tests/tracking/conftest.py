"""Fixtures of the tests about MLflow."""

import shutil
import socket
from itertools import groupby
from pathlib import Path

import pytest
from factories import MLflowStore, TrainedStudy

from pipeline.config.schema import Tracking
from pipeline.store.runs import RunStore
from pipeline.tracking.runs import mirror_arm


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def uploaded(
    trained_study_files: TrainedStudy, mlflow_store_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> MLflowStore:
    """An MLflow store that holds the trained study. Tests leave that experiment alone, and may add others."""
    store = RunStore(trained_study_files.results, TrainedStudy.name)
    uri = f"sqlite:///{shutil.copy(mlflow_store_file, tmp_path_factory.mktemp('uploaded'))}"
    for arm, runs in groupby(store.runs(), lambda run: run.arm):
        assert mirror_arm(Tracking(True, uri), store, arm, list(runs)) == ""
    return MLflowStore(uri)


@pytest.fixture
def closed_uri() -> str:
    """The address of a server that is not there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"

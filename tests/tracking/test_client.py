"""Which MLflow store is used."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from factories import TrainedStudy, copy_runs

from pipeline.config.schema import PROJECT, Tracking
from pipeline.store.runs import RunStore
from pipeline.tracking.client import hide_passwords, store_uri
from pipeline.tracking.runs import mirror_arm

ARM = "glorot_uniform,training.epochs=2"


def test_the_setting_comes_before_the_environment_and_the_embedded_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is `tracking.uri`, else MLFLOW_TRACKING_URI, else mlflow.db in the project."""
    assert store_uri(Tracking()) == f"sqlite:///{PROJECT / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert store_uri(Tracking()) == "http://127.0.0.1:1"
    assert store_uri(Tracking(uri="http://127.0.0.1:2")) == "http://127.0.0.1:2"


def test_a_relative_store_lies_in_the_working_directory(
    trained_study_files: TrainedStudy, mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sqlite:///mlflow.db`, MLflow's usual way to write it, is the file of that name in the working directory."""
    store = copy_runs(trained_study_files.results, RunStore(tmp_path / "results", "relative"), ARM, [0])
    monkeypatch.chdir(tmp_path)
    assert mirror_arm(Tracking(True, "sqlite:///mlflow.db"), store, ARM, store.runs(ARM)) == ""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM experiments WHERE name = 'relative'").fetchone() == (1,)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://ada:s3cr3t@host:5000/x failed", "http://ada:***@host:5000/x failed"),
        ("postgresql+psycopg2://ada:s3@cr3t@host/db", "postgresql+psycopg2://ada:***@host/db"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////home/a:b@c/mlflow.db", "sqlite:////home/a:b@c/mlflow.db"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    """An address is printed without its password, wherever it stands in a message."""
    assert hide_passwords(text) == shown

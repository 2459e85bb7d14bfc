"""Runs are uploaded from a background process, which ends with the sweep."""

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from factories import CommandResult, MLflowStore, TrainedStudy

from pipeline.config.schema import PROJECT, Tracking
from pipeline.store.runs import RunStore
from pipeline.tracking.background import (
    expect_study,
    finish_uploads,
    queue_arm,
    start_upload,
    stop_uploads,
    sync_command,
    uploads_go_on,
)
from pipeline.tracking.client import EMBEDDED, password_hint
from pipeline.tracking.runs import up_to_date

Uploaders = Callable[[], list[psutil.Process]]


@pytest.fixture
def uploaders() -> Uploaders:
    """The child processes of this one that were started in the test and still run."""
    earlier = psutil.Process().children()
    return lambda: [child for child in psutil.Process().children() if child not in earlier]


@pytest.mark.slow
def test_queued_arms_are_uploaded_when_the_uploads_are_finished(
    trained_study: TrainedStudy, mlflow_store: str, tmp_path: Path, uploaders: Uploaders
) -> None:
    """One process uploads all queued arms, and is gone when `finish_uploads` returns."""
    tracking, store = Tracking(True, mlflow_store), RunStore(trained_study.results, trained_study.name)
    start_upload(tracking, store.results)
    expect_study(tracking, store)
    for arm in trained_study.arms:
        assert queue_arm(tracking, store, arm, store.runs(arm)) == ""
    assert len(uploaders()) == 1
    assert finish_uploads(tmp_path / "sweep.log") == []
    assert uploaders() == []
    assert all(up_to_date(tracking, store, arm, store.runs(arm)) for arm in trained_study.arms)
    assert len(MLflowStore(mlflow_store).by_name(store.study)) == len(trained_study.arms) * 4


def test_a_process_that_dies_is_reported(tmp_path: Path, mlflow_store: str, uploaders: Uploaders) -> None:
    """An upload process that was killed costs a line that names MLflow's address and how the process ended."""
    start_upload(Tracking(True, mlflow_store), tmp_path)
    (process,) = uploaders()
    process.kill()
    (problem,) = finish_uploads(None)
    assert problem == f"Could not upload to MLflow at {mlflow_store}: the process ended (-9)."
    assert uploaders() == []


def test_stopped_uploads_leave_no_process(tmp_path: Path, mlflow_store: str, uploaders: Uploaders) -> None:
    """When a request is refused, the process is killed, and there is nothing to report."""
    start_upload(Tracking(True, mlflow_store), tmp_path)
    assert len(uploaders()) == 1 and uploads_go_on()
    stop_uploads()
    assert not uploads_go_on()
    assert uploaders() == []
    assert finish_uploads(None) == []


def test_without_tracking_there_is_no_process(tmp_path: Path, uploaders: Uploaders) -> None:
    """`tracking=none` starts none."""
    start_upload(Tracking(enabled=False), tmp_path)
    assert uploaders() == []


def test_the_command_that_sends_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names what is not the default of `sync`, as a shell reads it, and shows no password."""
    command = "uv run python -m pipeline.sync"
    assert sync_command(EMBEDDED, PROJECT / "results") == command
    assert sync_command(EMBEDDED, PROJECT / "a b") == f"{command} 'results=a b'"
    expected = f"{command} results={tmp_path} 'uri=http://ada:***@host'"
    assert sync_command("http://ada:pw@host", tmp_path) == expected
    assert password_hint(expected) == ", with the password in the place of ***" and not password_hint(command)
    (kills, beside), named = (tmp_path / "kills", tmp_path / "kills-reports"), "uri=http://ada:***@host"
    assert sync_command("http://ada:pw@host", kills, beside) == f"{command} results={kills} '{named}'"
    other = f"{command} results={kills} reports={PROJECT / 'reports'} '{named}'".replace(f"{PROJECT}/", "")
    assert sync_command("http://ada:pw@host", kills, PROJECT / "reports") == other
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:pw@host")
    assert sync_command("http://ada:pw@host", PROJECT / "results") == command


@pytest.mark.slow
def test_a_sweep_has_uploaded_its_arms_when_it_ends(
    cli: Callable[..., CommandResult], tmp_path: Path, uploaders: Uploaders
) -> None:
    """It makes the store, leaves no process behind, and logs MLflow's messages."""
    sweep = ("-m", "data=iris", "model=linear", "seeds=1", "training.epochs=2", "bias_initializer=zeros,ones",
             "tracking=mlflow")  # fmt: skip
    assert cli(*sweep).code == 0
    assert uploaders() == []
    tracking, store = (
        Tracking(True, f"sqlite:///{tmp_path / 'mlflow.db'}"),
        RunStore(tmp_path / "results", "iris-linear"),
    )
    for arm in ("zeros,training.epochs=2", "ones,training.epochs=2"):
        assert store.runs(arm) and up_to_date(tracking, store, arm, store.runs(arm))
    assert "while uploading to MLflow" in "".join(path.read_text() for path in tmp_path.rglob("*.log"))


@pytest.mark.slow
def test_a_sweep_ends_with_what_mlflow_did_not_take(
    cli: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch, closed_uri: str, tmp_path: Path
) -> None:
    """Runs that could not be uploaded fail no training; how to retry is printed at the end."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    printed = cli("data=iris", "model=linear", "seeds=1", "training.epochs=2", f"tracking.uri={closed_uri}")
    assert printed.code == 0
    assert f"Could not upload to MLflow at {closed_uri}: " in printed.err
    assert "The results are safe. 1 arm is unsent: iris-linear/zeros.\n" in printed.err
    assert (
        f"To send what is missing: uv run python -m pipeline.sync results={tmp_path}/results uri={closed_uri}\n"
        in printed.err
    )

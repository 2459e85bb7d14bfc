"""Fixtures for all tests: the command line run in this process, results trained once per session, an MLflow server."""

import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from absl import logging as absl_logging
from factories import CommandResult, TrainedStudy, compose_config, last_of_each
from filelock import FileLock
from hydra.core.global_hydra import GlobalHydra
from servers import MLflowServer, launch_server

from pipeline import train
from pipeline.config.user_classes import forget_user_classes
from pipeline.runtime.logs import forget_told

# Hydra closes all log handlers, and absl's (TensorFlow's) then closes its stream: it must not be one of pytest's.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

# A shell has the commands that it starts with `&` ignore Ctrl-C, `nohup` has them ignore SIGHUP, and so would every
# process that a test starts.
for number, action in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(number, action)

# Pytest's workers have COLUMNS, which what is printed heeds; GNU readline, which debuggers import, puts it past
# Python into the environment of the processes that are started.
with suppress(ImportError):
    import readline  # noqa: F401
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """`figure("30 kills, 0 runs lost")` has a line printed after the tests: what a fault test measured."""
    return lambda line: record_property("figure", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the measured figures, those of all workers."""
    reports = [report for name in ("passed", "failed") for report in terminalreporter.stats.get(name, [])]
    lines = [str(value) for report in reports for name, value in report.user_properties if name == "figure"]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _as_a_new_command() -> Iterator[None]:
    GlobalHydra.instance().clear()
    forget_told()
    forget_user_classes()
    tracking = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    assert os.environ.get("MLFLOW_TRACKING_URI") == tracking, "later tests would find this test's store"
    GlobalHydra.instance().clear()
    forget_user_classes()


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    """Overrides that keep everything a command writes in the test's own folder."""
    return [
        f"results={tmp_path / 'results'}",
        f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}",
        f"hydra.run.dir={tmp_path / 'outputs'}",
        f"hydra.sweep.dir={tmp_path / 'multirun'}",
    ]


@pytest.fixture
def cli(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., CommandResult]]:
    """`cli("-m", "seeds=2")` runs `python -m pipeline.train -m seeds=2` in this process and the test's own folder.

    MLflow is off (it costs some ten seconds per command) unless the arguments name `tracking`. For a command that
    uploads, pass `tracking=mlflow` and request `mlflow_store`, which saves making the store. Of a key that is given
    twice the last one counts.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # train.main sets it; monkeypatch restores it
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*args: str) -> CommandResult:
        options = [arg for arg in args if arg.startswith("-")]  # argparse wants them in front of the overrides
        overrides = [arg for arg in args if not arg.startswith("-")]
        if not any(arg.startswith("tracking") for arg in overrides):
            overrides.append("tracking=none")
        monkeypatch.setattr("sys.argv", ["pipeline.train", *options, *last_of_each([*small, *overrides])])
        GlobalHydra.instance().clear()
        capfd.readouterr()
        try:
            code = train.main()
        except SystemExit as stop:
            code = stop.code
        return CommandResult(code, *capfd.readouterr())

    yield run
    for handler in set(root.handlers) - set(handlers):  # Hydra's, which write to this test's output and folder
        handler.close()
    root.handlers[:], root.level = handlers, level


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all xdist workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def _make_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Let the first worker that asks fill a folder, while the others wait for it."""
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)  # of a worker that failed
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder


@pytest.fixture(scope="session")
def trained_study_files(session_folder: Path) -> TrainedStudy:
    """The original of `trained_study`: read it, never write to it. For fixtures of module scope."""

    def train_arms(results: Path) -> None:
        from pipeline.experiment.run import run_arm

        for setting in TrainedStudy.arms.values():
            run_arm(compose_config(*TrainedStudy.overrides, "tracking=none", f"results={results}", setting))

    return TrainedStudy(_make_once(session_folder / "results", train_arms))


@pytest.fixture
def trained_study(trained_study_files: TrainedStudy, tmp_path: Path) -> TrainedStudy:
    """Results of a really trained study, copied to `tmp_path / "results"`, where `cli` looks for them.

    It is trained once per session, without MLflow: iris, the linear model, two epochs, three seeds, three arms.
    `TrainedStudy.overrides` are its settings, `TrainedStudy.arms` maps each arm's name to its override; a command with
    them finds every run done.
    """
    return TrainedStudy(Path(shutil.copytree(trained_study_files.results, tmp_path / "results")))


@pytest.fixture(scope="session")
def mlflow_store_file(session_folder: Path) -> Path:
    """The original of `mlflow_store`: copy it, never write to it. For fixtures of module scope."""

    def migrate(folder: Path) -> None:
        from pipeline.tracking.client import client_class

        client_class()(f"sqlite:///{folder / 'mlflow.db'}").search_experiments(max_results=1)

    return _make_once(session_folder / "store", migrate) / "mlflow.db"


@pytest.fixture
def mlflow_store(mlflow_store_file: Path, tmp_path: Path) -> str:
    """Address of an empty MLflow store at `tmp_path / "mlflow.db"`, where `cli` looks for it.

    Making such a store takes 3 to 7 seconds, so it is made once per session and copied.
    """
    return f"sqlite:///{shutil.copy(mlflow_store_file, tmp_path / 'mlflow.db')}"


@pytest.fixture(scope="module")
def starting_server(tmp_path_factory: pytest.TempPathFactory, mlflow_store_file: Path) -> Iterator[MLflowServer]:
    """A real `mlflow server` on loopback, just launched: not yet ready to answer."""
    tmp = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_store_file, tmp / "server.db")
    with launch_server(tmp, f"sqlite:///{tmp / 'server.db'}") as launched:
        yield launched


@pytest.fixture(scope="module")
def server(starting_server: MLflowServer) -> str:
    """Address of that server, once it answers."""
    return starting_server.wait()

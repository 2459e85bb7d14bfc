"""What the tests share: composing the real configuration, and the command line run in this process."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from absl import logging as absl_logging
from factories import Said
from hydra.core.global_hydra import GlobalHydra

from pipeline import train

# Hydra closes all log handlers, and absl's (TensorFlow's) then closes its stream: it must not be one of pytest's.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture(autouse=True)
def _no_hydra_left_over() -> Iterator[None]:
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    """Overrides that keep everything a command writes in this test's own folder."""
    return [
        f"results={tmp_path / 'results'}",
        f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}",
        f"hydra.run.dir={tmp_path / 'outputs'}",
        f"hydra.sweep.dir={tmp_path / 'multirun'}",
    ]


def _print_warning(message: Warning, category: type, filename: str, lineno: int, *_: object) -> None:
    """To standard error, as outside of pytest, which would take it away."""
    print(warnings.formatwarning(message, category, filename, lineno), file=sys.stderr)


@pytest.fixture
def cli(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Said]]:
    """`cli("-m", "seeds=2")` is `python -m pipeline.train -m seeds=2`, in this process and this test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # main sets it; this gives it back
    monkeypatch.setattr(warnings, "showwarning", _print_warning)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*args: str) -> Said:
        options = [arg for arg in args if arg.startswith("-")]  # argparse wants them in front of the overrides
        overrides = [arg for arg in args if not arg.startswith("-")]
        monkeypatch.setattr("sys.argv", ["pipeline.train", *options, *small, *overrides])
        GlobalHydra.instance().clear()
        capfd.readouterr()
        try:
            code = train.main()
        except SystemExit as stop:
            code = stop.code
        return Said(code, *capfd.readouterr())

    yield run
    root.handlers[:], root.level = handlers, level  # Hydra's write to this test's captured output


@pytest.fixture(scope="module")
def starting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A real `mlflow server` on loopback with a store of its own, that has begun to start: its address and its log."""
    tmp = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp / 'server.db'}", "--artifacts-destination", str(tmp / "files")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp / "log").open("w") as log:
        server = subprocess.Popen(
            command, env=os.environ | quiet, cwd=tmp, stdout=log, stderr=log, start_new_session=True
        )
    yield f"http://127.0.0.1:{port}", tmp / "log"
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(30)


@pytest.fixture(scope="module")
def server(starting_server: tuple[str, Path]) -> str:
    """The address of that server, once it answers."""
    uri, server_log = starting_server
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            direct.open(f"{uri}/health", timeout=5).close()
            return uri
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"the MLflow server did not start: {server_log.read_text()}")

"""Real servers for tests, on loopback or a socket in a folder: MLflow's tracking server, and PostgreSQL."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@dataclass(frozen=True)
class MLflowServer:
    """An `mlflow server`, just launched: not yet ready to answer."""

    uri: str
    log: Path
    process: subprocess.Popen[bytes]

    def wait(self) -> str:
        """Its address, once it answers."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                direct.open(f"{self.uri}/health", timeout=5).close()
                return self.uri
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(f"the MLflow server did not start: {self.log.read_text()}")


@contextmanager
def launch_server(folder: Path, database: str, workers: int = 1) -> Iterator[MLflowServer]:
    """Launch `mlflow server` over a database, with its artifacts and log in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(workers), "--backend-store-uri", database]
    command += ["--artifacts-destination", str(folder / "files")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=os.environ | QUIET, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield MLflowServer(f"http://127.0.0.1:{port}", folder / "log", process)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def find_postgres() -> Path | None:
    """The folder of PostgreSQL's programs, where Debian, or the search path, has them."""
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path else max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def launch_postgres(programs: Path) -> Iterator[str]:
    """Launch PostgreSQL on a socket in a folder of its own. Yields SQLAlchemy's address of an empty database."""
    # It refuses to run as root. Its folder lies outside of pytest's, which other users cannot enter.
    other_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        if other_user:
            shutil.chown(folder, "postgres", "postgres")
        data, log = f"{folder}/data", Path(folder) / "log"
        initdb = [
            *other_user,
            programs / "initdb",
            "-D",
            data,
            "-U",
            "tester",
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        subprocess.run(initdb, check=True, cwd=folder, capture_output=True)
        with log.open("w") as file:
            server = subprocess.Popen(
                [*other_user, programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="],
                cwd=folder, stdout=file, stderr=file,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while "ready to accept connections" not in log.read_text():
                assert time.monotonic() < deadline and server.poll() is None, log.read_text()
                time.sleep(0.1)
            yield f"postgresql+psycopg://tester@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # without waiting for connections to end
            server.wait(30)

"""How fast stored runs are sent to an MLflow server over PostgreSQL: `uv run python -m tests.benchmarks.sending`.

Trains arms of the default study, 20 epochs, sends them with `python -m pipeline.sync`, and prints runs per second and
the processor seconds of the sender and of server and database together. A second `sync` has nothing to send.
`seeds=50 arms=4 workers=2` are the defaults.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.servers import find_postgres, launch_postgres, launch_server

ARMS = (
    "zeros",
    "ones",
    "glorot_uniform",
    "he_normal",
    "constant(0.1)",
    "constant(0.2)",
    "constant(0.3)",
    "constant(0.4)",
)


def processor_seconds(processes: list[psutil.Process]) -> float:
    """User and system time of these processes and of their children that ended."""
    times = [process.cpu_times() for process in processes if process.is_running()]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def time_sync(results: Path, uri: str, servers: Callable[[], list[psutil.Process]]) -> tuple[float, float, float]:
    """Send what is stored: seconds, and processor seconds of the sender and of the servers."""
    before, start, own = processor_seconds(servers()), time.perf_counter(), os.times()
    command = [sys.executable, "-m", "pipeline.sync", f"results={results}", f"uri={uri}"]
    subprocess.run(command, check=True, capture_output=True)
    seconds, now = time.perf_counter() - start, os.times()
    sender = now.children_user + now.children_system - own.children_user - own.children_system
    return seconds, sender, processor_seconds(servers()) - before


def main(seeds: int = 50, arms: int = 4, workers: int = 2) -> None:
    """Train, send, and print what it took."""
    programs = find_postgres()
    assert programs is not None, "PostgreSQL is not installed"
    with tempfile.TemporaryDirectory() as folder, launch_postgres(programs) as database:
        results = Path(folder) / "results"
        sweep = [f"bias_initializer={','.join(ARMS[:arms])}", f"seeds={seeds}", "tracking=none", f"results={results}"]
        subprocess.run([sys.executable, "-m", "pipeline.train", "-m", *sweep], check=True, capture_output=True)
        with launch_server(Path(folder), database, workers) as server:
            uri = server.wait()

            def servers() -> list[psutil.Process]:
                mine = psutil.Process(server.process.pid)
                backends = [one for one in psutil.process_iter() if one.name() == "postgres"]
                return [mine, *mine.children(recursive=True), *backends]

            for what in ("first", "again"):
                seconds, sender, served = time_sync(results, uri, servers)
                print(
                    f"{what}: {arms * seeds} runs in {seconds:.1f} s, {arms * seeds / seconds:.1f} a second; processor "
                    f"seconds: sender {sender:.1f}, server and database {served:.1f}"
                )


if __name__ == "__main__":
    main(**{name: int(value) for name, _, value in (word.partition("=") for word in sys.argv[1:])})

"""Commands that start at once: forked from a process that has imported TensorFlow, which takes seven seconds.

What is forked is the real `python -m pipeline.train`, from its first line on; it is killed and signalled as such.
"""

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.schema import PROJECT

CODE = ".code"  # suffix of the file that gets a command's exit code

# What `pipeline/experiment/progress.py` prints.
PROGRESS = re.compile(
    r"\d+ arms?: .* to train.*|arm \d+ of \d+: .*|\d+ of \d+ arms trained, .*|[^ ]+, \d+ seeds?(, .* left)?"
)


def wait_until(condition: Callable[[], object], seconds: float = 120) -> float:
    """Wait until the condition holds, and return how long that took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)
    return time.monotonic() - start


@dataclass(frozen=True)
class Command:
    """A command that runs or has ended, in a session of its own. log: its standard output and error."""

    pid: int
    log: Path

    @property
    def code(self) -> int | None:
        """The exit code, -9 after SIGKILL; None while it runs."""
        path = Path(f"{self.log}{CODE}")
        return int(path.read_text()) if path.exists() else None

    @property
    def lines(self) -> list[str]:
        """What it has printed, without the lines that say how far it is."""
        return [line for line in self.log.read_text().splitlines() if not PROGRESS.fullmatch(line)]

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = 180) -> int:
        wait_until(lambda: self.code is not None, seconds)
        assert self.code is not None
        return self.code


class Forks:
    """The process that has imported TensorFlow."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        environment = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}"}
        command = [sys.executable, "-m", "faults.forks"]
        self._process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, log: Path, *overrides: str, ignored: int = 0) -> Command:
        """Start a command. ignored: a signal that it ignores from its start, as with `nohup`; 0 for none."""
        assert self._process.stdin is not None and self._process.stdout is not None
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        with self._asking:  # one line at a time: the process does not see a second one that it has already buffered
            print(json.dumps([str(log), overrides, ignored]), file=self._process.stdin, flush=True)
            return Command(int(self._process.stdout.readline()), log)

    def close(self) -> None:
        self._process.communicate()


def _serve() -> None:
    """Fork a command per line of standard input, and note the exit codes of those that have ended."""
    from pipeline import train
    from pipeline.runtime.device import _hidden

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _hidden("matplotlib.pyplot"):
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    logs: dict[int, str] = {}
    while True:
        if select.select([sys.stdin], [], [], 0.02)[0]:
            line = sys.stdin.readline()
            if not line:
                return
            log, overrides, ignored = json.loads(line)
            action = signal.signal(ignored, signal.SIG_IGN) if ignored else None
            pid = os.fork()
            if pid == 0:
                _become(train.main, log, overrides)
            if ignored:
                signal.signal(ignored, action)
            logs[pid] = log
            print(pid, flush=True)
        while logs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            unfinished = Path(f"{logs[pid]}{CODE}.unfinished")
            unfinished.write_text(str(os.waitstatus_to_exitcode(status)))
            unfinished.rename(f"{logs.pop(pid)}{CODE}")


def _become(main: Callable[[], int], log: str, overrides: list[str]) -> None:
    from pipeline.runtime.signals import run_command

    os.setsid()
    for target, source, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)):
        os.dup2(os.open(source, flags), target)
    os.dup2(1, 2)
    sys.argv = ["pipeline.train", *overrides]
    run_command(main)


if __name__ == "__main__":
    _serve()

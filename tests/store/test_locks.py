"""One process at a time holds a lock, and who waits is told for whom."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock

from pipeline.config.schema import PROJECT
from pipeline.store import locks
from pipeline.store.locks import describe_holder, hold_lock, work_for_request

HOLD = """
import sys
from pathlib import Path
from pipeline.store.locks import hold_lock
with hold_lock(Path(sys.argv[1]), "zeros is being trained"):
    print(flush=True)
    sys.stdin.read()
"""
# A job that waits: its standard error goes to its log.
WAIT = """
import sys
from pathlib import Path
from pipeline.runtime.logs import redirect_stderr
from pipeline.store.locks import hold_lock
folder = Path(sys.argv[1])
with redirect_stderr(folder / "log"), redirect_stderr(folder / "inner"):
    with hold_lock(folder / "a.lock", "ones is being trained"):
        print("to the log", file=sys.stderr)
"""
Hold = Callable[[Path], subprocess.Popen[str]]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """`hold(path)` is another process that holds the lock until its standard input is closed."""
    processes = []

    def start(path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)],
            cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        assert process.stdout is not None and process.stdout.readline() == "\n"
        return process

    yield start
    for process in processes:
        with process:
            process.kill()


def release_later(process: subprocess.Popen[str], seconds: float) -> None:
    assert process.stdin is not None
    threading.Timer(seconds, process.stdin.close).start()


def test_who_waits_is_told_for_whom(hold: Hold, tmp_path: Path) -> None:
    """After two seconds one line says what is waited for, by which process and since when; the log does not get it."""
    path = tmp_path / "a.lock"
    process = hold(path)
    release_later(process, 3.0)
    waiting = subprocess.run([sys.executable, "-c", WAIT, str(tmp_path)], cwd=PROJECT, text=True, capture_output=True)
    holder = rf"zeros is being trained by process {process.pid} since \d\d:\d\d:\d\d"
    assert waiting.returncode == 0 and re.fullmatch(rf"{holder}; waiting for it\n", waiting.stderr), waiting
    assert (tmp_path / "log").read_text() == "" and (tmp_path / "inner").read_text() == "to the log\n"


@pytest.mark.parametrize(("request_of_holder", "is_told"), [("a1", False), ("b2", True), (None, True), ("", True)])
def test_processes_of_one_request_wait_for_each_other_in_silence(
    request_of_holder: str | None, is_told: bool,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A launcher's workers that were given one arm twice are no news; a process of another request is."""
    path, other = tmp_path / "a.lock", FileLock(tmp_path / "a.lock", thread_local=False)
    monkeypatch.setattr(locks, "SILENT_WAIT", 0.02)
    work_for_request("a1" if request_of_holder != "" else "")
    holder = {"pid": os.getppid(), "host": socket.gethostname(), "since": "2026-01-02T03:04:05", "what": "zeros"}
    (tmp_path / "a.lock.holder").write_text(json.dumps(holder | {"request": request_of_holder}))
    other.acquire()
    threading.Timer(0.15, other.release).start()
    with hold_lock(path, "ones is trained"):
        pass
    work_for_request("")
    said = capfd.readouterr().err
    assert said.count("waiting for it") == is_told, said


def test_a_short_wait_is_silent(hold: Hold, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever gets the lock within two seconds reads nothing."""
    path = tmp_path / "a.lock"
    release_later(hold(path), 0.2)
    with hold_lock(path, "ones is trained"):
        pass
    assert capfd.readouterr().err == ""


def test_a_released_lock_has_no_holder(tmp_path: Path) -> None:
    """The note is there while the lock is held, and gone afterwards, also after an error."""
    path = tmp_path / "a.lock"
    assert describe_holder(path) == ""
    with suppress(ZeroDivisionError), hold_lock(path, "zeros is being trained"):
        assert describe_holder(path).startswith(f"zeros is being trained by process {os.getpid()} since ")
        raise ZeroDivisionError
    assert describe_holder(path) == ""
    assert [file.name for file in tmp_path.iterdir()] == ["a.lock"]


def test_the_note_of_a_killed_process_names_nobody(hold: Hold, tmp_path: Path) -> None:
    """A killed process frees the lock at once; its note is not believed, and the next holder replaces it."""
    path = tmp_path / "a.lock"
    process = hold(path)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert len(list(tmp_path.iterdir())) == 2
    assert describe_holder(path) == ""
    with hold_lock(path, "ones is being trained"):
        assert describe_holder(path).startswith(f"ones is being trained by process {os.getpid()} since ")


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": 1}', '{"pid":"x","host":"h","since":"y","what":"z"}'])
def test_a_damaged_note_names_nobody(tmp_path: Path, note: str) -> None:
    """Half-written or foreign text in its place costs the name of the holder, nothing else."""
    (tmp_path / "a.lock.holder").write_text(note)
    assert describe_holder(tmp_path / "a.lock") == ""


def test_a_holder_elsewhere_is_named_with_its_host_and_day(tmp_path: Path) -> None:
    """On a shared disk the holder may be another machine's process, and may have held the lock since another day."""
    host = f"not-{socket.gethostname()}"
    note = f'{{"pid": 7, "host": "{host}", "since": "2026-01-02T03:04:05.5", "what": "zeros is being trained"}}'
    (tmp_path / "a.lock.holder").write_text(note)
    expected = f"zeros is being trained by process 7 on {host} since 2026-01-02 03:04:05"
    assert describe_holder(tmp_path / "a.lock") == expected

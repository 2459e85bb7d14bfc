"""Work is waited for only so long."""

import subprocess
import sys
import time

import pytest

from pipeline.config.schema import PROJECT
from pipeline.runtime.deadline import call_within

# Work like that of an upload: its thread waits for one of a pool, which Python's exit would wait for.
LATE = """
import time
from concurrent.futures import ThreadPoolExecutor
from pipeline.runtime.deadline import call_within
from pipeline.runtime.signals import exit_at_once
try:
    call_within(0.5, lambda: ThreadPoolExecutor().submit(time.sleep, 60).result())
except TimeoutError:
    print("late")
    exit_at_once(7)
"""


def test_work_that_is_done_in_time_returns_its_result() -> None:
    """What the function returns is returned, and what it raises is raised, with and without a bound."""
    assert call_within(60, lambda: 3) == call_within(None, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        call_within(60, lambda: 1 // 0)


def test_a_process_can_end_while_late_work_goes_on() -> None:
    """TimeoutError when the time has passed; `exit_at_once` then prints what was printed, and waits for no thread."""
    start = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", LATE], cwd=PROJECT, text=True, capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "late\n", "")
    assert time.monotonic() - start < 20

"""The first signal raises, can be held back, and leaves the second one to the system."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pipeline.runtime.early import SIGNALS
from pipeline.runtime.signals import Interrupted, as_interrupted, hold_signals, raise_on_signal, raise_swallowed


@pytest.fixture(autouse=True)
def _unchanged() -> Iterator[None]:
    """What the process did at a signal before, it does afterwards. No signal is ignored, as a shell's `&` has it."""
    earlier = [signal.signal(number, signal.default_int_handler) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == [signal.default_int_handler] * len(SIGNALS)
    for number, action in zip(SIGNALS, earlier, strict=True):
        signal.signal(number, action)


@pytest.mark.parametrize(("number", "text", "code"), [
    (signal.SIGINT, "interrupted (SIGINT)", 130), (signal.SIGTERM, "interrupted (SIGTERM)", 143),
    (signal.SIGHUP, "interrupted (SIGHUP)", 129)], ids=str)  # fmt: skip
def test_a_signal_raises_what_names_it(number: int, text: str, code: int) -> None:
    """Its text and exit code are those of the signal, and a second signal meets the system's own action."""
    with pytest.raises(KeyboardInterrupt) as caught, raise_on_signal():
        try:
            os.kill(os.getpid(), number)
        finally:
            assert [signal.getsignal(other) for other in SIGNALS] == [signal.SIG_DFL] * len(SIGNALS)
    interrupt = as_interrupted(caught.value)
    assert interrupt is caught.value
    assert (str(interrupt), interrupt.exit_code) == (text, code)


COMMAND = """
import sys, time
from pipeline.runtime.signals import run_command

def main():
    try:
        print("begun", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        time.sleep(60)

run_command(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_second_signal_ends_the_process_at_once(number: int) -> None:
    """While the first is still being answered; a shell shows 130 after Ctrl-C, as after one."""
    program = [sys.executable, "-c", COMMAND]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in ("begun\n", "interrupted\n"):
            assert process.stdout.readline() == line
            os.kill(process.pid, number)
        process.wait(20)
    assert process.returncode == -number  # ended by the signal, which a shell shows as 128 + its number


def test_a_signal_can_be_held_back() -> None:
    """What must be finished is finished, then the signal raises."""
    done = []
    with raise_on_signal(), pytest.raises(Interrupted):
        with hold_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("the work")
        done.append("not reached")
    assert done == ["the work"]


def test_an_ignored_signal_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `nohup`."""
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raise_on_signal():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, earlier)


def test_a_plain_interrupt_counts_as_ctrl_c() -> None:
    """Python's own KeyboardInterrupt has the text and the exit code of SIGINT."""
    interrupt = as_interrupted(KeyboardInterrupt())
    assert (str(interrupt), interrupt.exit_code) == ("interrupted (SIGINT)", 130)


def test_what_a_library_makes_of_a_signal_is_still_a_signal() -> None:
    """OmegaConf, for one, catches whatever a conversion raises, and raises an error of its own."""
    with pytest.raises(Interrupted, match="SIGTERM"), raise_on_signal():
        raise_swallowed()  # nothing has come
        try:
            with suppress(Interrupted):
                os.kill(os.getpid(), signal.SIGTERM)
            raise AttributeError("no such key")
        except AttributeError:
            raise_swallowed()
    raise_swallowed()  # it is over


def test_a_signal_that_meets_a_finalizer_is_raised_after_it() -> None:
    """Python prints what a finalizer raises, with a traceback, and goes on."""

    class Finalized:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="SIGTERM"), raise_on_signal():
        Finalized()
        time.sleep(5)

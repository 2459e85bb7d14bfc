"""The first signal raises, can be held back, and leaves the second one to the system."""

import os
import signal
from collections.abc import Iterator

import pytest

from pipeline.runtime.signals import SIGNALS, Interrupted, as_interrupted, hold_signals, raise_on_signal


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

"""SIGTERM and SIGHUP end a command as Ctrl-C does: in order, with finished work kept. A second signal ends it at once.

Python runs a signal's handler between two steps of the main thread, so native code that the main thread has called is
finished first. Training runs in other threads.

Before and after that, while a command imports its modules and while Python ends, see `runtime.early`.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from pipeline.runtime.deadline import work_goes_on
from pipeline.runtime.early import SIGNALS, describe_signal

_held: list[signal.Signals | None] = []  # while signals are held: the one that came, or None
_raised: list["Interrupted"] = []  # within `raise_on_signal`, once a signal has raised


class Interrupted(KeyboardInterrupt):
    """A signal that asks the process to end. Its text names the signal: "interrupted (SIGTERM)"."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.signal = signal.Signals(number)
        super().__init__(describe_signal(number))

    @property
    def exit_code(self) -> int:
        """What a shell expects of a command that a signal has ended: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signal


@contextmanager
def raise_on_signal() -> Iterator[None]:
    """Within the context, the first of `SIGNALS` raises `Interrupted` in the main thread; a second one kills.

    A signal that was ignored when the process started, as `nohup` does with SIGHUP, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows handlers in the main thread alone
        return
    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    caught = [number for number, action in earlier.items() if action is not signal.SIG_IGN]

    def interrupt(number: int, _: FrameType | None) -> None:
        for other in caught:
            signal.signal(other, signal.SIG_DFL)  # the second one needs no help of Python, which may be busy
        if _held:
            _held[-1] = signal.Signals(number)
        else:
            _raise(number)

    def send_again(ignored: Any) -> None:
        """Raise once more what Python cannot raise, since it came in a callback whose errors are only printed."""
        if not isinstance(ignored.exc_value, Interrupted):
            earlier_hook(ignored)
            return
        number = ignored.exc_value.signal
        signal.signal(number, interrupt)
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()  # when the callback has ended

    earlier_hook = sys.unraisablehook
    try:
        sys.unraisablehook = send_again
        for number in caught:
            signal.signal(number, interrupt)
        yield
    finally:
        for number in caught:
            signal.signal(number, earlier[number])
        sys.unraisablehook = earlier_hook
        _raised.clear()


def raise_swallowed() -> None:
    """Raise `Interrupted` again if it was raised already: a library has made another error of it."""
    if _raised:
        raise _raised[-1]


@contextmanager
def hold_signals() -> Iterator[None]:
    """Within the context, a first signal waits: it raises `Interrupted` when the context ends. A second one kills."""
    _held.append(None)
    try:
        yield
    finally:
        came = _held.pop()
        if came is not None:
            _raise(came)


def _raise(number: int) -> NoReturn:
    _raised.append(Interrupted(number))
    raise _raised[-1]


def run_command(main: Callable[[], int], finish_threads: bool = False) -> NoReturn:
    """Run a command and end the process with its exit code; a signal that `main` lets pass is named in one line.

    After a signal, threads, which may still train or upload, are not waited for, except with `finish_threads`; work
    that `call_within` has given up never is.
    """
    with raise_on_signal():
        try:
            code = main()
        except KeyboardInterrupt as error:
            interrupt = as_interrupted(error)
            print(interrupt, file=sys.stderr)
            code = interrupt.exit_code
        if (code > 128 and not finish_threads) or work_goes_on():
            exit_at_once(code)
    sys.exit(code)


def exit_at_once(code: int) -> NoReturn:
    """End the process without waiting for its threads."""
    with suppress(OSError, ValueError):  # nobody reads any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def as_interrupted(error: KeyboardInterrupt) -> Interrupted:
    """The error itself, or for a plain KeyboardInterrupt what Ctrl-C would have raised within `raise_on_signal`."""
    return error if isinstance(error, Interrupted) else Interrupted()

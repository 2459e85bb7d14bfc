"""Signals while a command imports its modules, and while Python ends.

This module imports next to nothing, so that a command can call it first: from then on no signal ends in a traceback.
What comes earlier, in the first hundredth of a second, meets Python's own start.
"""

import atexit
import os
import signal

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
KEPT = ": finished runs are kept, and the same command goes on from there"


def end_on_signal(more: str = "") -> None:
    """From now on the first of `SIGNALS` ends the process at once: nothing has begun, and an import may swallow what a
    handler raises. `signals.run_command` takes over, and has the same line and exit code.

    more: how the line goes on. When all is done and Python cleans up, signals are ignored: the exit code stands.
    """

    def end(number: int, _: object) -> None:
        line = f"{describe_signal(number)}{more}\n"
        try:
            os.write(2, line.encode())  # not `print`: the main thread may be in the midst of one
        finally:
            os._exit(128 + number)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    atexit.register(_ignore_signals)


def describe_signal(number: int) -> str:
    """What a command says when a signal has ended it: "interrupted (SIGTERM)"."""
    return f"interrupted ({signal.Signals(number).name})"


def _ignore_signals() -> None:
    """Python gives signals back to the system when it cleans up, except those that are ignored."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)

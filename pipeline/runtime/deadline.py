"""Wait for work only so long."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

SILENT_WAIT = 2.0  # seconds after which whoever waits says so
LOOK_EVERY = 0.2  # seconds

Result = TypeVar("Result")

_begun: list[Future] = []


def call_within(seconds: float | None, work: Callable[[], Result], watch: Callable[[], None] = lambda: None) -> Result:
    """Call a function in another thread, which a signal does not wait for, and return what it returns.

    watch: called now and then meanwhile; what it raises ends the wait. Raises TimeoutError when the seconds have
    passed. The thread then goes on, which `run_command` does not wait for.
    """
    future: Future[Result] = Future()
    _begun.append(future)

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    end = None if seconds is None else time.monotonic() + seconds
    while not future.done():
        left = LOOK_EVERY if end is None else end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        wait([future], min(left, LOOK_EVERY))
        watch()
    return future.result()


def work_goes_on() -> bool:
    """Whether some work has not ended that `call_within` has given up waiting for."""
    return not all(future.done() for future in _begun)

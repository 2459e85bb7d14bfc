"""Wait for work only so long."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def call_within(seconds: float | None, work: Callable[[], Result]) -> Result:
    """Call a function in another thread, which a signal does not wait for, and return what it returns.

    Raises TimeoutError when the seconds have passed. The thread then goes on: end the process with `exit_at_once`.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(seconds)

"""Wait for an MLflow server: say so after two seconds, and only so long.

What counts is the time that one call takes. An upload of thousands of runs takes long and does not wait, and who waits
for another process's lock says that (`store.locks`).
"""

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.runtime.deadline import SILENT_WAIT, call_within
from pipeline.runtime.logs import tell_user

LONGEST_CALL = 60.0  # seconds, where the user has set no bound

Result = TypeVar("Result")

_since: dict[int, float] = {}  # thread -> when its call to a server began


class NoAnswerError(TimeoutError):
    """A server did not answer in time. The message completes "could not upload": " within 30 s (wait)"."""


class WatchedClient:
    """An MlflowClient whose calls are watched."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        return watched(attribute) if callable(attribute) else attribute


def watched(call: Callable[..., Result]) -> Callable[..., Result]:
    """A function that asks a server, such that `wait_for_server` knows how long it takes."""

    @functools.wraps(call)
    def timed(*arguments: Any, **options: Any) -> Result:
        _since[threading.get_ident()] = time.monotonic()
        try:
            return call(*arguments, **options)
        finally:
            _since.pop(threading.get_ident(), None)

    return timed


def wait_for_server(uri: str, seconds: float | None, option: str, work: Callable[[], Result]) -> Result:
    """Call a function that asks an MLflow server, and return what it returns.

    uri: as it may be printed. seconds: what it may take in all; None: as long as it takes, but for one call at most
    `LONGEST_CALL`. option: the name of the option that sets them. Raises NoAnswerError.
    """
    start = time.monotonic()
    is_announced = False

    def watch() -> None:
        nonlocal is_announced
        now = time.monotonic()
        begun = [moment for moment in _since.copy().values() if moment >= start]  # others were given up
        waited = now - min(begun, default=now)
        left = LONGEST_CALL - waited if seconds is None else start + seconds - now
        if seconds is None and left <= 0:
            raise NoAnswerError(f": no answer for {LONGEST_CALL:g} s ({option}=... sets another bound)")
        if waited > SILENT_WAIT and not is_announced:
            is_announced = True
            tell_user(f"waiting for MLflow at {uri}, for at most {max(left, 0):.0f} s more")

    try:
        return call_within(seconds, work, watch)
    except NoAnswerError:
        raise
    except TimeoutError as error:
        if seconds is None or time.monotonic() < start + seconds:  # raised by the work
            raise
        raise NoAnswerError(f" within {seconds:g} s ({option})") from error


REASONS = {  # words of the libraries that MLflow asks with -> ours
    "Connection refused": "nothing listens there (connection refused)",
    "Name or service not known": "there is no such host",
    "nodename nor servname": "there is no such host",
    "Failed to resolve": "there is no such host",
    "Network is unreachable": "the network is unreachable",
    "No route to host": "there is no route to that host",
    "timed out": "the server does not answer",
    "Remote end closed connection": "the server cut the connection off",
    "Connection reset": "the server cut the connection off",
    "Connection aborted": "the server cut the connection off",
    "IncompleteRead": "the server cut its answer off",
}


def explain(error: BaseException) -> str:
    """What an upload or a download failed of: in our words where a library says that no answer came."""
    cause = no_answer(error)
    return next((reason for words, reason in REASONS.items() if cause and words in str(cause)), str(error))


def no_answer(error: BaseException) -> BaseException | None:
    """The error of the library that asks servers among what an error was caused by; None where there is none."""
    cause: BaseException | None = error
    while cause is not None and type(cause).__module__.partition(".")[0] not in ("requests", "urllib3"):
        cause = cause.__cause__ or cause.__context__
    return cause

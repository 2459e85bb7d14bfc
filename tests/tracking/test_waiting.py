"""A server is waited for only so long, and whoever waits is told."""

import re
import time

import pytest
import requests

from pipeline.tracking import waiting
from pipeline.tracking.waiting import NoAnswerError, WatchedClient, explain, wait_for_server, watched


class SlowClient:
    """In place of an MlflowClient of a server that is busy."""

    uri = "http://a"

    def get_run(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds


def test_a_call_that_takes_long_is_announced_and_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a bound of the whole, one call has one; with it, the whole has. The line comes once."""
    monkeypatch.setattr(waiting, "SILENT_WAIT", 0.2)
    monkeypatch.setattr(waiting, "LONGEST_CALL", 1.0)
    client = WatchedClient(SlowClient())
    assert client.uri == "http://a"
    with pytest.raises(NoAnswerError, match=r"^: no answer for 1 s \(wait=... sets another bound\)$"):
        wait_for_server("http://a", None, "wait", lambda: client.get_run(3))
    with pytest.raises(NoAnswerError, match=r"^ within 0.9 s \(--wait\)$"):
        wait_for_server("http://b", 0.9, "--wait", lambda: client.get_run(3))
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r"\d+", "N", line) for line in lines] == [
        f"waiting for MLflow at http://{host}, for at most N s more" for host in "ab"
    ]


def test_many_quick_calls_are_no_wait(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An upload that takes long goes on, and nothing is said, as long as each call is answered."""
    monkeypatch.setattr(waiting, "SILENT_WAIT", 0.5)
    monkeypatch.setattr(waiting, "LONGEST_CALL", 0.8)
    call = watched(SlowClient().get_run)
    assert wait_for_server("http://a", None, "wait", lambda: sum(call(0.05) for _ in range(25))) == pytest.approx(1.25)
    assert capsys.readouterr().err == ""


def test_what_the_work_raises_is_raised() -> None:
    """Also a TimeoutError of its own, as a socket has: it is not the bound."""

    def fail() -> None:
        raise TimeoutError("a socket")

    for seconds in (None, 60):
        with pytest.raises(TimeoutError, match="a socket"):
            wait_for_server("http://a", seconds, "wait", fail)


def test_failed_requests_are_explained(closed_uri: str) -> None:
    """In plain words, whatever library asked; other errors as they are."""
    try:
        try:
            requests.get(closed_uri, timeout=5)
        except requests.RequestException as error:
            raise RuntimeError(f"API request failed with exception {error}") from error
    except RuntimeError as error:
        assert explain(error) == "nothing listens there (connection refused)"
    assert explain(ValueError("timed out of metrics")) == "timed out of metrics"

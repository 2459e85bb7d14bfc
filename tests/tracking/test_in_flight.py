"""Several requests at once at a server; one after the other in a database."""

import threading
from types import SimpleNamespace

import pytest

from pipeline.tracking.in_flight import AT_ONCE, do_each

SERVER, DATABASE = (SimpleNamespace(tracking_uri=uri) for uri in ("http://127.0.0.1:1", "sqlite:///mlflow.db"))


def test_a_server_gets_several_requests_at_once() -> None:
    """As many as there are connections for are under way together: each waits here for the others."""
    together, done = threading.Barrier(AT_ONCE, timeout=10), list[int]()

    def work(item: int) -> None:
        together.wait()
        done.append(item)

    do_each(SERVER, work, range(2 * AT_ONCE))
    assert sorted(done) == list(range(2 * AT_ONCE))


def test_a_database_is_written_in_order_by_one_thread() -> None:
    """SQLite has one writer."""
    done = list[tuple[int, int]]()
    do_each(DATABASE, lambda item: done.append((item, threading.get_ident())), range(5))
    assert done == [(item, threading.get_ident()) for item in range(5)]


def test_after_an_error_nothing_more_is_begun() -> None:
    """The error is raised once those under way have ended; the many that wait for a thread are left."""
    begun, ended, failed = list[int](), list[int](), threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            failed.set()
            raise OSError("disk full")
        assert failed.wait(10)
        threading.Event().wait(0.05)
        ended.append(item)

    with pytest.raises(OSError, match="disk full"):
        do_each(SERVER, work, range(1000))
    assert len(begun) < 20 and sorted(ended) == sorted(set(begun) - {0})

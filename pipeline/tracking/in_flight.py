"""Have several requests under way at a server, which answers them beside each other, from one process."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

AT_ONCE = 8  # runs; a connection each, of the ten that MLflow keeps open

Item = TypeVar("Item")


def do_each(client: Any, work: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Call a function that asks MLflow with each item: several at once at a server, one by one in a database.

    client: an MlflowClient. After an error no further item is begun; it is raised when those under way have ended.
    """
    if not str(client.tracking_uri).startswith("http"):
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

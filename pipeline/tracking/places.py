"""Check, before anything is trained or sent, that nothing is in the way of what sending to MLflow writes here."""

from urllib.parse import quote

from pipeline.config.schema import Tracking
from pipeline.store.files import check_writable
from pipeline.store.folder_id import FILE
from pipeline.store.places import check_file, check_replaced
from pipeline.store.runs import RunStore
from pipeline.tracking.client import database_file, lock_file, store_uri

SQLITE_ENDINGS = ("", "-journal", "-wal", "-shm")  # of the files of a database


def check_tracking_places(tracking: Tracking, store: RunStore, key: str = "tracking.uri") -> None:
    """Raise ConfigError, naming the path, where something is in the way of the identity of the results folder, of the
    store's lock, or of an SQLite store and its artifacts. Nothing is written.

    key: the setting that names the store.
    """
    if not tracking.enabled:
        return
    aside, uri = store.results / ".aside", store_uri(tracking)
    check_replaced(aside / FILE, "results")
    check_file(aside / f"{FILE}.lock", "results", may_be_link=False)
    database = database_file(uri)
    check_file(lock_file(uri, store.results), "results" if database is None else key, may_be_link=False)
    if database is not None:
        for ending in SQLITE_ENDINGS:
            check_file(database.with_name(database.name + ending), key)
        check_writable(database.parent / "mlartifacts" / quote(store.study), key)

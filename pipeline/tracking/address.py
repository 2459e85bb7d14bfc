"""Check the address of MLflow's store before anything depends on it: what can never work is refused at once.

A server that does not answer is no such case: it may come up. MLflow is not imported for it.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit

from pipeline.config.schema import Tracking
from pipeline.errors import ConfigError, require
from pipeline.store.files import check_writable
from pipeline.store.places import check_file
from pipeline.tracking.client import EMBEDDED, database_file, hide_passwords, store_uri

DATABASES = ("postgresql", "mysql", "mssql")  # besides SQLite, those that MLflow knows
ALLOWED = "sqlite:///<file>, http(s)://<server>, databricks, or a database: postgresql://, mysql://, mssql://"
HEADER = b"SQLite format 3\0"


def check_address(tracking: Tracking, key: str = "tracking.uri", is_made: bool = True) -> None:
    """Raise ConfigError for an address of MLflow's store that cannot work.

    key: what the user calls it. is_made: whether the embedded store is made where it is missing. Writes nothing that
    stays. What lies where files of the store belong is for `tracking.places` to find.
    """
    if not tracking.enabled:
        return
    if not tracking.uri and os.environ.get("MLFLOW_TRACKING_URI"):
        key = "MLFLOW_TRACKING_URI"
    uri = store_uri(tracking)
    database = database_file(uri)
    if database is None:
        _check_server(uri, key)
    elif is_made or uri != EMBEDDED or database.exists():
        _check_database(database, key)


def _check_server(uri: str, key: str) -> None:
    """Check the scheme of an address, its host and port, and the library that a database needs."""
    shown = hide_passwords(uri)
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(key, shown, ALLOWED, reason=f"which is no address: {error}") from error
    scheme = parts.scheme.partition("+")[0]
    if uri == "databricks" or scheme in ("databricks", "databricks-uc"):
        return
    is_web = parts.scheme in ("http", "https")
    require((is_web and host) or (scheme in DATABASES and "://" in uri), key, shown, ALLOWED)
    if not is_web:
        _check_driver(uri, key, shown)


def _check_driver(uri: str, key: str, shown: str) -> None:
    """Refuse a database for which the library that talks to it is missing."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(key, shown, ALLOWED, reason="which is no address of a database") from error
    except ImportError as error:
        allowed = "a database for which the library is installed"
        raise ConfigError(key, shown, allowed, reason=f"but {error.name or error} is missing") from error


def _check_database(database: Path, key: str) -> None:
    """Check that SQLite can make the file, or that what is there is a database."""
    check_writable(database.parent, key)
    check_file(database, key)
    if not database.exists():
        return
    with database.open("rb") as file:
        header = file.read(len(HEADER))
    allowed = "an SQLite database, or no file"
    if header not in (b"", HEADER):
        raise ConfigError(key, database, allowed, reason="which is another file")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", timeout=0, uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            raise ConfigError(key, database, allowed, reason=f"which SQLite cannot read ({error})") from error

"""The identity of a results folder, by which MLflow's runs name who sent them.

It is a random number in `<results>/.aside/folder_id.json`, with the inode number of that file. A folder that is moved
keeps both. In a copied one the file has another inode (or, copied as hard links, more than one name), so the copy gets
an identity of its own. So does a folder that is moved to another file system: too many identities only keep runs that
could be deleted, one identity for two folders deletes runs that must be kept.
"""

import json
import secrets
from pathlib import Path

from pipeline.store.aside import aside_folder, temporary_folder
from pipeline.store.files import json_bytes, read_small, write_flushed
from pipeline.store.locks import hold_lock

FILE = "folder_id.json"


def read_folder_id(results: Path) -> str | None:
    """The identity of a results folder; None where it has none of its own yet."""
    path = results / ".aside" / FILE
    try:
        content = json.loads(read_small(path))
        status = path.stat()
        is_own = content["inode"] == status.st_ino and status.st_nlink == 1
        return str(content["id"]) if is_own else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def folder_id(results: Path) -> str:
    """The identity of a results folder, made where it is missing. Raises OSError where it cannot be written."""
    known = read_folder_id(results)
    if known is not None:
        return known
    aside = aside_folder(results)
    with hold_lock(aside / f"{FILE}.lock", "the results folder is given an identity"):
        known = read_folder_id(results)  # again: another process may have made it while this one waited
        if known is None:
            known = secrets.token_hex(6)
            with temporary_folder(results) as folder:
                new = folder / FILE
                new.touch()
                write_flushed(new, json_bytes({"id": known, "inode": new.stat().st_ino}))
                new.replace(aside / FILE)
    return known

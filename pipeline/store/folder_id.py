"""The identity of a results folder, by which MLflow's runs name who sent them.

It is a random number in `<results>/.aside/folder_id.json`, one for each machine that has used the folder, with the
inode number of that file. A folder that is moved keeps both. In a copied one the file has another inode (or, copied as
hard links, more than one name), so the copy gets an identity of its own. A cloned disk keeps inodes, hence the machine:
its host name, with `/etc/machine-id` where there is one.

Of two errors this makes the safer one. An identity too many only leaves runs in MLflow that could be deleted: seeds
that were superseded, means over an earlier set of seeds. One identity for two folders deletes runs that must be kept.
So a folder also gets a new identity where it is the same one: on another file system, on a machine that only changed
its name, in a container that has another host name each time (`docker run --hostname` gives it one that stays). No run
is sent twice then, since runs are looked up by their keys, and whoever sends is told. A machine that takes an earlier
name again has its earlier identity.
"""

import json
import secrets
import socket
from pathlib import Path

from pipeline.runtime.logs import tell_user
from pipeline.store.aside import aside_folder, temporary_folder
from pipeline.store.files import json_bytes, read_small, write_flushed
from pipeline.store.locks import hold_lock

FILE = "folder_id.json"
MACHINE_ID = Path("/etc/machine-id")
EARLIER = ""  # the machine of an identity that earlier versions made; it becomes that of the first one that sends


def read_folder_id(results: Path) -> str | None:
    """The identity of a results folder on this machine; None where it has none of its own yet."""
    identities = _read_identities(results)
    return identities.get(_machine()) or identities.get(EARLIER)


def folder_id(results: Path) -> str:
    """The identity of a results folder, made where it is missing. Raises OSError where it cannot be written."""
    machine = _machine()
    if known := _read_identities(results).get(machine):
        return known
    aside = aside_folder(results)
    with hold_lock(aside / f"{FILE}.lock", "the results folder is given an identity"):
        identities = _read_identities(results)  # again: another process may have made it while this one waited
        if machine not in identities:
            identities[machine] = identities.pop(EARLIER, "") or secrets.token_hex(6)
            others = sorted({name.partition(" ")[0] for name in identities if name != machine})
            with temporary_folder(results) as folder:
                new = folder / FILE
                new.touch()
                write_flushed(new, json_bytes({"ids": identities, "inode": new.stat().st_ino}))
                new.replace(aside / FILE)
            if others:
                tell_user(
                    f"{results} was used on {', '.join(others)}, and has a new identity on {socket.gethostname()}: "
                    "runs that it sent before stay in MLflow when they are replaced here"
                )
    return identities[machine]


def _machine() -> str:
    """What tells machines apart: the host name, and the machine's id where it has one."""
    try:
        return f"{socket.gethostname()} {MACHINE_ID.read_text().strip()}".strip()
    except (OSError, ValueError):
        return socket.gethostname()


def _read_identities(results: Path) -> dict[str, str]:
    """The identities of this very folder by machine; none for a copy of another folder, or a damaged file."""
    path = results / ".aside" / FILE
    try:
        content = json.loads(read_small(path))
        status = path.stat()
        if content["inode"] != status.st_ino or status.st_nlink != 1:
            return {}
        identities = content["ids"] if "ids" in content else {EARLIER: content["id"]}
        return {str(machine): str(identity) for machine, identity in identities.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}

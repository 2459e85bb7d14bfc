"""What there is of an arm at a glance: its runs without holding their files against their digests, and who works at it.

For commands that only show how far a sweep is. A run appears whole, so that it is there says enough; whether it was
damaged since, the commands find out that read it.
"""

import json
import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from pipeline.store.known import known_runs
from pipeline.store.locks import describe_holder, is_held
from pipeline.store.meta import MAX_META_BYTES, RUN
from pipeline.store.runs import RunStore

SETTLED = 10**9  # nanoseconds after which the time of a folder tells that something has changed in it

_seen: dict[tuple[RunStore, str], tuple[int, Mapping[int, "Peeked"]]] = {}  # when the folder changed last, its runs


class Peeked(NamedTuple):
    """A run as its run.json has it. files: the names of those that it keeps."""

    key: str
    files: frozenset[str]


def remembered_runs(store: RunStore, arm: str) -> Mapping[int, Peeked]:
    """What `peek_runs` saw in an arm's folder, as long as nothing has appeared there since, or gone.

    A sweep of many arms looks at each arm for the sake of each other one. A run.json that was changed in its place goes
    unnoticed: whoever relies on a run reads it.
    """
    try:
        changed = (store.folder / arm).stat().st_mtime_ns
    except OSError:
        return {}
    known = _seen.get((store, arm))
    if known is None or known[0] != changed:
        is_settled = time.time_ns() - changed > SETTLED  # else a change could leave the folder's time as it is
        known = (changed, peek_runs(store, arm))
        if is_settled:
            _seen[store, arm] = known
    return known[1]


def peek_runs(store: RunStore, arm: str) -> Mapping[int, Peeked]:
    """The runs in an arm's folder by seed; those without a usable run.json are left out."""
    try:
        with os.scandir(store.folder / arm) as entries:
            names = [entry.name for entry in entries if entry.name.startswith("seed=")]
    except OSError:
        return {}
    found, folder = {}, f"{store.folder}{os.sep}{arm}{os.sep}"  # of 40,000 runs, Path would take a second
    known = known_runs(store.results, store.study, arm, len(names))
    for name in names:
        try:
            if known is not None and (meta := known.get(name, (RUN,))) is not None:
                found[meta["seed"]] = Peeked(meta["key"], frozenset(meta["digests"]))
                continue
            meta = json.loads(_read(f"{folder}{name}{os.sep}{RUN}"))
            if meta["arm"] == arm and f"seed={meta['seed']}" == name and meta.get("study", store.study) == store.study:
                found[meta["seed"]] = Peeked(meta["key"], frozenset(meta["digests"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return found


def _read(path: str) -> str:
    """The content of a plain file; opening a pipe must not wait for its other end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        return os.read(descriptor, min(os.fstat(descriptor).st_size, MAX_META_BYTES)).decode()
    finally:
        os.close(descriptor)


def holder(store: RunStore, arm: str) -> str:
    """Who works at an arm now, "zeros of s is being trained by process 1234 since 14:03:12"; "" where nobody does."""
    path = store.lock_file(arm)
    if is_held(path):
        return describe_holder(path) or "another process works at it"
    parts = (store.results / ".aside").glob("*.lock.holder")  # of an arm whose seeds several jobs train
    held = [note.with_suffix("") for note in parts if is_held(note.with_suffix(""))]
    texts = [
        text for text in map(describe_holder, held) if text.startswith(f"{arm} (") and f" of {store.study} is" in text
    ]
    more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    return f"{min(texts)}{more}" if texts else ""

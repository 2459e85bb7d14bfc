"""`python -m pipeline.sync` for a results folder, in this process or beside it."""

import subprocess
import sys

from pipeline import sync
from pipeline.config.schema import PROJECT
from pipeline.store.runs import RunStore


def send(store: RunStore, uri: str) -> int:
    """Send everything in this process; the exit code."""
    return sync.main(_options(store, uri))


def start_sending(store: RunStore, uri: str) -> subprocess.Popen[str]:
    """Send everything in another process."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.sync", *_options(store, uri)], cwd=PROJECT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _options(store: RunStore, uri: str) -> list[str]:
    return [f"results={store.results}", f"reports={store.results}-reports", f"uri={uri}"]

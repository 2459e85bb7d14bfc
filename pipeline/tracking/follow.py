"""The process that uploads while a sweep trains: `python -m pipeline.sync follow=true`; see `tracking.background`.

Its standard input names the studies to expect and the arms that are complete, which it reads from the results folder;
its standard output says what became of each. When its input has ended, so also when the sweep was killed, it has as
many seconds as the sweep would wait for it: none is left behind that holds the store.
"""

import contextlib
import json
import os
import queue
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from pipeline.config.schema import Tracking
from pipeline.store.runs import RunStore
from pipeline.tracking.client import prepare_store
from pipeline.tracking.runs import rename_study, try_arm

Arm = tuple[str, str]  # study and arm

OUT_OF_TIME = 3  # exit code of a process that has ended itself


def follow_queue(tracking: Tracking, results: Path, wait: float) -> int:
    """Work as the process: upload each arm that standard input names. Returns the exit code.

    A line is JSON, `[study, arm, digest]`; without an arm, the study is prepared. An arm that could not be uploaded
    since the server was away is tried again with the next one; one that was refused holds up no other.
    """
    lines: queue.SimpleQueue[Sequence[str] | None] = queue.SimpleQueue()
    is_done = threading.Event()
    threading.Thread(target=_read_lines, args=(lines, is_done, wait), daemon=True).start()
    with contextlib.suppress(Exception):  # a broken MLflow is reported when there is something to upload
        prepare_store(tracking, results)
    unsent, refused = dict[Arm, str](), dict[Arm, str]()
    named: list[Sequence[str] | None] = []
    while None not in named:
        named = [lines.get()]
        while not lines.empty():
            named.append(lines.get())
        told = [line for line in named if line is not None]
        for study in dict.fromkeys(study for study, arm, _ in told if not arm):
            with contextlib.suppress(Exception):
                prepare_store(tracking, results, study)
        unsent |= {(study, arm): wanted for study, arm, wanted in told if arm}
        if told:
            _send(tracking, results, unsent, refused)
    is_done.set()
    return 1 if unsent or refused else 0


def _read_lines(lines: queue.SimpleQueue, is_done: threading.Event, wait: float) -> None:
    """Read standard input, whatever the upload waits for; end the process `wait` seconds after the input has ended."""
    for line in sys.stdin:
        with contextlib.suppress(ValueError):  # the sweep was killed in the midst of a line
            lines.put(json.loads(line))
    lines.put(None)
    if not is_done.wait(wait):
        os._exit(OUT_OF_TIME)  # whatever other threads do


def _send(tracking: Tracking, results: Path, unsent: dict[Arm, str], refused: dict[Arm, str]) -> None:
    """Upload arms, take out those that MLflow has, and say so on standard output.

    refused: those that MLflow does not take although it answers; each is tried again only with other runs.
    """
    touched = dict[str, None]()
    for study, arm in list(unsent):
        store, wanted = RunStore(results, study), unsent.pop((study, arm))
        if refused.pop((study, arm), "") == wanted:
            refused[study, arm] = wanted
            continue
        sent = try_arm(tracking, store, arm, store.runs(arm))
        print(json.dumps([study, arm, wanted, sent.problem, sent.unlogged]), flush=True)
        if sent.is_away:
            unsent[study, arm] = wanted
            return  # each further arm would wait for the server again
        if sent.problem:
            refused[study, arm] = wanted
        else:
            touched[study] = None
    for study in touched:  # one that fails is made good when more is sent
        rename_study(tracking, RunStore(results, study))

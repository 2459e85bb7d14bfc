"""Mirror stored runs in MLflow.

A study is an experiment. Its top-level runs are the arms, with mean, standard deviation and 95 % interval over the
seeds; the seeds are their children. Every MLflow run carries its key and its senders as tags from its creation and is
looked up by them, so uploading twice makes one run; `steps` says what is created and what is deleted. An unreachable
server never costs a result: `python -m pipeline.sync` retries.
"""

import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.config.schema import Tracking
from pipeline.errors import one_line
from pipeline.runtime.hashing import digest
from pipeline.store.folder_id import folder_id, read_folder_id
from pipeline.store.meta import MODEL
from pipeline.store.replaced import replaced_keys
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.client import hide_passwords, is_away, open_experiment, read_sqlite, store_lock, store_uri
from pipeline.tracking.create import create_seed_run, fill_arm_run, start_arm_run
from pipeline.tracking.in_flight import do_each
from pipeline.tracking.logged_models import best_model, delete_models
from pipeline.tracking.names import rename_runs, stored_names
from pipeline.tracking.steps import PARENT, SENDER, Held, MirroredRun, Steps, next_steps
from pipeline.tracking.waiting import explain

FORM = 2  # version of what an arm's run holds; an arm uploaded in another form is uploaded again
ROUNDS = 8  # of looking and acting, until there is nothing to do
RIVAL_WAIT = 2.0  # seconds in which another sender of the same run may finish


class Sent(NamedTuple):
    """What became of an arm that was to be uploaded.

    problem: why MLflow does not have it, in one line, else "". is_away: the problem is that MLflow's store does not
    answer, so that other arms would fare no better. unlogged: why MLflow has its runs without its model, else "".
    """

    problem: str = ""
    is_away: bool = False
    unlogged: str = ""


def mirror_arm(tracking: Tracking, store: RunStore, arm: str, runs: Sequence[Run]) -> str:
    """Do `try_arm` and `rename_study`. Returns the problem in one line, or ""."""
    if up_to_date(tracking, store, arm, runs):
        return ""
    return try_arm(tracking, store, arm, runs).problem or rename_study(tracking, store)


def try_arm(tracking: Tracking, store: RunStore, arm: str, runs: Sequence[Run]) -> Sent:
    """Upload what MLflow lacks of an arm, and delete what is out of date.

    runs: all stored runs of the arm. MLflow is imported only when there is something to do.
    """
    if up_to_date(tracking, store, arm, runs):
        return Sent()
    uri = store_uri(tracking)
    try:
        with store_lock(uri, store.results):
            client, experiment_id = open_experiment(uri, store.study)
            unlogged = send_arm(client, experiment_id, store, runs, tracking.detail)
    except Exception as error:  # MLflow, SQLAlchemy and requests share no base class; none may cost a result
        return Sent(_describe(uri, error), is_away(uri, error))
    return Sent(unlogged=unlogged)


def rename_study(tracking: Tracking, store: RunStore) -> str:
    """Do `rename_runs`, which looks at all arms of a study: once, after some were sent. Returns the problem, or ""."""
    uri = store_uri(tracking)
    try:
        with store_lock(uri, store.results):
            client, experiment_id = open_experiment(uri, store.study)
            rename_runs(client, experiment_id, store)
    except Exception as error:  # as in `try_arm`
        return _describe(uri, error)
    return ""


def _describe(uri: str, error: Exception) -> str:
    return one_line(hide_passwords(f"Could not upload to MLflow at {uri}: {explain(error)}"))


def up_to_date(tracking: Tracking, store: RunStore, arm: str, runs: Sequence[Run]) -> bool:
    """Whether there is nothing to upload, as far as that can be known at once: without MLflow, without waiting."""
    if not tracking.enabled or not runs:
        return True
    known_as = read_folder_id(store.results)
    present = None if known_as is None else _read_present(store_uri(tracking), store.study, arm)
    return present is not None and not next_steps(present, _held(store, runs, f"{SENDER}{known_as}", tracking.detail))


def send_arm(client: Any, experiment_id: str, store: RunStore, runs: Sequence[Run], detail: str) -> str:
    """Look at what MLflow has of an arm and act on it, until it has what this folder holds.

    Returns why the arm's model could not be logged, else "".

    Looking again finds what was created twice, by a request whose reply was lost or by another folder at the same time.
    client: an MlflowClient. runs: all stored runs of the arm. detail: `tracking.detail`.
    """
    held = _held(store, runs, f"{SENDER}{folder_id(store.results)}", detail)
    failures, acted, waited, unlogged = 0, False, False, ""
    for _ in range(ROUNDS):
        present = _look(client, experiment_id, runs[0].arm)
        steps = next_steps(present, held)
        if steps:
            acted = True
            try:
                unlogged = _act(client, experiment_id, store, runs, held, steps) or unlogged
            except Exception:
                failures += 1
                if failures == 2:
                    raise
        elif acted and not waited and _has_rivals(present, held):
            waited = True
            time.sleep(RIVAL_WAIT)
        else:
            return unlogged
    raise RuntimeError(f"other senders keep changing {runs[0].arm}")


def remake_arm_run(client: Any, experiment_id: str, store: RunStore, run_id: str) -> str | None:
    """Make an arm's run anew, without what was published on it. Returns the id of the new one.

    None: it must stay, since it is not about the runs that are stored here.
    """
    present = client.get_run(run_id)
    tags = present.data.tags
    runs = store.runs(tags["arm"])
    if not runs or tags.get("key") != _arm_key(runs):
        return None
    senders = {tag: place for tag, place in tags.items() if tag.startswith(SENDER)}
    name = stored_names(store)[tags["arm"]]
    new = start_arm_run(client, experiment_id, tags["arm"], name, {"key": tags["key"], **senders})
    fill_arm_run(client, experiment_id, new, runs)
    delete_models(client, present)
    client.delete_run(run_id)
    send_arm(client, experiment_id, store, runs, "arms")  # which gives the seeds that are there their new parent
    return new


def _held(store: RunStore, runs: Sequence[Run], sender: str, detail: str) -> Held:
    seeds = {str(run.seed): run.key for run in runs}
    listed = (path.name.removeprefix("seed=") for path in (store.folder / runs[0].arm).glob("seed=*"))
    damaged = frozenset(seed for seed in listed if seed not in seeds)
    return Held(sender, seeds, _arm_key(runs), frozenset(replaced_keys(store.results)), damaged, detail == "runs")


def _arm_key(runs: Sequence[Run]) -> str:
    """What an arm's run is about: the runs of its seeds and, where models are kept, the one that is logged."""
    best = best_model(runs)
    model = [best.meta["digests"][MODEL]] if best is not None else []
    return digest([FORM, runs[0].arm, *sorted(run.key for run in runs), *model])


def _look(client: Any, experiment_id: str, arm: str) -> list[MirroredRun]:
    """All active runs of an arm."""
    from mlflow.entities import ViewType

    found = client.search_runs([experiment_id], f"tags.arm = '{arm}'", ViewType.ACTIVE_ONLY, max_results=50_000)
    return [
        _mirrored(r.info.run_id, r.info.status, r.info.end_time, r.data.params.get("seed"), r.data.tags) for r in found
    ]


def _read_present(uri: str, study: str, arm: str) -> list[MirroredRun] | None:
    """The same from an SQLite store, without MLflow. None: unknown."""
    query = """SELECT runs.run_uuid, runs.status, runs.end_time, seed.value, tag.key, tag.value
               FROM runs JOIN experiments USING (experiment_id)
               JOIN tags arm ON arm.run_uuid = runs.run_uuid AND arm.key = 'arm' AND arm.value = ?
               JOIN tags tag ON tag.run_uuid = runs.run_uuid
               LEFT JOIN params seed ON seed.run_uuid = runs.run_uuid AND seed.key = 'seed'
               WHERE runs.lifecycle_stage = 'active' AND experiments.name = ?"""
    rows = read_sqlite(uri, query, [arm, study])
    if rows is None:
        return None
    tags: dict[tuple[str, str, int, str], dict[str, str]] = {}
    for *run, key, value in rows:
        tags.setdefault(tuple(run), {})[key] = value
    return [_mirrored(*run, its_tags) for run, its_tags in tags.items()]


def _mirrored(run_id: str, status: str, end_time: int, seed: str | None, tags: Mapping[str, str]) -> MirroredRun:
    return MirroredRun(run_id, end_time if status == "FINISHED" else None, seed or "", tags)


def _has_rivals(present: Sequence[MirroredRun], held: Held) -> bool:
    """Whether another folder is just sending a run with a key that this one holds: both may have created it."""
    return any(run.ended is None and run.key in held.keys for run in present)


def _act(client: Any, experiment_id: str, store: RunStore, runs: Sequence[Run], held: Held, steps: Steps) -> str:
    """Take the steps. Returns why the arm's model could not be logged, else ""."""
    sender = {held.sender: f"{socket.gethostname()}:{store.results.resolve()}"}
    do_each(client, lambda run_id: client.set_tag(run_id, held.sender, sender[held.sender]), steps.claimed)
    arm = runs[0].arm
    name = stored_names(store).get(arm, arm)
    arm_run = steps.arm_run or start_arm_run(client, experiment_id, arm, name, {"key": held.arm_key, **sender})
    missing, born_with = frozenset(steps.missing), {PARENT: arm_run, **sender}
    unsent = [run for run in runs if run.key in missing]
    do_each(client, lambda run: create_seed_run(client, experiment_id, run, name, born_with), unsent)
    unlogged = fill_arm_run(client, experiment_id, arm_run, runs) if steps.arm_run is None else ""
    for run_id in steps.released:
        _release(client, run_id, held.sender)
    do_each(client, lambda run_id: client.set_tag(run_id, PARENT, arm_run), steps.adopted)
    return unlogged


def _release(client: Any, run_id: str, sender: str) -> None:
    """Delete a run, or only this folder's tag where the run has other senders: look again, one may have come since."""
    present = client.get_run(run_id)
    senders = {tag for tag in present.data.tags if tag.startswith(SENDER)}
    if senders <= {sender}:
        delete_models(client, present)
        client.delete_run(run_id)
    elif sender in senders:
        client.delete_tag(run_id, sender)

"""Decide what a results folder does about the MLflow runs of one of its arms: plain data in, plain data out.

Several results folders may send the same study to one store, and none may harm what another sent. Each MLflow run
therefore names its senders, one tag each, `results_folder/<id>`. A run that another folder sent is not sent again: this
folder adds its tag. A folder releases only runs that carry its tag, and a released run is deleted only if no other
sender is named. It releases

- unfinished runs, which a killed process or a lost reply left (the folder's lock is held: nobody is sending them);
- a seed's run that is superseded here: the folder holds a valid run of that arm and seed with another key, or its key
  lies in `.replaced`;
- an arm's run over another set of seeds than the folder holds; while a seed that MLflow has is damaged here, it stays;
- doubles: of several finished runs with one key, the one that ended first stays, whoever sent it.

A folder that sends arms alone (`tracking.detail=arms`) creates no seed's run and otherwise does the same: it leaves
the seeds' runs that are there, below the arm's new one, and adds the others once it is asked for all. Without them it
is unknown which seeds a mean has, so a mean that is there then stays while any seed of the arm is damaged here.

It follows that a seed that is deleted or damaged here stays in MLflow.

Runs of versions that named no sender: a finished one counts as sent by this folder if its key is known here, held or
replaced; an arm's run also if it has children and the keys of all of them are known. All others stay as they are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

SENDER = "results_folder/"  # prefix of the tags that name the senders
PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class MirroredRun:
    """An active run in MLflow. ended: in ms; None: unfinished. seed: "" of an arm's run."""

    run_id: str
    ended: int | None
    seed: str
    tags: Mapping[str, str]

    @property
    def key(self) -> str:
        """The key of what was sent; versions that named no sender gave it to finished runs only."""
        return self.tags.get("key", "")

    @property
    def is_arm(self) -> bool:
        """Whether this is an arm's run, not a seed's."""
        return self.tags.get("role") == "arm"

    @property
    def senders(self) -> set[str]:
        """The tags of the folders that sent it."""
        return {tag for tag in self.tags if tag.startswith(SENDER)}


@dataclass(frozen=True)
class Held:
    """What a results folder holds of an arm. sender: the folder's tag. seeds: seed -> key of each valid run.

    arm_key: key of the arm's run over these. replaced: keys in `.replaced`. damaged: the
    seeds whose places hold no valid run. sends_seeds: whether MLflow is to have the seeds' runs, besides the arm's.
    """

    sender: str
    seeds: Mapping[str, str]
    arm_key: str
    replaced: frozenset[str] = frozenset()
    damaged: frozenset[str] = frozenset()
    sends_seeds: bool = True

    @cached_property
    def keys(self) -> set[str]:
        """The keys of the arm's run and of the seeds'."""
        return {self.arm_key, *self.seeds.values()}

    @cached_property
    def known(self) -> set[str]:
        """The keys of seeds' runs that this folder holds or has replaced."""
        return {*self.seeds.values(), *self.replaced}


@dataclass(frozen=True)
class Steps:
    """What to do, in this order. Nothing: MLflow has what the folder holds.

    claimed: ids of runs that get the folder's tag. arm_run: id of the arm's run, None: create it. missing: keys of the
    seeds' runs to create. released: ids of runs to release. adopted: ids of runs that get the arm's run as parent.
    """

    claimed: tuple[str, ...]
    arm_run: str | None
    missing: tuple[str, ...]
    released: tuple[str, ...]
    adopted: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.arm_run is None or any((self.claimed, self.missing, self.released, self.adopted))


def next_steps(present: Iterable[MirroredRun], held: Held) -> Steps:
    """Compare what MLflow has of an arm with what the folder holds. present: all active runs of the arm."""
    present = sorted(present, key=lambda run: (run.ended is None, run.ended or 0, run.run_id))
    finished = [run for run in present if run.ended is not None]
    own = [run for run in present if held.sender in run.senders or _is_known(run, present, held)]
    first: dict[str, MirroredRun] = {}  # key -> the run that stays
    for run in finished:
        if run.key in held.keys:
            first.setdefault(run.key, run)
    keeps_mean = any(run.seed in held.damaged for run in own) or (bool(held.damaged) and not held.sends_seeds)
    if keeps_mean and (older := [run for run in own if run.is_arm and run.ended is not None]):
        first.setdefault(held.arm_key, older[-1])
    kept = {run.run_id for run in first.values()}
    outdated = [run for run in own if run.run_id not in kept and _is_outdated(run, held, first, keeps_mean)]
    released = {run.run_id for run in outdated}
    deleted = {run.run_id for run in outdated if run.senders <= {held.sender}}
    parents = {run.run_id for run in present if run.is_arm} - deleted
    seeds = [run for run in own if not run.is_arm and run.run_id not in released]
    arm_run = first.get(held.arm_key)
    return Steps(
        claimed=tuple(run.run_id for run in first.values() if held.sender not in run.senders),
        arm_run=arm_run.run_id if arm_run else None,
        missing=tuple(key for key in held.seeds.values() if held.sends_seeds and key not in first),
        released=tuple(run.run_id for run in outdated),
        adopted=tuple(run.run_id for run in seeds if run.tags.get(PARENT) not in parents),
    )


def _is_known(run: MirroredRun, present: Iterable[MirroredRun], held: Held) -> bool:
    """Whether a run that names no sender counts as sent by this folder."""
    if run.senders or run.ended is None:
        return False
    if not run.is_arm:
        return run.key in held.known
    children = {child.key for child in present if child.tags.get(PARENT) == run.run_id}
    return run.key == held.arm_key or (bool(children) and children <= held.known)


def _is_outdated(run: MirroredRun, held: Held, first: Mapping[str, MirroredRun], keeps_mean: bool) -> bool:
    """Whether a run that this folder sent, and that is not the one to keep of its key, is to be released."""
    if run.ended is None or run.key in first:
        return True
    if run.is_arm:
        return not keeps_mean
    superseded = held.seeds.get(run.seed)
    return run.key in held.replaced or (superseded is not None and superseded != run.key)

"""Put the runs of results folders that were made apart into one: which of them to take, and how.

`plan_merge` reads every run of the sources whole, and says of each what becomes of it; it refuses, before anything is
written, two different results of one key. `take_arm` then takes the runs of an arm, each whole or not at all. Sources
are only read.

**The result of a run** is what its key promises to be the same wherever it is trained: status, metrics, the digests of
its data, its initial kernels and its files. machine.json, the environment and the wording of settings are not. A run
may keep more files than another one of its key (`show_weights`, `keep_model`), or, stored by an earlier version, fewer
metrics: only what both have is held against each other, and the one with more files is kept.

**Runs of other settings** than those that an arm has here, as of another version of a package, would be compared with
these as if they were the same. They are put into `.replaced`, where the arm's own command finds them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import ConfigError
from pipeline.store.locks import hold_lock
from pipeline.store.meta import DamagedRunError, Meta, peek_meta
from pipeline.store.replaced import REPLACED, import_run, import_to_replaced
from pipeline.store.runs import DamagedRun, RunStore, read_run
from pipeline.store.studies import group_damaged

TAKE, REPLACE, HERE = "take", "set aside", "already here"
MOST_SHOWN = 4  # of the entries and files in which two results differ
SAME = ("status", "initial_kernels_digest", "data_digest")  # entries of run.json that are part of the result


class Found(NamedTuple):
    """What a merge has to know of a run. results: the folder of the results that it lies in."""

    results: Path
    path: Path
    arm: str
    seed: int
    key: str
    recipe: str
    result: Mapping[str, Any]
    digests: Mapping[str, str]
    data: frozenset[str]


def describe_run(results: Path, path: Path, meta: Meta) -> Found:
    """Keep of a run.json what a merge has to know."""
    result = {name: meta[name] for name in SAME} | meta["metrics"]
    data = frozenset(value for value in meta["config"]["data"].values() if isinstance(value, str))
    return Found(results, path, meta["arm"], meta["seed"], meta["key"], meta["recipe"], result, meta["digests"], data)


def differences(here: Found, there: Found) -> list[str]:
    """In what the results of two runs differ, in words: entries of run.json with their values, then files."""
    entries = [name for name in here.result if here.result[name] != there.result.get(name, here.result[name])]
    files = [name for name in here.digests if here.digests[name] != there.digests.get(name, here.digests[name])]
    return [*(f"{name} {here.result[name]} and {there.result[name]}" for name in entries), *files]


@dataclass
class StudyMerge:
    """What becomes of a study's runs. todo: arm -> the runs to take or to set aside; here: how many there are already.

    recipes: arm -> those of the runs that count in it. damaged: source and runs that do not count there. keys: of all
    runs that are here afterwards. to_aside: places of the runs that will be set aside. taken, aside: how many were
    taken, or set aside by arm. changed: a line for each that was not as planned when its turn came.
    """

    store: RunStore
    todo: dict[str, list[Found]] = field(default_factory=dict)
    here: int = 0
    damaged: list[tuple[Path, DamagedRun]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    taken: int = 0
    aside: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    recipes: dict[str, set[str]] = field(default_factory=dict)
    to_aside: set[Path] = field(default_factory=set)

    @property
    def expected(self) -> tuple[int, int]:
        """How many runs are to be taken, and how many to be set aside."""
        n_aside = sum(run.path in self.to_aside for runs in self.todo.values() for run in runs)
        return sum(map(len, self.todo.values())) - n_aside, n_aside

    @property
    def problems(self) -> list[str]:
        """A line for each run, or for many of one kind, that was not taken."""
        by_source: dict[Path, list[DamagedRun]] = {}
        for source, run in self.damaged:
            by_source.setdefault(source, []).append(run)
        groups = [(source, group) for source, runs in by_source.items() for group in group_damaged(runs)]
        lines = [
            f"{source}: {self.store.study}/{group.sentence}, not taken: {group.reason}" for source, group in groups
        ]
        return [*lines, *self.changed]


class ArmHere:
    """What an arm has where the runs go: recipe of its runs, and each run by seed, read whole only if it matters."""

    def __init__(self, store: RunStore, arm: str) -> None:
        self._store = store
        self.by_seed: dict[int, Found] = {}
        for path in store.run_folders(arm):
            meta = peek_meta(path)
            if meta and (meta["arm"], f"seed={meta['seed']}") == (arm, path.name):
                self.by_seed[meta["seed"]] = describe_run(store.results, path, meta)
        self.recipes = {run.recipe for run in self.by_seed.values()}

    def decide(self, run: Found) -> str:
        """What becomes of a run that comes from elsewhere. Raises ConfigError for another result of its key."""
        here = self._whole(run.seed)
        if here is not None and here.key == run.key:
            refuse_different(self._store.study, here, run)
            return HERE if set(run.digests) <= set(here.digests) else TAKE
        if here is not None or (self.recipes and run.recipe not in self.recipes):
            return REPLACE
        return TAKE

    def _whole(self, seed: int) -> Found | None:
        """The run of a seed; None for a damaged one, which makes room."""
        found = self.by_seed.get(seed)
        if found is not None and found.results == self._store.results:
            try:
                read_run(found.path, self._store.study)
            except DamagedRunError:
                del self.by_seed[seed]
                return None
        return found


def refuse_different(study: str, here: Found, there: Found) -> None:
    """Raise ConfigError where two runs of one key have different results."""
    if different := differences(here, there):
        shown = ", ".join(different[:MOST_SHOWN]) + (", ..." if len(different) > MOST_SHOWN else "")
        line = f"{study}/{there.arm}/seed={there.seed}: two results of one key, {there.key}: {shown}"
        where = f"in {here.results} and {there.results}"
        raise ConfigError(f"{line}, {where}; allowed: one result; remove one of the two runs")


def plan_merge(store: RunStore, sources: Sequence[Path]) -> StudyMerge:
    """Read all runs of a study in the sources, and decide what becomes of each. Raises ConfigError; writes nothing."""
    plan = StudyMerge(store)
    known: dict[str, Found] = {}
    arms: dict[str, ArmHere] = {}
    for arm in store.arm_names():
        arms[arm] = ArmHere(store, arm)
        for run in arms[arm].by_seed.values():
            known.setdefault(run.key, run)
    for source in sources:
        there = RunStore(source, store.study)
        for arm in there.arm_names():
            runs, damaged = there.read(arm, remember=False)
            plan.damaged += [(source, run) for run in damaged]
            found = [describe_run(source, run.path, run.meta) for run in runs]
            here = arms[arm] = arms.get(arm) or ArmHere(store, arm)
            here.recipes = here.recipes or {run.recipe for run in found}
            for run in found:
                _plan_run(plan, here, known, run)
    plan.keys, plan.recipes = set(known), {arm: here.recipes for arm, here in arms.items()}
    return plan


def _plan_run(plan: StudyMerge, here: ArmHere, known: dict[str, Found], run: Found) -> None:
    store = plan.store
    action = here.decide(run)
    if action == REPLACE:
        earlier = known.get(run.key) or _replaced(store.results, run.key)
        if earlier is not None:
            refuse_different(store.study, earlier, run)
            if set(run.digests) <= set(earlier.digests):
                action = HERE
    elif (twin := known.get(run.key)) is not None:
        refuse_different(store.study, twin, run)
    if action == HERE:
        plan.here += 1
        return
    known[run.key] = run
    if action == TAKE:
        here.by_seed[run.seed] = run
    else:
        plan.to_aside.add(run.path)
    plan.todo.setdefault(run.arm, []).append(run)


def _replaced(results: Path, key: str) -> Found | None:
    path = results / REPLACED / key
    meta = peek_meta(path)
    return describe_run(results, path, meta) if meta.get("key") == key else None


def take_arm(plan: StudyMerge, arm: str, progress: Callable[[], object] = lambda: None) -> None:
    """Take the planned runs of an arm, or set them aside. What is here now decides: another process may have been here.

    Counts in `plan` what became of each.
    """
    store = plan.store
    with hold_lock(store.lock_file(arm), f"{arm} of {store.study} is being merged"):
        here = ArmHere(store, arm)
        here.recipes = here.recipes or plan.recipes[arm]
        for run, problem in _take_runs(plan, here, arm):
            progress()
            if problem:
                plan.changed.append(f"{run.results}: {store.study}/{arm}/seed={run.seed}, not taken: {problem}")


def _take_runs(plan: StudyMerge, here: ArmHere, arm: str) -> Iterator[tuple[Found, str]]:
    store = plan.store
    for run in plan.todo[arm]:
        problem = ""
        try:
            action = here.decide(run)
            if action == TAKE:
                import_run(store, run.path, run.digests)
                here.by_seed[run.seed] = run
                plan.taken += 1
            elif action == REPLACE:
                import_to_replaced(store.results, run.path, run.digests)
                plan.aside[arm] = plan.aside.get(arm, 0) + 1
            else:
                plan.here += 1
        except (DamagedRunError, ConfigError) as error:
            problem = str(error)
        yield run, problem

"""A process that stores runs is killed at each of its file operations: no half of a run, nothing lost, nothing left.

The module is also the program that is killed: it forks a process per kill, which does the work of some jobs without
training, since importing what they need takes longer than the work.
"""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from factories import made_meta

from pipeline.config.schema import PROJECT
from pipeline.store.aside import sweep_aside
from pipeline.store.failures import Failure, clear_failure, record_failure
from pipeline.store.files import replace_file
from pipeline.store.folder_id import folder_id
from pipeline.store.meta import WEIGHTS, DamagedRunError
from pipeline.store.replaced import REPLACED, adopt_runs, replaced_keys, retire_run, write_run
from pipeline.store.runs import DamagedRun, RunStore, read_run

pytestmark = [pytest.mark.slow, pytest.mark.faults]

DAMAGED = "damaged/s/zeros/seed=1/history.csv"  # where a run that was damaged before the work must be in the end
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "tests")])}
Files = dict[str, bytes]


def do_work(results: Path) -> None:
    """Store, replace, take back and adopt runs, as jobs do; done again, it goes on from where it was killed."""
    store = RunStore(results, "s")
    sweep_aside(results)
    folder_id(results)
    record_failure(store, "zeros", Failure("bias_initializer=zeros", "killed", "log"))
    do_job(store, "zeros", "first", (0, 1))
    do_job(store, "zeros", "second", (0, 1))  # replaces the first
    do_job(store, "zeros", "first", (0,))  # which comes back
    do_job(store, "ones", "second", (0, 1))  # taken from the replaced ones
    do_job(store, "ones", "second", (0,), weights=True)  # which takes the place of the one without weights
    do_job(store, "ones", "third", (0, 1))
    clear_failure(store, "zeros")
    replace_file(results, store.folder / "ablation.csv", b"a table\n")


def do_job(store: RunStore, arm: str, recipe: str, seeds: Sequence[int], weights: bool = False) -> None:
    """What `run_arm` does, training excepted: a run's numbers follow from its recipe and seed."""
    needed = (WEIGHTS,) if weights else ()
    with store.lock(arm):
        present = {run.seed for run in store.runs(arm) if run.meta["recipe"] == recipe and run.has(*needed)}
        missing = {seed: [f"{recipe}-{seed}"] for seed in seeds if seed not in present}
        adopted = adopt_runs(store, missing, {"arm": arm}, needed)
        for seed in missing.keys() - adopted:
            arrays = {"after/dense/bias": np.random.default_rng([len(recipe), seed]).random(100)}
            meta = made_meta(arm, seed, key=f"{recipe}-{seed}", recipe=recipe)
            write_run(store, meta, arrays, {"loss": np.ones(2)}, arrays if weights else None)
        for run in store.runs(arm):
            if run.meta["recipe"] != recipe:
                retire_run(store.results, run)


def read_study(results: Path) -> Files:
    """The files of the study and of its damaged runs: what must be the same however often the work was killed."""
    folders = (results / "s", results / REPLACED / "damaged")
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in files}


def left_aside(results: Path) -> list[str]:
    """What there is in `.aside` besides locks, the folder for failures, and the identity of the folder."""
    names = [path.relative_to(results / ".aside").as_posix() for path in (results / ".aside").rglob("*")]
    return [name for name in names if not name.endswith(".lock") and name not in ("failed", "folder_id.json")]


def find_faults(results: Path, known: dict[str, Files]) -> list[str]:
    """What is wrong with the runs that there are. known: key -> the files that hold its numbers."""
    faults, store = [], RunStore(results, "s")
    runs, damaged = store.read()
    faults += [
        f"{run.name}: {run.reason}" for run in damaged if run.name != "zeros/seed=1" or "digest" not in run.reason
    ]
    for path in (path for path in (results / REPLACED).glob("*") if path.name != "damaged"):
        try:
            runs.append(read_run(path))
        except DamagedRunError as error:
            faults.append(f"{path.name}: {error}")
    for run in runs:
        for name in run.meta["digests"]:
            if (run.path / name).read_bytes() != known[run.key][name]:
                faults.append(f"{run.path}: {name} has other numbers")
    return faults


def fork_work(results: Path, kill_at: int | None = None) -> tuple[int, int]:
    """Do the work in a process of its own. Returns its exit code (-9: killed), and how many operations it counted.

    kill_at: the file operation that it is killed in front of.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        count, inside = 0, str(results)

        def watch(event: str, arguments: tuple) -> None:
            nonlocal count
            if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink"):
                changes = True
            else:
                changes = event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            # Within a tree that is removed, paths are relative to its folder.
            if changes and (str(arguments[0]).startswith(inside) or not str(arguments[0]).startswith("/")):
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1

        sys.addaudithook(watch)
        code = 1
        try:
            do_work(results)
            code = 0
        finally:
            os.write(writer, str(count).encode())
            os._exit(code)
    os.close(writer)
    _, status = os.waitpid(pid, 0)
    with os.fdopen(reader) as pipe:
        return os.waitstatus_to_exitcode(status), int(pipe.read() or -1)


def make_results(folder: Path) -> Path:
    """A results folder with a damaged run in it."""
    run = write_run(RunStore(folder, "s"), made_meta("zeros", 1, key="lost"), {}, {"loss": np.ones(2)})
    (run.path / "history.csv").write_text("damaged")
    return folder


def kill_everywhere(folder: Path) -> dict[str, object]:
    """Kill the work in front of each of its file operations, and again at one by chance before it may end."""
    reference = make_results(folder / "reference")
    code, operations = fork_work(reference)
    assert code == 0
    expected = read_study(reference)
    runs = [*RunStore(reference, "s").runs(), *map(read_run, (reference / REPLACED).glob("*-*"))]
    known: dict[str, Files] = {}
    for run in runs:
        known.setdefault(run.key, {}).update({name: (run.path / name).read_bytes() for name in run.meta["digests"]})
    chance, faults, kills = random.Random(0), [], 0
    for at in range(operations):
        results = make_results(folder / f"killed-at-{at}")
        for kill_at in (at, chance.randrange(operations)):
            code, _ = fork_work(results, kill_at)
            kills += code == -signal.SIGKILL
            faults += [f"killed at {at}: {fault}" for fault in find_faults(results, known)]
        code, _ = fork_work(results)
        last = read_study(results)
        different = [name for name in {**expected, **last} if expected.get(name) != last.get(name)]
        faults += [f"killed at {at}, then done again: {name} differs" for name in different]
        lost = replaced_keys(reference) - replaced_keys(results)
        faults += [f"killed at {at}, then done again: {key} is lost" for key in lost]
        faults += [f"killed at {at}: {name} is left in .aside" for name in left_aside(results)]
        faults += [f"killed at {at}: exit code {code}"] if code else []
    return {"operations": operations, "kills": kills, "faults": faults, "kept": DAMAGED in "\n".join(expected)}


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is such a thing: flushing takes no time there."""
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as folder:
        yield Path(folder)


def test_a_kill_at_any_file_operation_costs_nothing(memory: Path, figure: Callable[[str], None]) -> None:
    """After each kill every run is whole and has its numbers; the same work then ends with the same bytes."""
    command = [sys.executable, str(Path(__file__)), str(memory)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    figure(f"{answer['operations']} file operations, {answer['kills']} kills: {len(answer['faults'])} faults")
    assert answer["faults"] == []
    assert answer["kept"]
    assert answer["operations"] > 100 and answer["kills"] > answer["operations"]


def replace_forever(results: Path) -> None:
    """Replace the runs of an arm by others, and these by the first, again and again."""
    for number in itertools.count():
        do_job(RunStore(results, "s"), "zeros", ("first", "second", "third")[number % 3], range(5))


def test_a_run_that_is_being_replaced_is_never_called_damaged(memory: Path, figure: Callable[[str], None]) -> None:
    """Whoever reads meanwhile sees the old run, the new one or none; never half of each."""
    store = RunStore(memory, "s")
    do_job(store, "zeros", "first", range(5))
    with subprocess.Popen([sys.executable, str(Path(__file__)), str(memory), "replace"], env=ENVIRONMENT) as writer:
        seen: set[str] = set()
        damaged: list[DamagedRun] = []
        reads, deadline = 0, time.monotonic() + 60
        while (reads < 1500 or len(seen) < 3) and time.monotonic() < deadline:
            runs, bad = store.read()
            damaged += bad
            seen |= {run.meta["recipe"] for run in runs}
            reads += 1
        writer.kill()
    figure(f"{reads} reads of 5 runs that are being replaced: {len(damaged)} called damaged")
    assert damaged == []
    assert seen == {"first", "second", "third"}


if __name__ == "__main__":
    if "replace" in sys.argv:
        replace_forever(Path(sys.argv[1]))
    print(json.dumps(kill_everywhere(Path(sys.argv[1]))))

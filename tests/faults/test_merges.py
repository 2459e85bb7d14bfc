"""Results folders made apart become one: the bytes of a study trained in one go, also where the merge was killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories import put_all
from faults.forks import Forks

from pipeline import compare, merge
from pipeline.config.schema import PROJECT
from pipeline.installation import module_environment
from pipeline.store.meta import MACHINE
from pipeline.store.runs import RunStore

pytestmark = [pytest.mark.slow, pytest.mark.faults]

SWEEP = ("-m", "data=iris", "model=mlp", "training.epochs=2", "training.xla=false", "bias_initializer=zeros,ones",
         "tracking=none")  # fmt: skip
STUDY = "iris-mlp"


def contents(results: Path, hidden: bool = False) -> dict[str, bytes]:
    """Every file of the studies, but those that say how long a run took; with `hidden`, those beside them too."""
    files = [path for path in results.rglob("*") if path.is_file() and path.name != MACHINE]
    named = {str(path.relative_to(results)): path.read_bytes() for path in files}
    return {name: content for name, content in named.items() if hidden or not name.startswith(".")}


def started(*arguments: object) -> subprocess.Popen[str]:
    """A merge in a process of its own."""
    command = [sys.executable, "-m", "pipeline.merge", *map(str, arguments)]
    return subprocess.Popen(command, cwd=PROJECT, env=module_environment(), text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)  # fmt: skip


def test_two_halves_are_the_study_trained_in_one_go(forks: Forks, tmp_path: Path) -> None:
    """All files of runs are, the tables, and what `compare` says; the same command then trains nothing."""
    for name, seeds in (("whole", "[0,1,2,3,4,5]"), ("half", "[0,1,2]"), ("other", "[3,4,5]")):
        places = [f"results={tmp_path / name}", f"hydra.sweep.dir={tmp_path / f'{name}-logs'}"]
        command = forks.start(tmp_path / f"{name}.log", *SWEEP, f"seeds={seeds}", *places)
        assert command.wait() == 0, command.lines
    merged = tmp_path / "merged"
    assert merge.main([str(tmp_path / "half"), str(tmp_path / "other"), f"results={merged}"]) == 0
    whole, together = contents(tmp_path / "whole"), contents(merged)
    assert {name: together.get(name) for name in whole if "seed=" in name} == {
        n: c for n, c in whole.items() if "seed=" in n
    }
    assert set(whole) == set(together)
    for name in ("whole", "merged"):
        arguments = [
            f"results={tmp_path / name}",
            f"reports={tmp_path / name}-reports",
            "mlflow=false",
            "figures=false",
        ]
        assert compare.main(arguments) == 0
    answers = [(tmp_path / f"{name}-reports" / STUDY / "comparison.json") for name in ("whole", "merged")]
    assert answers[0].read_bytes() == answers[1].read_bytes()
    again = forks.start(
        tmp_path / "again.log", *SWEEP, "seeds=6", f"results={merged}", f"hydra.sweep.dir={tmp_path / 'l'}"
    )
    assert again.wait() == 0, again.lines
    assert contents(merged) == {**together, f"{STUDY}/answers.json": contents(merged)[f"{STUDY}/answers.json"]}


def test_a_merge_killed_at_any_moment_goes_on(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """What is there after kill -9 is whole, and the same command takes the rest; the source stays as it was."""
    for arm in ("zeros", "ones"):
        put_all(tmp_path / "there", arm, [0.5] * 150)
    source = contents(tmp_path / "there", hidden=True)
    whole = contents(tmp_path / "there")
    there, here = tmp_path / "there", tmp_path / "here"
    store, random, found, alive = RunStore(here, "s"), np.random.default_rng(3), [], 0
    for _ in range(8):
        wanted = min(290, len(list(here.glob("s/*/seed=*"))) + int(random.integers(1, 40)))
        process = started(there, f"results={here}")
        while process.poll() is None and len(list(here.glob("s/*/seed=*"))) < wanted:
            time.sleep(0.001)
        process.kill()
        process.communicate()
        alive += process.returncode == -signal.SIGKILL
        assert not store.damaged()
        found.append(len(store.runs()))
        assert contents(here).items() <= whole.items()
    finished = started(there, f"results={here}")
    told = finished.communicate()[0]
    assert finished.returncode == 0, told
    assert contents(here) == whole and not list((here / ".aside").glob("tmp*"))
    assert contents(there, hidden=True) == source
    figure(f"{alive} of 8 merges killed, with {found[0]} to {found[-1]} of 300 runs there: none lost or changed")
    assert alive >= 6


def test_merges_at_once(tmp_path: Path) -> None:
    """Of one source, and of two into the same folder: every run is there once, and each merge reports success."""
    put_all(tmp_path / "a", "zeros", [0.5] * 60)
    put_all(tmp_path / "b", "ones", [0.5] * 60)
    put_all(tmp_path / "b", "zeros", [0.5] * 70)
    here = tmp_path / "here"
    merges = [started(tmp_path / name, f"results={here}") for name in ("a", "a", "b", "b")]
    outputs = [process.communicate()[0] for process in merges]
    assert [process.returncode for process in merges] == [0] * 4, outputs
    assert contents(here) == contents(tmp_path / "b") and not (here / ".replaced").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_the_folder_of_another_user(tmp_path: Path) -> None:
    """One that can only be read is merged; what cannot be read is refused or named, and nothing is passed over."""
    there, here = tmp_path / "there", tmp_path / "here"
    put_all(there, "zeros", [0.5] * 3)
    put_all(there, "ones", [0.5] * 3, study="t")
    here.mkdir()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    here.chmod(0o777)

    def merge_as_nobody() -> tuple[int, str]:
        command = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-B", "-m", "pipeline.merge"]
        environment = module_environment() | {"HOME": str(here)}
        done = subprocess.run([*command, str(there), f"results={here}"], cwd=PROJECT, env=environment, text=True,
                              capture_output=True, check=False)  # fmt: skip
        return done.returncode, done.stderr

    (there / "s" / "zeros" / "seed=1" / "run.json").chmod(0)
    code, told = merge_as_nobody()
    assert code == 1 and told.count("\n") == 1 and "s/zeros/seed=1 is damaged, not taken: it cannot be read" in told
    assert len(RunStore(here, "s").runs()) == 2 and len(RunStore(here, "t").runs()) == 3
    (there / "s" / "zeros").chmod(0)
    code, told = merge_as_nobody()
    assert code == 2 and told == f"OTHER/results: {there / 's' / 'zeros'} cannot be read: Permission denied\n"
    (there / "t").chmod(0)
    code, told = merge_as_nobody()
    assert code == 2 and told == f"OTHER/results: {there / 't'} cannot be read: Permission denied\n"

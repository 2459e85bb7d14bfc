"""Temporary folders of the results: held as long as their process lives, swept when it is gone."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.config.schema import PROJECT
from pipeline.store.aside import HELD, aside_folder, sweep_aside, temporary_folder
from pipeline.store.failures import Failure, read_failure, record_failure
from pipeline.store.locks import hold_lock
from pipeline.store.runs import RunStore

HOLD = (
    "import sys, os, signal; from pathlib import Path; from pipeline.store.aside import temporary_folder\n"
    "with temporary_folder(Path(sys.argv[1])) as folder:\n"
    "    (folder / 'half').write_text('a run'); print(folder, flush=True); sys.stdin.read()\n"
)


def test_folders_of_a_killed_process_are_swept_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    """A process keeps its folder as long as it lives, also when it is suspended; killed, it leaves it to the next."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        sweep_aside(tmp_path)
        assert (folder / "half").is_file()
        process.kill()
        process.wait()
    sweep_aside(tmp_path)
    assert not folder.exists()


def test_a_sweep_takes_nothing_else(tmp_path: Path) -> None:
    """Records of failures, locks that are held, and files that nobody knows stay; notes of dead holders go."""
    store, failure = RunStore(tmp_path, "s"), Failure("bias_initializer=ones", "ValueError: no", "log")
    record_failure(store, "ones", failure)
    (aside_folder(tmp_path) / "notes.txt").write_text("mine")
    (aside_folder(tmp_path) / "dead.lock.holder").write_text("{}")
    (aside_folder(tmp_path) / "tmpearlier").mkdir()  # as an earlier version made them
    with hold_lock(tmp_path / ".aside" / "arm.lock", "zeros is being trained"), temporary_folder(tmp_path) as folder:
        sweep_aside(tmp_path)
        assert (folder / HELD).is_file()
        assert (tmp_path / ".aside" / "arm.lock.holder").is_file()
    names = {path.name for path in (tmp_path / ".aside").iterdir() if path.suffix != ".lock"}
    assert names == {"failed", "notes.txt"}
    assert read_failure(store, "ones") == failure


def test_a_folder_can_be_made_while_others_are_swept(tmp_path: Path) -> None:
    """No sweep takes a folder that is being made, however often they meet."""
    aside_folder(tmp_path)

    def make(number: int) -> bool:
        with temporary_folder(tmp_path) as folder:
            (folder / "half").write_text(str(number))
            return (folder / "half").read_text() == str(number)

    with ThreadPoolExecutor(8) as pool:
        sweeps = [pool.submit(sweep_aside, tmp_path) for _ in range(100)]
        assert all(pool.map(make, range(100)))
        for sweep in sweeps:
            sweep.result()
    sweep_aside(tmp_path)
    assert list((tmp_path / ".aside").glob("tmp*")) == []


def test_a_sweep_between_making_a_folder_and_holding_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that a sweep takes before it is held is made again."""

    def make_and_sweep(make: Callable[..., str] = tempfile.mkdtemp, **where: Path) -> str:
        folder = make(**where)
        sweep_aside(tmp_path)
        assert not Path(folder).exists()
        return folder

    monkeypatch.setattr("tempfile.mkdtemp", make_and_sweep)
    with temporary_folder(tmp_path) as folder:
        sweep_aside(tmp_path)
        assert (folder / HELD).is_file()


def test_a_folder_goes_with_what_is_in_it(tmp_path: Path) -> None:
    """An error within the context ends like success: nothing is left."""
    with pytest.raises(ZeroDivisionError), temporary_folder(tmp_path) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("x")
        (folder / "link").symlink_to("nowhere")
        _ = 1 / 0
    assert not folder.exists()


def test_nothing_is_made_where_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    """A sweep makes no folder of its own, also through a link to nothing."""
    sweep_aside(tmp_path)
    (tmp_path / ".aside").symlink_to(tmp_path / "nowhere")
    sweep_aside(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".aside"]

"""Runs that were read are not hashed again as long as nothing has changed, and whatever has changed is read."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from factories import CommandResult, TrainedStudy, put

from pipeline.store import known
from pipeline.store.peeked import peek_runs
from pipeline.store.runs import RunStore

FILES = ("run.json", "biases.npz", "history.csv")
opened: list[str] = []  # by this process, as long as `counting`
_is_counting = [False]


def _audit(event: str, arguments: tuple) -> None:
    if _is_counting[0] and event == "open":
        opened.append(str(arguments[0]))


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember arms of two runs, which settle at once."""
    monkeypatch.setattr(known, "MANY", 2)
    monkeypatch.setattr(known, "SETTLED", 0)


@pytest.fixture
def counting() -> Iterator[Callable[[], list[str]]]:
    """`counting()` begins to count; afterwards `opened` has the files of runs that were opened."""

    def begin() -> list[str]:
        opened.clear()
        _is_counting[0] = True
        return opened

    yield begin
    _is_counting[0] = False


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """An arm of three runs, which were read by another process."""
    for seed in range(3):
        put(tmp_path, "zeros", seed, 0.5 + seed / 10)
    time.sleep(0.02)  # the clock of the file system ticks every few milliseconds
    store = RunStore(tmp_path, "s")
    assert len(store.runs()) == 3
    _forget()
    return store


def _forget() -> None:
    """Be another process."""
    known._known.clear()


def _of_runs(files: list[str]) -> list[str]:
    return [file for file in files if "seed=" in file]


def _memory(store: RunStore) -> Path:
    (file,) = (store.results / ".aside" / "known").iterdir()
    return file


def test_a_second_reading_opens_no_file(store: RunStore, counting: Callable[[], list[str]]) -> None:
    """It gives the same runs, in this process and the next; `anew` reads each file again."""
    files = counting()
    again = store.runs()
    assert not _of_runs(files)
    read, damaged = store.read(anew=True)
    assert len(_of_runs(files)) >= 3 * len(FILES) and not damaged
    assert [run.meta for run in again] == [run.meta for run in read]
    assert [list(run.meta) for run in again] == [list(run.meta) for run in read]
    files.clear()
    assert set(peek_runs(store, "zeros")) == {0, 1, 2}
    assert not _of_runs(files)


@pytest.mark.parametrize("name", FILES)
def test_an_edit_that_puts_the_time_back_is_seen(store: RunStore, name: str) -> None:
    """A bit of a file of the same size, time and inode makes a run damaged."""
    file = store.run_folder("zeros", 1) / name
    content, status = bytearray(file.read_bytes()), file.stat()
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    for _ in range(2):
        runs, damaged = store.read()
        assert [run.seed for run in runs] == [0, 2] and [run.seed for run in damaged] == [1]


def test_a_file_in_the_place_of_another_is_seen(store: RunStore) -> None:
    """Also if it is one that was read, and as old as that one."""
    first, second = store.run_folder("zeros", 0) / "history.csv", store.run_folder("zeros", 1) / "history.csv"
    status = second.stat()
    first.replace(second)
    os.utime(second, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [run.seed for run in store.damaged()] == [0, 1]


def test_folders_that_change_places_are_seen(store: RunStore) -> None:
    """A run of another seed, arm or study is a copy; one that is gone is no run."""
    folder = store.run_folder("zeros", 1)
    folder.rename(folder.with_name("seed=7"))
    runs, damaged = store.read()
    assert [run.seed for run in runs] == [0, 2] and damaged[0].is_copy
    (store.folder / "zeros").rename(store.folder / "ones")
    assert store.runs() == []
    store.folder.rename(store.results / "other")
    assert RunStore(store.results, "other").runs() == []


def test_what_has_just_changed_is_not_remembered(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second change could bear the same time, as far as the clock of a file system tells."""
    monkeypatch.setattr(known, "SETTLED", 2 * 10**9)
    _memory(store).unlink()
    store.runs()
    assert not list((store.results / ".aside" / "known").iterdir())


@pytest.mark.parametrize("damage", ["flipped", "cut", "other rules", "removed"])
def test_a_memory_that_cannot_be_relied_on_is_none(
    store: RunStore, counting: Callable[[], list[str]], damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files are then read."""
    file = _memory(store)
    content = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(content.replace(b"0.5", b"0.9", 1))
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "removed":
        file.unlink()
    else:
        monkeypatch.setattr(known, "_rules", lambda: "others")
    files = counting()
    assert [run.meta["metrics"]["test_accuracy"] for run in store.runs()] == [0.5, 0.6, 0.7]
    assert len(_of_runs(files)) >= 3 * len(FILES)


def test_a_damage_that_only_reading_finds_is_not_forgotten(store: RunStore) -> None:
    """Where a disk has altered a byte by itself, whoever reads anew finds it, and from then on everybody does."""
    file = _memory(store)
    runs = known._decode(file.read_bytes())
    (store.run_folder("zeros", 1) / "biases.npz").write_bytes(b"rot")
    stats, meta = runs["seed=1"]
    rotten = known._stat(str(store.run_folder("zeros", 1) / "biases.npz"))
    assert rotten is not None
    stats[[known.RUN, *meta["digests"]].index("biases.npz")] = rotten
    file.write_bytes(known._encode(runs))
    assert not store.damaged()
    assert [run.seed for run in store.read(anew=True)[1]] == [1]
    _forget()
    assert [run.seed for run in store.damaged()] == [1]


def test_nothing_is_remembered_where_that_is_not_wanted(store: RunStore) -> None:
    """The folders that `merge` takes runs from are only read."""
    _memory(store).unlink()
    assert len(store.read(remember=False)[0]) == 3
    assert not list((store.results / ".aside" / "known").iterdir())


def test_a_folder_that_may_not_be_written_is_read(store: RunStore) -> None:
    """Where the memory cannot be written, runs are read all the same."""
    _memory(store).unlink()
    (store.results / ".aside" / "known").rmdir()
    (store.results / ".aside" / "known").write_text("in the way")
    assert len(store.runs()) == 3


@pytest.mark.slow
def test_a_finished_sweep_opens_no_file_of_a_run(
    trained_study: TrainedStudy, cli: Callable[..., CommandResult], counting: Callable[[], list[str]]
) -> None:
    """`--plan`, `--status` and the same command again open the files of finished runs once, all of them together."""
    time.sleep(0.02)
    request = (*trained_study.overrides, f"results={trained_study.results}", "bias_initializer=zeros,glorot")
    assert cli("-m", *request, "ablation=false").code == 0
    files = counting()
    for option in (["--plan"], ["--status"], []):
        result = cli("-m", *option, *request, "ablation=false")
        assert result.code == 0, result.err
        assert not _of_runs(files), option
    for file in trained_study.results.glob("*/zeros*/seed=1/history.csv"):
        file.write_text("")
    assert "is damaged" in cli("-m", "--plan", *request).out

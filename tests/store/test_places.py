"""What is in the way of results is found before training; more of it is in tests/faults/test_places.py."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.store.aside import SWEEP
from pipeline.store.failures import Failure, failure_file, read_failure, record_failure
from pipeline.store.files import check_writable
from pipeline.store.places import check_file, check_places
from pipeline.store.runs import RunStore

ARM = "zeros"
LOCKS: dict[str, Callable[[RunStore], Path]] = {
    "an arm's lock": lambda store: store.lock_file(ARM),
    "the lock of a study's tables": lambda store: store.lock_file(),
    "the lock of whoever sweeps": lambda store: store.results / ".aside" / SWEEP,
}
OBSTACLES: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link": lambda path: path.symlink_to(Path(__file__)),
    "no file": os.mkfifo,
}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """A store with an empty results folder."""
    (tmp_path / ".aside" / "failed").mkdir(parents=True)
    return RunStore(tmp_path, "s")


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_lies_in_the_place_of_a_lock_is_named(lock: str, obstacle: str, store: RunStore) -> None:
    """A lock that was held before, an empty file, is not in the way."""
    path = LOCKS[lock](store)
    path.touch()
    check_places(store, ARM, [0])
    path.unlink()
    OBSTACLES[obstacle](path)
    with pytest.raises(ConfigError) as refusal:
        check_places(store, ARM, [0])
    assert str(refusal.value) == f"results: {path} is {obstacle}; allowed: a file, or nothing; move it away"


def test_the_lock_that_is_checked_is_the_lock_that_is_held(store: RunStore) -> None:
    """`RunStore.lock` holds the file that `lock_file` names, of an arm and of the study."""
    for name in (ARM, ""):
        with store.lock(name):
            assert store.lock_file(name).is_file() and list(store.lock_file(name).parent.glob("*.holder"))


def test_a_folder_in_the_place_of_a_failures_record_is_named(store: RunStore) -> None:
    """A record that was written is not in the way."""
    record_failure(store, ARM, Failure("seeds=1", "killed", "train.log"))
    assert read_failure(store, ARM) is not None
    check_places(store, ARM, [0])
    failure_file(store, ARM).unlink()
    failure_file(store, ARM).mkdir()
    with pytest.raises(ConfigError, match=r"^results: .*\.json is a folder; allowed: "):
        check_places(store, ARM, [0])


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.parametrize("place", ["s", f"s/{ARM}", ".replaced", ".aside"])
def test_results_on_two_file_systems_are_refused(place: str, store: RunStore, other_disk: Path) -> None:
    """A run is renamed to its place, which no system does across disks; where nothing is to be stored, it may stay."""
    path = store.results / place
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        (path / "failed").rmdir()
        path.rmdir()
    path.symlink_to(other_disk)
    check_places(store, ARM, [])
    with pytest.raises(ConfigError, match=r"^results: .* is on another file system than .*; allowed: one file system"):
        check_places(store, ARM, [0])


def test_a_name_that_the_system_does_not_take_is_found_below_a_missing_folder(tmp_path: Path) -> None:
    """The system itself judges a name only where its folder exists."""
    check_writable(tmp_path / "missing" / "x" / "y", "results")
    with pytest.raises(ConfigError, match=r"^results: .* cannot be written: File name too long$"):
        check_writable(tmp_path / "missing" / (300 * "x"), "results")


def test_a_device_may_take_a_log(tmp_path: Path) -> None:
    """As /dev/stderr does; so may a link to a file."""
    check_file(Path(os.devnull), "hydra.job_logging.handlers.file.filename")
    (tmp_path / "log").touch()
    (tmp_path / "link").symlink_to("log")
    check_file(tmp_path / "link", "hydra.job_logging.handlers.file.filename")

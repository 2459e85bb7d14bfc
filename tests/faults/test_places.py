"""Something else lies where a folder belongs: refused in one line that names the path, before anything is written."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from factories import CommandResult, put_all

from pipeline import compare, sync
from pipeline.errors import ConfigError
from pipeline.store.places import check_places
from pipeline.store.runs import RunStore

pytestmark = [pytest.mark.slow, pytest.mark.faults]

JOB = ("data=iris", "model=linear", "training.epochs=1", "seeds=2", "bias_initializer=zeros")
STUDY, ARM = "iris-linear", "zeros,training.epochs=1"
PLACES = ("results", "results/.aside", "results/.aside/failed", "results/.replaced", "results/.replaced/damaged",
          f"results/.replaced/damaged/{STUDY}", f"results/.replaced/damaged/{STUDY}/{ARM}",
          f"results/{STUDY}", f"results/{STUDY}/{ARM}", f"results/{STUDY}/{ARM}/seed=1")  # fmt: skip
REPORTS = ("reports", "reports/s", "reports/s/figures", "reports/s/plots")
OTHERS: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_text("precious"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe": os.mkfifo,
}


def tree(folder: Path) -> list[str]:
    """The name of everything there is."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("mode", ["", "-m", "--plan"])
def test_train_refuses_a_taken_place(
    cli: Callable[..., CommandResult], tmp_path: Path, mode: str, figure: Callable[[str], None]
) -> None:
    """Exit code 2, one line with the path, and not a file is made."""
    taken = list(product(PLACES, OTHERS))[:: 3 if mode else 1]  # a sweep and a plan make the same checks
    for place, what in taken:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        OTHERS[what](path)
        before = tree(tmp_path)
        result = cli(*filter(None, [mode]), *JOB)
        assert result.code == 2, f"{place} is {what}: {result}"
        assert str(path) in result.err and result.err.count("\n") == 1
        assert result.err.startswith("results: ")
        assert tree(tmp_path) == before
        path.unlink()
    for table in ("ablation.csv", "dead_units.csv"):
        (tmp_path / "results" / STUDY / table).mkdir()
        result = cli(*filter(None, [mode]), *JOB)
        assert (result.code, result.err.count("\n")) == (2, 1) and f"{table} is a folder" in result.err
        (tmp_path / "results" / STUDY / table).rmdir()
    figure(f"train {mode}: {len(taken) + 2} taken places, all refused in one line")


@pytest.mark.parametrize("what", OTHERS)
def test_compare_refuses_a_taken_place(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    """Exit code 2 and one line, before anything of the report is written."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    for place in REPORTS:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        OTHERS[what](path)
        before = tree(tmp_path)
        options = [
            f"results={tmp_path / 'results'}",
            f"reports={tmp_path / 'reports'}",
            "figures=false",
            "mlflow=false",
        ]
        assert compare.main(options) == 2
        error = capsys.readouterr().err
        assert str(path) in error and error.count("\n") == 1 and error.startswith("reports: ")
        assert tree(tmp_path) == before
        path.unlink()


@pytest.mark.parametrize("what", OTHERS)
def test_sync_refuses_a_taken_place(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    """Exit code 2 and one line; nothing is written."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    shutil.rmtree(tmp_path / "results" / ".aside")
    OTHERS[what](tmp_path / "results" / ".aside")
    before = tree(tmp_path)
    assert sync.main([f"results={tmp_path / 'results'}", f"uri=sqlite:///{tmp_path / 'mlflow.db'}"]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "results" / ".aside") in error and error.count("\n") == 1
    assert tree(tmp_path) == before


@pytest.fixture
def stranger() -> Iterator[Path]:
    """A folder of a user who is not root, whom this process then is."""
    folder = Path(tempfile.mkdtemp())
    user, nobody = os.geteuid(), 65534
    if user == 0:
        os.chown(folder, nobody, nobody)
        os.seteuid(nobody)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    os.seteuid(user)
    shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written_is_refused(stranger: Path, figure: Callable[[str], None]) -> None:
    """Each of them is named, whether the folder is there already or would be made in it."""
    store = RunStore(stranger / "results", STUDY)
    places = [stranger / place for place in PLACES]
    store.run_folder(ARM, 1).mkdir(parents=True)
    for place in places[1:7]:
        place.mkdir(exist_ok=True)
    check_places(store, ARM, [0, 1])
    for place in places[:-1]:
        place.chmod(0o555)
        with pytest.raises(ConfigError, match=r"^results: .* cannot be written: Permission denied$") as refusal:
            check_places(store, ARM, [0, 1])
        assert str(place) in str(refusal.value)
        place.chmod(0o755)
    figure(f"{len(places) - 1} folders that may not be written, all refused in one line")


def test_a_run_that_may_not_be_read_is_named(stranger: Path) -> None:
    """The run, or the arm that cannot be listed, is damaged; the others count."""
    put_all(stranger, "zeros", [0.5, 0.7])
    put_all(stranger, "ones", [0.5])
    store, arm = RunStore(stranger, "s"), stranger / "s" / "zeros"
    for path, mode, damaged in (
        (arm / "seed=0" / "run.json", 0o000, ["zeros/seed=0"]),
        (arm / "seed=0" / "history.csv", 0o000, ["zeros/seed=0"]),
        (arm / "seed=0", 0o000, ["zeros/seed=0"]),
        (arm, 0o444, ["zeros/seed=0", "zeros/seed=1"]),
        (arm, 0o000, ["s/zeros"]),
    ):
        path.chmod(mode)
        assert [run.name for run in store.damaged()] == damaged
        assert {run.reason for run in store.damaged()} == {"it cannot be read: Permission denied"}
        assert "ones" in {run.arm for run in store.runs()}
        path.chmod(0o755)
    assert len(store.runs()) == 3

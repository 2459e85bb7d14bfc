"""`pipeline.prune` shows what takes space without counting, and removes only that."""

import shutil
from pathlib import Path

import pytest
from factories import MLflowStore, TrainedStudy, put
from filelock import FileLock

from pipeline import prune, sync
from pipeline.runtime.hashing import digest
from pipeline.store.replaced import retire_run
from pipeline.store.runs import RunStore
from pipeline.store.space import find_waste


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with two runs that count, and one piece of each kind that does not."""
    results = tmp_path / "results"
    for seed in (0, 1, 2):
        put(results, "zeros", seed, 0.5, study="s")
    retire_run(results, RunStore(results, "s").runs("zeros")[2])
    for place in (".replaced/damaged/s/zeros/seed=9/run.json", ".aside/tmpdead/new/run.json", ".data/unnamed.npz"):
        (results / place).parent.mkdir(parents=True, exist_ok=True)
        (results / place).write_bytes(b"x" * 2**20)
    named = b"rows"
    (results / ".data" / f"{digest(named)}.npz").write_bytes(named)
    return results


def stored(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(results: Path, *more: str) -> int:
    return prune.main([f"results={results}", f"uri=sqlite:///{results.parent / 'none.db'}", *more])


def test_a_dry_run_removes_nothing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind is named with its size."""
    before = stored(results / "s") | stored(results / ".replaced") | stored(results / ".data")
    assert command(results, "--dry-run") == 0
    shown = capsys.readouterr().out
    for kind in ("replaced runs", "damaged runs", "left-overs", "no run names"):
        assert kind in shown
    assert shown.count("1.0 MiB") >= 2
    assert before == stored(results / "s") | stored(results / ".replaced") | stored(results / ".data")


def test_what_counts_is_kept(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --yes all of it goes, and no run that counts; afterwards there is nothing to remove."""
    before = stored(results / "s")
    assert command(results, "--yes") == 0
    assert stored(results / "s") == before and len(RunStore(results, "s").runs()) == 2
    assert not stored(results / ".replaced") and not list((results / ".aside").glob("tmp*"))
    assert command(results) == 0
    assert capsys.readouterr().out.endswith("Nothing to remove.\n")


def test_it_waits_for_no_one(results: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """While something trains, or where nobody can be asked, it is refused in one line, and nothing is removed."""
    before = stored(results / ".replaced")
    with FileLock(RunStore(results, "s").lock_file("zeros")):
        assert command(results, "--yes") == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert command(results) == 2
    assert capfd.readouterr().err.startswith("--yes: not given, and there is no terminal to ask on")
    assert command(results, "--yes", "--dry-run") == 2
    assert stored(results / ".replaced") == before


def test_data_that_a_run_names_stays(results: Path) -> None:
    """By the name of the file or by the digest of its bytes; a run that was replaced may come back, and counts too."""
    run = results / ".replaced" / "key" / "run.json"
    run.parent.mkdir()
    run.write_text(f"unnamed, {digest(b'rows')}")
    assert not [kind for kind in find_waste(results) if "data" in kind.what]
    run.write_text("another")
    assert [len(kind.paths) for kind in find_waste(results) if "data" in kind.what] == [2]


def test_damaged_runs_in_their_place_are_named_and_stay(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So is a copied folder, in the words of `compare`; --yes removes neither."""
    assert command(results, "--yes") == 0
    shutil.copytree(results / "s" / "zeros", results / "s" / "zeros-old")
    (results / "s" / "zeros" / "seed=1" / "history.csv").write_text("edited")
    before = stored(results / "s")
    capsys.readouterr()
    for flag in ("--dry-run", "--yes"):
        assert command(results, flag) == 0
        damaged, copy, last = capsys.readouterr().out.splitlines()
        assert damaged.startswith("Not removed: s/zeros/seed=1 is damaged, and does not count: history.csv ")
        assert damaged.endswith("remove the folder, or train the arm again if it asks for that seed.")
        assert copy.startswith("Not removed: s/zeros-old (2 seeds) is a copy, and does not count: run.json says arm")
        assert last == "Nothing to remove."
    assert stored(results / "s") == before


@pytest.mark.slow
def test_deleted_runs_of_mlflow(trained_study: TrainedStudy, mlflow_store: str, tmp_path: Path) -> None:
    """Their artifacts are removed, and those of other runs stay."""
    assert sync.main([f"results={trained_study.results}", f"uri={mlflow_store}"]) == 0
    store = MLflowStore(mlflow_store)
    first, *others = store.active(trained_study.name)
    store.client.delete_run(first.info.run_id)
    places = {run.info.run_id: Path(run.info.artifact_uri.removeprefix("file://")) for run in (first, *others)}
    assert places[first.info.run_id].parent.is_dir()
    assert prune.main([f"results={trained_study.results}", f"uri={mlflow_store}", "--yes"]) == 0
    assert not places[first.info.run_id].is_dir()
    assert len(store.active(trained_study.name)) == len(others)
    assert all(places[run.info.run_id].is_dir() for run in others if any(store.client.list_artifacts(run.info.run_id)))
    shutil.rmtree(trained_study.results)

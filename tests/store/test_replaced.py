"""Runs on disk: whole or not at all, replaced and taken back, the same bytes everywhere."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import put, put_all

from pipeline.store.replaced import adopt_runs
from pipeline.store.runs import RunStore

DAMAGE: dict[str, Callable[[Path], object]] = {
    "no run.json": lambda run: (run / "run.json").unlink(),
    "half a run.json": lambda run: (run / "run.json").write_text((run / "run.json").read_text()[:200]),
    "run.json of something else": lambda run: (run / "run.json").write_text("[1, 2]"),
    "run.json without a key": lambda run: (run / "run.json").write_text('{"arm": "zeros", "seed": 0}'),
    "no biases.npz": lambda run: (run / "biases.npz").unlink(),
    "no history.csv": lambda run: (run / "history.csv").unlink(),
    "half a biases.npz": lambda run: (run / "biases.npz").write_bytes((run / "biases.npz").read_bytes()[:200]),
    "an empty history.csv": lambda run: (run / "history.csv").write_text(""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_left_out_and_can_be_replaced(tmp_path: Path, damage: str) -> None:
    """A damaged run does not count as finished, and the run that replaces it takes its place."""
    put_all(tmp_path, "zeros", [0.5, 0.7])
    DAMAGE[damage](tmp_path / "s" / "zeros" / "seed=0")
    assert [run.seed for run in RunStore(tmp_path, "s").runs()] == [1]
    put(tmp_path, "zeros", 0, 0.6)
    assert [run.meta["metrics"]["test_accuracy"] for run in RunStore(tmp_path, "s").runs()] == [0.6, 0.7]


def test_a_replaced_run_is_kept_and_comes_back(tmp_path: Path) -> None:
    """Asking for the earlier settings again brings the earlier run back, byte for byte."""
    old = put(tmp_path, "zeros", 0, 0.5, key="old")
    content = {path.name: path.read_bytes() for path in old.path.iterdir()}
    put(tmp_path, "zeros", 0, 0.9, key="new")
    assert [run.key for run in RunStore(tmp_path, "s").runs()] == ["new"]
    assert {p.name: p.read_bytes() for p in (tmp_path / ".replaced" / "old").iterdir()} == content

    assert adopt_runs(RunStore(tmp_path, "s"), {0: ["old"], 1: ["never trained"]}, {"arm": "zeros"}) == {0}
    assert [run.key for run in RunStore(tmp_path, "s").runs()] == ["old"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "s" / "zeros" / "seed=0").iterdir()} == content


def test_nothing_in_a_stored_run_depends_on_when_and_where(tmp_path: Path) -> None:
    """The same run stored in two places has the same bytes, and its arrays carry no time of day."""
    first = put(tmp_path / "here", "zeros", 0, 0.5)
    second = put(tmp_path / "there" / "deeper", "zeros", 0, 0.5)
    with zipfile.ZipFile(first.path / "biases.npz") as arrays:
        assert {entry.date_time for entry in arrays.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    for path in first.path.iterdir():
        assert path.read_bytes() == (second.path / path.name).read_bytes()

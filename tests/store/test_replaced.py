"""Runs on disk: whole or not at all, replaced and taken back, the same bytes everywhere."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from factories import change_meta, put, put_all

from pipeline.store import replaced
from pipeline.store.replaced import adopt_runs, adoptable_runs, replaced_keys
from pipeline.store.runs import RunStore


def test_a_damaged_run_that_is_replaced_is_kept(tmp_path: Path) -> None:
    """It moves to `.replaced/damaged` as it is; of several of one place, none takes another's."""
    run = put(tmp_path, "zeros", 0, 0.5).path
    for content in ("first", "second", "third"):
        (run / "history.csv").write_text(content)
        put(tmp_path, "zeros", 0, 0.6)
    kept = tmp_path / ".replaced" / "damaged" / "s" / "zeros"
    assert {path.name: (path / "history.csv").read_text() for path in kept.iterdir()} == {
        "seed=0": "first", "seed=0.2": "second", "seed=0.3": "third",
    }  # fmt: skip
    assert replaced_keys(tmp_path) == set()
    assert [run.meta["metrics"]["test_accuracy"] for run in RunStore(tmp_path, "s").runs()] == [0.6]


def test_a_damaged_replaced_run_does_not_come_back(tmp_path: Path) -> None:
    """It is neither adopted nor in the way of the next run of its key, and is kept."""
    old = put(tmp_path, "zeros", 0, 0.5, key="old")
    put(tmp_path, "zeros", 0, 0.9, key="new")
    damaged = tmp_path / ".replaced" / "old"
    (damaged / "history.csv").write_text("damaged")
    assert adopt_runs(RunStore(tmp_path, "s"), {0: ["old"]}, {"arm": "zeros"}) == set()
    put(tmp_path, "zeros", 0, 0.5, key="old")
    put(tmp_path, "zeros", 0, 0.9, key="new")
    assert (tmp_path / ".replaced" / "damaged" / ".replaced" / "old" / "history.csv").read_text() == "damaged"
    assert replaced_keys(tmp_path) == {"old", "new"}
    assert adopt_runs(RunStore(tmp_path, "s"), {0: ["old"]}, {"arm": "zeros"}) == {0}
    assert [run.meta for run in RunStore(tmp_path, "s").runs()] == [old.meta]


def test_an_adopted_run_says_what_asked_for_it_where_it_is(tmp_path: Path) -> None:
    """Names and commands are made of the overrides of a run; those of the arm that lent it are another's."""
    lent = {"overrides": ["training.epochs=3"], "program": "notebook", "seconds": 1.5}
    (put(tmp_path, "zeros", 0, 0.5).path / "machine.json").write_text(json.dumps(lent))
    store = RunStore(tmp_path, "s")
    asked = {"overrides": ["training={epochs:3}"]}
    assert adopt_runs(store, {0: ["s-zeros-0"]}, {"arm": "ones"}, asked=asked) == {0}
    assert adopt_runs(store, {0: ["s-zeros-0"]}, {"arm": "twos"}) == {0}
    assert store.runs("ones")[0].machine == {"seconds": 1.5} | asked
    assert store.runs("twos")[0].machine == lent


def test_adoption_seals_nothing(tmp_path: Path) -> None:
    """A sealed run is sealed again under its new arm; one without a seal gets none, since nobody vouches for it."""
    put_all(tmp_path, "zeros", [0.5, 0.7])
    change_meta(tmp_path / "s" / "zeros" / "seed=1", lambda meta: None)
    store = RunStore(tmp_path, "s")
    assert adopt_runs(store, {0: ["s-zeros-0"], 1: ["s-zeros-1"]}, {"arm": "ones"}) == {0, 1}
    assert [(run.seed, run.sealed) for run in store.runs("ones")] == [(0, True), (1, False)]


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


def test_runs_to_adopt_are_found_without_reading_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a study of many arms only the runs with a wanted key are read whole; nothing is where none is wanted."""
    for arm in ("zeros", "ones", "twos"):
        put_all(tmp_path, arm, [0.5, 0.6])
    read = list[Path]()
    whole = replaced.read_run
    monkeypatch.setattr(replaced, "read_run", lambda path, study="": (read.append(path), whole(path, study))[1])
    store = RunStore(tmp_path, "s")
    assert set(adoptable_runs(store, {})) == set() and not read
    assert {seed: run.arm for seed, run in adoptable_runs(store, {1: ["other", "s-ones-1"]}).items()} == {1: "ones"}
    assert read == [store.run_folder("ones", 1)]
    os.utime(store.folder / "ones", (0, 0))  # long ago: what is seen now is remembered
    assert set(adoptable_runs(store, {1: ["s-ones-1"]})) == {1}
    shutil.rmtree(store.run_folder("ones", 1))
    assert set(adoptable_runs(store, {1: ["s-ones-1"]})) == set()
    put(tmp_path, "ones", 1, 0.6)
    (store.run_folder("ones", 1) / "history.csv").write_text("damaged")
    assert set(adoptable_runs(store, {1: ["s-ones-1"]})) == set()

"""run.json: its seal, its entries, and what is said of a run that does not count."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import change_meta, made_meta, put, put_all

from pipeline.runtime.hashing import digest
from pipeline.store.meta import DamagedRunError, check_meta, read_meta, seal_meta
from pipeline.store.runs import RunStore, read_run
from pipeline.store.studies import stored_studies


def reason(path: Path) -> str:
    with pytest.raises(DamagedRunError) as error:
        read_run(path)
    return str(error.value)


def test_the_seal_is_that_of_the_content(tmp_path: Path) -> None:
    """Spacing and the order of entries do not matter to the seal; it is the last entry, and a digest of the others."""
    run = put(tmp_path, "zeros", 0, 0.5)
    file = run.path / "run.json"
    meta = json.loads(file.read_text())
    assert list(meta)[-1] == "seal"
    assert meta.pop("seal") == digest(meta)
    backwards = dict(reversed(seal_meta(meta).items()))
    file.write_text(json.dumps(backwards, indent=None, separators=(",", ":")))
    assert read_run(run.path).meta == run.meta
    assert seal_meta(run.meta) == run.meta


def test_numbers_of_every_kind_survive_the_seal(tmp_path: Path) -> None:
    """What is read from a file has the seal of what was written: the shortest spelling of a float is the same float."""
    values = [0.1, 1e-300, 5e-324, 1.7976931348623157e308, -0.0, 1 / 3, 2**63, 123456789.123456789, None]
    run = put(tmp_path, "zeros", 0, 0.5, metrics={f"m{i}": v for i, v in enumerate(values)})
    assert read_run(run.path).meta == run.meta


@pytest.mark.parametrize("name", ["metrics", "config", "environment", "digests", "arm", "seed", "key", "seal"])
def test_an_edited_entry_breaks_the_seal(tmp_path: Path, name: str) -> None:
    """Whichever entry of run.json is edited, the run is damaged, and the reason says so."""
    run = put(tmp_path, "zeros", 0, 0.5)
    (run.path / "run.json").write_text(json.dumps(run.meta | {name: "other"}))
    assert reason(run.path) == "run.json was changed after it was written"


def test_a_run_without_a_seal_counts_unsealed(tmp_path: Path) -> None:
    """Runs that earlier versions stored are read, and known to be unsealed."""
    run = put(tmp_path, "zeros", 0, 0.5)
    assert run.sealed
    change_meta(run.path, lambda meta: None)
    (again,) = RunStore(tmp_path, "s").runs()
    assert not again.sealed
    assert RunStore(tmp_path, "s").damaged() == []


Damage = Callable[[Path], object]  # of a file


def write(content: str | bytes) -> Damage:
    return lambda file: file.write_bytes(content.encode() if isinstance(content, str) else content)


def cut(size: int) -> Damage:
    return lambda file: os.truncate(file, size)


def replace(make: Damage) -> Damage:
    return lambda file: [file.unlink(), make(file)]


FILE_DAMAGE: dict[str, tuple[str, Damage, str]] = {
    "no run.json": ("run.json", Path.unlink, "is missing"),
    "half a run.json": ("run.json", cut(200), "is not valid JSON"),
    "letters of no alphabet": ("run.json", write(b'{"\xff": 1}'), "is not valid JSON"),
    "nan": ("run.json", write('{"metrics": NaN}'), "is not valid JSON"),
    "a long integer": ("run.json", write("9" * 10_000), "is not valid JSON"),
    "a list": ("run.json", write("[1, 2]"), "is not that of a run"),
    "something else": ("run.json", write("{}"), "lacks key"),
    "nested deep": ("run.json", write("[" * 100_000), "is nested too deep"),
    "a large run.json": ("run.json", cut(2**40), "is larger than any that was written"),
    "a folder": ("run.json", replace(Path.mkdir), "is not a file"),
    "a pipe": ("run.json", replace(os.mkfifo), "is not a file"),
    "no biases.npz": ("biases.npz", Path.unlink, "is missing"),
    "a large biases.npz": ("biases.npz", cut(2**40), "is larger than any that was written"),
    "an empty history.csv": ("history.csv", cut(0), "does not match its digest"),
    "a link to itself": ("history.csv", replace(lambda file: file.symlink_to(file)), "is not a file"),
}


@pytest.mark.parametrize("damage", FILE_DAMAGE)
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    """The run does not count, and the reason is a phrase that names the file."""
    put_all(tmp_path, "zeros", [0.5, 0.7])
    path = tmp_path / "s" / "zeros" / "seed=0"
    file, make, expected = FILE_DAMAGE[damage]
    make(path / file)
    store = RunStore(tmp_path, "s")
    assert [run.seed for run in store.runs()] == [1]
    assert [(run.path, run.seed, run.reason) for run in store.damaged()] == [(path, 0, f"{file} {expected}")]
    assert [run.name for run in store.damaged("zeros")] == ["zeros/seed=0"]
    put(tmp_path, "zeros", 0, 0.6)
    assert [run.meta["metrics"]["test_accuracy"] for run in store.runs()] == [0.6, 0.7]


def test_a_run_at_another_place_does_not_count(tmp_path: Path) -> None:
    """Copies of a run's folder, and of an arm's, are no other seeds and arms; the run itself stays."""
    put_all(tmp_path, "zeros", [0.5])
    folder = tmp_path / "s" / "zeros"
    for copy in (
        folder / "seed=0 (copy)",
        folder / "seed=00",
        folder / "seed=1",
        tmp_path / "s" / "zeros (copy)" / "seed=0",
    ):
        copy.parent.mkdir(exist_ok=True)
        copy.symlink_to(folder / "seed=0")
    store = RunStore(tmp_path, "s")
    assert [run.path for run in store.runs()] == [folder / "seed=0"]
    assert {run.name: run.seed for run in store.damaged()} == {
        "zeros/seed=0 (copy)": None, "zeros/seed=00": 0, "zeros/seed=1": 1, "zeros (copy)/seed=0": 0,
    }  # fmt: skip
    assert {run.arm: (run.reason, run.scope) for run in store.damaged()} == {
        "zeros": ("a copy: run.json says zeros/seed=0", "run"),
        "zeros (copy)": ("a copy: run.json says arm zeros", "arm"),
    }


def test_a_folder_that_cannot_be_listed_is_damaged(tmp_path: Path) -> None:
    """An arm's folder that is a link to itself is named, and the other arms are read."""
    put_all(tmp_path, "zeros", [0.5])
    (tmp_path / "s" / "ones").symlink_to("ones")
    (tmp_path / "s" / "ablation.csv").write_text("")
    store = RunStore(tmp_path, "s")
    assert [run.arm for run in store.runs()] == ["zeros"]
    assert [(run.path.name, run.seed, run.reason) for run in store.damaged()] == [("ones", None, "a link to nothing")]


def test_names_of_damaged_runs_can_be_printed(tmp_path: Path) -> None:
    """What a terminal would obey, or cannot show, is escaped."""
    (tmp_path / "s" / os.fsdecode(b"\x1b[2J\xff") / "seed=0").mkdir(parents=True)
    (damaged,) = RunStore(tmp_path, "s").damaged()
    assert damaged.name == r"\x1b[2J\udcff/seed=0"


@pytest.mark.parametrize("key", ["../../precious", "a/b", "..", ".", "", "damaged", "a\nb"])
def test_a_key_is_no_path(key: str) -> None:
    """A run moves to a folder of its key's name when it is replaced: a key that leads elsewhere is refused."""
    with pytest.raises(DamagedRunError, match=r"^run\.json has an unusable entry key$"):
        check_meta(made_meta("zeros", 0, key=key, digests={"biases.npz": "d", "history.csv": "d"}))


def test_what_cannot_be_read_is_not_written(tmp_path: Path) -> None:
    """The writer refuses what every reader would call damaged."""
    with pytest.raises(DamagedRunError, match=r"^run\.json has an unusable entry metrics\.test_loss$"):
        put(tmp_path, "zeros", 0, 0.5, metrics={"test_loss": float("nan")})
    assert not (tmp_path / "s").exists()


def test_meta_alone_can_be_read(tmp_path: Path) -> None:
    """A run that lies outside of an arm, under any name but a run's, is held against its digests alone."""
    run = put(tmp_path, "zeros", 0, 0.5)
    moved: Any = run.path.rename(tmp_path / "sent by mail")
    assert read_meta(moved) == read_run(moved).meta == run.meta


def test_a_study_of_damaged_runs_is_a_study(tmp_path: Path) -> None:
    """A study whose only run has lost its run.json is still there to be named; what is no study is passed over."""
    (put(tmp_path, "zeros", 0, 0.5).path / "run.json").unlink()
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "s" / "nowhere").symlink_to("gone")
    (tmp_path / "notes.txt").write_text("")
    assert stored_studies(tmp_path) == ["s"]
    put(tmp_path, "zeros", 0, 0.6)  # the damaged one is now in .replaced
    assert stored_studies(tmp_path) == ["s"]

"""`pipeline.merge` puts runs of results folders that were made apart into one."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import ARRAYS, CommandResult, change_meta, made_meta, put

from pipeline import merge
from pipeline.config.completion import complete_line
from pipeline.store.answers import read_answers, record_answer
from pipeline.store.designs import DeclaredArm, DeclaredDesign, Look, declare_design, read_progress, write_looks
from pipeline.store.meta import HISTORY, MACHINE, RUN
from pipeline.store.replaced import REPLACED, write_run
from pipeline.store.runs import RunStore
from pipeline.store.tables import ABLATION, read_table, write_table

Merge = Callable[..., CommandResult]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


@pytest.fixture
def command(here: Path, there: Path, capfd: pytest.CaptureFixture[str]) -> Merge:
    """Merge `there`, or the places that are given, into `here`."""

    def run(*arguments: object) -> CommandResult:
        places = [] if any(isinstance(argument, Path) for argument in arguments) else [there]
        capfd.readouterr()
        code = merge.main([*map(str, [*places, *arguments]), f"results={here}"])
        out, err = capfd.readouterr()
        return CommandResult(code, out, err)

    return run


def files(results: Path, hidden: bool = False) -> dict[str, bytes]:
    """Every file of the studies, and with `hidden` those beside them."""
    found = {str(path.relative_to(results)): path.read_bytes() for path in results.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if hidden or not name.startswith(".")}


def test_missing_runs_are_taken_byte_by_byte(here: Path, there: Path, command: Merge) -> None:
    """What is here stays, sources stay as they were, and merging twice changes nothing."""
    for seed in (0, 1):
        (put(here, "zeros", seed, 0.5).path / MACHINE).write_text('{"seconds": 7}')
    for arm, seed in (("zeros", 1), ("zeros", 2), ("ones", 0)):
        run = put(there, arm, seed, 0.5)
        (run.path / MACHINE).write_text(f'{{"seconds": {seed}}}')
    before, source = files(here), files(there, hidden=True)
    expected = files(there) | before
    dry = command("--dry-run")
    assert dry.code == 0 and files(here) == before and "Nothing is written" in dry.out
    merged = command()
    assert merged.code == 0 and files(here) == expected and files(there, hidden=True) == source
    assert [line.split() for line in merged.out.splitlines() if line.startswith("│")] == [
        ["│", "s", "│", "2", "│", "1", "│", "0", "│", "0", "│"]
    ]
    assert [line for line in dry.out.splitlines() if line.startswith("│")] == [
        line for line in merged.out.splitlines() if line.startswith("│")
    ]
    assert command().code == 0 and files(here) == expected
    assert len(RunStore(here, "s").runs()) == 4 and not list((here / ".aside").glob("tmp*"))


def test_two_results_of_one_key_are_refused_before_anything_is_written(
    here: Path, there: Path, command: Merge, tmp_path: Path
) -> None:
    """The line names the run, its key, and what differs with both values; two sources may differ as well."""
    put(here, "zeros", 0, 0.91)
    put(there, "zeros", 0, 0.92)
    put(there, "ones", 0, 0.5)
    before = files(here)
    refused = command()
    assert (refused.code, refused.err.count("\n"), files(here)) == (2, 1, before)
    assert refused.err.startswith(
        "s/zeros/seed=0: two results of one key, s-zeros-0: test_accuracy 0.91 and 0.92, test_"
    )
    third = tmp_path / "third"
    put(third, "ones", 0, 0.6)
    shutil.rmtree(here / "s" / "zeros")
    refused = command(there, third)
    assert refused.code == 2 and "s/ones/seed=0: two results" in refused.err and not files(here)


@pytest.mark.parametrize(
    "changes",
    [{"status": "diverged"}, {"initial_kernels_digest": "x"}, {"data_digest": "x"}],
    ids=["status", "initial_kernels_digest", "data_digest"],
)
def test_each_part_of_a_result_counts(here: Path, there: Path, command: Merge, changes: dict[str, str]) -> None:
    """Also where no file differs."""
    history = {"loss": np.ones(3)}
    write_run(RunStore(here, "s"), made_meta("zeros", 0), ARRAYS, history)
    write_run(RunStore(there, "s"), made_meta("zeros", 0) | changes, ARRAYS, history)
    refused = command()
    assert refused.code == 2 and next(iter(changes)) in refused.err


def test_a_difference_in_a_file_alone_counts(here: Path, there: Path, command: Merge) -> None:
    """It is named by the name of the file."""
    for results, bend in ((here, 0), (there, 0.1)):
        put(results, "zeros", 0, 0.5, bend=bend)
    refused = command()
    assert refused.code == 2 and f": {HISTORY}, in {here} and {there}; allowed" in refused.err


def test_the_same_key_in_another_arm(here: Path, there: Path, command: Merge) -> None:
    """Is the same run where the results agree, and refused where they do not."""
    put(here, "zeros", 0, 0.5, key="k")
    put(there, "ones", 0, 0.5, key="k")
    assert command().code == 0 and len(RunStore(here, "s").runs()) == 2
    put(there, "twos", 0, 0.6, key="k")
    assert command().code == 2


def test_the_environment_is_no_result(here: Path, there: Path, command: Merge) -> None:
    """Nor are the time that a run took, and the wording of its settings."""
    put(here, "zeros", 0, 0.5, device="CPU")
    run = put(there, "zeros", 0, 0.5, device="GPU", setting="0")
    (run.path / MACHINE).write_text('{"seconds": 9}')
    before = files(here)
    merged = command()
    assert merged.code == 0 and files(here) == before, merged.err


def test_a_run_that_keeps_more_files_is_taken(here: Path, there: Path, command: Merge) -> None:
    """As with show_weights; the one that was here makes room. The other way round nothing happens."""
    for results, weights in ((here, None), (there, {"before/w": np.zeros(1)})):
        write_run(RunStore(results, "s"), made_meta("zeros", 0), ARRAYS, {"loss": np.ones(3)}, weights)
    expected = files(there)
    assert command().code == 0 and files(here) == expected
    assert [path.name for path in (here / REPLACED).iterdir()] == ["zeros-0"]
    before = files(there)
    assert merge.main([str(here), f"results={there}"]) == 0 and files(there) == before


def test_damaged_runs_are_named_and_not_taken(here: Path, there: Path, command: Merge) -> None:
    """Nor are copies; the others are taken. A damaged run that is here makes room for a whole one."""
    for seed in range(3):
        put(there, "zeros", seed, 0.5)
    shutil.copytree(there / "s" / "zeros", there / "s" / "zeros-old")
    put(here, "zeros", 1, 0.5)
    (here / "s" / "zeros" / "seed=1" / HISTORY).write_text("odd")
    (there / "s" / "zeros" / "seed=0" / HISTORY).write_text("odd")
    os.mkfifo(there / "s" / "zeros" / "seed=3")
    merged = command()
    assert merged.code == 1 and [run.seed for run in RunStore(here, "s").runs()] == [1, 2]
    damaged, pipe, copy = sorted(merged.err.splitlines(), key=len)[-3:]
    assert "s/zeros-old" in merged.err and "s/zeros/seed=0 is damaged, not taken: history.csv" in merged.err
    assert "seed=3 is damaged, not taken: not a folder" in merged.err and merged.err.count("\n") == 3, (
        damaged,
        pipe,
        copy,
    )
    assert (here / REPLACED / "damaged" / "s" / "zeros" / "seed=1").is_dir()


def test_runs_of_other_settings_are_kept_aside(here: Path, there: Path, command: Merge) -> None:
    """An arm stays of one recipe; where it has no run here, it gets that of the first source."""
    put(here, "zeros", 0, 0.5)
    for seed in (0, 1):
        write_run(
            RunStore(there, "s"), made_meta("zeros", seed, key=f"old{seed}", recipe="old"), ARRAYS, {"loss": np.ones(3)}
        )
    merged = command()
    assert merged.code == 0 and "s/zeros: 2 with other settings than those here, kept in .replaced" in merged.out
    assert [run.key for run in RunStore(here, "s").runs()] == ["s-zeros-0"]
    assert {path.name for path in (here / REPLACED).iterdir()} == {"old0", "old1"}
    again = command()
    assert again.code == 0 and "kept in .replaced" not in again.out
    shutil.rmtree(here)
    assert command(there).code == 0 and [run.key for run in RunStore(here, "s").runs()] == ["old0", "old1"]


def test_unusual_places_are_refused(here: Path, there: Path, command: Merge, tmp_path: Path) -> None:
    """In one line of exit code 2, and nothing is written."""
    put(here, "zeros", 0, 0.5)
    put(there / "results", "zeros", 0, 0.5)
    put(here / "inner" / "results", "zeros", 0, 0.5)
    (tmp_path / "link").symlink_to(here)
    (tmp_path / "empty").mkdir()
    before = files(tmp_path, hidden=True)
    for place, words in (
        (here, "which is where the runs go"),
        (tmp_path / "link", "which is where the runs go"),
        (here / "inner" / "results", "holds the other"),
        (tmp_path, "holds the other"),
        (there, f"which has no run; allowed: {there / 'results'}"),
        (there / "results" / "s", f"which has no run; allowed: {there / 'results'}"),
        (tmp_path / "empty", "which has no run"),
        (tmp_path / "none", "a results folder that exists"),
        (there / "results" / "s" / "zeros" / "seed=0" / RUN, "a results folder that exists"),
    ):
        refused = command(place)
        assert (refused.code, refused.err.count("\n")) == (2, 1) and words in refused.err, refused.err
    assert command(there / "results", "study=t").code == 2
    assert merge.main([f"results={here}"]) == 2
    assert command("--yes").code == 2
    assert "foo=1: no such option; allowed: results=..., study=..." in command(there / "results", "foo=1").err
    assert files(tmp_path, hidden=True) == before


def test_only_the_named_studies(here: Path, there: Path, command: Merge) -> None:
    """Are taken; and a folder that is a link is read."""
    for study in ("a", "b", "c"):
        put(there, "zeros", 0, 0.5, study=study)
    there.rename(there.with_name("moved"))
    there.symlink_to(there.with_name("moved"))
    assert command(there, "study=a,c").code == 0
    assert sorted(path.name for path in here.iterdir() if not path.name.startswith(".")) == ["a", "c"]


DESIGN = DeclaredDesign("test_accuracy", "zeros", 0.005, (2, 4), "pocock", 0.05,
                        (DeclaredArm("zeros", "zeros", ""), DeclaredArm("ones", "ones", "")))  # fmt: skip


def declared(results: Path, taken: tuple[Look, ...], **changes: Any) -> None:
    """A study with this design and these looks, and a run."""
    store, design = RunStore(results, "s"), replace(DESIGN, **changes)
    put(results, "zeros", len(results.name), 0.5)
    declare_design(store, design)
    write_looks(store, design, taken)


def test_designs_are_equal_and_the_longer_list_of_looks_counts(here: Path, there: Path, command: Merge) -> None:
    """If the shorter one begins it; it does not matter which is where, nor in which order the arms were swept."""
    first, second = Look(2, {}), Look(4, {"ones": "worse"})
    declared(there, (first, second), arms=DESIGN.arms[::-1])
    assert command().code == 0
    progress = read_progress(RunStore(here, "s"))
    assert progress is not None and progress.looks == (first, second)
    shutil.rmtree(here)
    declared(here, (first,))
    assert command().code == 0
    progress = read_progress(RunStore(here, "s"))
    assert progress is not None and progress.looks == (first, second) and progress.design == DESIGN
    write_looks(RunStore(here, "s"), DESIGN, (Look(2, {"ones": "better"}),))
    refused = command()
    assert refused.code == 2 and "looks.json" in refused.err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"looks": (2, 8)}, "looks [2, 8], but [2, 4] in"),
        ({"alpha": 0.1}, "alpha 0.1, but 0.05 in"),
        ({"seeds_before": 3}, "seeds_before 3, but 0 in"),
        ({"arms": DESIGN.arms[:1]}, "arms zeros, but ones, zeros in"),
    ],
)
def test_another_design_is_refused(
    here: Path, there: Path, command: Merge, changes: dict[str, object], words: str
) -> None:
    """With the first entry that differs."""
    declared(here, ())
    declared(there, (), **changes)
    before = files(here)
    refused = command()
    assert (refused.code, refused.err.count("\n"), files(here)) == (2, 1, before) and words in refused.err


@pytest.mark.parametrize("without", ["here", "there"])
def test_a_part_without_the_design_is_refused(here: Path, there: Path, command: Merge, without: str) -> None:
    """It may have been looked at before the design was declared. Without runs of the study it takes the design."""
    for results in (here, there):
        if results.name == without:
            put(results, "zeros", 9, 0.5)
        else:
            declared(results, ())
    before = files(here)
    refused = command()
    assert (refused.code, refused.err.count("\n"), files(here)) == (2, 1, before)
    assert "was declared in" in refused.err and f"{without} has runs of it without a design.json" in refused.err


def test_answers_and_tables_come_along(here: Path, there: Path, command: Merge) -> None:
    """Rows of runs that are not here do not; those that are here stay."""
    columns = ["arm", "seed", "biases", "test_loss", "key", "from_key", "version"]

    def row(seed: int, loss: str, key: str = "", of: str = "") -> dict[str, str]:
        values = ("zeros", str(seed), "own", loss, key or f"s-zeros-{seed}", of, "1")
        return dict(zip(columns, values, strict=True))

    for results, seed in ((here, 10), (there, 9), (there, 10)):
        put(results, "zeros", seed, 0.5)
    write_table(RunStore(here, "s"), ABLATION, columns, [row(10, "1")])
    write_table(
        RunStore(there, "s"), ABLATION, columns, [row(9, "2"), row(10, "3"), row(9, "4", "k"), row(9, "5", of="k")]
    )
    record_answer(RunStore(here, "s"), {"zeros": [10]})
    record_answer(RunStore(there, "s"), {"zeros": [9, 10]})
    assert command().code == 0
    assert [(row["seed"], row["test_loss"]) for row in read_table(RunStore(here, "s"), ABLATION)] == [
        ("9", "2"),
        ("10", "1"),
    ]
    assert read_answers(RunStore(here, "s")) == [{"zeros": [10]}, {"zeros": [9, 10]}]


def test_data_of_runs_come_along(here: Path, there: Path, command: Merge) -> None:
    """That is what the Python API kept of data in memory, by name; other files there do not."""
    run = put(there, "zeros", 0, 0.5, data="d")
    change_meta(run.path, lambda meta: meta["config"]["data"].update(name="0123"))
    (there / ".data").mkdir()
    for name in ("0123.npz", "4567.npz"):
        (there / ".data" / name).write_bytes(b"rows")
    assert command().code == 0
    assert [path.name for path in (here / ".data").iterdir()] == ["0123.npz"]
    assert "seal" not in json.loads((here / "s" / "zeros" / "seed=0" / RUN).read_text())


def test_a_run_that_changes_meanwhile_is_named(
    here: Path, there: Path, command: Merge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been replaced between the look at it and its turn; the others are taken."""
    for seed in (0, 1):
        put(there, "zeros", seed, 0.5)
    swept = merge.sweep_aside
    monkeypatch.setattr(merge, "sweep_aside", lambda results: (put(there, "zeros", 0, 0.6), swept(results)))
    merged = command()
    assert merged.code == 1 and [run.seed for run in RunStore(here, "s").runs()] == [1]
    assert "seed=0, not taken: it has changed since it was looked at" in merged.err


def test_help_and_completion(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The command says what it does; Tab knows folders, keys and options."""
    assert merge.main(["--help"]) == 0 and "python -m pipeline.merge OTHER/results" in capsys.readouterr().out
    (tmp_path / "results").mkdir()
    assert complete_line(f"python -m pipeline.merge {tmp_path}/res") == [f"{tmp_path}/results/"]
    assert complete_line("bias-merge res")[-1] == "results=" and complete_line("bias-merge --dr") == ["--dry-run"]

"""Hundreds of damages to a stored run: no command ends in a traceback, no damaged number counts, each run is named."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import CommandResult, TrainedStudy, compose_config

from pipeline import compare, extract
from pipeline.errors import ConfigError
from pipeline.experiment.plan import plan_job
from pipeline.experiment.retraining import explain_retraining
from pipeline.runtime.hashing import digest
from pipeline.store import known
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.records import arm_points, arm_tags, parameters, seed_tags

pytestmark = [pytest.mark.slow, pytest.mark.faults]

ARM, SEED, NAME = "zeros,training.epochs=2", 1, "zeros,training.epochs=2/seed=1"
FILES = ("run.json", "biases.npz", "history.csv", "weights.npz")
Damage = Callable[[Path], object]  # of a run's folder


def flip(path: Path, seed: int) -> None:
    """Flip one bit of a file."""
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def replace(path: Path, make: Damage) -> None:
    """Put something else in the place of a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path)


def file_damages() -> Iterator[tuple[str, Damage]]:
    """What can happen to the files of a run, and to its folder."""
    others: dict[str, Damage] = {
        "removed": lambda path: None,
        "a folder": Path.mkdir,
        "a link to nothing": lambda path: path.symlink_to("nowhere"),
        "a link to itself": lambda path: path.symlink_to(path),
        "a pipe": os.mkfifo,
        "a hole of a terabyte": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**40),
        "another file": lambda path: shutil.copy(path.parent.parent / "seed=0" / path.name, path),
        "noise": lambda path: path.write_bytes(random.Random(0).randbytes(5000)),
    }
    for name in FILES:
        for seed in range(20):
            yield f"{name}: bit {seed} flipped", lambda run, name=name, seed=seed: flip(run / name, seed)
        for part in (0, 0.5, 0.99):
            yield (
                f"{name}: {part:.0%} left",
                lambda run, name=name, part=part: os.truncate(run / name, int((run / name).stat().st_size * part)),
            )
        for what, make in others.items():
            yield f"{name}: {what}", lambda run, name=name, make=make: replace(run / name, make)
    for what in ("a link to nothing", "a link to itself", "a pipe", "noise"):
        yield f"folder: {what}", lambda run, make=others[what]: replace(run, make)
    yield "folder: another run", lambda run: replace(run, lambda path: shutil.copytree(run.parent / "seed=0", path))
    yield "folder: empty", lambda run: replace(run, Path.mkdir)


def entry_damages(meta: dict[str, Any]) -> Iterator[tuple[str, Damage]]:
    """Every entry of run.json removed or given another value, by hand and by a program that seals it again."""
    values = {"null": None, "text": "x", "negative": -1, "list": [], "object": {}, "true": True, "huge": float("inf")}
    for path in list(_entries(meta)):
        named = ".".join(map(str, path))
        for what, value in values.items():
            for how in ("edited", "sealed again"):
                yield f"{named}: {what}, {how}", lambda run, p=path, v=value, h=how: _change(run, p, v, h)
        for how in ("edited", "sealed again"):
            yield f"{named}: removed, {how}", lambda run, p=path, h=how: _change(run, p, KeyError, h)
    deep = "[" * 100_000 + "]" * 100_000
    yield "nested 100,000 deep", lambda run: (run / "run.json").write_text(deep)
    text = json.dumps(meta | {"config": "HERE"})
    yield "settings nested 100,000 deep", lambda run: (run / "run.json").write_text(text.replace('"HERE"', deep))
    yield "an integer of 10,000 digits", lambda run: (run / "run.json").write_text(text.replace('"HERE"', "9" * 10_000))


def _entries(value: Any, *path: Any) -> Iterator[tuple]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from _entries(child, *path, key)


def _change(run: Path, path: tuple, value: Any, how: str) -> None:
    meta = json.loads((run / "run.json").read_text())
    place = meta
    for key in path[:-1]:
        place = place[key]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    if how == "sealed again" and path != ("seal",):
        del meta["seal"]
        meta["seal"] = digest(meta)
    (run / "run.json").write_text(json.dumps(meta).replace("Infinity", "1e999"))


@pytest.fixture
def damaged_run(trained_study: TrainedStudy, monkeypatch: pytest.MonkeyPatch) -> Callable[[Damage], Path]:
    """`damaged_run(damage)` damages the run NAME of a trained study, which is whole again before the next damage.

    All its runs are remembered as whole ones then, as those of arms with many runs are.
    """
    monkeypatch.setattr(known, "MANY", 1)
    monkeypatch.setattr(known, "SETTLED", 0)
    folder = RunStore(trained_study.results, trained_study.name).run_folder(ARM, SEED)
    whole = trained_study.results.parent / "whole"
    shutil.copytree(folder, whole)

    def make(damage: Damage) -> Path:
        if os.path.lexists(folder):
            replace(folder, lambda path: None)
        shutil.copytree(whole, folder)
        time.sleep(0.01)  # the clock of the file system ticks every few milliseconds
        assert not RunStore(trained_study.results, trained_study.name).damaged()
        assert known._known[trained_study.results.absolute(), trained_study.name, ARM].get(f"seed={SEED}")
        damage(folder)
        return folder

    return make


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """A command of the project in this process."""

    def run(main: Callable[[list[str]], int], *arguments: str) -> CommandResult:
        capsys.readouterr()
        return CommandResult(main(list(arguments)), *capsys.readouterr())

    return run


def what_it_is(reason: str) -> tuple[str, str]:
    """What messages call a run that does not count, and why."""
    return ("a copy", reason.removeprefix("a copy: ")) if reason.startswith("a copy: ") else ("damaged", reason)


def check_planning(study: TrainedStudy, expected: str) -> None:
    """`train` plans to train a damaged run again and says why, or refuses it in one line where it is in the way."""
    config = compose_config(*study.overrides, "tracking=none", f"results={study.results}", study.arms[ARM])
    try:
        plan = plan_job(config)
    except ConfigError as error:
        assert f"{ARM}/seed={SEED}" in str(error) and "\n" not in str(error)
        return
    assert (SEED in plan.missing) == bool(expected)
    what, reason = what_it_is(expected)
    said = f"{NAME} is {what} ({reason})"
    assert not expected or any(line.startswith(said) for line in explain_retraining(plan, plan.arm)), (
        explain_retraining(plan, plan.arm)
    )


def check_extraction(command: Callable[..., CommandResult], run: Path, is_damaged: bool) -> None:
    """`extract` refuses a damaged run in one line; what has no run.json is only a file of biases."""
    result = command(extract.main, str(run))
    if is_damaged and os.path.lexists(run / "run.json"):
        assert result.code == 2 and result.out == "" and result.err.count("\n") == 1
    assert result.code in (0, 2)


def check_comparison(command: Callable[..., CommandResult], study: TrainedStudy, expected: str) -> None:
    """`compare` names a damaged run with its reason, and its mean is that of the whole runs."""
    reports = study.results.parent / "reports"
    options = ("figures=false", "mlflow=false", f"results={study.results}", f"reports={reports}")
    result = command(compare.main, *options)
    assert result.code == 0, result.err
    document = json.loads((reports / study.name / "comparison.json").read_text())
    if expected:
        what, reason = what_it_is(expected)
        assert f"Warning: {NAME} is {what} and left out: {reason}." in document["sentences"]
        whole = [run for run in RunStore(study.results, study.name).runs(ARM) if run.seed != SEED]
        (verdict,) = [verdict for verdict in document["verdicts"] if verdict["arm"] == ARM.partition(",")[0]]
        assert verdict["mean"] == pytest.approx(
            np.mean([run.meta["metrics"]["test_accuracy"] for run in whole]), abs=1e-12
        )


def check_upload(runs: list[Run]) -> None:
    """What is sent of the runs that count can be made of them."""
    for run in runs:
        parameters(run), seed_tags(run)
    arm_points(runs), arm_tags(runs)


def reason_of_damage(study: TrainedStudy) -> str:
    """Why the run is damaged, by the one reader; "" where it counts."""
    damaged = RunStore(study.results, study.name).damaged()
    assert [run.name for run in damaged] in ([], [NAME])
    reason = damaged[0].reason if damaged else ""
    assert reason.isprintable() and len(reason) < 200
    return reason


def test_damaged_files(
    trained_study: TrainedStudy, damaged_run: Callable[[Damage], Path], command: Callable[..., CommandResult],
    figure: Callable[[str], None],
) -> None:  # fmt: skip
    """Whatever happens to a file of a run, the run is named and left out, or it is still what it was."""
    store = RunStore(trained_study.results, trained_study.name)
    (whole,) = [run for run in store.runs(ARM) if run.seed == SEED]
    contents = [(whole.path / name).read_bytes() for name in FILES[1:]]
    counts = {"named": 0, "unchanged": 0}
    for name, damage in file_damages():
        run = damaged_run(damage)
        reason = reason_of_damage(trained_study)
        if not reason:
            (again,) = [run for run in store.runs(ARM) if run.seed == SEED]
            same = [(again.path / name).read_bytes() for name in FILES[1:]] == contents
            assert again.meta == whole.meta and same, name
        counts["named" if reason else "unchanged"] += 1
        check_planning(trained_study, reason)
        check_extraction(command, run, bool(reason))
        check_comparison(command, trained_study, reason)
    figure(f"{sum(counts.values())} damaged files: {counts['named']} named, {counts['unchanged']} made no difference")
    assert counts["named"] > 120 and counts["unchanged"] < 5


def test_edited_entries(
    trained_study: TrainedStudy, damaged_run: Callable[[Damage], Path], command: Callable[..., CommandResult],
    figure: Callable[[str], None],
) -> None:  # fmt: skip
    """An entry of run.json that is edited is always found, and one that is sealed again if a reader cannot use it."""
    store = RunStore(trained_study.results, trained_study.name)
    meta = store.runs(ARM)[SEED].meta
    counts = {"named": 0, "usable": 0}
    for number, (name, damage) in enumerate(entry_damages(meta)):
        damaged_run(damage)
        reason = reason_of_damage(trained_study)
        counts["named" if reason else "usable"] += 1
        same = name.startswith("seal: removed") or (not reason and store.runs(ARM)[SEED].meta == meta)
        assert reason or same or name.endswith("sealed again"), f"{name} was not found"
        if not reason:
            check_upload(store.runs(ARM))
        if number % 4 == 0:  # these take longer
            check_planning(trained_study, reason)
        if number % (20 if reason else 2) == 0:
            check_comparison(command, trained_study, reason)
    figure(f"{sum(counts.values())} edited entries: {counts['named']} named, {counts['usable']} usable or unchanged")
    assert counts["named"] > 700

"""A request that memory or the disk cannot hold is refused before anything is trained."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories import compose_config

from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.experiment import check
from pipeline.experiment.dry_run import show_plan
from pipeline.experiment.identity import Recipe, SeedKeys
from pipeline.experiment.plan import plan_job
from pipeline.experiment.run import run_arm
from pipeline.experiment.validate import compose_jobs, validate

REQUEST = ("data=iris", "model=linear", "training.epochs=1", "tracking=none")


@pytest.mark.parametrize(("place", "where"), [("free_memory", "of memory"), ("free_disk", "on disk")])
def test_more_seeds_than_there_is_room_for(place: str, where: str, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """The line says how much the seeds take and how much is free; a few of them can be trained."""
    monkeypatch.setattr(f"pipeline.experiment.check.{place}", lambda *_: 2 * 2**20)
    with pytest.raises(
        ConfigError, match=rf"^seeds: 200 given, which take about \d+\.\d MiB {where}( or more)?, but 2\.0 MiB are free"
    ):
        validate([*REQUEST, f"results={tmp_path}", "seeds=200"])
    assert validate([*REQUEST, f"results={tmp_path}", "seeds=5"])


@pytest.mark.slow
def test_models_are_built_once_for_jobs_that_differ_in_other_settings(monkeypatch, tmp_path) -> None:
    """Four jobs of two initializers and two learning rates have two initial models; the rates are checked each."""
    built, build = [], check.first_model
    monkeypatch.setattr(check, "first_model", lambda plan: [built.append(plan.arm), build(plan)][1])
    sweep = [*REQUEST, f"results={tmp_path}", "seeds=2", "bias_initializer=zeros,ones"]
    validate([*sweep, "optimizer.learning_rate=0.1,0.2"])
    assert len(built) == 2
    built.clear()
    validate([*sweep, "data.test_fraction=0.1,0.3"])  # other rows
    assert len(built) == 4
    built.clear()
    plans = [plan_job(config) for config in compose_jobs([*sweep, "optimizer.learning_rate=0.1,0.2"])]
    models = check.FirstModels()
    check.check_plans(plans, models)
    show_plan(plans, [plan.missing for plan in plans], models)
    assert len(built) == 2
    with pytest.raises(ConfigError, match=r"^optimizer\.config\.beta_1"):
        validate([*sweep, "optimizer.config.beta_1=0.9,x"])


@pytest.mark.slow
def test_far_too_many_seeds_are_refused_without_tensorflow(tmp_path: Path) -> None:
    """What no model could train, whatever its size, is refused before TensorFlow is imported."""
    code = f"""
import sys
from pipeline import train
from pipeline.experiment import check
check.free_memory = lambda: 2**30
sys.argv[1:] = ["-m", "--plan", "seeds=999999", "tracking=none", "results={tmp_path}"]
try:
    train.main()
finally:
    print("tensorflow" in sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    line = "seeds: 999999 given, which take about 76.3 GiB of memory or more, but 1.0 GiB are free; allowed: fewer; "
    assert done.stderr == f"{line}later seeds can follow\n"
    assert done.stdout.endswith("False\n")


def test_keys_of_a_million_seeds_are_computed_when_they_are_looked_up() -> None:
    """Keys by seed behave as a dictionary of all of them would, and two of one recipe and the same seeds are equal."""
    recipe = Recipe("a", ("b",))
    keys = SeedKeys(recipe, range(10**6))
    assert (len(keys), 10**6 in keys, keys[7], next(iter(keys))) == (10**6, False, recipe.keys(7), 0)
    with pytest.raises(KeyError):
        keys[10**6]
    assert dict(SeedKeys(recipe, [3])) == {3: recipe.keys(3)}
    assert SeedKeys(recipe, [3, 7]) == SeedKeys(recipe, (7, 3)) != SeedKeys(Recipe("c", ()), [3, 7])


def test_how_data_were_read_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep says once how it read a file, however many arms train on it; each run keeps the sentences."""
    path = tmp_path / "mine.csv"
    path.write_text(";a;label\n" + "".join(f"{i};{i % 7},5;{'xy'[i % 2]}\n" for i in range(30)))
    request = ("data=file", f"data.path={path}", "data.target=label", "model=linear", "training.epochs=1", "seeds=1",
               "tracking=none", f"results={tmp_path / 'results'}")  # fmt: skip
    validate([*request, "bias_initializer=zeros,ones", "optimizer=adam,sgd"])
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("mine.csv: separator ;, decimal comma") == 1
    said = [
        "mine.csv: separator ;, decimal comma",
        "mine.csv: column Unnamed: 0 counts rows and is left out (an index is no feature)",
        "mine.csv: 30 rows, 1 feature", "label: 2 classes (x, y)",
    ]  # fmt: skip
    assert [line for line in lines if line in said] == said
    run = run_arm(compose_config(*request)).runs[0]
    assert run.meta["data_remarks"] == said

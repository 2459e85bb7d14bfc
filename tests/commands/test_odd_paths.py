"""Files and folders with odd names, and initializers with arguments, from the command line to the stored results."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import CommandResult

from pipeline.config.arguments import read_arguments
from pipeline.store.meta import seal_meta

QUICK = ("model=linear", "training.epochs=1", "training.xla=false", "seeds=1", "ablation=false")
ROWS = "a,größe,y\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(60))


def test_an_odd_name_is_a_name(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """A file and folders whose names have every odd character are read and written, and named as a shell takes them."""
    name, folder = "größe, [1] #2 100% $x 'y' = ~.csv", tmp_path / "ü, =1 [x] (y) #2 100% $z"
    (tmp_path / name).write_text(ROWS)
    (tmp_path / f"test {name}").write_text(ROWS.replace("3", "4"))
    result = cli("data=file", f"data.path={name}", f"data.test_path=test {name}", "data.target=y",
                 "data.features=[größe,a]", f"results={folder}", *QUICK)  # fmt: skip
    assert result.code == 0, result
    assert f"'results={folder}'" in result.out
    (run,) = folder.glob("größe, _1_ _2 100_ _x _y_ = _-linear/zeros,*/seed=0/run.json")
    assert json.loads(run.read_text())["config"]["data"]["name"] == "größe, _1_ _2 100_ _x _y_ = _"


@pytest.mark.slow
def test_an_mlflow_store_with_an_odd_name(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """The runs arrive in a store whose path has odd characters, and the command that shows them can be typed."""
    store = tmp_path / "ü, =1 [x] #2 100% $z.db"
    result = cli("data=iris", f"tracking.uri=sqlite:///{store}", *QUICK)
    assert result.code == 0 and f"--backend-store-uri 'sqlite:///{store}'" in result.out, result
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (2,)


@pytest.mark.slow
def test_both_spellings_of_an_initializer_train_once(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """What was trained as `constant(0.1)` counts for the spelling with two overrides, and for its earlier name."""
    swept = cli("-m", "bias_initializer=zeros,constant(0.1)", "data=iris", *QUICK)
    assert swept.code == 0, swept
    spelt = cli("bias_initializer=constant", "bias_initializer.config.value=0.1", "data=iris", *QUICK, "--plan")
    assert "0 runs to train" in spelt.out or "Nothing" in spelt.out, spelt
    study = tmp_path / "results" / "iris-linear"
    (folder,) = study.glob("constant(0.1),*")
    earlier = folder.with_name(folder.name.replace("(0.1)", "(value=0.1)"))
    folder.rename(earlier)
    run = earlier / "seed=0" / "run.json"
    run.write_text(json.dumps(seal_meta(json.loads(run.read_text()) | {"arm": earlier.name})))
    taken = cli("bias_initializer=constant(0.1)", "data=iris", *QUICK)
    assert taken.code == 0 and len(list(study.glob("constant(0.1),*/seed=0/run.json"))) == 1
    line = next(line for line in taken.out.splitlines() if line.startswith("│ constant(0.1)"))
    assert [cell.strip() for cell in line.split("│")[2:4]] == ["1", "0"], taken.out


def test_the_default_sweep_takes_arguments_in_brackets(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """The sweep of a file of settings, as DVC edits it, has options with arguments too."""
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      use_bias: 'true'\n      bias_initializer: "
    (tmp_path / "mine" / "experiment" / "mine.yaml").write_text(f"{text}ones,constant(0.1)\n")
    result = cli("-m", "--plan", f"--config-dir={tmp_path / 'mine'}", "experiment=mine", "data=iris", *QUICK)
    assert result.code == 0 and all(f"│ {arm}" in result.out for arm in ("ones", "constant(0.1)")), result


@pytest.mark.slow
def test_a_launcher_knows_the_arguments(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """Jobs in other processes train the initializer with its arguments."""
    result = cli("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "bias_initializer=zeros,constant(0.1)",
                 "data=iris", *QUICK)  # fmt: skip
    assert result.code == 0, result
    (run,) = (tmp_path / "results" / "iris-linear").glob("constant(0.1),*/seed=0/run.json")
    assert json.loads(run.read_text())["config"]["bias_initializer"]["config"] == {"value": 0.1}


def test_options_stand_anywhere() -> None:
    """`-m` and `--plan` may follow overrides, as the shell hands them over."""
    words = ["seeds=2", "-m", "bias_initializer=zeros,ones", "--plan", "data=iris"]
    arguments = read_arguments(words)
    assert arguments.plan_only and arguments.options == ["-m"]
    assert arguments.ordered == ["-m", "seeds=2", "bias_initializer=zeros,ones", "data=iris"]


def test_values_without_m_are_named_as_a_sweep(cli: Callable[..., CommandResult]) -> None:
    """Several values without -m are refused with the command that sweeps, in the place of Hydra's three lines."""
    result = cli("bias_initializer=zeros,ones", "data=iris", *QUICK)
    assert result.code == 2 and result.err.startswith(
        "bias_initializer: zeros,ones given without -m; allowed: one value; a sweep is python -m pipeline.train -m"
    )
    result = cli("data=file", "data.path=x.csv", "data.features=a,b", *QUICK)
    assert result.err.startswith("data.features: a,b given; allowed: a list, data.features=[a,b]; one name with commas")
    assert cli("seeds=range(10)").err.startswith("seeds: range(10) given; allowed: a count, seeds=10 for the seeds 0")

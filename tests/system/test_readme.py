"""The README's commands, snippet and model file work."""

import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from factories import CommandResult, TrainedStudy, compose_config

from pipeline import compare, extract, sync
from pipeline.config.schema import PROJECT

README = (PROJECT / "README.md").read_text()


def shown_commands(first_words: str) -> list[list[str]]:
    """The words after `uv run <first_words>` of each command in the README's console blocks."""
    lines = [line.removeprefix("$ ") for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
             for line in block.replace("\\\n", " ").splitlines()]  # fmt: skip
    start = f"uv run {first_words}"
    return [shlex.split(line.removeprefix(start), comments=True) for line in lines if line.startswith(start)]


def commands(module: str) -> pytest.MarkDecorator:
    """Parametrize a test by all commands of one module."""
    found = shown_commands(f"python -m pipeline.{module}")
    unique = [list(command) for command in dict.fromkeys(map(tuple, found))]
    return pytest.mark.parametrize("arguments", unique, ids=" ".join)


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with before.keras and after.keras, a model with LSTM and Dense layers before and after training."""
    import keras

    layers = keras.layers
    model = keras.Sequential([
        keras.Input((4, 3)), layers.LSTM(2, name="lstm"), layers.Dense(3, name="dense"),
        layers.Dense(2, use_bias=False, name="dense_1"), layers.BatchNormalization(name="norm"),
        layers.Dense(1, name="output"),
    ])  # fmt: skip
    folder = tmp_path_factory.mktemp("models")
    model.compile("sgd", "mse")
    model.save(folder / "before.keras")
    model.fit(np.ones((8, 4, 3)), np.zeros(8), verbose=0)
    model.save(folder / "after.keras")
    return folder


def test_the_readme_shows_every_command() -> None:
    """README.md shows a command line of train, compare and extract, and names sync."""
    for module in ("train", "compare", "extract"):
        assert shown_commands(f"python -m pipeline.{module}")
    assert "python -m pipeline.sync" in README
    assert sync.main(["--help"]) == 0


@pytest.fixture
def own_files(tmp_path: Path) -> None:
    """What the README's commands name, in the working directory: a table, a model, a class, and pictures."""
    import keras
    from PIL import Image

    rows = [f"{i % 7},{['red', '', 'blue'][i % 3]},{'yn'[i % 2]}" for i in range(60)]
    (tmp_path / "mine.csv").write_text("\n".join(["size,colour,label", *rows]))
    layers = keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1, activation="sigmoid")
    keras.Sequential([keras.Input((4,)), *layers]).save(tmp_path / "mine.keras")
    settings = (PROJECT / "conf" / "README.md").read_text()
    (tmp_path / "mine.py").write_text(re.search(r"```python\n# mine.py\n(.*?)```", settings, re.DOTALL)[1])
    for i in range(80):
        folder = tmp_path / "photos" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 3 * i, np.uint8)).save(folder / f"{i}.png")


@pytest.mark.slow
@pytest.mark.usefixtures("own_files")
@commands("train")
def test_the_training_commands_run(cli: Callable[..., CommandResult], arguments: list[str]) -> None:
    """Each training command succeeds, here with one seed and one epoch, and without the server that one names."""
    seeds = "design.looks=[10,12]" if "until=decided" in arguments else "seeds=1"
    less = [] if "--help" in arguments else [seeds, "training.epochs=1", "training.xla=false"]
    result = cli(*(argument for argument in arguments if not argument.startswith("tracking")), *less)
    assert (result.code or 0, result.err) == ("--status" in arguments, "")  # of a study that is not trained: 1
    assert any(words in result.out for words in ("pipeline.train", "Results:", "runs to train", "0 of 4 runs"))


@pytest.mark.slow
@commands("compare")
def test_the_comparing_commands_run(trained_study: TrainedStudy, tmp_path: Path, arguments: list[str]) -> None:
    """Each comparing command succeeds, here on a smaller study."""
    options = [option for option in arguments if option != "digits-mlp"]
    folders = [f"results={trained_study.results}", f"reports={tmp_path / 'reports'}", "mlflow=false"]
    assert compare.main([*options, *folders]) == 0
    assert (tmp_path / "reports" / trained_study.name / "report.html").is_file()


@pytest.mark.slow
@commands("extract")
def test_the_extracting_commands_run(
    saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Each extracting command succeeds on models like the one shown."""
    shutil.copytree(saved_models, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    assert extract.main(arguments) == 0


@pytest.mark.parametrize("arguments", shown_commands("dvc"), ids=" ".join)
def test_dvc_knows_the_commands(arguments: list[str]) -> None:
    """Each DVC command has a form that DVC accepts; test_dvc.py runs them."""
    from dvc.cli import parse_args

    assert parse_args(arguments).func


@pytest.mark.slow
def test_the_snippet_gives_the_biases_before_and_after() -> None:
    """The README's Python lines give each layer's bias as it is before and after `fit`."""
    import keras

    namespace = {"x": np.ones((8, 4), np.float32), "y": np.zeros(8)}
    namespace["model"] = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    namespace["model"].compile("sgd", "mse")
    exec(re.search(r"```python\n(from pipeline.biases.*?)```", README, re.DOTALL)[1], namespace)
    assert [bias.tolist() for bias in namespace["before"].values()] == [[0, 0, 0], [0]]
    after = [layer.bias.numpy().tolist() for layer in namespace["model"].layers]
    assert [bias.tolist() for bias in namespace["after"].values()] == after
    assert any(any(bias) for bias in after)


@pytest.mark.slow
def test_the_comparison_in_python_runs() -> None:
    """The README's lines for a notebook, as pasted, give a study of four arms, here with three seeds and one epoch."""
    lines = re.search(r"```python\n(import keras.*?)```", README, re.DOTALL)[1]
    namespace: dict[str, Any] = {}
    exec(lines.replace("seeds=10, epochs=20", "seeds=3, epochs=1"), namespace)
    assert list(namespace["study"].verdicts) == ["no_bias", "zeros", "ones", "constant(0.1)"]


def test_every_console_command_is_named() -> None:
    """Those that installing the package puts on the path."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert set(re.findall(r"`(bias-\w+)`", README)) == set(settings["project"]["scripts"])


def test_the_model_file_composes() -> None:
    """The model file that the settings' page shows is accepted."""
    text = re.search(r"```yaml\n(# conf/model.*?)```", (PROJECT / "conf" / "README.md").read_text(), re.DOTALL)[1]
    layers = yaml.safe_load(text)["layers"]
    written = str(layers).replace("'", "")
    assert compose_config(f"model.layers={written}", "model.name=mine").model.layers == layers

"""The README's commands, snippet and model file work."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

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
             for line in block.splitlines()]  # fmt: skip
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


@pytest.mark.slow
@commands("train")
def test_the_training_commands_run(cli: Callable[..., CommandResult], arguments: list[str]) -> None:
    """Each training command succeeds, here with one seed and one epoch."""
    less = [] if "--help" in arguments else ["seeds=1", "training.epochs=1", "training.xla=false"]
    result = cli(*arguments, *less)
    assert (result.code or 0, result.err) == (0, "")
    assert any(words in result.out for words in ("pipeline.train", "Results:", "runs to train"))


@pytest.mark.slow
@commands("compare")
def test_the_comparing_commands_run(trained_study: TrainedStudy, tmp_path: Path, arguments: list[str]) -> None:
    """Each comparing command succeeds, here on a smaller study."""
    options = [option for option in arguments if not option.startswith("study=")]
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
    exec(re.search(r"```python\n(.*?)```", README, re.DOTALL)[1], namespace)
    assert [bias.tolist() for bias in namespace["before"].values()] == [[0, 0, 0], [0]]
    after = [layer.bias.numpy().tolist() for layer in namespace["model"].layers]
    assert [bias.tolist() for bias in namespace["after"].values()] == after
    assert any(any(bias) for bias in after)


def test_the_readme_model_file_composes() -> None:
    """The model file that the README shows is accepted."""
    text = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1]
    layers = yaml.safe_load(text)["layers"]
    written = str(layers).replace("'", "")
    assert compose_config(f"model.layers={written}", "model.name=mine").model.layers == layers

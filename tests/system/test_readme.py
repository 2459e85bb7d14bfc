"""What the README says is so: its commands run, its snippet works, its file list is the file list."""

import re
import shlex

import numpy as np
import pytest
from factories import compose_config

from pipeline import compare, sync
from pipeline.biases.extraction import extract_biases
from pipeline.config.schema import CONF, PROJECT

pytestmark = pytest.mark.slow

README = (PROJECT / "README.md").read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("uv run python -m pipeline.")
]


def test_the_architecture_lists_every_package():
    """A package would be missing from the architecture, or stand there after it is gone."""
    tree = (PROJECT / "pipeline" / "README.md").read_text().split("```")[1]
    packages = {f"{path.parent.name}/" for path in (PROJECT / "pipeline").glob("*/__init__.py")}
    commands = {path.name for path in (PROJECT / "pipeline").glob("[!_]*.py")}
    assert set(re.findall(r"(?:^| )(\w+(?:/|\.py))", tree, re.MULTILINE)) == packages | commands


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[4] == "pipeline.train"], ids=" ".join)
def test_the_training_commands_run(cli, command):
    """A training command of the README would fail (here with one seed and one epoch)."""
    less = [] if "--help" in command else ["seeds=1", "training.epochs=1", "tracking=none"]
    said = cli(*command[5:], *less)
    assert (said.code or 0, said.err) == (0, "")
    assert any(words in said.out for words in ("pipeline.train", "Results:", "runs to train"))


def test_the_readme_shows_training_comparing_and_syncing():
    """A command would have fallen out of the README."""
    modules = {command[4] for command in COMMANDS}
    assert {"pipeline.train", "pipeline.compare"} <= modules
    assert "python -m pipeline.sync" in README
    assert compare.main(["--help"]) == sync.main(["--help"]) == 0


def test_the_groups_are_the_groups():
    """The README's table would lack a choice of a group, or name one that is gone."""
    for group in ("model", "runtime", "tracking", "experiment", "data", "optimizer"):
        row = re.search(rf"^\| `{group}` \|(.*)\|$", README, re.MULTILINE)
        choices = {path.stem for path in (CONF / group).glob("*.yaml")}
        assert choices <= set(re.findall(r"`(\w+)`", row[1])), group


def test_the_snippet_gives_the_biases_before_and_after():
    """The three lines that answer "how do I get the biases" would not."""
    import keras

    namespace = {"x": np.ones((8, 4), np.float32), "y": np.zeros(8)}
    namespace["model"] = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
    namespace["model"].compile("sgd", "mse")
    exec(re.search(r"```python\n(.*?)```", README, re.DOTALL)[1], namespace)
    assert next(iter(namespace["before"].values())).tolist() == [0, 0, 0]
    after = [layer.bias.numpy().tolist() for layer in namespace["model"].layers]
    assert [bias.tolist() for bias in namespace["after"].values()] == after
    assert extract_biases(namespace["model"]).keys() == namespace["before"].keys()


def test_the_readme_model_file_composes(tmp_path):
    """The model file that the README shows would be refused."""
    text = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1]
    import yaml

    layers = yaml.safe_load(text)["layers"]
    written = str(layers).replace("'", "")
    assert compose_config(f"model.layers={written}", "model.name=mine").model.layers == layers

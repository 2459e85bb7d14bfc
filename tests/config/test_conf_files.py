"""Every file in conf/ composes, every command that its comments show works, and every initializer has a file."""

import json
import re
import shlex
from pathlib import Path

import pytest
from factories import DROPOUT_GRU, compose_config
from omegaconf import OmegaConf

from pipeline.config.arguments import read_arguments
from pipeline.config.schema import CONF
from pipeline.config.tuning_sweep import expand_tuning
from pipeline.experiment.plan import plan_job
from pipeline.models.initializers.registry import initializer_names, is_custom_initializer

OPTIONS = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml"))


def as_typed(text: str) -> str:
    """A file's text with its commands as they are typed in a clone, each in one line."""
    return re.sub(r"\\\n\s*", "", text.replace("${command:train}", "python -m pipeline.train"))


COMMANDS = sorted({
    match[1].strip()
    for path in [*CONF.rglob("*.yaml"), CONF / "README.md"]
    for match in re.finditer(r"python -m pipeline\.train((?: [^\s`]+)*)", as_typed(path.read_text()))
    if "--" not in match[1]
})  # fmt: skip
NEEDED = {  # what an option needs beside it
    "orthogonal": (*DROPOUT_GRU, "bias_layers=hidden"),
    "identity": (*DROPOUT_GRU, "bias_layers=hidden"),
    "chrono": ("model=lstm",),
    "forget_gate": ("model=lstm",),
}


@pytest.fixture
def people(tmp_path: Path) -> list[str]:
    """Overrides for a dataset of the user's."""
    path = tmp_path / "people.csv"
    path.write_text("height,weight,sex\n" + "".join(f"{150 + i},{50 + i},{'fm'[i % 2]}\n" for i in range(20)))
    return ["data=file", f"data.path={path}", "data.target=sex"]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A model of the user's, saved as mine.json and made by mine.py."""
    layers = [{"class_name": "Flatten", "config": {}}, {"class_name": "Dense", "config": {"units": 10}}]
    (tmp_path / "mine.json").write_text(json.dumps({"class_name": "Sequential", "config": {"layers": layers}}))
    made = "keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])"
    (tmp_path / "mine.py").write_text(f"import keras\n\n\ndef build():\n    return {made}\n")
    return tmp_path / "mine"


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_can_be_chosen(group: str, option: str, people: list[str], mine: Path) -> None:
    """Each option composes, passes every check that needs no TensorFlow, and plans ten seeds, or what it sets."""
    overrides = people if (group, option) == ("data", "file") else [f"{group}={option}"]
    own = {"file": [f"model.path={mine}.json"], "python": ["model.function=mine:build", f"code=[{mine}.py]"]}
    overrides += own.get(option, []) if group == "model" else []
    overrides += [f"data.path={CONF}"] if (group, option) == ("data", "images") else []  # any folder will do to plan
    keys = plan_job(compose_config(*overrides, *NEEDED.get(option, ()))).keys
    n_seeds = OmegaConf.load(CONF / group / f"{option}.yaml").get("seeds", 10)
    assert list(keys) == list(range(n_seeds))
    assert len(set(keys.values())) == n_seeds


@pytest.mark.parametrize("arguments", COMMANDS)
def test_every_command_in_conf_composes(arguments: str, people: list[str]) -> None:
    """No comment, no help text and no document in conf/ shows a command that is refused."""
    words = [word for word in shlex.split(arguments) if not word.startswith("-")]
    if "data=file" in words:
        words = people
    if any(word.startswith("tune=") for word in words):
        words = expand_tuning(read_arguments(["-m", *words])).overrides
        words = [re.sub(r"^(?!tune)(.*?),.*", r"\1", word) for word in words]
        assert compose_config(*words).tune
        return
    compose_config(*(re.sub(r"=([^\[]*?),.*", r"=\1", word) for word in words))  # the first job of a sweep


def test_experiment_files_open_with_a_command() -> None:
    """Each experiment file says in its head how it is run, how long it takes and what to expect."""
    for path in (CONF / "experiment").glob("*.yaml"):
        head = [line for line in path.read_text().splitlines() if line.startswith("#")]
        swept = "" if "mode: MULTIRUN" in path.read_text() else "-m "
        assert f"# python -m pipeline.train {swept}experiment={path.stem}" in head, path.name
        assert "minute" in " ".join(head) and "Expect" in " ".join(head), path.name


def test_every_keras_initializer_has_a_file() -> None:
    """Each initializer of Keras and of this project can be chosen by name (except STFT, which makes filters)."""
    import keras

    base = keras.initializers.Initializer
    shipped = {c.__name__ for c in vars(keras.initializers).values() if isinstance(c, type) and issubclass(c, base)}
    shipped -= {"Initializer", "RandomInitializer", "STFT"}
    contents = [OmegaConf.load(path) for path in (CONF / "bias_initializer").glob("*.yaml")]
    chosen = {content.class_name for content in contents if "class_name" in content}
    assert shipped == {name for name in chosen if not is_custom_initializer(name)}
    assert chosen == set(initializer_names())


def test_glorot_is_short_for_glorot_uniform() -> None:
    """The two names are one arm, so that neither trains what the other has trained."""
    glorot, glorot_uniform = (compose_config(f"bias_initializer={name}") for name in ("glorot", "glorot_uniform"))
    assert glorot.bias_initializer == glorot_uniform.bias_initializer
    assert plan_job(glorot).keys == plan_job(glorot_uniform).keys

"""Options that do not exist are refused with what to type instead."""

from pathlib import Path

import pytest

from pipeline.config.arguments import read_arguments
from pipeline.config.hints import no_such_option
from pipeline.config.messages import as_refusal, unknown_key
from pipeline.config.overrides import validate_overrides
from pipeline.errors import ConfigError


def refusal(*given: str) -> str:
    """The line that refuses a command line."""
    with pytest.raises(ConfigError) as error:
        arguments = read_arguments(given)
        validate_overrides(arguments.overrides, arguments.folders)
    return str(error.value)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("bias_initializer=[zeros,ones]", "bias_initializer: [zeros,ones] given, of which only the last would count; "
         "allowed: one name; a sweep is bias_initializer=zeros,ones with -m"),
        ("data=[iris,wine]", "data: [iris,wine] given, of which only the last would count; "
         "allowed: one name; a sweep is data=iris,wine with -m"),
        ("-m model=mlp,[mlp,cnn]", "model: [mlp,cnn] given, of which only the last would count; "
         "allowed: one name; a sweep is model=mlp,cnn with -m"),
        ("data=[]", "data: [] given, of which"),
        ("experiment=[images,lesson]", "experiment: images and lesson given, which both set model; "
         "allowed: one of them; a sweep is experiment=images,lesson with -m"),
        ("+experiment=images +experiment=images", "experiment: given twice; allowed: once; a sweep is a,b with -m"),
        ("seeds=3 seeds=4", "seeds: given twice, 3 and 4, of which only the last would count; allowed: once; a sweep "
         "is seeds=3,4 with -m, a list seeds=[3,4]"),
        ("+data=iris +data=iris", "data: given twice; allowed: once; a sweep is a,b with -m"),
        ("data=iris data=wine", "data: given twice, iris and wine, of which only the last would count; allowed: once; "
         "a sweep is data=iris,wine with -m"),
        ("training={epochs:3} training.epochs=4", "training.epochs: given twice, 3 and 4, of which"),
        ("training.epochs=4 ++training.epochs=4", "training.epochs: given twice; allowed: once; a sweep is a,b"),
        ("hydra.sweep.dir=a hydra.sweep.dir=b", "hydra.sweep.dir: given twice, a and b, of which only the last would "
         "count; allowed: once"),
        ("-m bias_initializer=zeros,0.1", "bias_initializer: 0.1 given; allowed: constant(0.1), in quotes of the "
         "shell, or bias_initializer=constant bias_initializer.config.value=0.1"),
        ("bias_initializer=Zeros", "bias_initializer: Zeros given; allowed: bias_initializer=zeros"),
        ("bias_initializer=keras.initializers.HeNormal", "bias_initializer: keras.initializers.HeNormal given; "
         "allowed: bias_initializer=he_normal"),
        ("bias_initializer=None", "bias_initializer: None given; allowed: use_bias=false, which is no bias"),
        ("bias_initializer=no_bias", "bias_initializer: no_bias given; allowed: use_bias=false, which is no bias"),
        ("bias_initializer=false", "bias_initializer: false given; allowed: use_bias=false, which is no bias"),
        ("optimizer=Adam", "optimizer: Adam given; allowed: optimizer=adam"),
        ("optimizer=keras.optimizers.SGD", "optimizer: keras.optimizers.SGD given; allowed: optimizer=sgd"),
        ("data=mine.csv", "data: mine.csv given; allowed: data=file data.path=mine.csv data.target=..., the name of"),
        ("data=größe.csv", "data: größe.csv given; allowed: data=file 'data.path=größe.csv' data.target=..., the name"),
        ("data=./pictures", "data: ./pictures given; allowed: data=images data.path=./pictures for pictures in a fol"),
        ("model=my.yaml", "model: my.yaml given; allowed: model=my, after the file was put at conf/model/my.yaml; or "
         "at mine/model/my.yaml, with --config-dir=mine"),
        ("model=my.keras", "model: my.keras given; allowed: a list of layers in conf/model/<name>.yaml"),
        ("hydra/launcher=[basic,joblib]", "hydra/launcher: [basic,joblib] given, of which only the last would count"),
        ("hydra.launcher=joblib", "hydra.launcher: joblib given; allowed: hydra/launcher=joblib, with a slash"),
        ("--multirun=data=iris,wine", "--multirun=data=iris,wine: --multirun takes no value; allowed: --multirun dat"),
        ("-m=true", "-m=true: -m takes no value; allowed: -m alone"),
        ("--seeds=3", "--seeds=3: settings have no dashes; allowed: seeds=3"),
        ("--bias-initializer zeros", "--bias-initializer: settings have no dashes; allowed: bias_initializer=zeros"),
    ],
)  # fmt: skip
def test_what_to_type_instead_is_said(given: str, line: str) -> None:
    """What users try first is refused in one line that says what to type."""
    assert refusal(*given.split()).startswith(line)


def test_a_file_in_the_right_folder_is_found(tmp_path: Path) -> None:
    """The path of a model's file in a folder `model` is answered with the option that makes it known."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "my.yaml").touch()
    assert refusal(f"model={tmp_path}/model/my.yaml").endswith(f"allowed: --config-dir={tmp_path} model=my")


def test_experiments_that_set_different_keys_go_together(tmp_path: Path) -> None:
    """A list of experiments is refused only where they set the same group or key."""
    (tmp_path / "experiment").mkdir()
    for name, text in {"a": "seeds: 3", "b": "use_bias: false", "c": "seeds: 4"}.items():
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    arguments = read_arguments([f"--config-dir={tmp_path}", "experiment=[a,b]"])
    validate_overrides(arguments.overrides, arguments.folders)
    assert refusal(f"--config-dir={tmp_path}", "experiment=[a,b,c]").startswith("experiment: a and c given, which both")
    (tmp_path / "experiment" / "d.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /data: [iris, wine]\n"
    )
    line = refusal(f"--config-dir={tmp_path}", "experiment=d")
    assert line.startswith("override / in d.yaml: data: ['iris', 'wine'] given")


@pytest.mark.parametrize(
    ("launcher", "command"),
    [("submitit_slurm", "uv pip install hydra-submitit-launcher"),
     ("ray", "uv pip install hydra-ray-launcher")],
)  # fmt: skip
def test_a_launcher_says_how_it_is_installed(launcher: str, command: str) -> None:
    """A launcher whose plugin is missing is named with the command that installs it."""
    from hydra.errors import MissingConfigException

    error = MissingConfigException("", f"hydra/launcher/{launcher}", ["basic"])
    assert command in str(as_refusal(error)) and "whose plugin is not installed" in str(as_refusal(error))


def test_a_launcher_that_is_none_of_ours_is_refused_with_ours() -> None:
    """Launchers that Hydra finds beside them, as submitit's own, are not advised."""
    from hydra.errors import MissingConfigException

    error = MissingConfigException("", "hydra/launcher/foo", ["basic", "slurm", "submitit_slurm"])
    assert str(as_refusal(error)) == "hydra/launcher: foo given; allowed: basic, slurm"


@pytest.mark.parametrize(
    ("key", "advice"),
    [("cpu", "nearest: hydra.launcher.cpus, of hydra/launcher=slurm"),
     ("cpus", "allowed: with hydra/launcher=slurm"),
     ("zzz", "allowed: with a launcher that has it; conf/hydra/launcher has their keys")],
)  # fmt: skip
def test_a_launchers_key_is_named_with_its_launcher(key: str, advice: str) -> None:
    """Also where it is one of another launcher than the one that was chosen."""
    assert str(unknown_key(f"hydra.launcher.{key}")) == f"hydra.launcher.{key}: no such key; {advice}"


def test_a_bracket_that_is_missing_is_closed_in_the_advice() -> None:
    """What is to be typed is complete, also where a list was given within a list."""
    options = ["constant", "zeros", "ones"]
    assert "constant(0.1)'" in str(no_such_option("bias_initializer", "constant(0.1", options))
    nested = str(no_such_option("bias_initializer", [["zeros", "ones"]], options))
    assert nested.endswith("a sweep is bias_initializer=zeros,ones with -m")

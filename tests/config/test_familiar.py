"""What people type who know Keras: other names of settings, optimizers without a file, sweeps without -m."""

import shlex
from pathlib import Path

import pytest

from pipeline.config.arguments import read_arguments
from pipeline.config.load import register_schema
from pipeline.config.options import parse_options
from pipeline.config.overrides import refuse_listed_defaults, refuse_unswept, validate_overrides
from pipeline.errors import ConfigError
from pipeline.experiment.plan import plan_job
from pipeline.experiment.validate import compose_jobs
from pipeline.sync import SyncOptions


def check(line: str) -> None:
    """The checks of a command line that come before composing."""
    register_schema()
    arguments = read_arguments(shlex.split(line))
    validate_overrides(arguments.overrides, arguments.folders)
    refuse_unswept(arguments)
    refuse_listed_defaults(arguments)


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("optimizer.lr=0.1", "optimizer.lr: no such key; allowed: optimizer.learning_rate=..."),
        ("lr=0.1", "lr: no such key; allowed: optimizer.learning_rate=..."),
        ("mlflow.uri=x", "mlflow.uri: no such key; allowed: tracking.uri=..."),
        ("tracking_uri=x", "tracking_uri: no such key; allowed: tracking.uri=..."),
        ("verbose=2", "verbose: no such key; allowed: -q for less output"),
        ("learning_rate=0.1", "learning_rate: no such key; nearest: optimizer.learning_rate"),
        ("loss=mse", "loss: no such key; nearest: training.loss"),
        ("early_stopping=true", "early_stopping: no such key; allowed: training.stop={patience:5}, "),
        ("training.patience=3", "training.patience: no such key; allowed: training.stop={patience:5}, "),
        ("dropout=0.5", "dropout: no such key; allowed: it in a layer of a model file, "),
        ("--epochs 5", "--epochs: settings have no dashes; allowed: training.epochs=5"),
        ("--early_stopping", "--early_stopping: settings have no dashes; allowed: training.stop={patience:5}"),
        ("--use_bias true", "--use_bias: settings have no dashes; allowed: use_bias=true"),
        ("seeds=2 'bias_initializer=zeros,constant(0.1)'", "bias_initializer: zeros,constant(0.1) given without -m; "
         "allowed: one value; a sweep is python -m pipeline.train -m seeds=2 'bias_initializer=zeros,constant(0.1)'"),
        ("kernel_initializer=he_normal,ones", "kernel_initializer: he_normal,ones given without -m; "
         "allowed: one value; a sweep is python -m pipeline.train -m kernel_initializer=he_normal,ones"),
        ("""-m 'bias_initializer="zeros,constant(0.1)"'""", "bias_initializer: zeros,constant(0.1) given, which is one "
         "name; allowed: 'bias_initializer=zeros,constant(0.1)' with -m, without quotes in the quotes"),
        ("bias_initializer=glorott", "bias_initializer: glorott given; nearest: glorot, glorot_normal, glorot_uniform, "
         "forget_gate, constant; --help lists all; a class of your own: code=[mine.py] "
         "'bias_initializer=mine>MyInitializer()', see conf/README.md"),
        ("bias_initializer=MyInitializer", "bias_initializer: MyInitializer given; --help lists all; a class of your "),
        ("bias_initializer=nonesuch(1)", "bias_initializer: nonesuch(1) given; nearest: ones; --help lists all; a cla"),
        ("~bias_initializer", "~bias_initializer: a run needs one; allowed: use_bias=false for none"),
    ],
)  # fmt: skip
def test_what_people_type_first_is_answered(line: str, refusal: str) -> None:
    """The line says what to type instead, and of a sweep without -m the whole command."""
    with pytest.raises(ConfigError) as refused:
        check(line)
    assert str(refused.value).startswith(refusal)


def test_the_command_that_sweeps_is_whole() -> None:
    """However long the command is, it can be copied; the values before it are cut in their middle."""
    words = [f"study={'s' * 150}", f"results={'r' * 150}", f"training.loss={'l' * 400},mse", "seeds=[1, 2]"]
    with pytest.raises(ConfigError) as refused:
        check(shlex.join(words))
    line = str(refused.value)
    assert line.startswith("training.loss: lll") and "\n" not in line
    assert line.endswith(f"; a sweep is python -m pipeline.train -m {shlex.join(words)}")
    assert len(line.removesuffix(shlex.join(words))) < 350


@pytest.mark.parametrize(("name", "rate"), [("adamw", 0.001), ("Nadam", 0.001), ("lion", 0.001), ("adadelta", 0.001)])
def test_an_optimizer_of_keras_needs_no_file(name: str, rate: float) -> None:
    """An optimizer that Keras has and conf/ has not is an option with Keras' learning rate; one that is swept, too."""
    sgd, other = (plan_job(config) for config in compose_jobs(["data=iris", "seeds=1", f"optimizer=sgd,{name}"]))
    assert other.settings["optimizer"]["class_name"].lower() == name.lower() and sgd.keys[0] != other.keys[0]
    assert other.settings["optimizer"]["learning_rate"] == rate


def test_a_config_file_that_lists_options_is_refused(tmp_path: Path) -> None:
    """A list of options in the defaults of a file of --config-name is refused, since only the last would count."""
    (tmp_path / "mine.yaml").write_text("defaults:\n  - config\n  - override data: [iris, wine]\n  - _self_\n")
    with pytest.raises(ConfigError, match=r"defaults of mine.yaml: data: \[iris,wine\] given, of which only the last"):
        check(f"--config-dir {tmp_path} --config-name mine")


def test_a_word_alone_is_a_study() -> None:
    """`compare digits-mlp` is `compare study=digits-mlp`; several are one with commas; an option stays unknown."""
    first, several = (parse_options(words, SyncOptions) for words in (["digits-mlp"], ["a", "b"]))
    assert first is not None and first.study == "digits-mlp" and several is not None and several.study == "a,b"
    with pytest.raises(ConfigError, match="--study: no such option"):
        parse_options(["--study"], SyncOptions)

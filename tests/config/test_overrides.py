"""Overrides are checked against conf/ and the schema before Hydra composes anything."""

from pathlib import Path

import pytest

from pipeline.config.arguments import read_arguments
from pipeline.config.overrides import expand_sweep, spell_sweep, validate_overrides
from pipeline.errors import ConfigError


def validate_command_line(given: list[str]) -> None:
    """Check a command line as `python -m pipeline.train` does."""
    arguments = read_arguments(given)
    validate_overrides(arguments.overrides, arguments.folders)


TOP_LEVEL = "allowed: study, use_bias, bias_layers, seeds,"


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["use_bias=true", "bias_initializer=glorot", "seeds=5"],
        ["seeds=[3,7]", "bias_layers=[dense,output]", "study='a b'"],
        ["bias_initializer=zeros,he_normal", "optimizer.learning_rate=0.001,0.01", "training.epochs=range(1,3)"],
        ["use_bias=choice(true,false)", "data=glob(*)", "seeds=shuffle(1,2)"],
        ["bias_initializer=constant", "bias_initializer.config.value=0.1"],
        ["optimizer.config.beta_1=0.8"],
        ["+optimizer.config.beta_1=0.8", "++optimizer.config.beta_2=0.8", "~optimizer.config.epsilon"],
        ["+optimizer.config={beta_1:0.8}"],
        ["optimizer.schedule=null", "+optimizer.schedule={class_name:CosineDecay}", "optimizer.schedule.config.x=1"],
        ["training={epochs:3,batch_size:8}", "training.loss=huber", "training.metrics=[mae,mse]"],
        ["model.layers=[{class_name:Dense}]", "model.layers.0.class_name=Dense"],
        ["data.task=null", "data.test_fraction=null", "data.path='a=b.csv'"],
        ["+data.task=binary"],
        ["training.epochs=${seeds}", "study=${data.name}"],
        ["experiment=lesson", "data=iris.yaml"],
        ["~experiment"],
        ["data@data=iris", "data@_global_=iris"],
        ["hydra.sweep.dir=x", "hydra/launcher=joblib", "+hydra.job.env_set.A=1", "hydra.sweeper.params={}"],
        ["--cfg", "job", "--package=data", "-cn", "config", "seeds=3"],
        ["--info", "searchpath", "seeds=3"],
        ["--info", "seeds=3"],
        ["model.layers=[{class_name:'Dense'}],[{class_name:Dense,config:{activation:'relu'}}]", "study='a b',c"],
        ["hydra.searchpath=[pkg://mine]", "model=mine"],
    ],
    ids=" ".join,
)
def test_valid_overrides_pass(overrides: list[str]) -> None:
    """Whatever Hydra would accept, or must judge itself, passes the check."""
    validate_command_line(overrides)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        # keys
        ("seed=3", "seed: no such key; allowed: seeds=10 for the seeds"),
        ("epochs=3", "epochs: no such key; nearest: training.epochs"),
        ("optimiser=sgd", "optimiser: no such key; nearest: optimizer"),
        ("training.epoch=3", "training.epoch: no such key; nearest: training.epochs"),
        ("trainig.epochs=3", "trainig.epochs: no such key; nearest: training.epochs"),
        ("training.epochs.first=3", "training.epochs.first: no such key; nearest: training"),
        ("optimizer.lerning_rate=1", "optimizer.lerning_rate: no such key; nearest: optimizer.learning_rate"),
        ("training={epoch:3}", "training.epoch: no such key; nearest: training.epochs"),
        ("+foo=3", f"foo: no such key; {TOP_LEVEL}"),
        ("++training.epoch=3", "training.epoch: no such key; nearest: training.epochs"),
        ("~training.epoch", "training.epoch: no such key; nearest: training.epochs"),
        ("data@foo=iris", f"foo: no such key; {TOP_LEVEL}"),
        ("+training.epochs=3", "+training.epochs: the key exists already; allowed: training.epochs=..., without"),
        ("+data=iris", "+data: the group has its option already; allowed: data=..., without the plus sign"),
        ("~training.epochs", "~training.epochs: it cannot be removed; allowed: training.epochs=..."),
        # options
        ("data=irish", "data: irish given; nearest: iris"),
        ("data=iris,irish", "data: irish given; nearest: iris"),
        ("data=${oc.env:DATASET}", "data: ${oc.env:DATASET} given; allowed: adding, breast_cancer, cifar10,"),
        ("data='irish'", "data: irish given; nearest: iris"),
        ("~data=iris", "~data: a run needs one; allowed: data=..."),
        ("data=5", "data: 5 given; allowed: adding, breast_cancer, cifar10,"),
        ("runtime=null", "runtime: null given; allowed: auto, cpu, gpu"),
        ("experiment=[images,lessn]", "experiment: lessn given; nearest: lesson"),
        ("bias_initializer=zeros,null", "bias_initializer: null given, which Keras reads as glorot_uniform; allowed: "),
        # types
        ("training.epochs=1.5", "training.epochs: 1.5 given; allowed: a whole number"),
        ("training.epochs=1,ten", "training.epochs: ten given; allowed: a whole number"),
        ("training.epochs=null", "training.epochs: null given; allowed: a whole number"),
        ("training={epochs:ten}", "training.epochs: ten given; allowed: a whole number"),
        ("data.test_fraction=half", "data.test_fraction: half given; allowed: a number or null"),
        ("use_bias=maybe", "use_bias: maybe given; allowed: true or false"),
        ("study=[a,b]", "study: ['a', 'b'] given; allowed: text"),
        ("model.layers=3", "model.layers: 3 given; allowed: a list, [a,b]"),
        ("optimizer.config=3", "optimizer.config: 3 given; allowed: named values, {name:value}"),
        # deletions
        ("~model", "~model: a run needs one; allowed: model=..."),
        ("~bias_initializer", "~bias_initializer: a run needs one; allowed: use_bias=false for none, or bias_initial"),
        # grammar
        ("data.target=x[1]", "data.target=x[1]: cannot be parsed; allowed: 'data.target=\"x[1]\"', in quotes"),
        ("seeds=[1", "seeds=[1: cannot be parsed; allowed: key=value, with lists as [a,b] and without spaces"),
        ("seeds", "seeds: cannot be parsed; allowed: key=value, with lists as [a,b] and without spaces"),
    ],
)  # fmt: skip
def test_invalid_override_is_refused(override: str, line: str) -> None:
    """The first mistake is named in one line, also at the end of a command line that is right up to there."""
    with pytest.raises(ConfigError) as refusal:
        validate_command_line(["-m", "show_weights=true", override])
    assert str(refusal.value).startswith(line) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("given", [["tracking=none", "~tracking"], ["results=there", "~results"]])
def test_a_key_that_is_set_and_removed_is_named(given: list[str]) -> None:
    """It is no key that is given twice, and no sweep."""
    with pytest.raises(ConfigError) as refusal:
        validate_command_line(given)
    assert str(refusal.value) == f"{given[1]}: given together with {given[0]}; allowed: one of the two"


def test_a_dash_too_few_is_no_plan_that_trains() -> None:
    """To argparse, `-plan` is `-p lan`."""
    with pytest.raises(ConfigError, match=r"^--package: lan given; allowed: --plan, or --package with --cfg job"):
        validate_command_line(["-plan"])


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A config folder of the user's, with a model and experiments."""
    for group in ("model", "experiment"):
        (tmp_path / group).mkdir()
    (tmp_path / "model" / "narrow.yaml").write_text("name: narrow\nlayers: []\n")
    for name, override in {"good": "/model: narrow", "no_group": "/modle: cnn", "no_option": "/model: cnm"}.items():
        text = f"# @package _global_\ndefaults:\n  - override {override}\n  - override /hydra/launcher: basic\n"
        (tmp_path / "experiment" / f"{name}.yaml").write_text(text)
    (tmp_path / "experiment" / "empty.yaml").touch()
    return tmp_path


def test_an_option_given_twice_in_an_experiment_is_refused(mine: Path) -> None:
    """Hydra would take the last of two lines for one group without a word."""
    lines = "# @package _global_\ndefaults:\n  - override /data: iris\n  - override /data: wine\n"
    (mine / "experiment" / "twice.yaml").write_text(lines)
    with pytest.raises(ConfigError, match=r"^override / in twice\.yaml: data: given twice, iris and wine; "):
        validate_command_line([f"--config-dir={mine}", "experiment=twice"])


@pytest.mark.parametrize("value", ["[zeros,ones]", ["zeros", "ones"]])
def test_a_list_of_options_in_the_default_sweep_is_refused(value: object) -> None:
    """Hydra would train the last of them alone."""
    with pytest.raises(
        ConfigError, match=r"^bias_initializer: \[zeros,ones\] given, of which only the last would count"
    ):
        spell_sweep({"use_bias": "true,false", "bias_initializer": value})
    assert spell_sweep({"bias_initializer": "zeros,ones"}) == {"bias_initializer": "zeros,ones"}


@pytest.mark.parametrize("option", ["--config-dir={}", "--config-dir {}", "-cd {}", "-cd={}"])
def test_config_dir_adds_options(option: str, mine: Path) -> None:
    """A model file in a folder of the user's is as good as one in conf/, whichever way the folder is given."""
    arguments = option.format(mine).split()
    validate_command_line([*arguments, "model=narrow", "experiment=good,empty"])
    with pytest.raises(ConfigError, match=r"^model: narow given; nearest: narrow"):
        validate_command_line([*arguments, "model=narow"])


@pytest.mark.parametrize(
    ("experiment", "line"),
    [
        ("no_group", "override / in no_group.yaml: modle: no such group; nearest: model"),
        ("no_option", "override / in no_option.yaml: model: cnm given; nearest: cnn"),
    ],
)
def test_overrides_in_an_experiment_file_are_checked(experiment: str, line: str, mine: Path) -> None:
    """A mistake in the defaults list of an experiment is named with the file."""
    with pytest.raises(ConfigError) as refusal:
        validate_command_line([f"--config-dir={mine}", f"experiment=good,{experiment}"])
    assert str(refusal.value) == line


def test_sweep_is_the_product_of_its_choices() -> None:
    """Jobs come in the order of Hydra's basic sweeper: the last choice changes fastest, the last override wins."""
    overrides = ["seeds=2", "use_bias=true,false", "training.epochs=range(1,3)", "seeds=3", "study='a b'"]
    assert expand_sweep(overrides) == [
        ["seeds=3", f"use_bias={bias}", f"training.epochs={epochs}", "study='a b'"]
        for bias in ("True", "False")
        for epochs in (1, 2)
    ]
    with pytest.raises(ConfigError, match=r"^optimizer.learning_rate: interval"):
        expand_sweep(["optimizer.learning_rate=interval(0,1)"])

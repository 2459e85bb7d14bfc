"""Bias initializers that are no file of conf/: names of other libraries, named values, and mappings of layers."""

from pathlib import Path

import pytest
from factories import compose_config

from pipeline.config.made_options import describe_other_names
from pipeline.errors import ConfigError
from pipeline.experiment.plan import Plan, plan_job
from pipeline.experiment.validate import compose_jobs


def plans(*overrides: str) -> list[Plan]:
    return [plan_job(config) for config in compose_jobs(["data=iris", "seeds=1", *overrides])]


def biases(plan: Plan) -> list[tuple[str, object]]:
    """Class and arguments of the bias initializer of each layer that has one."""
    initializers = [layer["config"].get("bias_initializer") for layer in plan.settings["model"]["layers"]]
    return [(one["class_name"], one["config"]) for one in initializers if one]


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("xavier", "glorot_uniform"), ("xavier_uniform", "glorot_uniform"), ("xavier_normal", "glorot_normal"),
        ("kaiming_uniform", "he_uniform"), ("kaiming_normal", "he_normal"), ("normal", "random_normal"),
        ("uniform(-0.1,0.1)", "random_uniform(-0.1,0.1)"), ("pytorch", "fan_in_uniform"),
    ],
)  # fmt: skip
def test_names_of_other_libraries(name: str, option: str) -> None:
    """A name that people know from elsewhere is the initializer that it means, and the same runs."""
    (known,), (meant,) = plans(f"bias_initializer={name}"), plans(f"bias_initializer={option}")
    assert (known.arm, known.keys[0]) == (meant.arm, meant.keys[0])


def test_each_layer_its_own() -> None:
    """A mapping of layers is an arm beside others; a layer's name comes before its role, and the rest gets zeros."""
    mapping = "{hidden: constant(0.1), dense_1: {class_name: Ones}, output: class_prior}"
    zeros, mapped = plans(f"bias_initializer=zeros,{mapping}")
    assert zeros.arm == "zeros" and "layers" not in zeros.settings["bias_initializer"]
    assert mapped.arm == "dense_1=ones+hidden=constant(0.1)+output=class_prior"
    assert biases(mapped) == [("Constant", {"value": 0.1}), ("Ones", {}), ("ClassPrior", {})]
    (rest,) = plans("bias_initializer={output: ones}")
    assert (rest.arm, biases(rest)) == ("output=ones", [("Zeros", {}), ("Zeros", {}), ("Ones", {})])
    (others,) = plans("bias_initializer=glorot", "bias_initializer.layers={output:zeros}")
    assert others.arm == "output=zeros+others=glorot_uniform"


def test_the_same_initializer_everywhere_is_the_same_runs() -> None:
    """A mapping that gives every layer zeros asks for the runs of zeros."""
    zeros, mapped = plans("bias_initializer=zeros,{hidden:zeros,output:zeros}")
    assert zeros.keys[0] == mapped.keys[0]


def test_a_file_may_hold_a_mapping(tmp_path: Path) -> None:
    """A file of the group says what a mapping on the command line does, with names of options and calls."""
    config = compose_config("data=iris", "bias_initializer.layers={hidden:'constant(0.1)',output:fan_in_uniform}")
    assert biases(plan_job(config))[::2] == [("Constant", {"value": 0.1}), ("FanInUniform", {})]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ("bias_initializer={dnse: ones}", "bias_initializer: no layer dnse that can have a bias; nearest: dense, dens"),
        ("bias_initializer={dense: class_prior}", "bias_initializer: ClassPrior given, for dense, which is not the ou"),
        ("bias_initializer={dense: zerso}", "bias_initializer: zerso given; nearest: zeros"),
        ("bias_initializer={dense: 0.1}", "bias_initializer: of layer dense: 0.1 given; allowed: constant(0.1) for a "),
        ("bias_initializer={dense: }", "bias_initializer: {dense:} given; allowed: {layer:initializer,...}, or {class"),
        ("bias_initializer={class_name: Ones, conf: {}}", "bias_initializer: {'class_name': 'Ones', 'conf': {}} given"),
        ("bias_initializer={output: ones} bias_layers=hidden", "bias_layers: hidden given, with an initializer for ea"),
        ("bias_initializer={hidden: ones} model=linear", "bias_initializer.layers: hidden given, but output is the on"),
        ("bias_initializer={class_name: 'mine>My'}", "bias_initializer.class_name: mine>My given, which is no class o"),
        ("bias_initializer=mine>My(3)", "bias_initializer: mine>My(3) given; allowed: mine>My(name=3), since the argu"),
        ("bias_initializer=kaiming", "bias_initializer: kaiming given; allowed: he_normal or he_uniform, which are ka"),
        ("bias_initializer=none", "bias_initializer: none given; allowed: use_bias=false, which is no bias; or an opt"),
        ("kernel_initializer=none", "kernel_initializer: none given; allowed: null, or leaving it out, which is "),
        ("kernel_initializer=default", "kernel_initializer: default given; allowed: null, or leaving it out, which "),
        ("kernel_initializer=mine>M", "kernel_initializer: mine>M is not a Keras initializer; allowed: code=[mine.py]"),
        ("kernel_initializer=hee_normal", "kernel_initializer: hee_normal is not a Keras initializer; nearest: "),
        ("kernel_initializer=class_prior", "kernel_initializer: class_prior given, which is for biases; allowed: an i"),
        ("kernel_initializer=normal(x=1)", "kernel_initializer.config.x: RandomNormal has no such argument; allowed: "),
        ("kernel_initializer=3", "kernel_initializer: 3 given; allowed: a name, or {class_name: a name, config: its a"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(overrides: str, line: str) -> None:
    """An unknown layer or option, an initializer in a place that it is not for, and named values of another form."""
    words = overrides.replace(": ", ":").replace(", ", ",").split()
    with pytest.raises(ConfigError) as refusal:
        plans(*words)
    assert str(refusal.value).startswith(line)


def test_a_layer_that_sets_its_own_bias_is_not_overridden() -> None:
    """A mapping may not name a layer whose bias the model file sets; by its role it is left as it is."""
    layers = (
        "model.layers=[{class_name:Flatten},{class_name:Dense,config:{units:3,name:mine,bias_initializer:ones}},"
        "{class_name:Dense,config:{name:output}}]"
    )
    with pytest.raises(ConfigError, match="layer mine given, but the model says what its bias is"):
        plans("bias_initializer={mine:zeros}", layers)
    (plan,) = plans("bias_initializer={hidden:constant(2),output:constant(3)}", layers)
    assert biases(plan) == [("Ones", {}), ("Constant", {"value": 3})]


def test_kernels_are_a_block() -> None:
    """A kernel initializer applies to layers that leave it open, and makes a block; the default one the same runs."""
    unset, same, he, pytorch = plans("kernel_initializer=null,xavier,he_normal,pytorch")
    assert he.arm == "zeros,kernel_initializer=he_normal" and he.settings["block"] == "kernel_initializer=he_normal"
    assert unset.keys[0] == same.keys[0] != he.keys[0]
    kernels = [layer["config"].get("kernel_initializer") for layer in he.settings["model"]["layers"]]
    assert kernels == [None, *[{"class_name": "HeNormal", "config": {}}] * 3]
    kernel = pytorch.settings["model"]["layers"][1]["config"]["kernel_initializer"]
    assert kernel["config"] == {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}


def test_names_of_other_libraries_are_explained() -> None:
    """Once per key, alone, with arguments or for a layer; a word in the settings of a class is none."""
    overrides = [
        "bias_initializer=xavier",
        "bias_initializer=xavier",
        "bias_initializer={hidden: kaiming_normal, output: ones}",
        "bias_initializer='uniform(-1,1)'",
        "kernel_initializer=pytorch",
        "bias_initializer={class_name: VarianceScaling, config: {distribution: uniform}}",
    ]
    assert describe_other_names(overrides[:3] + overrides[4:]) == [
        "bias_initializer: xavier is glorot_uniform, kaiming_normal is he_normal",
        "kernel_initializer: pytorch is variance_scaling(scale=1/3,mode=fan_in,distribution=uniform)",
    ]
    assert describe_other_names(overrides[3:4]) == ["bias_initializer: uniform is random_uniform"]
    assert describe_other_names(["bias_initializer=glorot_uniform"]) == []

"""Names of arms and blocks."""

from dataclasses import replace
from typing import Any

import pytest
from factories import compose_config

from pipeline.config.naming import arm_name, block_name
from pipeline.config.overrides import expand_sweep
from pipeline.config.schema import BiasInitializer, Config
from pipeline.models.initializers.registry import initializer_defaults

ONES, GLOROT = BiasInitializer("Ones"), BiasInitializer("GlorotUniform")


def config_of(*overrides: str, **changes: Any) -> Config:
    """The default config with these changes, as if the overrides had made them."""
    default = compose_config()
    names = {
        group: replace(getattr(default, group), name=changes.pop(group)) for group in ("data", "model") & changes.keys()
    }
    config = replace(default, overrides=overrides, **names, **changes)
    return config if "study" in changes else replace(config, study=f"{config.data.name}-{config.model.name}")


def name_of(config: Config) -> str:
    return arm_name(config, initializer_defaults(config.bias_initializer.class_name))


@pytest.mark.parametrize(
    ("overrides", "changes", "arm"),
    [
        ([], {}, "zeros"),
        (["bias_initializer=zeros"], {}, "zeros"),
        (["use_bias=false"], {"use_bias": False}, "no_bias"),
        (["use_bias=false", "bias_initializer=glorot"], {"use_bias": False, "bias_initializer": GLOROT}, "no_bias"),
        (["use_bias=false", "bias_initializer=constant", "bias_initializer.config.value=3"],
         {"use_bias": False, "bias_initializer": BiasInitializer("Constant", {"value": 3})}, "no_bias"),
        (["bias_initializer=glorot"], {"bias_initializer": GLOROT}, "glorot_uniform"),
        (["bias_initializer=constant"], {"bias_initializer": BiasInitializer("Constant", {"value": 0.0})}, "constant"),
        (["bias_initializer=constant", "bias_initializer.config.value=0.1"],
         {"bias_initializer": BiasInitializer("Constant", {"value": 0.1})}, "constant(0.1)"),
        (["bias_initializer=relu_small", "bias_initializer.config.value=0.1"],
         {"bias_initializer": BiasInitializer("ReluSmall", {"value": 0.1})}, "relu_small(0.1)"),
        (["bias_initializer=orthogonal", "bias_initializer.config.gain=2.0"],
         {"bias_initializer": BiasInitializer("Orthogonal", {"gain": 2.0})}, "orthogonal(2.0)"),
        (["bias_initializer=random_normal", "bias_initializer.config.stddev=0.2"],
         {"bias_initializer": BiasInitializer("RandomNormal", {"mean": 0.0, "stddev": 0.2})},
         "random_normal(stddev=0.2)"),
        (["optimizer.learning_rate=0.01"], {}, "zeros,optimizer.learning_rate=0.01"),
        (["use_bias=false", "optimizer=sgd"], {"use_bias": False}, "no_bias,optimizer=sgd"),
        (["+optimizer.config.beta_1=0.8"], {}, "zeros,optimizer.config.beta_1=0.8"),
        (["training.epochs=3", "optimizer=sgd"], {}, "zeros,optimizer=sgd,training.epochs=3"),
        (["optimizer=sgd", "training.epochs=3"], {}, "zeros,optimizer=sgd,training.epochs=3"),
        (["bias_layers=hidden"], {}, "zeros,bias_layers=hidden"),
        (["training.seeds_at_once=3"], {}, "zeros"),
        (["data.path=/in/a.csv", "data.test_path=/in/b.csv"], {}, "zeros,data.test_path=b.csv"),
        (["data.validation_path='/in/my b.csv'", "data.test_path=null"], {},
         "zeros,data.test_path=null,data.validation_path=my_b.csv"),
        (["study=mine"], {"study": "mine"}, "zeros"),
        (["seeds=[3,7]"], {"seeds": (3, 7)}, "zeros"),
        (["tracking=none", "runtime=cpu", "runtime.device=cpu"], {}, "zeros"),
        (["show_weights=true", "keep_model=true", "ablation=false", "results=x", "experiment=lesson"], {}, "zeros"),
        (["data=iris", "model=linear"], {"data": "iris", "model": "linear"}, "zeros"),
        (["study=mine", "data=iris"], {"study": "mine", "data": "iris"}, "zeros,data=iris"),
        (["study=mine", "model=linear"], {"study": "mine", "model": "linear"}, "zeros,model=linear"),
        (["study=mlp-or-linear", "model=mlp"], {"study": "mlp-or-linear"}, "zeros,model=mlp"),
    ],
    ids=lambda value: " ".join(value) or "default" if isinstance(value, list) else "",
)  # fmt: skip
def test_arm_names(overrides: list[str], changes: dict[str, Any], arm: str) -> None:
    """An arm is named by its bias setting and by what else makes it differ within its study, whatever the order."""
    assert name_of(config_of(*overrides, **changes)) == arm


@pytest.mark.parametrize(
    ("typed", "spelt"),
    [
        ("training.xla=false", "training.xla=False"),
        ("training.xla=FALSE", "training.xla=False"),
        ("optimizer.learning_rate=1e-2", "optimizer.learning_rate=0.01"),
        ("optimizer.learning_rate=0.010", "optimizer.learning_rate=0.01"),
        ("training.loss='huber'", "training.loss=huber"),
        ('training.loss="huber"', "training.loss=huber"),
        ("bias_layers=[dense,  output]", "bias_layers=_dense,output_"),
        ("+optimizer.config.beta_1=.8", "optimizer.config.beta_1=0.8"),
        ("training.class_weight=NULL", "training.class_weight=null"),
    ],
)
def test_an_arm_has_one_name_however_it_is_typed(typed: str, spelt: str) -> None:
    """A value typed for a single job, for a sweep, in quotes or with zeros names the same arm; the last one wins."""
    swept = expand_sweep([typed, "seeds=1,2"])[0]
    for overrides in ([typed], swept, [typed.partition("=")[0] + "=3", typed]):
        assert name_of(config_of(*overrides)) == f"zeros,{spelt}"


def test_arm_names_fit_a_folder() -> None:
    """However many overrides join an arm's name, a file system takes it (255 bytes)."""
    layers = ",".join(["{class_name:Dense,config:{units:64,activation:relu}}"] * 4)
    names = ",".join(f"dense_{i}" for i in range(1, 4)) + ",dense"
    arm = name_of(config_of(
        f"model.layers=[{layers}]", f"bias_layers=[{names}]", "+optimizer.config.beta_1=0.85",
        "+optimizer.config.beta_2=0.9995", "+optimizer.config.epsilon=0.0001", "training.batch_size=64",
        "training.epochs=30", "data.standardize=false", "data.validation_fraction=0.25",
    ))  # fmt: skip
    assert len(arm.encode()) <= 255


def test_arms_of_long_overrides_share_a_block() -> None:
    """Overrides that are too long for a folder name still make one block, so that its arms have a baseline."""
    layers = ",".join(f"{{class_name: Dense, config: {{units: {units}, activation: relu}}}}" for units in range(20, 30))
    override = f"model.layers=[{layers},{{class_name: Dense}}]"
    zeros, ones = config_of(override), config_of("bias_initializer=ones", override, bias_initializer=ONES)
    assert block_name(zeros) == block_name(ones)
    assert name_of(zeros) == f"zeros,{block_name(zeros)}" and len(name_of(zeros)) < 250
    assert name_of(config_of(override.replace("20", "19"))) != name_of(zeros)

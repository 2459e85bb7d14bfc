"""What of the user's own code a job uses."""

from pathlib import Path

import pytest
from factories import change_config, compose_config

from pipeline.config.calls import quote_calls
from pipeline.errors import ConfigError
from pipeline.experiment.code import used_code
from pipeline.experiment.plan import plan_job
from pipeline.models.user_code import load_code

CODE = """
import keras

@keras.saving.register_keras_serializable("codetest")
def my_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)
"""


def test_a_misspelt_loss_or_metric_is_named_with_the_nearest(tmp_path: Path) -> None:
    """Its key and value, and not the file, which is right."""
    (tmp_path / "mine.py").write_text(CODE)
    files = load_code([str(tmp_path / "mine.py")])
    config = compose_config("data=iris", "model=linear")
    for key, value in (("loss", "codetest>my_los"), ("metrics", [{"class_name": "codetest>my_los"}])):
        with pytest.raises(ConfigError) as refusal:
            used_code(change_config(config, training={key: value}), [], files)
        assert str(refusal.value).startswith(f"training.{key}: codetest>my_los given; nearest: codetest>my_loss")
    right = change_config(config, training={"loss": "codetest>my_loss"})
    assert used_code(right, [], files)[0]["used"] == ["codetest>my_loss"]


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("training.loss", "training.loss='mine>Focal'"),
        ("training.loss", "training.loss={class_name: 'mine>Focal'}"),
        ("training.metrics", "training.metrics=['mine>Focal']"),
        ("kernel_initializer", "kernel_initializer='mine>Focal'"),
        ("bias_initializer.class_name", "bias_initializer={class_name: 'mine>Focal'}"),
        ("model.layers.0.class_name", "model.layers=[{class_name: 'mine>Focal'}, {class_name: Dense}]"),
        ("model.layers.0.config.activation",
         "model.layers=[{class_name: Dense, config: {units: 3, activation: 'mine>Focal'}}, {class_name: Dense}]"),
        ("model.layers.0.config.kernel_regularizer.class_name",
         "model.layers=[{class_name: Dense, config: {units: 3, kernel_regularizer: {class_name: 'mine>Focal'}}}]"),
    ],
)  # fmt: skip
def test_a_class_that_nothing_registers_is_refused_at_planning(key: str, setting: str) -> None:
    """Before TensorFlow is needed: the key, the value, and the setting for code of one's own."""
    with pytest.raises(ConfigError) as refusal:
        plan_job(compose_config("data=iris", "model=linear", setting))
    line = str(refusal.value)
    assert line.startswith(f"{key}: mine>Focal ") and line.endswith(
        "allowed: code=[mine.py], the file that registers it"
    )


@pytest.mark.parametrize(
    ("key", "setting", "call", "form"),
    [
        ("training.loss", "training.loss=mine>Focal(gamma=3)", "mine>Focal(gamma=3)", "'mine>Focal',config:{gamma:3}"),
        ("training.loss", "training.loss=Huber(delta=2)", "Huber(delta=2)", "'Huber',config:{delta:2}"),
        ("training.metrics", "training.metrics=[mine>F(3)]", "mine>F(3)", "'mine>F',config:{<argument>:3}"),
        ("model.layers.0.config.activation",
         "model.layers=[{class_name: Dense, config: {units: 3, activation: 'mine>F()'}}]", "mine>F()", "'mine>F'"),
    ],
)  # fmt: skip
def test_a_call_where_only_named_values_are_read_is_refused_with_these(
    key: str, setting: str, call: str, form: str
) -> None:
    """Initializers alone are given as calls."""
    overrides = ["data=iris", *(["model=linear"] if key.startswith("training") else [])]
    with pytest.raises(ConfigError) as refusal:
        plan_job(compose_config(*overrides, quote_calls(setting)))
    assert str(refusal.value) == f"{key}: {call} given; allowed: {{class_name:{form}}}"


def test_an_equation_is_no_class() -> None:
    """Of EinsumDense."""
    layer = "{class_name: EinsumDense, config: {equation: 'ab->ac', output_shape: 3, bias_axes: c}}"
    assert plan_job(compose_config("data=iris", f"model.layers=[{layer}, {{class_name: Dense}}]")).missing

"""What of the user's own code a job uses."""

from pathlib import Path

import pytest
from factories import change_config, compose_config

from pipeline.errors import ConfigError
from pipeline.experiment.code import used_code
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

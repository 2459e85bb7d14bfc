"""The architecture of a live Keras model."""

from typing import Any

from pipeline.biases.introspection import direct_sublayers, is_keras_layer
from pipeline.errors import ConfigError, describe_error
from pipeline.models.architecture import ALLOWED, architecture_of_config
from pipeline.models.stable_names import stable_names


def architecture_of_model(model: Any, key: str = "model") -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The layers of a live Sequential, built or not, or Functional model, as `model.layers` takes them, see
    `architecture_of_config`; and for each name that a layer has in the program, the stable one. Its weights are not
    used.

    key: what messages call the model. Raises ConfigError for anything else.
    """
    import keras

    kind = type(model).__name__
    if not is_keras_layer(model) or not isinstance(model, keras.Model):
        raise ConfigError(f"{key}: {kind} of {type(model).__module__} is no model of Keras 3; allowed: {ALLOWED}")
    if type(model).__module__.partition(".")[0] != "keras" or kind not in ("Sequential", "Functional"):
        raise ConfigError(f"{key}: {kind} is a class of its own, whose calls only its code knows; allowed: {ALLOWED}")
    if not model.layers:
        raise ConfigError(f"{key}: a model without layers; allowed: {ALLOWED}")
    _refuse_shared(model, key)
    try:
        config: Any = keras.saving.serialize_keras_object(model)
    except Exception as error:  # of a layer of the user's
        raise ConfigError(f"{key}: Keras cannot describe it: {describe_error(error)}") from error
    return stable_names(architecture_of_config(config, key))


def _refuse_shared(model: Any, key: str) -> None:
    """Raise ConfigError where a layer is in two models: a config describes it twice, as if they were two layers."""
    holders: dict[int, Any] = {}
    waiting, seen = [model], set[int]()
    while waiting:
        holder = waiting.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        for layer in direct_sublayers(holder):
            if holders.setdefault(id(layer), holder) is not holder:
                where = f"{layer.name} is in {holders[id(layer)].name} and in {holder.name}"
                raise ConfigError(f"{key}: {where}; allowed: layers that are shared within one model only")
            waiting.append(layer)

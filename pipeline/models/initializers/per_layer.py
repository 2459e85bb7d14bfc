"""Which initializer each layer of a model gets from the settings (imports no Keras)."""

from collections.abc import Sequence
from typing import Any

from pipeline.config.schema import BiasInitializer
from pipeline.errors import ConfigError, closest
from pipeline.models.initializers.registry import only_for_output

KEY = "bias_initializer"
ROLES = ("hidden", "output")


def layer_initializers(initializer: BiasInitializer, names: Sequence[str]) -> list[dict[str, Any]]:
    """`{class_name, config}` for each of the layers that can have a bias, whose names are given in order.

    The last layer is the output. A layer's name comes before `hidden` and `output`, and these before the initializer of
    all layers. Raises ConfigError for a layer that does not exist, and for an initializer of outputs elsewhere.
    """
    full = {"class_name": initializer.class_name, "config": initializer.config}
    layers = initializer.layers or {}
    for name in layers:
        if name in names and name in ROLES and (name, names.index(name)) != ("output", len(names) - 1):
            allowed = "the names of the other layers, or another name for this one in the model"
            raise ConfigError(f"{KEY}.layers", name, allowed, reason="which is a word for layers and the name of one")
        if name not in (*ROLES, *names):
            raise ConfigError(f"{KEY}: no layer {name} that can have a bias; {closest(name, [*names, *ROLES])}")
    if "hidden" in layers and len(names) == 1:
        raise ConfigError(f"{KEY}.layers", "hidden", "output", reason=f"but {names[0]} is the only layer with a bias")
    chosen = []
    for i, name in enumerate(names):
        role = "output" if i == len(names) - 1 else "hidden"
        chosen.append(layers.get(name, layers.get(role, full)))
        if layers and role == "hidden" and only_for_output(chosen[-1]["class_name"]):
            allowed = f"it for {names[-1]}, the output"
            raise ConfigError(KEY, chosen[-1]["class_name"], allowed, reason=f"for {name}, which is not the output")
    return chosen

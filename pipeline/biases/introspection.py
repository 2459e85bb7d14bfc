"""Read Keras layers through Keras' private names, which no other module of the project uses.

For each name, a test says what breaks when it goes: tests/biases/test_introspection.py.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any


def is_keras_layer(candidate: Any) -> bool:
    """Whether an object is a layer or model of Keras 3."""
    return hasattr(candidate, "_trainable_variables")


def flatten_layers(layer: Any) -> list[Any]:
    """The layer or model itself and every layer within it, at any depth; a layer that is used twice comes once."""
    return list(layer._flatten_layers())


def direct_sublayers(layer: Any) -> list[Any]:
    """The layers that a layer or model holds itself, without those that they hold in turn."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def direct_trainable_variables(layer: Any) -> list[Any]:
    """The variables that training may change and that the layer holds itself, frozen ones included.

    Keras' public `trainable_variables` adds those of the sublayers and leaves out what is frozen.
    """
    return list(layer._trainable_variables)


def direct_state_variables(layer: Any) -> list[Any]:
    """The variables that the layer holds itself and that gradients never change: moving averages, counters, seeds."""
    return list(layer._non_trainable_variables)


def attribute_names(layer: Any) -> dict[int, str]:
    """The attributes of a layer, without a leading underscore, by the `id` of the object that each holds."""
    return {id(value): name.removeprefix("_") for name, value in vars(layer).items()}


def recurrent_layers(model: Any) -> list[Any]:
    """The layers of a model that are a `keras.layers.RNN`, also those within other layers."""
    return [layer for layer in flatten_layers(model) if any(cls.__name__ == "RNN" for cls in type(layer).__mro__)]


def sequence_shape(layer: Any) -> Any:
    """The shape [batch, steps, ...] of the sequences that a built recurrent layer takes, with initial states or not."""
    built = layer.get_build_config()
    return tuple(built["input_shape"] if "input_shape" in built else built["shapes_dict"]["sequences_shape"])


def output_layer(model: Any) -> Any:
    """The layer, or operation, that makes the output of a model, also one within nested models.

    None where it is called more than once, so that its output is not the model's alone.
    """
    if type(model).__name__ == "Sequential":
        layer = model.layers[-1]
        return output_layer(layer) if type(layer).__name__ in ("Sequential", "Functional") else layer
    layer: Any = model.output._keras_history.operation
    while len(layer._inbound_nodes) == 1:
        if type(layer).__name__ not in ("Sequential", "Functional"):
            return layer
        layer = layer.layers[-1] if type(layer).__name__ == "Sequential" else layer.output._keras_history.operation
    return None


def following_layer(layer: Any) -> Any:
    """The only layer or operation that takes the only output of a layer in a Functional model, and takes no other.

    None without such, so for a layer or a follower that is called several times.
    """
    following = [node.operation for node in layer._outbound_nodes]
    once = len(following) == 1 and len(layer._inbound_nodes) == 1 and len(following[0]._inbound_nodes) == 1
    return following[0] if once else None


def inbound_output_shapes(layer: Any) -> list[Sequence[int | None]]:
    """The shape of the layer's first output for each time the layer is called in a model, batch axis included."""
    return [tuple(node.outputs[0].shape) for node in layer._inbound_nodes]


def keras_seed_state() -> Any:
    """The state of Keras' global seed generator; None where Keras is not imported or nothing has drawn from it yet."""
    state = sys.modules.get("keras.src.backend.common.global_state")
    generator = state.get_global_attribute("global_seed_generator") if state is not None else None
    return None if generator is None else (generator, generator.state.numpy())


def restore_keras_seed(before: Any) -> None:
    """Put Keras' global seed generator back, see `keras_seed_state`."""
    state = sys.modules.get("keras.src.backend.common.global_state")
    if state is None:
        return
    state.set_global_attribute("global_seed_generator", None if before is None else before[0])
    if before is not None:
        before[0].state.assign(before[1])


def name_counts() -> dict[str, int]:
    """How far Keras has counted the automatic names of this program, by their stem."""
    from keras.src.backend.common.global_state import get_global_attribute

    return dict(get_global_attribute("object_name_uids") or {})


def set_name_counts(counts: Mapping[str, int]) -> None:
    """Have Keras go on counting from here, see `name_counts`."""
    from keras.src.backend.common.global_state import set_global_attribute

    set_global_attribute("object_name_uids", defaultdict(int, counts))


def compile_arguments(model: Any) -> dict[str, Any]:
    """What a model was compiled with, as it was given; Keras' public `get_compile_config` has only names of classes."""
    return dict(model._compile_config.config)


def loss_arguments(loss: Any) -> dict[str, Any]:
    """What a loss of Keras passes to its function; `get_config` leaves out some of it, such as Huber's delta."""
    return dict(getattr(loss, "_fn_kwargs", {}))

"""What is read from Keras' source text is what Keras says when it is imported."""

import functools
import inspect

import pytest

from pipeline.config.keras_signatures import REQUIRED, class_names, constructor_arguments, is_custom, layer_settings
from pipeline.models.initializers import custom

GROUPS = ("layers", "initializers", "optimizers", "optimizers.schedules", "losses")


def imported_class(group: str, name: str) -> type:
    import keras

    if is_custom(group, name):
        return getattr(custom, name)
    return getattr(functools.reduce(getattr, group.split("."), keras), name)


@pytest.mark.parametrize("group", GROUPS)
def test_arguments_are_those_of_the_imported_class(group: str) -> None:
    """Names and literal defaults agree with `inspect.signature`. If not, Keras' source has taken another form."""
    for name in class_names(group):
        signature = inspect.signature(imported_class(group, name).__init__)
        expected = {
            p.name: REQUIRED if p.default is p.empty else p.default
            for p in list(signature.parameters.values())[1:]
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        }
        arguments = constructor_arguments(group, name)
        assert list(arguments) == list(expected), name
        assert all(default in (None, expected[key]) for key, default in arguments.items()), name


@pytest.mark.parametrize("group", GROUPS)
def test_every_public_class_is_found(group: str) -> None:
    """Each class that Keras exports is known by its public name, except base classes and wrappers of foreign code."""
    import keras

    module = functools.reduce(getattr, group.split("."), keras)
    exported = {name for name, value in vars(module).items() if isinstance(value, type)}
    aliases = {name for name, value in vars(module).items() if isinstance(value, type) and name != value.__name__}
    base_classes = {"InputSpec", "Initializer", "LearningRateSchedule"}
    wrappers = {"JaxLayer", "FlaxLayer", "TFSMLayer", "TorchModuleWrapper"}
    known = {name for name in class_names(group) if not is_custom(group, name)}
    assert exported - aliases - known <= base_classes | wrappers
    assert known <= exported


@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_what_a_layer_passes_on_is_taken(name: str) -> None:
    """By its constructor, with the default of its base class."""
    import keras

    named, given = constructor_arguments("layers", name), layer_settings(name)
    default = inspect.signature(keras.layers.RNN).parameters["zero_output_for_mask"].default
    assert {key: value for key, value in given.items() if key not in named} == {"zero_output_for_mask": default}
    assert getattr(keras.layers, name)(3, zero_output_for_mask=True).zero_output_for_mask

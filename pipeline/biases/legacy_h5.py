"""Read the biases of a legacy whole-model `.h5` file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py

from pipeline.biases.keras_format import Layer, biases_of_layer, config_layers, entries_of, expected_weights, values_of
from pipeline.biases.keras_names import MODELS, has_name, keras_class, name_of
from pipeline.biases.safe_files import MOST_OBJECTS, read_text, refuse_if
from pipeline.biases.variables import WEIGHTS, Bias, Weight
from pipeline.errors import ConfigError

OF_THE_MODEL = "top_level_model_weights"  # what a legacy file calls the variables that no layer holds


def read_legacy_h5(entry: dict[str, Any], weights: h5py.File) -> Iterator[Bias]:
    """The vectors of a whole-model `.h5`, which lists the variables of each layer of the model."""
    stored, count = weights["model_weights"], 0
    known = keras_class(entry) in MODELS
    tops = entries_of(entry["config"]) if known else []
    taken = {name_of(top) for top in tops if has_name(top)}
    spare = (name for name in _texts(stored, "layer_names") if name not in taken)
    for top in tops:
        name = name_of(top) if has_name(top) else name_of({"config": {"name": next(spare, None)}})
        layers = list(config_layers(top, name, None))
        count += len(layers)
        refuse_if(count > MOST_OBJECTS, f"more than {MOST_OBJECTS} layers")
        group = stored.get(name)
        if group is None:
            if any(expected_weights(layer) for layer in layers):
                raise ConfigError(f"nothing of layer {name} in it: truncated")
            continue
        variables = _legacy_variables(group)
        if not variables and any(expected_weights(layer) for layer in layers):  # not built
            continue
        found = _legacy_order(layers, [path.split("/")[-1].split(":")[0] for path in variables])
        if found is None:
            yield from _of_unknown(name, layers[0].layer_type, variables)
            continue
        for index, layer in enumerate(layers):
            own = {place: weight for place, (at, weight) in enumerate(found) if at == index}
            yield from biases_of_layer(layer, [list(variables.values())[place] for place in own], list(own.values()))
    for name in (OF_THE_MODEL,) if known else stored:
        if name in stored:
            yield from _of_unknown("" if name == OF_THE_MODEL else name, "", _legacy_variables(stored[name]))


def _legacy_variables(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """The variables of a layer, in order, by the name that a list of names gives them."""
    listed = _texts(group, "weight_names")
    refuse_if(len(set(listed)) < len(listed), f"{group.name} lists a variable twice")
    return {path: group[path] for path in listed}


def _texts(group: h5py.Group, name: str) -> list[str]:
    """A list of texts, which Keras cuts in numbered pieces where it is long."""
    whole, pieces = read_text(group.attrs, name), range(len(group.attrs))
    return whole or [text for n in pieces for text in read_text(group.attrs, f"{name}{n}")]


def _of_unknown(layer: str, layer_type: str, variables: Mapping[str, h5py.Dataset]) -> Iterator[Bias]:
    """The variables of a layer that is not known, by the ends of their own names."""
    for path, variable in variables.items():
        rest = path.split(":")[0].rpartition(f"{layer}/")[2]
        refuse_if(not rest.isprintable() or ".." in rest.split("/"), f"{path} is no variable's name")
        name = f"{layer}/{rest}" if layer else rest
        if variable.dtype.kind not in "iu":  # counts and quantized kernels are not trained
            yield Bias(name, layer, layer_type, "unknown", values=values_of(variable))


def _legacy_order(layers: Sequence[Layer], names: Sequence[str]) -> list[tuple[int, Weight]] | None:
    """For each name in the list: which of the layers it is of, and what it is. None where that cannot be told."""
    expected = []
    for index, layer in enumerate(layers):
        wrapped = index > 0 and layers[index - 1].class_name == "SpectralNormalization"
        for weight in expected_weights(layer) or ():
            both = weight.attribute == "kernel"  # the wrapper's and the wrapped layer's: listed with the wrapper
            holder = layers[index + 1] if both and layer.class_name == "SpectralNormalization" else layer
            if not (both and wrapped):
                expected.append((index, weight, not weight.state and holder.config.get("trainable", True)))
    if layers[0].config.get("trainable", True):  # what is trained comes first, else all is in the order of the layers
        expected.sort(key=lambda e: not e[2])
    found, waiting = [], list(names)
    for index, weight, _ in expected:
        if waiting and weight.attribute == waiting[0]:
            found.append((index, weight))
            waiting.pop(0)
        elif any(w.kind for w in WEIGHTS[layers[index].class_name]):
            return None
    unknown = any(not layer.class_name for layer in layers)
    return None if waiting or (unknown and names) else found

"""Read the biases of a legacy whole-model `.h5` file, which lists the names of each layer's variables in order."""

from collections.abc import Iterator, Mapping, Sequence

import h5py

from pipeline.biases import limits
from pipeline.biases.keras_config import Entry, SavedLayer, config_layers, expected_weights, layer_entries
from pipeline.biases.keras_format import biases_of_layer, checked_values
from pipeline.biases.keras_names import MODELS, has_name, keras_class, name_of
from pipeline.biases.safe_files import refuse_if
from pipeline.biases.safe_hdf5 import read_texts, required_dataset, required_group
from pipeline.biases.variables import WEIGHTS, Bias, Weight, join_path
from pipeline.errors import ModelFileError

MODEL_VARIABLES = "top_level_model_weights"  # the group of the variables that no layer holds


def read_legacy_h5(entry: Entry, weights: h5py.File) -> Iterator[Bias]:
    """Yield the biases of a whole-model `.h5` file. entry: the file's model config.

    Raises ModelFileError for a file that lacks a layer's variables.
    """
    stored, n_layers = required_group(weights, "model_weights"), 0
    is_known = keras_class(entry) in MODELS
    for top in _named_entries(layer_entries(entry["config"]), stored) if is_known else ():
        name = name_of(top)
        layers = list(config_layers(top, name, None))
        n_layers += len(layers)
        refuse_if(n_layers > limits.MAX_OBJECTS, f"more than {limits.MAX_OBJECTS} layers")
        has_variables = any(expected_weights(layer) for layer in layers)
        if name not in stored:
            if has_variables:
                raise ModelFileError(f"nothing of layer {name} in it: truncated")
            continue
        variables = _listed_variables(required_group(stored, name))
        if variables or not has_variables:  # else the layer was not built
            yield from _biases_of_top_layer(name, layers, variables)
    for name in (MODEL_VARIABLES,) if is_known else list(stored):
        if name in stored:
            layer = "" if name == MODEL_VARIABLES else name
            yield from _unknown_biases(layer, "", _listed_variables(required_group(stored, name)))


def _named_entries(entries: Sequence[Entry], stored: h5py.Group) -> Iterator[Entry]:
    """Yield the entries, those without a name with the next name in the file's list that no other entry has."""
    taken = {name_of(entry) for entry in entries if has_name(entry)}
    spare = (name for name in _read_list(stored, "layer_names") if name not in taken)
    for entry in entries:
        if has_name(entry):
            yield entry
        else:
            config = entry["config"] if isinstance(entry["config"], dict) else {}
            yield entry | {"config": config | {"name": next(spare, None)}}


def _biases_of_top_layer(
    name: str, layers: Sequence[SavedLayer], variables: Mapping[str, h5py.Dataset]
) -> Iterator[Bias]:
    """Yield the biases of a layer of the model and of its sublayers, whose variables the file lists together."""
    weights = _assign_weights(layers, [path.split("/")[-1].split(":")[0] for path in variables])
    if weights is None:
        yield from _unknown_biases(name, layers[0].layer_type, variables)
        return
    listed = list(variables.values())
    for index, layer in enumerate(layers):
        positions = [position for position, (layer_index, _) in enumerate(weights) if layer_index == index]
        expected = [weights[position][1] for position in positions]
        yield from biases_of_layer(layer, [listed[position] for position in positions], expected)


def _assign_weights(layers: Sequence[SavedLayer], names: Sequence[str]) -> list[tuple[int, Weight]] | None:
    """Tell for each listed variable name to which layer it belongs (an index) and what it is.

    None where the names contradict the config, or a layer is of another library.
    """
    assigned, remaining = [], list(names)
    for index, weight in _listed_order(layers):
        if remaining and weight.attribute == remaining[0]:
            assigned.append((index, weight))
            remaining.pop(0)
        elif any(w.kind for w in WEIGHTS[layers[index].class_name]):
            return None
    has_unknown_layer = any(not layer.class_name for layer in layers)
    return None if remaining or (has_unknown_layer and names) else assigned


def _listed_order(layers: Sequence[SavedLayer]) -> list[tuple[int, Weight]]:
    """(index of the layer, weight) for all variables that the configs imply, in the order in which Keras lists them."""
    order = []
    for index, layer in enumerate(layers):
        is_wrapped = index > 0 and layers[index - 1].class_name == "SpectralNormalization"
        for weight in expected_weights(layer) or ():
            # SpectralNormalization holds the kernel of the layer it wraps, which is listed with the wrapper.
            is_shared = weight.attribute == "kernel" and (is_wrapped or layer.class_name == "SpectralNormalization")
            if not (is_shared and is_wrapped):
                holder = layers[index + 1] if is_shared else layer
                order.append((index, weight, not weight.state and holder.config.get("trainable", True)))
    if layers[0].config.get("trainable", True):  # trainable variables come first; in a frozen layer all are in order
        order.sort(key=lambda item: not item[2])
    return [(index, weight) for index, weight, _ in order]


def _listed_variables(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """The variables of a layer in order, by the paths in the file's list."""
    paths = _read_list(group, "weight_names")
    refuse_if(len(set(paths)) < len(paths), f"{group.name} lists a variable twice")
    return {path: required_dataset(group, path) for path in paths}


def _read_list(group: h5py.Group, name: str) -> list[str]:
    """Read a list of texts, which Keras splits into numbered attributes (`name0`, `name1`, ...) if it is long."""
    return read_texts(group.attrs, name) or [
        text for number in range(len(group.attrs)) for text in read_texts(group.attrs, f"{name}{number}")
    ]


def _unknown_biases(layer: str, layer_type: str, variables: Mapping[str, h5py.Dataset]) -> Iterator[Bias]:
    """Yield the variables of a layer that is not known, named by the ends of their listed paths."""
    for path, variable in variables.items():
        rest = path.split(":")[0].rpartition(f"{layer}/")[2]
        refuse_if(not rest.isprintable() or ".." in rest.split("/"), f"{path} is no variable's name")
        if variable.dtype.kind not in "iu":  # integers are counts and quantized kernels
            yield Bias(join_path(layer, rest), layer, layer_type, "unknown", values=checked_values(variable))

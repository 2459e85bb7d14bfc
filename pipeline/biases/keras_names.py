"""Names and classes of the layers in saved Keras models."""

import re
from functools import cache
from typing import Any

import h5py

from pipeline.biases import limits
from pipeline.biases.older_layers import OLDER_CLASSES, current_class
from pipeline.biases.safe_files import refuse_if
from pipeline.biases.safe_hdf5 import child_group, read_texts
from pipeline.biases.snake_case import older_snake_case, snake_case
from pipeline.biases.variables import ROLES, WEIGHTS

MODELS = ("Sequential", "Functional", "Model")
CELLS = {"SimpleRNN": "SimpleRNNCell", "LSTM": "LSTMCell", "GRU": "GRUCell"}
CELLS |= dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), "ConvLSTMCell")
ATTENTIONS = ("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention")
# Attribute of an attention layer that holds a projection -> the name that the attention layer gives it.
PROJECTIONS = {attribute: "attention_output" if role == "output" else role for attribute, role in ROLES.items()}
# The classes whose variables and sublayers this package knows.
KNOWN_CLASSES = {*WEIGHTS, *OLDER_CLASSES, *MODELS, *CELLS, *ATTENTIONS, "RNN", "StackedRNNCells", "Bidirectional",
                 "TimeDistributed", "SpectralNormalization"}  # fmt: skip
# The packages that are Keras: its own, Keras 2 beside it, and the package in which Keras 3 was made.
KERAS_PACKAGES = ("keras", "tf_keras", "keras_core")


def keras_class(entry: dict[str, Any]) -> str:
    """The Keras class that an entry of a config names, as Keras 3 calls it; empty for a class of another library.

    A legacy file does not say which library a class is from: Keras takes it for its own if it has one of that name.
    """
    name = entry["class_name"]
    is_keras = str(entry["module"]).split(".")[0] in KERAS_PACKAGES if "module" in entry else ">" not in name
    return current_class(name) if is_keras else ""


def short_class_name(entry: dict[str, Any]) -> str:
    """`Dense` for `Dense` and for `package>Dense`."""
    return entry["class_name"].split(">")[-1]


def stored_name(group: h5py.Group) -> str:
    """The name of the layer whose group in the weights file this is; empty in files of older versions of Keras."""
    variables = child_group(group, "vars")
    texts = read_texts(variables.attrs, "name") if variables is not None else []
    return checked_name(texts[0]) if texts else ""


def has_name(entry: dict[str, Any]) -> bool:
    """Whether an entry of a config contains its layer's name, which a class of another library may leave out."""
    return isinstance(entry["config"], dict) and "name" in entry["config"]


def name_of(entry: dict[str, Any], group: h5py.Group | None = None) -> str:
    """The name of a layer: from its entry in the config, else from its group, else from its class."""
    stored = stored_name(group) if group is not None else ""
    if has_name(entry):
        return checked_name(entry["config"]["name"])
    return stored or checked_name(snake_case(short_class_name(entry)))


def checked_name(name: Any) -> str:
    """Return a name that can be printed and be part of a path, slashes included, as Keras 2 allowed; refuse others."""
    valid = isinstance(name, str) and name.isprintable() and not {"", ".", ".."} & set(name.split("/"))
    refuse_if(not valid or len(name) > limits.MAX_NAME_LENGTH, f"{name!r} is no layer's name")
    return name


def class_of_name(name: str) -> str:
    """The Keras class that a default name stems from: `Dense` for `dense_3`; empty for any other name."""
    return current_class(_classes_by_default_name().get(re.sub(r"_\d+$", "", name), ""))


@cache
def _classes_by_default_name() -> dict[str, str]:
    styles = (str.lower, older_snake_case, snake_case)  # of Keras 1, Keras 2 and Keras 3
    return {style(name): name for style in styles for name in sorted(KNOWN_CLASSES)}


def natural_order(key: str) -> tuple[str, int]:
    """Sort key that puts `dense_2` before `dense_10`."""
    stem, _, number = key.rpartition("_")
    return (stem, int(number)) if number.isdecimal() else (key, 0)

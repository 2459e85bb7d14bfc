"""Names and classes of layers in saved Keras models."""

import re
from functools import cache
from typing import Any

import h5py

from pipeline.biases.safe_files import read_text, refuse_if
from pipeline.biases.variables import ROLES, WEIGHTS

MODELS = ("Sequential", "Functional", "Model")
CELLS = {"SimpleRNN": "SimpleRNNCell", "LSTM": "LSTMCell", "GRU": "GRUCell"}
CELLS |= dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), "ConvLSTMCell")
ATTENTIONS = ("MultiHeadAttention", "GroupedQueryAttention", "GroupQueryAttention")
# The names that an attention layer gives to the layers within it.
DENSE = {attribute: "attention_output" if role == "output" else role for attribute, role in ROLES.items()}
KNOWN = {*WEIGHTS, *MODELS, *CELLS, *ATTENTIONS, "RNN", "StackedRNNCells", "Bidirectional", "TimeDistributed",
         "SpectralNormalization"}  # fmt: skip


def keras_class(entry: dict[str, Any]) -> str:
    """The Keras class that an entry of a config names; empty for any other class.

    A legacy file does not say whose a class is: Keras takes it for its own when it has one of that name.
    """
    name = entry["class_name"]
    own = str(entry["module"]).split(".")[0] == "keras" if "module" in entry else ">" not in name
    return name if own else ""


def short_name(entry: dict[str, Any]) -> str:
    """`Dense` for `Dense` and for `package>Dense`."""
    return entry["class_name"].split(">")[-1]


def child_group(group: h5py.Group | None, *names: str) -> h5py.Group | None:
    """The first of these members that is a group; None where there is none."""
    found = next((group[name] for name in names if name in group), None) if group is not None else None
    return found if isinstance(found, h5py.Group) else None


def stored_name(group: h5py.Group) -> str:
    """The layer's own name, empty in older files."""
    own = child_group(group, "vars") if isinstance(group, h5py.Group) else None
    texts = read_text(own.attrs, "name") if own is not None else []
    return checked_name(texts[0]) if texts else ""


def has_name(entry: dict[str, Any]) -> bool:
    """Whether a config keeps its layer's name: that of another library's class may not."""
    return isinstance(entry["config"], dict) and "name" in entry["config"]


def name_of(entry: dict[str, Any], group: h5py.Group | None = None) -> str:
    """The name of the layer that an entry of the config describes, or of its group, or what its class is called."""
    stored = stored_name(group) if group is not None else ""
    return (
        checked_name(entry["config"]["name"])
        if has_name(entry)
        else stored or checked_name(snake_case(short_name(entry)))
    )


def checked_name(name: Any) -> str:
    """A name that can be part of a path and can be printed. Keras 2 allowed slashes in them."""
    plain = isinstance(name, str) and name.isprintable() and not {"", ".", ".."} & set(name.split("/"))
    refuse_if(not plain or len(name) > 500, f"{name!r} is no layer's name")
    return name


def class_called(stem: str) -> str:
    """`Dense` for `dense_3`; empty for what is not called after a class of Keras."""
    return {snake_case(name): name for name in sorted(KNOWN)}.get(re.sub(r"_\d+$", "", stem), "")


@cache
def snake_case(name: str) -> str:
    """As Keras derives a group's name from a class: keras/src/utils/naming.py."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def natural_order(key: str) -> tuple[str, int]:
    """Sort key that puts `dense_2` before `dense_10`."""
    stem, _, number = key.rpartition("_")
    return (stem, int(number)) if number.isdecimal() else (key, 0)

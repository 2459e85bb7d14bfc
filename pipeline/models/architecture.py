"""The architecture of a Keras model, from its config as Keras serializes it: the layers that `model.layers` takes.

A Sequential, and a Functional model that is a chain, is a list of layers `{class_name, config}`. Any other Functional
model is a list of one entry, in Keras' own form: `{class_name: Functional, config: {layers, input_layers,
output_layers}}`. What the constructor's defaults say is left out, as are weights and shapes that follow, so that the
same model in YAML is the same. Layers keep their names, as a file has them; `stable_names.py` is for those of live
models. Imports no Keras and runs no code.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.biases.safe_files import open_archive, read_json, refuse_if, refusing_file
from pipeline.config.keras_signatures import REQUIRED, class_names, constructor_arguments
from pipeline.config.schema import expand_home
from pipeline.errors import ConfigError, ModelFileError, one_line
from pipeline.models.functional import MARKS, OPERATIONS, TENSOR, chain, clean_graph, is_functional
from pipeline.models.initializers.registry import ALIASES
from pipeline.models.layer_names import is_automatic

KERAS = ("keras", "tf_keras", "keras_core", "tensorflow")  # packages whose classes are Keras'
MODELS = ("Sequential", "Functional", "Model")
LARGEST_JSON = 2**26  # bytes
ALLOWED = "a keras.Sequential, or a Functional model with one input and one output"

Entry = Mapping[str, Any]


def architecture_of_config(keras_config: Entry, key: str = "model") -> list[dict[str, Any]]:
    """The layers of a model, as `model.layers` takes them; the first may be an InputLayer, which holds its shape.

    keras_config: what `keras.saving.serialize_keras_object(model)`, `model.to_json()` or `model.get_config()` say of a
    Sequential or Functional model. key: what messages call the model. Raises ConfigError for another model, and for
    layers and arguments that are no part of Keras and not registered under a name.
    """
    if "class_name" not in keras_config:  # model.get_config() alone
        kind = "Functional" if is_functional(keras_config) else "Sequential"
        keras_config = {"class_name": kind, "config": keras_config}
    try:
        return _architecture(keras_config, key)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{key}: not a config that Keras wrote ({one_line(repr(error))}); allowed: {ALLOWED}"
        ) from error


def _architecture(keras_config: Entry, key: str) -> list[dict[str, Any]]:
    class_name, config = keras_config["class_name"], keras_config.get("config")
    if not _is_keras(keras_config) or class_name not in MODELS or not isinstance(config, Mapping):
        reason = f"{key}: {class_name} is a class of its own, whose layers and calls only its code knows"
        raise ConfigError(f"{reason}; allowed: {ALLOWED}")
    if not config.get("layers"):
        raise ConfigError(f"{key}: a model without layers; allowed: {ALLOWED}")
    if class_name == "Sequential" or not is_functional(config):
        return [_clean_layer(entry, key) for entry in config["layers"]]
    graph = clean_graph(config, lambda entry: _clean_layer(entry, key))
    for side in ("input", "output"):
        ends = graph[f"{side}_layers"]
        if not (isinstance(ends, list) and len(ends) == 3 and isinstance(ends[0], str)):
            raise ConfigError(f"{key}: a Functional model with several {side}s; allowed: {ALLOWED}")
    return chain(graph) or [{"class_name": "Functional", "config": graph}]


def read_architecture(path: str) -> list[dict[str, Any]]:
    """The architecture of a saved model: a `.keras` file, or the `.json` of `model.to_json()`. Runs none of its code.

    Raises ConfigError for what is no such file, and as `architecture_of_config` does.
    """
    file = expand_home(path)
    if file.suffix.lower() not in (".keras", ".json"):
        raise ConfigError("model.path", path, "a .keras file, or the .json of model.to_json()")
    if not file.is_file():
        raise ConfigError(f"model.path: there is no file {path}")
    status = file.stat()
    return architecture_of_config(_read(file, status.st_size, status.st_mtime_ns), f"model.path: {path}")


@lru_cache(maxsize=16)
def _read(file: Path, size: int, _: int) -> Entry:
    with refusing_file(file):
        if file.suffix.lower() == ".keras":
            with open_archive(file) as archive:
                refuse_if("config.json" not in archive.namelist(), "an archive without config.json")
                config = read_json(archive, "config.json")
        else:
            refuse_if(size > LARGEST_JSON, f"{size} bytes; at most {LARGEST_JSON} are read")
            config = json.loads(file.read_bytes())
        if not (isinstance(config, dict) and isinstance(config.get("class_name"), str)):
            raise ModelFileError("no model that Keras wrote: it lacks class_name and config")
        return config


def _is_keras(entry: Entry) -> bool:
    """Whether an entry names a class of Keras; one without a module, as Keras 2 wrote it, does if it has no package."""
    module = entry.get("module")
    return str(module).split(".")[0] in KERAS if module is not None else ">" not in str(entry["class_name"])


def class_of(entry: Entry, key: str) -> str:
    """The class of an entry: `Dense`, or `package>Layer` where it is registered. Raises ConfigError for another."""
    if _is_keras(entry):
        return entry["class_name"]
    registered = entry.get("registered_name") or entry["class_name"]
    if ">" not in registered:
        raise ConfigError(
            f"{key}: {registered} of {entry.get('module') or 'another library'} is no class of Keras; allowed: those "
            "of Keras, and what a file of code=[...] registers with keras.saving.register_keras_serializable"
        )
    return registered


def _clean_layer(entry: Any, key: str) -> dict[str, Any]:
    """A layer in clean form; one of several inbound nodes keeps these, see `functional.py`."""
    if not (isinstance(entry, Mapping) and isinstance(entry.get("class_name"), str)):
        raise ConfigError(f"{key}: a layer without class_name; allowed: the config of a model as Keras writes it")
    if str(entry.get("module")).startswith(OPERATIONS):
        return _clean_operation(entry, key)
    class_name, config = class_of(entry, key), entry.get("config")
    if not isinstance(config, Mapping):
        raise ConfigError(f"{key}: {class_name} without its config; allowed: the config of a model as Keras writes it")
    if class_name in MODELS:
        return _clean_model(class_name, config, key)
    if class_name == "InputLayer":
        shape = config.get("batch_shape", config.get("batch_input_shape"))
        return {"class_name": class_name, "config": {"batch_shape": _plain(shape, key)} | _named(config)}
    if class_name not in class_names("layers"):
        return {"class_name": class_name, "config": {k: _plain(v, key) for k, v in config.items()}}
    defaults = constructor_arguments("layers", class_name)
    cleaned = _named(config)
    for name, value in config.items():
        plain = _argument(class_name, name, value, key) if name != "name" else None
        if not _is_left_out(class_name, name, plain, defaults):
            cleaned[name] = plain
    if class_name == "Discretization" and cleaned.get("bin_boundaries"):  # of an adapted one, which has both
        cleaned.pop("num_bins", None)
    return {"class_name": class_name, "config": _without_other_direction(cleaned)}


def _named(config: Entry) -> dict[str, Any]:
    return {} if config.get("name") is None else {"name": config["name"]}


def _clean_model(class_name: str, config: Entry, key: str) -> dict[str, Any]:
    """A model within a model."""
    frozen = {"trainable": False} if config.get("trainable") is False else {}
    if class_name == "Sequential" or not is_functional(config):
        inner = [_clean_layer(entry, key) for entry in config.get("layers", ())]
        inner = [layer for layer in inner if layer["class_name"] != "InputLayer"]
        return {"class_name": "Sequential", "config": _named(config) | frozen | {"layers": inner}}
    graph = clean_graph(config, lambda entry: _clean_layer(entry, key))
    in_order = chain(graph)
    if in_order is not None:
        return {"class_name": "Sequential", "config": _named(config) | frozen | {"layers": in_order[1:]}}
    return {"class_name": "Functional", "config": _named(config) | frozen | graph}


def _clean_operation(entry: Entry, key: str) -> dict[str, Any]:
    config = {k: _plain(v, key) for k, v in (entry.get("config") or {}).items() if k not in ("name", "trainable")}
    config = {k: v for k, v in config.items() if k != "dtype" or v is not None}
    name = _named(entry.get("config") or {})
    return {"class_name": entry["class_name"], "module": entry["module"], "config": name | config}


def _argument(class_name: str, name: str, value: Any, key: str) -> Any:
    """A layer's argument in clean form."""
    if name in ("layer", "backward_layer", "cell") and isinstance(value, Mapping):
        inner = _clean_layer(value, key)
        arguments = inner["config"]
        if class_name == "Bidirectional":
            arguments.pop("zero_output_for_mask", None)  # which the wrapper sets, and the constructor does not name
            if isinstance(arguments.get("name"), str):  # to which Keras adds this
                arguments["name"] = arguments["name"].removeprefix("forward_" if name == "layer" else "backward_")
        is_stack = inner["class_name"] == "StackedRNNCells" and set(arguments) <= {"name", "cells"}
        is_implied = is_stack and is_automatic(arguments.get("name", "stacked_rnn_cells"), "StackedRNNCells")
        return arguments["cells"] if is_implied else inner
    if name in ("layers", "cells", "cell") and isinstance(value, (list, tuple)):
        return [_clean_layer(v, key) for v in value]
    if name.endswith("_initializer") and value is not None:
        return initializer_form(_plain(value, key))
    if name == "dtype" and isinstance(value, Mapping):
        if value.get("class_name") != "DTypePolicy":
            raise ConfigError(f"{key}: a layer of dtype {value.get('class_name')}; allowed: layers in floating point")
        return (value.get("config") or {}).get("name")
    return _plain(value, key)


def _plain(value: Any, key: str) -> Any:
    """A value in JSON types; objects of Keras as `{class_name, config}`, so that nothing but Keras can make them."""
    if isinstance(value, (list, tuple)):
        return [_plain(v, key) for v in value]
    if not isinstance(value, Mapping):
        return value
    if "class_name" not in value:
        return {k: _plain(v, key) for k, v in value.items()}
    class_name = value["class_name"]
    if class_name == "__tuple__":
        return [_plain(v, key) for v in value.get("items", value.get("config", {}).get("items", ()))]
    if class_name in MARKS or class_name == TENSOR:
        return dict(value)
    if class_name == "__lambda__" or (class_name == "function" and ">" not in str(value.get("registered_name"))):
        raise ConfigError(f"{key}: a function in a layer's arguments, which is code; allowed: what Keras has by name, "
                          "and functions that a file of code=[...] registers")  # fmt: skip
    if class_name == "function":
        return value["registered_name"]
    is_layer = _is_keras(value) and class_name in class_names("layers") and "layers" in str(value.get("module"))
    if is_layer:  # as an activation
        layer = _clean_layer(value, key)
        layer["config"].pop("name", None)
        return {"module": "keras.layers"} | layer
    config = {k: _plain(v, key) for k, v in (value.get("config") or {}).items()}
    return {"class_name": class_of(value, key), "config": config}


def initializer_form(value: Any) -> Any:
    """An initializer as `{class_name, config}`, without arguments at their defaults."""
    value = {"class_name": value, "config": {}} if isinstance(value, str) else value
    names = {name.lower(): name for name in class_names("initializers")}
    spelling = str(value["class_name"])
    class_name = names.get(ALIASES.get(spelling, spelling).replace("_", "").lower(), spelling)
    known = constructor_arguments("initializers", class_name) if class_name in names.values() else {}
    config = value.get("config") or {}
    differing = {k: v for k, v in config.items() if k not in known or not _equal(v, known[k])}
    return {"class_name": class_name, "config": {k: v for k, v in differing.items() if k in known or v is not None}}


def _is_left_out(class_name: str, name: str, value: Any, defaults: Mapping[str, Any]) -> bool:
    """Whether an argument says nothing that the constructor does not do without it."""
    if name == "name" or (name, value) in (("trainable", True), ("dtype", "float32"), ("data_format", "channels_last")):
        return True
    if (class_name, name) == ("RandomCrop", "seed"):  # Keras writes one that it drew
        return True
    if name == "trainable":
        return False
    if name not in defaults:
        return value in (None, False) or name in ("batch_input_shape", "build_input_shape", "implementation")
    default = defaults[name]
    if default is REQUIRED:
        return False
    if name.endswith("_initializer") and isinstance(default, str):
        return value == initializer_form(default)
    return _equal(value, default) or (default is None and value == "linear")


def _equal(value: Any, default: Any) -> bool:
    """Whether a value is the default, also in its long form: [1, 1] for 1."""
    if isinstance(value, list):
        same = isinstance(default, (list, tuple)) and len(value) == len(default)
        if same and all(map(_equal, value, default)):
            return True
        return len(value) > 0 and default is not None and all(_equal(v, default) for v in value)
    return value == default and isinstance(value, bool) == isinstance(default, bool)


def _without_other_direction(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments without the backward layer of a Bidirectional, if it is what Keras makes of the forward one."""
    forward, backward = config.get("layer"), config.get("backward_layer")
    if not isinstance(forward, dict) or not isinstance(backward, dict):
        return config
    directions = [dict(layer["config"]) for layer in (forward, backward)]
    backwards = [direction.pop("go_backwards", False) for direction in directions]
    is_mirrored = directions[0] == directions[1] and backwards[0] != backwards[1]
    is_mirrored &= forward["class_name"] == backward["class_name"]
    return {k: v for k, v in config.items() if k != "backward_layer"} if is_mirrored else config

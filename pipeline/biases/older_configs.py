"""The configs in the files of earlier versions of Keras, written as later versions write them.

Sources: keras/models.py of Keras 1.2.2, 2.1.6 and 2.2.4.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any

from pipeline.biases.keras_names import has_name, short_class_name
from pipeline.biases.snake_case import snake_case


def current_config(model: Any, by_keras_1: bool) -> Any:
    """The entry of a model in its file, and those of all layers in it, as later versions write them.

    Up to Keras 2.2.2 the config of a Sequential is the list of its layers, and its name stands in the entry around it,
    or nowhere. The layers of the model itself stay without a name then, since the file lists their names elsewhere.
    by_keras_1: whether the settings are those of Keras 1.
    """
    return _current(model, by_keras_1, is_model=True)


def _current(entry: Any, by_keras_1: bool, is_model: bool = False) -> Any:
    if isinstance(entry, list):
        return [_current(member, by_keras_1) for member in entry]
    if not isinstance(entry, dict):
        return entry
    current = {key: _current(value, by_keras_1) for key, value in entry.items()}
    if not isinstance(entry.get("class_name"), str) or "config" not in entry:
        return current
    config = current["config"]
    if isinstance(config, list):
        entries = _without_merge(config)
        config = {"layers": entries if is_model else _named(entries)}
    if isinstance(config, dict):
        named = {"name": current["name"]} if isinstance(current.get("name"), str) else {}
        current["config"] = named | (_settings_of_keras_1(entry["class_name"], config) if by_keras_1 else config)
    return current


def _settings_of_keras_1(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    # Its recurrent layers cannot do without a bias, nor its BatchNormalization without gamma and beta.
    settings = {"scale": True, "center": True} | config | {"use_bias": config.get("bias", True)}
    # Its ConvLSTM2D has a variable for each gate, as its other recurrent layers have with this setting.
    return settings | ({"consume_less": "cpu"} if class_name == "ConvLSTM2D" else {})


def _without_merge(entries: Sequence[Any]) -> list[Any]:
    """The layers of a Sequential of Keras 1 whose first one merges models: the layers of these, then the others."""
    first = entries[0] if entries else None
    if not isinstance(first, dict) or first.get("class_name") != "Merge" or not isinstance(first["config"], dict):
        return list(entries)
    merged = []
    for branch in first["config"].get("layers") or []:
        config = branch["config"]
        merged += config["layers"] if isinstance(config, dict) and "layers" in config else [branch]
    return [*merged, *entries[1:]]


def _named(entries: Sequence[Any]) -> list[Any]:
    """The entries, those of models without a name with one that is made of their class, as Keras names them anew."""
    taken = {entry["config"]["name"] for entry in entries if isinstance(entry, dict) and has_name(entry)}
    numbers = count()
    named = []
    for entry in entries:
        is_nameless = isinstance(entry, dict) and isinstance(entry.get("config"), dict) and not has_name(entry)
        if is_nameless:
            name = stem = snake_case(short_class_name(entry))
            while name in taken:
                name = f"{stem}_{next(numbers) + 1}"
            taken.add(name)
            entry = entry | {"config": entry["config"] | {"name": name}}
        named.append(entry)
    return named

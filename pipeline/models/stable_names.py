"""Stable names for the layers of a live model, whose automatic ones Keras counts on within a program.

`dense_5` and `dense_6` become `dense` and `dense_1`, as if the model were written in YAML. A file's names are stable.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.errors import ConfigError
from pipeline.models.functional import relinked, top_layers
from pipeline.models.layer_names import inner_layers, is_automatic, name_layers
from pipeline.runtime.logs import tell_once

MODELS = ("Sequential", "Functional")  # a Functional model that is a chain is a Sequential here
Layers = list[dict[str, Any]]


def stable_names(layers: Layers) -> tuple[Layers, dict[str, str]]:
    """The layers with stable names in place of automatic ones; and for each name that a layer had, the stable one.

    layers: the architecture of a live model, see `architecture.py`. A stable name that several layers have, in models
    within the model, is "" there.
    """
    layers = copy.deepcopy(layers)
    top = top_layers(layers)
    had = [(layer, layer["config"].get("name")) for layer in _with_inner(top)]
    for layer, name in had:
        kinds = MODELS if layer["class_name"] in MODELS else (layer["class_name"],)
        if any(is_automatic(name, kind) for kind in kinds):
            del layer["config"]["name"]
    name_layers(top)
    names = {id(layer): name for layer, name in had}
    for graph in [layer["config"] for layer in _with_inner(layers) if layer["class_name"] == "Functional"]:
        graph |= relinked(graph, {names[id(layer)]: layer["config"]["name"] for layer in graph["layers"]})
    count = Counter(layer["config"]["name"] for layer, _ in had)
    new = {name: layer["config"]["name"] for layer, name in had if name is not None}
    return layers, {name: stable if count[stable] == 1 or stable == name else "" for name, stable in new.items()}


def in_stable_names(given: Iterable[Any], names: Mapping[str, str], key: str) -> dict[Any, str]:
    """The stable name for each layer that a setting names, also where it is given; says so once where they differ.

    names: of `stable_names`; others, such as `hidden`, stay. Raises ConfigError where two are the same layer, or one
    could be several.
    """
    chosen = {name: names.get(name, name) for name in given}
    for name, stable in chosen.items():
        if not stable:
            reason = "whose automatic name is that of several layers here"
            raise ConfigError(key, name, "a name of its own for the layer, as Dense(4, name='first')", reason=reason)
        if Counter(chosen.values())[stable] > 1:
            shown = ", ".join(map(str, chosen))
            raise ConfigError(key, shown, "one name per layer", reason=f"two of which are {stable}")
    differing = [f"{name} is called {stable}" for name, stable in chosen.items() if name != stable]
    if differing:
        tell_once(f"model: {', '.join(differing)} here, since Keras counts automatic names on within a program")
    return chosen


def _with_inner(layers: Layers) -> Layers:
    return [found for layer in layers for found in (layer, *_with_inner(inner_layers(layer)))]

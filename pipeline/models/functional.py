"""Functional models: the graph of their layers, in Keras' own form with stable names (imports no Keras).

The config of a graph is `{layers, input_layers, output_layers}`. Its layers are `{class_name, config, inbound_nodes}`,
those of operations between layers, such as `x + y`, with their `module`. A node is a call: `{args, kwargs}`, in which a
tensor is `{class_name: __keras_tensor__, config: {keras_history: [layer, node, output]}}`. A shared layer has a node
per call.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.models.layer_names import name_layers

TENSOR = "__keras_tensor__"
Graph = dict[str, Any]


def is_functional(config: Mapping[str, Any]) -> bool:
    """Whether the config of a model is that of a Functional one."""
    return "input_layers" in config and "output_layers" in config


def clean_graph(config: Mapping[str, Any], clean_layer: Callable[[Any], dict[str, Any]]) -> Graph:
    """The graph of a Functional model in clean form, its layers named. clean_layer: makes that of an entry."""
    entries = config["layers"]
    layers = [clean_layer(entry) for entry in entries]
    name_layers(layers)
    renamed = {
        entry.get("name") or entry["config"].get("name"): layer["config"]["name"]
        for entry, layer in zip(entries, layers, strict=True)
    }
    for entry, layer in zip(entries, layers, strict=True):
        layer["inbound_nodes"] = [_clean_node(node, renamed) for node in entry.get("inbound_nodes") or ()]
    ends = {side: _renamed_ends(config[side], renamed) for side in ("input_layers", "output_layers")}
    return {"layers": layers} | ends


def chain(graph: Graph) -> list[dict[str, Any]] | None:
    """The layers of a graph in order if each only takes the output of the one before, as in a Sequential; else None.

    The first is the InputLayer.
    """
    layers = graph["layers"]
    by_source: dict[str, dict[str, Any]] = {}
    for layer in layers[1:] if layers[0]["class_name"] == "InputLayer" else []:
        nodes = layer["inbound_nodes"]
        if "module" in layer or len(nodes) != 1 or nodes[0]["kwargs"] or len(nodes[0]["args"]) != 1:
            return None
        source, *place = history_of(nodes[0]["args"][0]) or ("", 0, 0)
        if source in by_source or place != [0, 0]:
            return None
        by_source[source] = layer
    ordered, name = [layers[0]], layers[0]["config"]["name"]
    while name in by_source:
        ordered.append(by_source[name])
        name = ordered[-1]["config"]["name"]
    is_whole = len(ordered) == len(layers) > 1 and graph["output_layers"] == [name, 0, 0]
    if not is_whole or graph["input_layers"] != [layers[0]["config"]["name"], 0, 0]:
        return None
    return [{k: v for k, v in layer.items() if k != "inbound_nodes"} for layer in ordered]


def history_of(value: Any) -> list[Any] | None:
    """[layer, node, output] of a tensor in a node's arguments; None for another value."""
    if isinstance(value, Mapping) and value.get("class_name") == TENSOR:
        return list(value["config"]["keras_history"])
    return None


def map_tensors(value: Any, function: Callable[[list[Any]], Any]) -> Any:
    """A node's arguments with every tensor replaced: function([layer, node, output])."""
    history = history_of(value)
    if history is not None:
        return function(history)
    if isinstance(value, (list, tuple)):
        return [map_tensors(v, function) for v in value]
    if isinstance(value, Mapping):
        return {k: map_tensors(v, function) for k, v in value.items()}
    return value


def map_ends(ends: Any, function: Callable[[list[Any]], Any]) -> Any:
    """The inputs or outputs of a graph, `[layer, node, output]` or lists or named values of these, each replaced."""
    if isinstance(ends, Mapping):
        return {name: map_ends(end, function) for name, end in ends.items()}
    if len(ends) == 3 and isinstance(ends[0], str):
        return function(list(ends))
    return [map_ends(end, function) for end in ends]


def _renamed_ends(ends: Any, renamed: Mapping[str, str]) -> Any:
    cleaned = map_ends(ends, lambda end: [renamed[end[0]], *end[1:]])
    is_one = isinstance(cleaned, list) and len(cleaned) == 1 and isinstance(cleaned[0], list)
    return cleaned[0] if is_one and isinstance(cleaned[0][0], str) else cleaned


def _clean_node(node: Any, renamed: Mapping[str, str]) -> dict[str, Any]:
    """A call of a layer. Keras 2 wrote it as a list of [layer, node, output, other arguments]."""

    def tensor(history: list[Any]) -> dict[str, Any]:
        return {"class_name": TENSOR, "config": {"keras_history": [renamed[history[0]], *history[1:3]]}}

    if isinstance(node, Mapping):
        kwargs = {k: map_tensors(v, tensor) for k, v in node.get("kwargs", {}).items() if v is not None}
        return {"args": map_tensors(node.get("args", ()), tensor), "kwargs": kwargs}
    if isinstance(node[0], str):
        node = [node]
    tensors = [tensor(source) for source in node]
    kwargs = {k: v for source in node for k, v in (source[3] if len(source) > 3 else {}).items() if v is not None}
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": kwargs}

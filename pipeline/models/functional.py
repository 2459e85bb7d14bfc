"""Functional models: the graph of their layers, in Keras' own form with stable names (imports no Keras).

The config of a graph is `{layers, input_layers, output_layers}`. Its layers are `{class_name, config, inbound_nodes}`,
those of operations between layers, such as `x + y`, with their `module`. A node is a call: `{args, kwargs}`, in which a
tensor is `{class_name: __keras_tensor__, config: {keras_history: [layer, node, output]}}`. A shared layer has a node
per call.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.config.keras_signatures import operation_names
from pipeline.errors import ConfigError, closest
from pipeline.models.layer_names import name_layers

TENSOR = "__keras_tensor__"
ENDS = ("input_layers", "output_layers")
OPERATIONS = "keras.src.ops."  # modules of the operations between layers, such as `x + y`
MARKS = ("__slice__", "__ellipsis__", "__tuple__", "__numpy__", "__tensor__")  # values that are no objects of a class
Graph = dict[str, Any]


def is_functional(config: Mapping[str, Any]) -> bool:
    """Whether the config of a model is that of a Functional one."""
    return "input_layers" in config and "output_layers" in config


def is_functional_model(layers: Any) -> bool:
    """Whether a model's list of layers is that of a Functional model, which it holds alone."""
    return (
        isinstance(layers, list)
        and len(layers) == 1
        and (isinstance(layers[0], Mapping) and layers[0].get("class_name") == "Functional")
    )


def top_layers(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The layers that a model holds itself: of a Functional one those of its graph, inputs and operations included."""
    return layers[0]["config"]["layers"] if is_functional_model(layers) else layers


def clean_graph(config: Mapping[str, Any], clean_layer: Callable[[Any], dict[str, Any]]) -> Graph:
    """The graph of a Functional model in clean form, its layers named. clean_layer: makes that of an entry."""
    entries = config["layers"]
    layers = [clean_layer(entry) for entry in entries]
    for entry, layer in zip(entries, layers, strict=True):
        if entry.get("name") is not None:
            layer["config"].setdefault("name", entry["name"])
    name_layers(layers)
    for entry, layer in zip(entries, layers, strict=True):
        layer["inbound_nodes"] = [_clean_node(node) for node in entry.get("inbound_nodes") or ()]
    known = {layer["config"]["name"]: layer["config"]["name"] for layer in layers}
    return relinked({"layers": layers} | {end: _clean_ends(config[end]) for end in ENDS}, known)


def relinked(graph: Graph, names: Mapping[str, str]) -> Graph:
    """A graph whose calls and ends name each layer as `names` says. Raises KeyError for other layers."""

    def tensor(history: list[Any]) -> dict[str, Any]:
        return {"class_name": TENSOR, "config": {"keras_history": [names[history[0]], *history[1:3]]}}

    layers = [layer | {"inbound_nodes": map_tensors(layer["inbound_nodes"], tensor)} for layer in graph["layers"]]
    ends = {end: map_ends(graph[end], lambda place: [names[place[0]], *place[1:]]) for end in ENDS}
    return {**graph, "layers": layers} | ends


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


def source_names(node: Mapping[str, Any]) -> list[str]:
    """The layers whose outputs a call takes, in order."""
    names: list[str] = []
    map_tensors([node["args"], node["kwargs"]], lambda history: names.append(history[0]))
    return names


def map_ends(ends: Any, function: Callable[[list[Any]], Any]) -> Any:
    """The inputs or outputs of a graph, `[layer, node, output]` or lists or named values of these, each replaced."""
    if isinstance(ends, Mapping):
        return {name: map_ends(end, function) for name, end in ends.items()}
    if len(ends) == 3 and isinstance(ends[0], str):
        return function(list(ends))
    return [map_ends(end, function) for end in ends]


def _clean_ends(ends: Any) -> Any:
    """The inputs or outputs of a graph, without a list around the only one."""
    cleaned = map_ends(ends, list)
    is_one = isinstance(cleaned, list) and len(cleaned) == 1 and isinstance(cleaned[0], list)
    return cleaned[0] if is_one and isinstance(cleaned[0][0], str) else cleaned


def _clean_node(node: Any) -> dict[str, Any]:
    """A call of a layer. Keras 2 wrote it as a list of [layer, node, output, other arguments]."""
    if isinstance(node, Mapping):
        return {
            "args": node.get("args", ()),
            "kwargs": {k: v for k, v in node.get("kwargs", {}).items() if v is not None},
        }
    if isinstance(node[0], str):
        node = [node]
    tensors = [{"class_name": TENSOR, "config": {"keras_history": list(source[:3])}} for source in node]
    kwargs = {k: v for source in node for k, v in (source[3] if len(source) > 3 else {}).items() if v is not None}
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": kwargs}


def check_nodes(layer: Any, key: str) -> list[Any]:
    """The calls of a layer of a graph. Raises ConfigError where they have another form than Keras writes."""
    known = {"class_name", "config", "inbound_nodes", "module", "name"}
    if not isinstance(layer, dict) or not {"class_name"} <= set(layer) <= known:
        raise ConfigError(key, layer, "{class_name: a Keras layer, config: its arguments, inbound_nodes: its calls}")
    nodes = layer.get("inbound_nodes") or []
    if not isinstance(nodes, list) or not all(isinstance(n, Mapping) and set(n) == {"args", "kwargs"} for n in nodes):
        raise ConfigError(f"{key}.inbound_nodes", nodes, "a list of calls, each {args, kwargs}")
    for node in nodes:
        refuse_code([node["args"], node["kwargs"]], f"{key}.inbound_nodes")
    return nodes


def check_operation(layer: dict[str, Any], key: str) -> dict[str, Any]:
    """An operation between layers. Raises ConfigError for what is none of Keras'."""
    module, name = str(layer["module"]), str(layer["class_name"])
    names = operation_names(module.removeprefix(OPERATIONS)) if module.startswith(OPERATIONS) else []
    if name not in names:
        raise ConfigError(f"{key}.class_name: {name} of {module} is no operation of Keras; {closest(name, names)}")
    refuse_code(layer.get("config"), f"{key}.config")
    return {"class_name": name, "module": module, "config": dict(layer.get("config") or {})}


def check_references(graph: Graph, key: str) -> None:
    """Raise ConfigError where the calls of a graph name layers, calls or outputs that it does not have."""
    calls = {layer["config"].get("name"): max(len(layer["inbound_nodes"]), 1) for layer in graph["layers"]}
    if None in calls:
        raise ConfigError(f"{key}: a layer of a Functional model without a name; allowed: a name for each")

    def check(history: list[Any]) -> None:
        fits = len(history) == 3 and history[0] in calls and all(isinstance(n, int) and n >= 0 for n in history[1:])
        if not fits or history[1] >= calls[history[0]]:
            raise ConfigError(f"{key}: no call {history} in this Functional model; allowed: those of its layers")

    for layer in graph["layers"]:
        map_tensors(layer["inbound_nodes"], check)
    for end in ENDS:
        map_ends(graph[end], check)


def refuse_code(value: Any, key: str) -> None:
    """Raise ConfigError where a value would have Keras import what is not Keras' own."""
    if isinstance(value, Mapping):
        class_name, module = str(value.get("class_name", "")), value.get("module")
        is_ours = module is None or str(module).split(".")[0] in ("keras", "builtins")
        is_mark = class_name.startswith("__") and class_name not in (*MARKS, TENSOR)
        if not is_ours or is_mark or class_name in ("Lambda", "function"):
            raise ConfigError(f"{key}: {class_name or module} runs code; allowed: what Keras has by name")
        for inner in value.values():
            refuse_code(inner, key)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            refuse_code(inner, key)

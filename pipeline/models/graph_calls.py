"""Call the layers of a Functional model in the order of its graph, on symbolic tensors or on rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import ConfigError
from pipeline.models.functional import MARKS, Graph, history_of, map_ends, map_tensors


def call_graph(graph: Graph, made: Sequence[Any], inputs: Any) -> Any:
    """The outputs of a graph for these inputs, in the structure of `output_layers`.

    made: the Keras layer or operation of each of the graph's layers. inputs: in the structure of `input_layers`.
    Raises ConfigError where calls wait for each other.
    """
    outputs: dict[tuple[str, int], Any] = {}
    for end, tensor in _pairs(graph["input_layers"], inputs):
        outputs[end[0], 0] = tensor
    waiting = [
        (layer, made[i], number)
        for i, layer in enumerate(graph["layers"]) for number in range(len(layer["inbound_nodes"]))
    ]  # fmt: skip
    while waiting:
        later = []
        for layer, keras_layer, number in waiting:
            node, name = layer["inbound_nodes"][number], layer["config"]["name"]
            ready = all((source, place) in outputs for source, place in _sources(node))
            if not ready or (number and (name, number - 1) not in outputs):
                later.append((layer, keras_layer, number))
                continue
            args, kwargs = (_values(node[part], outputs) for part in ("args", "kwargs"))
            outputs[name, number] = keras_layer(*args, **kwargs)
        if len(later) == len(waiting):
            raise ConfigError(f"model: {later[0][0]['config']['name']} waits for its own output; allowed: no cycles")
        waiting = later
    return map_ends(graph["output_layers"], lambda end: _tensor(end, outputs))


def make_operation(layer: Mapping[str, Any]) -> Any:
    """The operation of Keras that an entry names, which `functional.check_operation` has found to be one."""
    import keras

    form = {"module": layer["module"], "class_name": layer["class_name"], "config": dict(layer["config"])}
    return keras.saving.deserialize_keras_object(form | {"registered_name": layer["class_name"]}, safe_mode=True)


def _values(value: Any, outputs: Mapping[tuple[str, int], Any]) -> Any:
    """The arguments of a call, tensors in their places."""
    import keras

    if (history := history_of(value)) is not None:
        return _tensor(history, outputs)
    if isinstance(value, (list, tuple)):
        return [_values(v, outputs) for v in value]
    if isinstance(value, Mapping):
        if value.get("class_name") in MARKS:
            return keras.saving.deserialize_keras_object(dict(value), safe_mode=True)
        return {name: _values(v, outputs) for name, v in value.items()}
    return value


def _tensor(history: Sequence[Any], outputs: Mapping[tuple[str, int], Any]) -> Any:
    import keras

    name, node, place = history
    return keras.tree.flatten(outputs[name, node])[place]


def _sources(node: Mapping[str, Any]) -> list[tuple[str, int]]:
    sources: list[tuple[str, int]] = []
    map_tensors([node["args"], node["kwargs"]], lambda history: sources.append((history[0], history[1])))
    return sources


def _pairs(ends: Any, tensors: Any) -> list[tuple[list[Any], Any]]:
    """Each end of a graph with its tensor."""
    import keras

    flat: list[list[Any]] = []
    map_ends(ends, flat.append)
    return list(zip(flat, keras.tree.flatten(tensors), strict=True))

"""Build the Keras model of one seed, every random draw seeded."""

from typing import Any

import numpy as np

from pipeline.biases.introspection import is_keras_layer
from pipeline.config.keras_signatures import REQUIRED, constructor_arguments
from pipeline.config.user_classes import user_class
from pipeline.errors import ConfigError
from pipeline.models.functional import is_functional_model, map_ends, top_layers
from pipeline.models.graph_calls import call_graph, make_operation
from pipeline.models.initializers.registry import full_form, is_custom_initializer
from pipeline.models.layer_names import NESTED, as_list
from pipeline.models.spec import Layer, layer_arguments
from pipeline.runtime.hashing import derive_seed


def build_model(
    layers: list[Layer],
    input_shape: tuple[int, ...],
    task: str,
    n_targets: int,
    seed: int,
    labels: np.ndarray | None = None,
) -> Any:
    """Build the Keras model of a completed list of layers (`complete_layers`) for one seed: Sequential or Functional.

    Every initializer and dropout stream is seeded from (seed, layer path, argument), so that a kernel is the same, bit
    for bit, whatever the biases are. The last layer's missing `units` and `activation` follow from the task.
    input_shape: of one row. n_targets: classes, or columns of the target of a regression. labels: the seed's training
    targets [rows, ...] as the model sees them, for ClassPrior.
    Raises ConfigError when Keras cannot build the model, or when its output is not one axis per row.
    """
    import keras

    from pipeline.models.initializers.base import Targets, bind_initializers, settle_initializers

    full = with_output(layers, task, n_targets)
    targets = None if labels is None else Targets(labels, task, n_targets)
    try:
        made = [_make_layer(layer, layer["config"]["name"], seed) for layer in top_layers(full)]
        bind_initializers([layer for layer in made if is_keras_layer(layer)], targets)
        inputs = keras.Input(input_shape, name="input")
        if is_functional_model(full):
            outputs = call_graph(full[0]["config"], made, inputs)
            model = keras.Model(inputs, outputs, name="model")
        else:
            model = keras.Sequential([inputs, *made], name="model")
        settle_initializers(model)
    except ConfigError:  # of an initializer of the user's own
        raise
    except (ValueError, TypeError, ArithmeticError, IndexError) as error:
        raise ConfigError(f"model: Keras cannot build it for inputs of shape {input_shape}: {error}") from error
    output_shape: Any = model.output_shape
    is_one = isinstance(output_shape, tuple) and all(n is None or isinstance(n, int) for n in output_shape)
    if not is_one or len(output_shape) != 2:
        shown = f"shape {tuple(output_shape[1:])} per row" if is_one else f"several tensors, of shapes {output_shape}"
        raise ConfigError(
            f"model: its output has {shown}; allowed: one axis, as after Flatten, global pooling or a recurrent layer"
        )
    return model


def with_output(layers: list[Layer], task: str, n_targets: int) -> list[Layer]:
    """The layers, the last one's `units` and `activation` set from the task if it is a Dense layer without `units`."""
    *body, last = layers
    if is_functional_model(layers):
        graph = last["config"]
        return [{**last, "config": {**graph, "layers": with_output(graph["layers"], task, n_targets)}}]
    if last["class_name"] != "Dense" or "units" in last["config"]:
        return layers
    units = 1 if task == "binary" else n_targets
    activation = {"multiclass": "softmax", "binary": "sigmoid", "regression": "linear"}[task]
    return [*body, {**last, "config": {"units": units, "activation": activation} | last["config"]}]


def _make_layer(layer: Layer, path: str, seed: int) -> Any:
    """The Keras layer, where each random argument without a seed gets its own."""
    import keras

    if "module" in layer:
        return make_operation(layer)
    if layer["class_name"] == "Functional":
        return _make_graph(layer, path, seed)
    if layer["class_name"] == "InputLayer" and "inbound_nodes" in layer:  # of a graph, which is called on its inputs
        return None
    config = dict(layer["config"])
    if layer["class_name"] == "Bidirectional" and config.get("backward_layer") is None:
        config["backward_layer"] = _backward_layer(config["layer"])
    for name, default in layer_arguments(layer).items():
        value = config.get(name, default)
        if name == "seed" and value is None:
            config[name] = derive_seed(seed, path, name)
        elif name.endswith("_initializer") and isinstance(value, (str, dict)):
            full = full_form(value, path) if isinstance(value, str) else value
            config[name] = _seeded_initializer(full, derive_seed(seed, path, name))
        elif name in NESTED and value is not None and value is not REQUIRED:
            inner = [_make_layer(v, f"{path}/{v['config']['name']}", seed) for v in as_list(value)]
            config[name] = inner if isinstance(value, list) else inner[0]
            if name == "cell" and isinstance(value, list):  # Keras would count its name up from model to model
                config[name] = keras.layers.StackedRNNCells(inner, name="stacked_rnn_cells")
    for name, value in config.items():
        if isinstance(value, dict) and value.get("module") == "keras.layers":  # a layer as an activation
            config[name] = _make_layer({k: v for k, v in value.items() if k != "module"}, f"{path}/{name}", seed)
    arguments = {k: _argument(v) if k not in NESTED else v for k, v in config.items()}
    if (own := user_class("layers", layer["class_name"])) is not None:
        from pipeline.models.initializers.own import make_layer

        return make_layer(own, arguments, derive_seed(seed, path, "layer"))
    cls: Any = keras.Sequential if layer["class_name"] == "Sequential" else getattr(keras.layers, layer["class_name"])
    return cls(**arguments)


def _argument(value: Any) -> Any:
    """A value as a layer takes it; what the user's code registers, such as an activation or a regularizer, made."""
    name, config = (value.get("class_name"), value.get("config")) if isinstance(value, dict) else (value, None)
    if isinstance(name, str) and (function := user_class("functions", name)) is not None:
        return function
    if isinstance(name, str) and (cls := user_class("others", name)) is not None:
        made = cls(**(config or {}))
        try:
            made.get_config()  # by which programs are told apart
        except NotImplementedError:
            reason = "whose class has no get_config"
            raise ConfigError("model", name, "one that returns the constructor's arguments", reason=reason) from None
        return made
    return tuple(value) if isinstance(value, list) else value


def _make_graph(layer: Layer, path: str, seed: int) -> Any:
    """A Functional model within a model."""
    import keras

    graph = layer["config"]
    made = [_make_layer(inner, f"{path}/{inner['config']['name']}", seed) for inner in graph["layers"]]
    by_name = {inner["config"]["name"]: inner["config"] for inner in graph["layers"]}
    inputs = map_ends(
        graph["input_layers"], lambda end: keras.Input(batch_shape=by_name[end[0]]["batch_shape"], name=end[0])
    )
    model = keras.Model(inputs, call_graph(graph, made, inputs), name=graph["name"])
    if graph.get("trainable") is False:
        model.trainable = False
    return model


def _seeded_initializer(full: dict[str, Any], seed: int) -> Any:
    """An initializer as a layer takes it: in Keras' form, or the object of a custom one. A seed in its config wins."""
    class_name = full["class_name"]
    config = {k: v for k, v in full["config"].items() if v is not None}
    if "seed" in constructor_arguments("initializers", class_name):
        config = {"seed": seed} | config
    if (own := user_class("initializers", class_name)) is not None:
        from pipeline.models.initializers.own import make_initializer

        return make_initializer(own, config, seed)
    if not is_custom_initializer(class_name):
        return {"class_name": class_name, "config": config}
    from pipeline.models.initializers import custom

    return getattr(custom, class_name)(**config)


def _backward_layer(forward: Layer) -> Layer:
    """The other direction of a Bidirectional. Keras' own default copies the forward layer with its seeds."""
    config = forward["config"]
    reversed_config = {"name": f"backward_{config['name']}", "go_backwards": not config.get("go_backwards", False)}
    return {**forward, "config": config | reversed_config}

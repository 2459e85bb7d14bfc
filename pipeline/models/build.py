"""Build the Keras model of one seed, every random draw seeded."""

from typing import Any

from pipeline.config.keras_signatures import REQUIRED, constructor_arguments
from pipeline.errors import ConfigError
from pipeline.models.initializers.registry import full_form, is_custom_initializer
from pipeline.models.spec import NESTED, Layer, bias_initializers, inner_layers, layer_arguments
from pipeline.runtime.hashing import derive_seed


def build_model(
    layers: list[Layer], input_shape: tuple[int, ...], task: str, n_classes: int, seed: int, labels: Any = None
) -> Any:
    """The built `keras.Sequential` of a completed list, with the initial values that belong to `seed`.

    Every initializer and dropout stream is seeded from (seed, layer path, argument), so a kernel is the same, bit for
    bit, whatever the biases are. The last layer's missing `units` and `activation` follow from the task. labels: the
    seed's training targets, as the model sees them, for the initializer that looks at them.
    Raises ConfigError when Keras cannot build it.
    """
    import keras

    try:
        full = with_output(layers, task, n_classes)
        made = [_make(layer, layer["config"]["name"], seed) for layer in full]
        own = _own_initializers(full)
        if own:
            own.bind_initializers(made, labels, task, n_classes)
        model = keras.Sequential([keras.Input(input_shape, name="input"), *made], name="model")
        if own:
            own.settle_initializers(model)
    except (ValueError, TypeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"model: Keras cannot build it for inputs of shape {input_shape}: {reason}") from error
    if len(model.output_shape) != 2:
        raise ConfigError(
            f"model: its output has shape {tuple(model.output_shape[1:])} per row; "
            "allowed: one axis, as after Flatten, global pooling or a recurrent layer"
        )
    return model


def with_output(layers: list[Layer], task: str, n_classes: int) -> list[Layer]:
    """The list with its last layer's `units` and `activation` set from the task, where the file leaves them open."""
    *body, last = layers
    if last["class_name"] != "Dense" or "units" in last["config"]:
        return layers
    units = n_classes if task == "multiclass" else 1
    activation = {"multiclass": "softmax", "binary": "sigmoid", "regression": "linear"}[task]
    return [*body, {**last, "config": {"units": units, "activation": activation} | last["config"]}]


def _own_initializers(layers: list[Layer]) -> Any:
    """The module of those that Keras does not ship, when a layer has one of them."""
    if not any(is_custom_initializer(name) for _, name, _ in bias_initializers(layers)):
        return None
    from pipeline.models.initializers import custom

    return custom


def _initializer_object(class_name: str, config: dict[str, Any]) -> Any:
    """In Keras' form, or for one of our own the object itself."""
    if not is_custom_initializer(class_name):
        return {"class_name": class_name, "config": config}
    from pipeline.models.initializers import custom

    return getattr(custom, class_name)(**config)


def _backward(forward: Layer) -> Layer:
    """The other direction of a Bidirectional. Left to itself, Keras copies the forward layer with its seeds too."""
    config = forward["config"]
    turned = {"name": f"backward_{config['name']}", "go_backwards": not config.get("go_backwards", False)}
    return {**forward, "config": config | turned}


def _make(layer: Layer, path: str, seed: int) -> Any:
    """The Keras layer, with a seed of its own for each random argument that has none."""
    import keras

    arguments, config = layer_arguments(layer), dict(layer["config"])
    if layer["class_name"] == "Bidirectional" and config.get("backward_layer") is None:
        config["backward_layer"] = _backward(config["layer"])
    for name, default in arguments.items():
        value = config.get(name, default)
        if name == "seed" and value is None:
            config[name] = derive_seed(seed, path, name)
        elif name.endswith("_initializer") and isinstance(value, (str, dict)):
            full = full_form(value, path) if isinstance(value, str) else value
            takes_seed = "seed" in constructor_arguments("initializers", full["class_name"])
            own = {"seed": derive_seed(seed, path, name)} if takes_seed else {}
            drawn = {k: v for k, v in full["config"].items() if v is not None}
            config[name] = _initializer_object(full["class_name"], own | drawn)
        elif name in NESTED and value is not None and value is not REQUIRED:
            inner = [_make(v, f"{path}/{v['config']['name']}", seed) for v in inner_layers({"config": {name: value}})]
            config[name] = inner if isinstance(value, list) else inner[0]
    cls = keras.Sequential if layer["class_name"] == "Sequential" else getattr(keras.layers, layer["class_name"])
    return cls(**{k: tuple(v) if isinstance(v, list) and k not in NESTED else v for k, v in config.items()})

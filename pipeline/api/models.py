"""The `model` of a comparison in Python, as settings: a live model, a function, a path, or a name of conf/model."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.api.classes import is_own
from pipeline.api.losses import loss_settings, metric_settings
from pipeline.api.objects import optimizer_settings
from pipeline.biases.introspection import compile_arguments, flatten_layers, is_keras_layer
from pipeline.config.schema import CONF
from pipeline.config.user_classes import UserClass
from pipeline.errors import ConfigError, PipelineError, closest, describe_error, kind_of, one_line
from pipeline.models.architecture import read_architecture
from pipeline.models.functional import is_functional_model, top_layers
from pipeline.models.live import architecture_of_model
from pipeline.models.source import shape_of_input
from pipeline.models.user_code import register_class

ALLOWED = (
    "a keras.Sequential or a Functional model, a function that returns one, the path of a .keras or .json file, or a "
    "name of conf/model"
)
SUFFIXES = (".keras", ".json")


@dataclass(frozen=True)
class GivenModel:
    """What was given as the model. option: a name of conf/model, or "". layers: see `models.architecture`. compiled:
    settings that the model was compiled with, by group. names: of a live model's layers -> those that they have here.
    looks_up: whether there is an Embedding in it, at any depth, also in layers of the user's own.
    """

    option: str
    name: str
    layers: list[dict[str, Any]] = field(default_factory=list)
    compiled: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    classes: tuple[UserClass, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    looks_up: bool = False

    @property
    def input_shape(self) -> Sequence[int | None] | None:
        """The shape of one row; None where the model does not say."""
        return shape_of_input(self.layers)


def read_model(model: Any) -> GivenModel:
    """Find out what the model is. Its architecture is used, not its weights. Raises ConfigError."""
    if isinstance(model, (str, os.PathLike)):
        return _by_name(str(model))
    if not is_keras_layer(model) and callable(model):
        model = _call(model)
    if not is_keras_layer(model) or not hasattr(model, "compile"):
        raise ConfigError("model", kind_of(model), ALLOWED)
    classes = _register_own(model)
    layers, names = architecture_of_model(model)
    compiled, logits = _compiled(model)
    if logits:
        layers = _with_activation(layers, logits)
    name = "functional" if layers[0]["class_name"] == "Functional" else "sequential"
    return GivenModel("", name, layers, compiled, classes, names, any(map(_is_embedding, flatten_layers(model))))


def _by_name(name: str) -> GivenModel:
    path = Path(name).expanduser()
    if path.suffix.lower() in SUFFIXES:
        layers = read_architecture(str(path))
        return GivenModel("", path.stem, layers, looks_up=has_embedding(layers))
    options = sorted(file.stem for file in (CONF / "model").glob("*.yaml") if file.stem not in ("file", "python"))
    if name not in options:
        raise ConfigError(
            f"model: {name} is no .keras or .json file and no name of conf/model; {closest(name, options)}"
        )
    return GivenModel(name, name)


def has_embedding(config: Any) -> bool:
    """Whether there is an Embedding at any depth of a config."""
    if isinstance(config, Mapping):
        return config.get("class_name") == "Embedding" or any(map(has_embedding, config.values()))
    return isinstance(config, (list, tuple)) and any(map(has_embedding, config))


def _is_embedding(layer: Any) -> bool:
    return any(cls.__name__ == "Embedding" for cls in type(layer).__mro__)


def _call(function: Any) -> Any:
    name = getattr(function, "__name__", "the function")
    try:
        model = function()
    except PipelineError:
        raise
    except Exception as error:
        raise ConfigError(f"model: {name}() raised {describe_error(error)}") from error
    if not is_keras_layer(model):
        raise ConfigError(f"model: {name}() returned {kind_of(model)}; allowed: {ALLOWED}")
    return model


def _compiled(model: Any) -> tuple[dict[str, dict[str, Any]], str]:
    """The settings that a model was compiled with; and the class of its loss, if that takes outputs for logits."""
    if not getattr(model, "compiled", False):
        return {}, ""
    try:
        compiled = model.get_compile_config()
    except Exception as error:
        raise ConfigError(f"model: Keras cannot store what it was compiled with: {one_line(error)}; allowed: a model "
                          "that is not compiled, with optimizer=, loss= and metrics=") from error  # fmt: skip
    if compiled.get("loss_weights") not in (None, 1, [1], (1,)):
        raise ConfigError("loss_weights", compiled["loss_weights"], "none, as of a model with one output")
    if compiled.get("weighted_metrics"):
        raise ConfigError("weighted_metrics", compiled["weighted_metrics"], "none; metrics=[...] counts every row once")
    training: dict[str, Any] = {}
    logits = ""
    loss = model.loss
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        loss = loss[0]
    if loss is not None:
        training["loss"], is_logits = loss_settings(loss)
        logits = type(loss).__name__ if is_logits else ""
    if compiled.get("metrics"):
        training["metrics"] = metric_settings(compile_arguments(model)["metrics"])
    return {"optimizer": optimizer_settings(compiled["optimizer"]), "training": training}, logits


def _with_activation(layers: list[dict[str, Any]], loss: str) -> list[dict[str, Any]]:
    """The layers of a model whose outputs are logits, with the activation that makes them probabilities.

    Training is the same: for a cross-entropy, the activation is left out of the loss. Metrics need it.
    """
    top = top_layers(layers)
    end = layers[0]["config"]["output_layers"][0] if is_functional_model(layers) else top[-1]["config"].get("name")
    place = next(i for i, layer in enumerate(top) if layer["config"].get("name") == end)
    last = top[place]
    is_shared = len(last.get("inbound_nodes", ())) > 1
    if is_shared or last["class_name"] != "Dense" or last["config"].get("activation") not in (None, "linear"):
        raise ConfigError("loss", f"{loss}(from_logits=True)", "it after a last Dense layer without an activation")
    activation = "sigmoid" if loss.startswith("Binary") else "softmax"
    top = [*top[:place], {**last, "config": {**last["config"], "activation": activation}}, *top[place + 1 :]]
    return [{**layers[0], "config": {**layers[0]["config"], "layers": top}}] if is_functional_model(layers) else top


def _register_own(model: Any) -> tuple[UserClass, ...]:
    """Make the classes of layers known that are not Keras' own."""
    types = dict.fromkeys(type(layer) for layer in flatten_layers(model) if layer is not model and is_own(layer))
    return tuple(map(register_class, types))

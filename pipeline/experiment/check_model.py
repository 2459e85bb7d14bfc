"""Check that a model fits the data: the shape of its input, the number and the activation of its outputs."""

from typing import Any

from pipeline.biases.introspection import output_layer
from pipeline.data.dataset import Dataset
from pipeline.errors import ConfigError
from pipeline.experiment.plan import Plan
from pipeline.models.source import declared_shape
from pipeline.training.objectives import is_cross_entropy

OPEN = ", or one without units, which then follow from the data"  # which only a model of settings can have
# Activations whose outputs have a bound, so that they cannot reach every standardized target.
BOUNDED = ("relu", "relu6", "sigmoid", "hard_sigmoid", "softmax", "softplus", "tanh", "softsign", "exponential", "elu",
           "selu", "silu", "gelu", "mish", "log_sigmoid", "log_softmax")  # fmt: skip


def check_input(plan: Plan, dataset: Dataset) -> None:
    """Raise ConfigError where the model was made for rows of another shape than the data have."""
    declared, rows = declared_shape(plan.config), dataset.x.shape[1:]
    if declared is None:
        return
    if len(declared) != len(rows) or any(n not in (None, m) for n, m in zip(declared, rows, strict=True)):
        takes = f"model: {plan.config.model.name} takes rows of shape {declared}"
        has = f"dataset {plan.config.data.name} has rows of shape {rows}"
        raise ConfigError(f"{takes}, but {has}; allowed: a model with keras.Input({rows}), or data of the other shape")


def check_output_layer(plan: Plan, model: Any, dataset: Dataset) -> None:
    """Raise ConfigError where the outputs of the model do not fit the targets, in number or by their activation."""
    name, outputs, targets = plan.config.model.name, model.output_shape[-1], dataset.n_targets
    too_few = outputs < targets and (outputs, dataset.task) != (1, "binary")  # one sigmoid unit serves two classes
    if too_few or (dataset.task == "regression" and outputs != targets):
        target = f"has {targets} classes" if dataset.classes else "is a regression"
        target += f" of {targets} targets" if not dataset.classes and targets > 1 else ""
        has = f"{outputs} {'output' if outputs == 1 else 'outputs'}"
        raise ConfigError(
            f"model: {name} has {has}, but dataset {plan.config.data.name} {target}; allowed: {_fitting(plan, targets)}"
        )
    layer = output_layer(model)
    activation = _activation(layer)
    if activation is None:
        return
    if dataset.task == "regression":
        if activation in BOUNDED and plan.config.data.standardize_target:
            why = f"whose outputs cannot reach every target of {plan.config.data.name}, which has mean 0"
            raise _refusal(layer, activation, why, "linear, or data.standardize_target=false")
        return
    right = "sigmoid" if outputs == 1 else "softmax"
    if activation != right and is_cross_entropy(plan.config.training, dataset.task):
        why = f"whose outputs are no probabilities of {targets} classes"
        if outputs == 1 and activation == "softmax":
            why = "of one unit, which is 1 for every row"
        raise _refusal(layer, activation, why, f"{right}, or {_fitting(plan, targets)}")


def _fitting(plan: Plan, targets: int) -> str:
    """The last layer that would fit the data."""
    model = plan.config.model
    return f"a last Dense({targets})" + ("" if model.path or model.function else OPEN)


def _activation(layer: Any) -> str | None:
    """The activation of an output layer; None where it is unknown, as that of a layer of the user's."""
    if type(layer).__name__ in ("Softmax", "Sigmoid"):  # layers and operations
        return type(layer).__name__.lower()
    if type(layer).__name__ not in ("Dense", "EinsumDense", "Activation"):
        return None
    return getattr(layer.activation, "__name__", None)


def _refusal(layer: Any, activation: str, why: str, allowed: str) -> ConfigError:
    return ConfigError(f"model: its output layer {layer.name} has activation {activation}, {why}; allowed: {allowed}")

"""Dry run of a sweep (`--plan`): its arms, missing runs, time, initial distributions, and what cannot matter."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from pipeline.biases.extraction import bias_variables
from pipeline.biases.introspection import following_layer, output_layer
from pipeline.experiment.check import first_model
from pipeline.experiment.cost import estimate_time
from pipeline.experiment.plan import Plan, shown_names
from pipeline.models.initializers.distributions import expected_biases
from pipeline.report.console import print_table
from pipeline.runtime.hashing import digest
from pipeline.training.cache import model_structure

SHIFT = "since a constant added to all logits of a softmax changes nothing"
MAX_SHIFT = 10.0  # a larger constant costs the logits digits
WEIGHT_DEPENDENT_OPTIMIZERS = ("Ftrl",)  # their steps depend on the weights themselves
WIDTH = 120  # columns of a table, where the output is not a terminal
DISTRIBUTION = ["arm", "bias", "gate", "shape", "draws", "mean", "std", "from", "to"]
BIAS_SETTINGS = ("bias_setting", "use_bias", "bias_initializer", "bias_layers", "model")


def show_plan(arms: Sequence[Plan], to_train: Sequence[Sequence[int]]) -> None:
    """Print what a request would do. Builds the first model of every arm; trains and stores nothing.

    arms: one plan per arm. to_train: for each, the seeds to train.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False)
    first_models = [first_model(plan) for plan in arms]
    models = [model for model, _, _ in first_models]
    several = len({plan.store for plan in arms}) > 1
    shown = zip(shown_names(arms), arms, strict=True)
    names = [f"{plan.config.study}/{name}" if several else name for name, plan in shown]
    missing = [len(seeds) for seeds in to_train]

    rows = [[name, str(len(plan.keys)), str(len(plan.keys) - count), str(count)]
            for name, plan, count in zip(names, arms, missing, strict=True)]  # fmt: skip
    print_table("", ["arm", "seeds", "done", "missing"], rows, width=WIDTH)
    console.print(estimate_time(arms, first_models, missing))
    print_table("", DISTRIBUTION, _distributions(names, models), width=WIDTH)
    for line in _remarks(names, arms, models):
        console.print(line)


def _distributions(names: Sequence[str], models: Sequence[Any]) -> list[list[str]]:
    """A row per arm and bias (or gate), under `DISTRIBUTION`: what its initializer draws there."""
    rows = []
    for name, model in zip(names, models, strict=True):
        label = name
        for bias, role, gate, expected, values in expected_biases(model):
            numbers = (f"{round(value, 12) + 0:.3g}" for value in expected.figures().values())  # no -0, no 1e-17
            gate_name = f"{role} {gate}".strip() if gate else ""
            rows.append([label, bias.path, gate_name, str(values.shape), expected.words, *numbers])
            label = ""
    return rows


def _remarks(names: Sequence[str], arms: Sequence[Plan], models: Sequence[Any]) -> Iterator[str]:
    """Sentences on biases that cannot matter, and on arms that are the same by construction."""
    irrelevant = [_irrelevant_biases(model, plan) for plan, model in zip(arms, models, strict=True)]
    for path, reason in {item: None for biases in irrelevant for item in biases.items()}:
        affected = [name for name, biases in zip(names, irrelevant, strict=True) if biases.get(path) == reason]
        yield f"Cannot matter ({'; '.join(affected)}): {path}, {reason}."
    identical: dict[str, list[str]] = {}
    equivalent: dict[str, list[str]] = {}  # identical but for biases that shift all logits
    for name, plan, model, biases in zip(names, arms, models, irrelevant, strict=True):
        shared = {key: value for key, value in plan.settings.items() if key not in BIAS_SETTINGS}
        context = digest([shared, model_structure(plan.settings["model"]), plan.config.study])
        shifts = [path for path, reason in biases.items() if reason == SHIFT]
        hidden = {id(variable) for path, variable in bias_variables(model).items() if path in shifts}
        values = [(np.array(variable.value), id(variable) in hidden) for variable in model.variables]
        identical.setdefault(_digest(context, [array for array, _ in values]), []).append(name)
        without_shifts = [np.zeros_like(array) if is_hidden else array for array, is_hidden in values]
        equivalent.setdefault(_digest(context, without_shifts), []).append(name)
    for group in identical.values():
        if len(group) > 1:
            yield f"The same by construction, bit for bit: {'; '.join(group)}."
    for group in equivalent.values():
        if len(group) > 1 and group not in identical.values():
            yield f"Equal except for biases that cannot matter, so any difference is rounding: {'; '.join(group)}."


def _digest(context: str, arrays: Sequence[np.ndarray]) -> str:
    return digest([context, *(digest(array.tobytes()) for array in arrays)])


def _irrelevant_biases(model: Any, plan: Plan) -> dict[str, str]:
    """Paths of the biases whose initial value provably cannot change what is learnt, each with the reason."""
    import keras

    next_layer = _next_layers(model)
    output_layer, has_softmax = _softmax_layer(model)
    reasons = {}
    for bias, _, _, expected, values in expected_biases(model):
        layer, following = bias.owner, next_layer.get(id(bias.owner))
        if getattr(layer, "bias_regularizer", None) or getattr(layer, "bias_constraint", None) or values.ndim != 1:
            continue
        if isinstance(following, keras.layers.BatchNormalization) and following.trainable:
            same_axis = following.axis in (-1, len(layer.output.shape) - 1)
            if same_axis and _activation_name(layer) == "linear":
                reasons[bias.path] = (
                    f"in training: {following.name} subtracts each batch's mean (in evaluation a moving one)"
                )
        constant = expected.distribution is None and np.ptp(expected.values) == 0 and abs(values[0]) <= MAX_SHIFT
        by_weight = plan.config.optimizer.class_name in WEIGHT_DEPENDENT_OPTIMIZERS
        if layer is output_layer and has_softmax and constant and not by_weight:
            reasons[bias.path] = SHIFT
    return reasons


def _next_layers(model: Any) -> dict[int, Any]:
    """The layer that alone takes a layer's output, by the layer's id."""
    if type(model).__name__ == "Sequential":
        return dict(zip(map(id, model.layers), model.layers[1:], strict=False))
    return {id(layer): following_layer(layer) for layer in model.layers}


def _softmax_layer(model: Any) -> tuple[Any, bool]:
    """The layer that makes the model's outputs, and whether it is a Dense layer followed by a softmax."""
    is_sequential = type(model).__name__ == "Sequential"
    layers, last = model.layers if is_sequential else [], output_layer(model)
    activation = "softmax" if type(last).__name__ == "Softmax" else _activation_name(last)
    separate = type(last).__name__ in ("Softmax", "Activation")
    output = layers[-2] if separate and len(layers) > 1 and _activation_name(layers[-2]) == "linear" else last
    return output, activation == "softmax" and type(output).__name__ == "Dense" and model.output_shape[-1] > 1


def _activation_name(layer: Any) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "")

"""What a sweep will do, before it does it: arms, missing runs, time, what is drawn at each bias, what cannot matter."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from pipeline.biases.extraction import bias_variables
from pipeline.experiment.check import first_model
from pipeline.experiment.cost import estimate_time
from pipeline.experiment.plan import Plan, seeds_to_train
from pipeline.models.initializers.distributions import expected_biases
from pipeline.runtime.hashing import digest
from pipeline.training.cache import model_structure

SHIFT = "since a constant added to all logits of a softmax changes nothing"
LARGEST_SHIFT = 10.0  # beyond, it costs the logits digits
BY_VALUE = ("Ftrl",)  # optimizers whose steps depend on the weights themselves


def show_plan(plans: Sequence[Plan]) -> None:
    """Print the plan of a request. Builds a model of every arm, trains and stores nothing."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False)
    arms = list({(p.config.study, p.arm): p for p in plans}.values())
    models = [first_model(p) for p in arms]
    several = len({p.config.study for p in arms}) > 1
    names = [f"{p.config.study}/{p.arm}" if several else p.arm for p in arms]

    runs = Table(Column("arm", overflow="fold"), "seeds", "done", "missing")
    missing = [seeds_to_train(p) for p in arms]
    for name, p, seeds in zip(names, arms, missing, strict=True):
        runs.add_row(name, str(len(p.keys)), str(len(p.keys) - len(seeds)), str(len(seeds)))
    console.print(runs)
    console.print(estimate_time(arms, models, [len(seeds) for seeds in missing]))

    drawn = Table(Column("arm", overflow="fold"), "bias", "gate", "shape", "draws", "mean", "std", "from", "to")
    for name, (model, _, _) in zip(names, models, strict=True):
        for vector, role, gate, promised, values in expected_biases(model):
            figures = (f"{round(v, 12) + 0:.3g}" for v in promised.figures().values())  # no -0, no 1e-17
            drawn.add_row(name, vector.path, f"{role} {gate}".strip() if gate else "", str(values.shape),
                          promised.words, *figures)  # fmt: skip
            name = ""
    console.print(drawn)
    for line in _remarks(names, arms, [model for model, _, _ in models]):
        console.print(line)


def _remarks(names: Sequence[str], arms: Sequence[Plan], models: Sequence[Any]) -> Iterator[str]:
    """Which biases cannot matter, and which arms are the same by construction."""
    idle = [_idle(model, p) for p, model in zip(arms, models, strict=True)]
    for path, why in {item: None for found in idle for item in found.items()}:
        who = [name for name, found in zip(names, idle, strict=True) if found.get(path) == why]
        yield f"Cannot matter ({'; '.join(who)}): {path}, {why}."
    bias_keys = ("bias_setting", "use_bias", "bias_initializer", "bias_layers", "model")
    exact: dict[str, list[str]] = {}
    but_idle: dict[str, list[str]] = {}
    for name, p, model, found in zip(names, arms, models, idle, strict=True):
        rest = {k: v for k, v in p.settings.items() if k not in bias_keys}
        alike = [rest, model_structure(p.settings["model"]), p.config.study]
        shifts = [path for path, why in found.items() if why == SHIFT]
        without = {id(v) for path, v in bias_variables(model).items() if path in shifts}
        values = [(id(v) in without, np.array(v.value)) for v in model.variables]
        exact.setdefault(_digest(alike, [v for _, v in values]), []).append(name)
        but_idle.setdefault(_digest(alike, [np.zeros_like(v) if hidden else v for hidden, v in values]), []).append(
            name
        )
    for same in exact.values():
        if len(same) > 1:
            yield f"The same by construction, bit for bit: {'; '.join(same)}."
    for same in but_idle.values():
        if len(same) > 1 and same not in exact.values():
            yield f"The same in all but what cannot matter, so only rounding tells them apart: {'; '.join(same)}."


def _digest(alike: Any, values: Sequence[np.ndarray]) -> str:
    return digest([digest(alike), *(digest(v.tobytes()) for v in values)])


def _idle(model: Any, p: Plan) -> dict[str, str]:
    """Why, by path, the initial value of a bias cannot change what is learnt: only where that is certain."""
    import keras

    follows = dict(zip(map(id, model.layers), model.layers[1:], strict=False))
    output, softmax = _softmax(model)
    found = {}
    for vector, _, _, promised, values in expected_biases(model):
        layer, after = vector.owner, follows.get(id(vector.owner))
        if getattr(layer, "bias_regularizer", None) or getattr(layer, "bias_constraint", None) or values.ndim != 1:
            continue
        linear = getattr(getattr(layer, "activation", None), "__name__", "") == "linear"
        before_norm = isinstance(after, keras.layers.BatchNormalization) and after.trainable and linear
        if before_norm and after.axis in (-1, len(layer.output.shape) - 1):
            found[vector.path] = f"in training: {after.name} subtracts each batch's mean (in evaluation a moving one)"
        fixed = promised.distribution is None and np.ptp(promised.values) == 0 and abs(values[0]) <= LARGEST_SHIFT
        if layer is output and softmax and fixed and p.config.optimizer.class_name not in BY_VALUE:
            found[vector.path] = SHIFT
    return found


def _softmax(model: Any) -> tuple[Any, bool]:
    """The layer that makes the model's outputs, and whether a softmax over more than one of them follows."""
    layers, last = model.layers, model.layers[-1]
    name = getattr(getattr(last, "activation", None), "__name__", "softmax" if type(last).__name__ == "Softmax" else "")
    linear = len(layers) > 1 and getattr(getattr(layers[-2], "activation", None), "__name__", "") == "linear"
    alone = type(last).__name__ in ("Softmax", "Activation") and linear
    output = layers[-2] if alone else last
    return output, name == "softmax" and type(output).__name__ == "Dense" and model.output_shape[-1] > 1

"""What a sweep will do, before it does it: arms, missing runs, time, what is drawn at each bias, what cannot matter."""

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from pipeline import biases, draws, experiment, memory, runtime, training
from pipeline.vectorize import recurrent

# Of two cores of a Xeon, digits: 28 GFLOP/s for the MLP, 46 for the CNN, 9 for the LSTM; the time to compile them.
FLOPS_OF_A_CORE, RECURRENT_SLOWER = 14e9, 3
SHIFT = "since a constant added to all logits of a softmax changes nothing"
LARGEST_SHIFT = 10.0  # beyond, it costs the logits digits
BY_VALUE = ("Ftrl",)  # optimizers whose steps depend on the weights themselves
START, COMPILE, COMPILE_LAYER, COMPILE_STEP = 12, 3, 2, 1  # seconds


def show(plans: Sequence[experiment.Plan]) -> None:
    """Print the plan of a request. Builds a model of every arm, trains and stores nothing."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False)
    arms = list({(p.config.study, p.arm): p for p in plans}.values())
    models = [experiment.first_model(p) for p in arms]
    several = len({p.config.study for p in arms}) > 1
    names = [f"{p.config.study}/{p.arm}" if several else p.arm for p in arms]

    runs = Table(Column("arm", overflow="fold"), "seeds", "done", "missing")
    missing = [experiment.to_train(p) for p in arms]
    for name, p, seeds in zip(names, arms, missing, strict=True):
        runs.add_row(name, str(len(p.keys)), str(len(p.keys) - len(seeds)), str(len(seeds)))
    console.print(runs)
    console.print(_time(arms, models, [len(seeds) for seeds in missing]))

    drawn = Table(Column("arm", overflow="fold"), "bias", "gate", "shape", "draws", "mean", "std", "from", "to")
    for name, (model, _, _) in zip(names, models, strict=True):
        for vector, role, gate, promised, values in draws.of_model(model):
            figures = (f"{round(v, 12) + 0:.3g}" for v in promised.figures().values())  # no -0, no 1e-17
            drawn.add_row(name, vector.path, f"{role} {gate}".strip() if gate else "", str(values.shape),
                          promised.words, *figures)  # fmt: skip
            name = ""
    console.print(drawn)
    for line in _remarks(names, arms, [model for model, _, _ in models]):
        console.print(line)


def _time(arms: Sequence[experiment.Plan], models: Sequence[Any], missing: Sequence[int]) -> str:
    """A rough estimate of how long the missing runs of each arm take, in words."""
    if not sum(missing):
        return "Nothing to train."
    device = runtime.start(arms[0].config.runtime.device)
    if device != "CPU":
        return f"{sum(missing)} runs to train on {device}; their time is not estimated."
    seconds, structures = float(START), set()
    for p, (model, _, rows), count in zip(arms, models, missing, strict=True):
        if count:
            layers = [layer for layer in model._flatten_layers() if layer._trainable_variables]
            steps = sum(layer.get_build_config()["input_shape"][1] or 1 for layer in recurrent(model))
            structure = runtime.digest([training.structure(model.get_config()), training.structure(p.effective)])
            if structure not in structures:
                structures.add(structure)
                seconds += COMPILE + COMPILE_LAYER * len(layers) + COMPILE_STEP * min(steps, training.MOST_STEPS)
            width = memory.places(model, training.fitted(p.config.training, rows).batch_size)
            seeds = math.ceil(count / width) * width  # a stack always has all its places
            operations = 6 * _products(model) * len(rows.train) * p.config.training.epochs * seeds
            seconds += operations / FLOPS_OF_A_CORE / runtime.n_cores() * (RECURRENT_SLOWER if steps else 1)
    about = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f"{sum(missing)} runs to train, in roughly {about} on {runtime.n_cores()} cores."


def _products(model: Any) -> int:
    """Multiplications for one row on its way forward: each weight, as often as it is used."""
    times = {id(layer.cell): layer.get_build_config()["input_shape"][1] or 1 for layer in recurrent(model)}
    total = 0
    for layer in model._flatten_layers():
        nodes = layer._inbound_nodes
        positions = math.prod(n or 1 for n in nodes[0].outputs[0].shape[1:-1]) if nodes else 1
        weights = sum(math.prod(v.shape) for v in layer._trainable_variables)
        total += weights * times.get(id(layer), positions)
    return total


def _remarks(names: Sequence[str], arms: Sequence[experiment.Plan], models: Sequence[Any]) -> Iterator[str]:
    """Which biases cannot matter, and which arms are the same by construction."""
    idle = [_idle(model, p) for p, model in zip(arms, models, strict=True)]
    for path, why in {item: None for found in idle for item in found.items()}:
        who = [name for name, found in zip(names, idle, strict=True) if found.get(path) == why]
        yield f"Cannot matter ({'; '.join(who)}): {path}, {why}."
    bias_keys = ("bias_setting", "use_bias", "bias_initializer", "bias_layers", "model")
    exact: dict[str, list[str]] = {}
    but_idle: dict[str, list[str]] = {}
    for name, p, model, found in zip(names, arms, models, idle, strict=True):
        rest = {k: v for k, v in p.effective.items() if k not in bias_keys}
        alike = [rest, training.structure(p.effective["model"]), p.config.study]
        shifts = [path for path, why in found.items() if why == SHIFT]
        without = {id(v) for path, v in biases.bias_variables(model).items() if path in shifts}
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
    return runtime.digest([runtime.digest(alike), *(runtime.digest(v.tobytes()) for v in values)])


def _idle(model: Any, p: experiment.Plan) -> dict[str, str]:
    """Why, by path, the initial value of a bias cannot change what is learnt: only where that is certain."""
    import keras

    follows = dict(zip(map(id, model.layers), model.layers[1:], strict=False))
    output, softmax = _softmax(model)
    found = {}
    for vector, _, _, promised, values in draws.of_model(model):
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

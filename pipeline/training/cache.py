"""Keep compiled programs, so that arms of one structure share one."""

from dataclasses import asdict
from typing import Any

import cachetools
import numpy as np

from pipeline.biases.introspection import flatten_layers, recurrent_layers, sequence_shape
from pipeline.config.schema import Optimizer, Training
from pipeline.data.dataset import Dataset
from pipeline.data.splits import Split
from pipeline.errors import ConfigError
from pipeline.runtime.hashing import digest
from pipeline.runtime.logs import tell_once
from pipeline.training.memory import trains_alone
from pipeline.training.program import Program

PARTS = ("train", "validation", "test")  # of a split
MOST_STEPS = 8  # of recurrent layers, all together, that XLA compiles written out
WITHOUT_XLA = f"training without XLA, which takes long to compile recurrent layers of more than {MOST_STEPS} steps"
BACKWARDS = "training without XLA, under which a masked layer that goes backwards would zero the wrong outputs"

programs: cachetools.LRUCache[str, Program] = cachetools.LRUCache(maxsize=4)


def cached_program(
    model: Any, split: Split, dataset: Dataset, optimizer: Optimizer, training: Training, without_xla: bool = False
) -> Program:
    """The program for models of this structure, made on first use.

    What changes no trace is no part of the cache key: initial values, how many epochs there are and when a seed stops,
    and the learning rate, which is a variable unless a schedule sets it. without_xla: replace the program by one that
    XLA does not compile.
    """
    recipe = {k: v for k, v in asdict(training).items() if k not in ("epochs", "seeds_at_once", "stop")}
    row_counts = [len(getattr(split, part)) for part in PARTS]
    shapes = [np.shape(split.mean), [list(v.shape) for v in model.variables]]
    update_rule = asdict(optimizer)
    if optimizer.schedule is None:
        del update_rule["learning_rate"]
    key = digest([model_structure(model.get_config()), shapes, row_counts, id(dataset), update_rule, recipe])
    if without_xla or key not in programs:
        xla = use_xla(model, training) and not without_xla
        is_alone = trains_alone(model, training.batch_size)
        if training.xla == "auto" and not xla and not without_xla and not is_alone:
            tell_once(BACKWARDS if _zeroes_backwards(model) else WITHOUT_XLA)
        programs[key] = Program(model, split, dataset, optimizer, training, xla)
    return programs[key]


def use_xla(model: Any, training: Training) -> bool:
    """Whether XLA compiles the program: `training.xla`, or for `auto` unless recurrent layers have too many steps.

    XLA does not take the loop of a recurrent layer, and compiling its steps written out takes too long for many.
    """
    if _zeroes_backwards(model):
        if training.xla is True:
            reason = "by which Keras zeroes the wrong outputs of a masked layer that goes backwards"
            raise ConfigError("training.xla", "true", "auto or false", reason=reason)
        return False
    if training.xla != "auto":
        return training.xla
    if trains_alone(model, training.batch_size):
        return False
    steps = [sequence_shape(layer)[1] for layer in recurrent_layers(model)]
    return all(n is not None for n in steps) and sum(steps) <= MOST_STEPS


def _zeroes_backwards(model: Any) -> bool:
    """Whether a recurrent layer goes backwards over masked steps and zeroes their outputs, as in a Bidirectional.

    With its steps written out, as XLA needs them, Keras does not reverse the mask that it multiplies the outputs with.
    """
    layers = flatten_layers(model)
    is_masked = any(type(layer).__name__ == "Masking" or getattr(layer, "mask_zero", False) for layer in layers)
    backwards = (layer for layer in recurrent_layers(model) if layer.go_backwards)
    return is_masked and any(getattr(layer, "zero_output_for_mask", False) for layer in backwards)


def model_structure(config: Any) -> Any:
    """A model's config in JSON types, without what only decides its initial values, and the names of its inputs."""
    if isinstance(config, dict):
        if config.get("class_name") == "InputLayer":  # which Keras counts up within nested models
            config = {**config, "config": {k: v for k, v in config["config"].items() if k != "name"}}
        return {k: model_structure(v) for k, v in config.items() if not _decides_initial_values(k)}
    if isinstance(config, (list, tuple)):
        return [model_structure(v) for v in config]
    return config if isinstance(config, (str, int, float, bool, type(None))) else str(config)


def _decides_initial_values(argument: str) -> bool:
    return argument in ("seed", "unit_forget_bias") or argument.endswith("_initializer")

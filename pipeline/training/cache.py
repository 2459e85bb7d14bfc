"""Compiled programs, shared by arms of one structure."""

from collections import OrderedDict
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.config.schema import Optimizer, Training
from pipeline.data.dataset import Dataset
from pipeline.data.splits import Split
from pipeline.runtime.hashing import digest
from pipeline.training.pfor import recurrent_layers
from pipeline.training.program import Program

PARTS = ("train", "validation", "test")
MOST_STEPS = 8  # of recurrent layers that XLA gets to see written out
PROGRAMS = 4  # kept for further arms


def use_xla(model: Any, training: Training) -> bool:
    """Whether to compile with XLA: unless told, always but for recurrent layers of many steps, which take too long."""
    steps = [layer.get_build_config()["input_shape"][1] for layer in recurrent_layers(model)]
    few = all(n is not None for n in steps) and sum(steps) <= MOST_STEPS
    return few if training.xla == "auto" else training.xla


# The programs used last, so that arms of one structure share theirs: initial values are no part of a program.
_programs: OrderedDict[str, Program] = OrderedDict()


def cached_program(
    model: Any, like: Split, dataset: Dataset, optimizer: Optimizer, training: Training,
    refused: bool = False,
) -> Program:  # fmt: skip
    """The program of this structure, made when there is none yet, or when XLA has refused the one there is."""
    recipe = {k: v for k, v in asdict(training).items() if k not in ("epochs", "seeds_at_once")}
    lengths = [len(getattr(like, part)) for part in PARTS]
    shapes = [np.shape(like.mean), [list(v.shape) for v in model.variables]]
    rule = asdict(optimizer)
    if optimizer.schedule is None:
        del rule["learning_rate"]  # a variable, set for each training
    key = digest([model_structure(model.get_config()), shapes, lengths, id(dataset), rule, recipe])
    if refused or key not in _programs:
        xla = use_xla(model, training) and not refused
        _programs[key] = Program(model, like, dataset, optimizer, training, xla)
    _programs.move_to_end(key)
    if len(_programs) > PROGRAMS:
        _programs.popitem(last=False)
    return _programs[key]


def model_structure(part: Any) -> Any:
    """A model's config, as JSON can hold it, without what only decides its initial values."""
    if isinstance(part, dict):
        initial = ("seed", "unit_forget_bias")
        return {k: model_structure(v) for k, v in part.items() if k not in initial and not k.endswith("_initializer")}
    if isinstance(part, (list, tuple)):
        return [model_structure(v) for v in part]
    return part if isinstance(part, (str, int, float, bool, type(None))) else str(part)

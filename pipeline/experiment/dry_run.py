"""Dry run of a sweep (`--plan`): its arms, missing runs, time, initial distributions, and what cannot matter."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from pipeline.experiment.check import first_model
from pipeline.experiment.cost import estimate_time
from pipeline.experiment.declared import most_to_train
from pipeline.experiment.plan import Plan, shown_names
from pipeline.experiment.same_arms import Starts
from pipeline.models.initializers.distributions import expected_biases
from pipeline.models.irrelevant import SHIFT
from pipeline.report.console import print_table
from pipeline.runtime.wrapping import columns_or

WIDTH = 120  # columns of a table, where the output is not a terminal
DISTRIBUTION = ["arm", "bias", "gate", "shape", "draws", "mean", "std", "from", "to"]


def show_plan(arms: Sequence[Plan], to_train: Sequence[Sequence[int]]) -> None:
    """Print what a request would do. Builds the first model of every arm; trains and stores nothing.

    arms: one plan per arm. to_train: for each, the seeds to train.
    """
    console = Console(width=columns_or(WIDTH), highlight=False, markup=False)
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
    if (most := most_to_train(arms, missing)) != missing:
        in_all = estimate_time(arms, first_models, most)
        console.print(f"All looks together, if no arm is decided before the last one: {in_all}")
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
    starts = Starts(arms, models)
    irrelevant = [starts.irrelevant(i) for i in range(len(arms))]
    for path, why in {item: None for biases in irrelevant for item in biases.items()}:
        affected = "; ".join(name for name, biases in zip(names, irrelevant, strict=True) if biases.get(path) == why)
        if why.kind == SHIFT:
            reason = "a constant added to all logits of a softmax changes nothing"
            yield f"Cannot matter ({affected}): {path}, since {reason}."
        else:
            yield (
                f"Training cannot tell ({affected}): {path}, since {why.by} subtracts each batch's mean. Evaluation "
                f"can, until the moving mean has caught up: after T steps {why.momentum:g}^T of the offset is left."
            )
    same = starts.same(but_shifts=False)
    for group in same:
        yield f"The same by construction, bit for bit{group.looked_at}: {'; '.join(names[i] for i in group.arms)}."
    for group in starts.same(but_shifts=True):
        if group not in same:
            alike = "; ".join(names[i] for i in group.arms)
            yield (
                f"Equal except for biases that cannot matter, so any difference is rounding{group.looked_at}: {alike}."
            )

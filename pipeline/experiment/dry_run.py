"""Dry run of a sweep (`--plan`): its arms, missing runs, time, initial distributions, and what cannot matter."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console

from pipeline.experiment.check import FirstModels
from pipeline.experiment.cost import estimate_time
from pipeline.experiment.declared import most_to_train
from pipeline.experiment.plan import Plan, shown_names
from pipeline.experiment.same_arms import SameArms, Starts
from pipeline.models.initializers.distributions import expected_biases
from pipeline.models.irrelevant import SHIFT
from pipeline.report.console import print_table
from pipeline.runtime.wrapping import columns_or

WIDTH = 120  # columns of a table, where the output is not a terminal
DISTRIBUTION = ["arm", "bias", "gate", "shape", "draws", "mean", "std", "from", "to"]


def show_plan(arms: Sequence[Plan], to_train: Sequence[Sequence[int]], models: FirstModels | None = None) -> None:
    """Print what a request would do. Builds the first model of every arm, if any is to train; stores nothing.

    arms: one plan per arm. to_train: for each, the seeds to train. models: of the check of these plans.
    """
    console = Console(width=columns_or(WIDTH), highlight=False, markup=False)
    several = len({plan.store for plan in arms}) > 1
    shown = zip(shown_names(arms), arms, strict=True)
    names = [f"{plan.config.study}/{name}" if several else name for name, plan in shown]
    missing = [len(seeds) for seeds in to_train]

    rows = [[name, str(len(plan.keys)), str(len(plan.keys) - count), str(count)]
            for name, plan, count in zip(names, arms, missing, strict=True)]  # fmt: skip
    print_table("", ["arm", "seeds", "done", "missing"], rows, width=WIDTH)
    if not any(most_to_train(arms, missing)):
        console.print(estimate_time(arms, [], missing))  # nothing starts, so that nothing is built, without TensorFlow
        return
    built = models or FirstModels()
    first_models = [built.of(plan) for plan in arms]
    initial = [model for model, _, _ in first_models]
    console.print(estimate_time(arms, first_models, missing))
    if (most := most_to_train(arms, missing)) != missing:
        in_all = estimate_time(arms, first_models, most)
        console.print(f"All looks together, if no arm is decided before the last one: {in_all}")
    print_table("", DISTRIBUTION, _distributions(names, initial), width=WIDTH)
    for line in _remarks(names, arms, initial):
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
    starts, tuned = Starts(arms, models), TunedNames(names, arms)
    irrelevant = [starts.irrelevant(i) for i in range(len(arms))]
    for path, why in {item: None for biases in irrelevant for item in biases.items()}:
        affected = tuned.listed([i for i, biases in enumerate(irrelevant) if biases.get(path) == why])
        if why.kind == SHIFT:
            reason = "a constant added to all logits of a softmax changes nothing"
            yield f"Cannot matter ({affected}): {path}, since {reason}."
        else:
            yield (
                f"Training cannot tell ({affected}): {path}, since {why.by} subtracts each batch's mean. Evaluation "
                f"can, until the moving mean has caught up: after T steps {why.momentum:g}^T of the offset is left."
            )
    same = starts.same(but_shifts=False)
    for looked_at, alike in tuned.groups(same):
        yield f"The same by construction, bit for bit{looked_at}: {alike}."
    for looked_at, alike in tuned.groups([group for group in starts.same(but_shifts=True) if group not in same]):
        yield f"Equal except for biases that cannot matter, so any difference is rounding{looked_at}: {alike}."


class TunedNames:
    """Names of arms, each once for all values of its tuned keys where what is said holds at each of them."""

    def __init__(self, names: Sequence[str], arms: Sequence[Plan]) -> None:
        """names: of the arms, with the values."""
        self._names, self._labels = names, [_untuned(name, plan) for name, plan in zip(names, arms, strict=True)]
        keys = dict.fromkeys(key for plan in arms for key in plan.config.tune or ())
        self._each = f", at each {' and '.join(keys)}" if keys else ""
        self._sizes = Counter(self._labels)

    def listed(self, members: Sequence[int]) -> str:
        """These arms, by index."""
        counts = Counter(self._labels[i] for i in members)
        whole = [label for label, count in counts.items() if count == self._sizes[label] > 1]
        others = [self._names[i] for i in members if self._labels[i] not in whole]
        return "; ".join([*others, *(["; ".join(whole) + self._each] if whole else [])])

    def groups(self, groups: Sequence[SameArms]) -> list[tuple[str, str]]:
        """(on which seeds they were looked at, their arms) of groups that start alike."""
        alike = Counter(tuple(self._labels[i] for i in group.arms) for group in groups)
        shown = []
        for group in groups:
            labels = tuple(self._labels[i] for i in group.arms)
            is_whole = alike[labels] == self._sizes[labels[0]] > 1
            arms = "; ".join(labels) + self._each if is_whole else "; ".join(self._names[i] for i in group.arms)
            shown.append((group.looked_at, arms))
        return list(dict.fromkeys(shown))


def _untuned(name: str, plan: Plan) -> str:
    """The name of an arm without the values of its tuned keys."""
    for key in plan.config.tune or ():
        name = re.sub(rf",{re.escape(key)}=[^,]*", "", name)
    return name

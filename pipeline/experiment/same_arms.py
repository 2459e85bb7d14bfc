"""Which arms of a sweep start alike on every seed, and which of their biases cannot matter on any."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.biases.extraction import bias_variables
from pipeline.config.user_classes import is_user_class
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.experiment.check import build_seed_model
from pipeline.experiment.plan import Plan
from pipeline.models.initializers.distributions import expected_biases
from pipeline.models.irrelevant import SHIFT, Irrelevant, irrelevant_biases
from pipeline.runtime.hashing import digest
from pipeline.training.cache import model_structure

MAX_SEEDS = 20  # on which arms are built to see whether they start alike
BIAS_SETTINGS = ("bias_setting", "use_bias", "bias_initializer", "bias_layers", "model")


@dataclass(frozen=True)
class Start:
    """What an arm starts with on one seed.

    irrelevant: see `irrelevant_biases`. exact: digest of all that decides the run but its seed: settings and initial
    values. but_shifts: the same without the biases that only shift all logits.
    """

    irrelevant: dict[str, Irrelevant]
    exact: str
    but_shifts: str


@dataclass(frozen=True)
class SameArms:
    """Arms, by index, that start alike. looked_at: on how many seeds, where not on all; empty otherwise."""

    arms: tuple[int, ...]
    looked_at: str


class Starts:
    """The starts of arms, each built when it is asked for.

    Initial values of most initializers are the same function of the seed in both arms, or are not, so that the first
    seed tells. One that reads the labels, or is the user's own, may agree on one seed and not on the next, so its arms
    are held against others on up to `MAX_SEEDS` seeds.
    """

    def __init__(self, arms: Sequence[Plan], models: Sequence[Any]) -> None:
        """models: of the first seed."""
        self._arms = arms
        self._known = {(i, plan.config.seeds[0]): _start(plan, models[i]) for i, plan in enumerate(arms)}
        self._differs_by_seed = [_differs_by_seed(model) for model in models]

    def irrelevant(self, arm: int) -> dict[str, Irrelevant]:
        """The biases of an arm that cannot matter on any of its seeds, as far as they are looked at."""
        starts = [self._at(arm, seed) for seed in self._seeds([arm])]
        return {
            path: why
            for path, why in starts[0].irrelevant.items()
            if all(start.irrelevant.get(path) == why for start in starts)
        }

    def same(self, but_shifts: bool) -> list[SameArms]:
        """The groups of arms that start alike. but_shifts: but for biases that only shift all logits."""
        groups = self._group(range(len(self._arms)), (), but_shifts)
        groups = [part for group in groups for part in self._group(group, self._seeds(group), but_shifts)]
        return [SameArms(tuple(group), self._looked_at(group)) for group in groups]

    def _group(self, arms: Iterable[int], seeds: Sequence[int], but_shifts: bool) -> list[list[int]]:
        groups: dict[tuple[str, ...], list[int]] = {}
        for i in arms:
            starts = [self._at(i, seed) for seed in seeds or self._arms[i].config.seeds[:1]]
            key = tuple(start.but_shifts if but_shifts else start.exact for start in starts)
            groups.setdefault(key, []).append(i)
        return [group for group in groups.values() if len(group) > 1]

    def _seeds(self, arms: Sequence[int]) -> Sequence[int]:
        """The seeds on which these arms are to be looked at."""
        seeds = self._arms[arms[0]].config.seeds
        return seeds[: MAX_SEEDS if any(self._differs_by_seed[i] for i in arms) else 1]

    def _looked_at(self, arms: Sequence[int]) -> str:
        n_looked, n = len(self._seeds(arms)), len(self._arms[arms[0]].config.seeds)
        is_part = any(self._differs_by_seed[i] for i in arms) and n_looked < n
        return f" on the first {n_looked} of {n} seeds" if is_part else ""

    def _at(self, arm: int, seed: int) -> Start:
        if (arm, seed) not in self._known:
            plan = self._arms[arm]
            dataset = load_dataset(plan.config.data)
            model = build_seed_model(plan, dataset, split_rows(dataset, plan.config.data, seed))
            self._known[arm, seed] = _start(plan, model)
        return self._known[arm, seed]


def _differs_by_seed(model: Any) -> bool:
    """Whether an initializer of a bias reads the labels of the seed's training rows, or is the user's own."""
    initializers = [type(getattr(bias.owner, f"{bias.kind}_initializer", None)) for bias, *_ in expected_biases(model)]
    return any(one.__name__ == "ClassPrior" or is_user_class(one) for one in initializers)


def _start(plan: Plan, model: Any) -> Start:
    shared = {key: value for key, value in plan.settings.items() if key not in BIAS_SETTINGS}
    context = digest([shared, model_structure(plan.settings["model"]), plan.config.study])
    irrelevant = irrelevant_biases(model, plan.config.optimizer.class_name)
    shifts = [path for path, why in irrelevant.items() if why.kind == SHIFT]
    hidden = {id(variable) for path, variable in bias_variables(model).items() if path in shifts}
    values = [(np.array(variable.value), id(variable) in hidden) for variable in model.variables]
    exact = _digest(context, [array for array, _ in values])
    but_shifts = _digest(context, [np.zeros_like(array) if is_hidden else array for array, is_hidden in values])
    return Start(irrelevant, exact, but_shifts)


def _digest(context: str, arrays: Sequence[np.ndarray]) -> str:
    return digest([context, *(digest(array.tobytes()) for array in arrays)])

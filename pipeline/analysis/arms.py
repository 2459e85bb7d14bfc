"""The arms of a study, read from its stored runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from statistics import fmean
from typing import Protocol

from pipeline.analysis.formatting import EPOCHS_TO as EPOCHS_TO
from pipeline.biases.keras_config import config_layers
from pipeline.biases.variables import GATES
from pipeline.config.metrics import RUN_LENGTHS
from pipeline.config.short_names import shared_overrides, without
from pipeline.errors import ConfigError, is_number
from pipeline.installation import command_text
from pipeline.models.functional import is_functional_model
from pipeline.store.runs import DamagedRun, Run, RunStore
from pipeline.store.whole_names import WholeName, told_apart, whole_name

FIRST_SETTINGS = ("no_bias", "zeros", "ones")  # their arms come first in every table
# What the runs of one seed must have in common to be compared as a pair: name -> how a run records it.
STARTING_CONDITIONS = {
    "kernels": lambda run: run.meta["initial_kernels_digest"],
    "data": lambda run: run.meta["data_digest"],
    "device": lambda run: run.meta["environment"]["device"],
    "optimizer": lambda run: run.meta["config"].get("optimizer"),
    "training": lambda run: run.meta["config"].get("training"),
}


class ComparedArm(Protocol):
    """What a comparison asks of an arm: one arm of one block (`Arm`), or a setting over blocks (`PooledArm`)."""

    @property
    def name(self) -> str:
        """Unique within the study."""
        ...

    @property
    def setting(self) -> str:
        """The bias setting, e.g. `zeros`."""
        ...

    @property
    def block(self) -> str:
        """The overrides besides the bias setting; an arm is compared with the baseline of its block."""
        ...

    @property
    def family(self) -> str:
        """The name of the family of tests that are corrected for multiplicity together."""
        ...

    @property
    def parts(self) -> tuple["Arm", ...]:
        """The arms of one block each that it consists of."""
        ...

    @property
    def complete_seeds(self) -> set[int]:
        """The seeds that did not diverge."""
        ...

    @property
    def diverged(self) -> list[int]:
        """The seeds whose loss became infinite or nan."""
        ...

    def values(self, metric: str) -> dict[int, float]:
        """A metric by seed, where it is known and finite."""
        ...

    def censored(self, metric: str) -> list[int]:
        """The seeds that never reached the level of an `epochs_to_` metric."""
        ...


@dataclass(frozen=True)
class Arm:
    """The stored runs of one arm.

    name: what is shown, without the overrides that all arms of the study share, which are `shared`. setting: as it is
    shown. histories: seed -> learning curves of the complete runs, see `carried_on`. derived: seed -> metrics computed
    from these curves, see `curves.measure_curves`. whole: its whole name, see `store.whole_names`.
    """

    name: str
    setting: str
    runs: tuple[Run, ...]
    histories: Mapping[int, dict[str, list[float]]] = field(default_factory=dict)
    derived: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    whole: WholeName = field(default=WholeName("", ""))

    @property
    def folder(self) -> str:
        """The name that its folder in the results has, which may be cut."""
        return self.runs[0].arm if self.runs else self.name

    @property
    def block(self) -> str:
        """The overrides besides the bias setting, e.g. `optimizer=sgd`, without those that all arms share."""
        return without(self.whole.whole_block, self.shared)

    @property
    def family(self) -> str:
        """The arms of one block are corrected together."""
        return self.block

    @property
    def parts(self) -> tuple["Arm", ...]:
        """The arm itself."""
        return (self,)

    @cached_property
    def complete(self) -> dict[int, Run]:
        """The runs that did not diverge, by seed."""
        return {run.seed: run for run in self.runs if run.complete}

    @property
    def complete_seeds(self) -> set[int]:
        """The seeds that did not diverge."""
        return set(self.complete)

    @cached_property
    def stopped(self) -> dict[int, int]:
        """The complete seeds that stopped before all epochs were trained, with the epochs that they trained."""
        lengths = {seed: run.meta["metrics"].get("epochs_run") for seed, run in self.complete.items()}
        return {s: int(n) for s, n in lengths.items() if n is not None and n < len(self.histories[s]["epoch"]) - 1}

    @property
    def longest(self) -> int:
        """The most epochs that a complete run trained."""
        return max((self.stopped.get(s, len(h["epoch"]) - 1) for s, h in self.histories.items()), default=0)

    @property
    def diverged(self) -> list[int]:
        """The seeds whose loss became infinite or nan; they enter no mean."""
        return [run.seed for run in self.runs if not run.complete]

    @cached_property
    def gates(self) -> dict[str, str]:
        """The gates along the last axis of each recurrent bias, e.g. `{"lstm/bias": "ifco"}`."""
        settings = self.runs[0].meta["config"].get("model", {"layers": []})
        is_graph = is_functional_model(settings["layers"])
        model = settings["layers"][0] if is_graph else {"class_name": "Sequential", "config": settings}
        gates = {f"{layer.path}/bias": GATES.get(layer.class_name, "") for layer in config_layers(model, "", None)}
        return {path: letters for path, letters in gates.items() if letters}

    @cached_property
    def starting_conditions(self) -> dict[int, tuple]:
        """The `STARTING_CONDITIONS` of the complete runs, by seed."""
        return {seed: tuple(read(run) for read in STARTING_CONDITIONS.values()) for seed, run in self.complete.items()}

    def values(self, metric: str) -> dict[int, float]:
        """A final or derived metric by seed, of the complete runs that have it."""
        if metric not in self._values_by_metric:
            final = {seed: run.meta["metrics"].get(metric) for seed, run in self.complete.items()}
            either = {seed: self.derived.get(seed, {}).get(metric, value) for seed, value in final.items()}
            self._values_by_metric[metric] = {seed: value for seed, value in either.items() if is_number(value)}
        return self._values_by_metric[metric]

    @cached_property
    def _values_by_metric(self) -> dict[str, dict[int, float]]:
        return {}

    def censored(self, metric: str) -> list[int]:
        """The seeds that never reached the level of an `epochs_to_` metric, which count as one epoch more than all."""
        if not metric.startswith(EPOCHS_TO):
            return []
        return [seed for seed, value in self.values(metric).items() if value >= len(self.histories[seed]["epoch"])]


def load_arms(store: RunStore, keep: Callable[[Run], bool] | None = None) -> tuple[list[Arm], list[DamagedRun]]:
    """Read the arms of a study, sorted by block, then `FIRST_SETTINGS`, then name; and its damaged runs.

    keep: which runs to take; None: all.

    Raises ConfigError when the study has no complete run.
    """
    runs, damaged = store.read(anew=True)  # an answer rests on what is on the disk now
    runs = [run for run in runs if keep is None or keep(run)]
    by_arm = {arm: list(of_arm) for arm, of_arm in groupby(runs, key=lambda run: run.arm)}
    whole = told_apart({arm: whole_name(of[0].meta, (run.machine for run in of)) for arm, of in by_arm.items()})
    shared = shared_overrides(name.text for name in whole.values())
    arms = [_make_arm(of_arm, whole[arm], shared) for arm, of_arm in by_arm.items()]
    if not any(arm.complete for arm in arms):
        unusable = [f"{arm.name} (diverged: {seed_spans(arm.diverged)})" for arm in arms]
        unusable += [f"{run.name} ({'' if run.is_copy else 'damaged: '}{run.reason})" for run in damaged]
        listed = f" ({', '.join(unusable)})" if unusable else ""
        raise ConfigError(f"study: {store.study} has no complete run{listed}; train one: {command_text('train')} -m")
    order = {setting: i for i, setting in enumerate(FIRST_SETTINGS)}
    return sorted(arms, key=lambda arm: (arm.block, order.get(arm.setting, len(order)), arm.name)), damaged


def _make_arm(runs: list[Run], whole: WholeName, shared: frozenset[str]) -> Arm:
    histories = {run.seed: carried_on(run) for run in runs if run.complete}
    stored = runs[0].meta["config"]["bias_setting"]
    setting = stored if whole.name == whole.setting else whole.name
    return Arm(without(whole.text, shared), setting, tuple(runs), histories, shared=shared, whole=whole)


def carried_on(run: Run, epochs: int | None = None) -> dict[str, list[float]]:
    """The learning curves of a run; after one that stopped early they go on with the model that it kept.

    epochs: how far, by default as many epochs as it was asked for. So the curves of an arm have one length, and each
    epoch's mean is over all its seeds, not over those that happened to train longest.
    """
    history, best = run.history(), run.best_epoch
    if best is None:
        return history
    asked = run.meta["config"]["training"]["epochs"] if epochs is None else epochs
    missing = max(asked + 1 - len(history["epoch"]), 0)
    longer = {name: [*values, *[values[best]] * missing] for name, values in history.items()}
    return longer | {"epoch": [float(epoch) for epoch in range(len(longer["epoch"]))]}


def stored_means(store: RunStore) -> dict[str, dict[str, float]]:
    """Folder of each arm -> mean of each test metric over all its complete seeds: what MLflow has of it.

    A study may be about a part of them, as that of a design is about those that judge.
    """
    means: dict[str, dict[str, float]] = {}
    for arm in store.arm_names():
        values: dict[str, list[float]] = {}
        for run in store.runs(arm):
            for name, value in run.meta["metrics"].items() if run.complete else ():
                if name.startswith("test_") and is_number(value):
                    values.setdefault(name, []).append(value)
        means[arm] = {name: fmean(of_metric) for name, of_metric in values.items()}
    return means


def final_metrics(arms: list[Arm]) -> list[str]:
    """Name the test metrics of the complete runs, the model's first one first and the loss last, then the number of
    epochs where runs may stop early, then derived metrics.

    Raises ConfigError when there is no test metric.
    """
    items = [item for arm in arms for run in arm.complete.values() for item in run.meta["metrics"].items()]
    names = dict.fromkeys(name for name, value in items if name.startswith("test_") and is_number(value))
    if not names:
        raise ConfigError("metric: no complete run of the study has a test metric that is a number")
    first = next((name for name in names if name != "test_loss"), None)
    lengths = [name for name in RUN_LENGTHS if any(name == metric for metric, _ in items)]
    derived = dict.fromkeys(name for arm in arms for measures in arm.derived.values() for name in measures)
    return [*sorted(names, key=lambda name: (name != first, name == "test_loss", name)), *lengths, *derived]


def seed_spans(seeds: list[int]) -> str:
    """Abbreviate seeds: `0 to 4, 7` for [0, 1, 2, 3, 4, 7]."""
    spans: list[list[int]] = []
    for seed in sorted(seeds):
        if spans and seed == spans[-1][-1] + 1:
            spans[-1].append(seed)
        else:
            spans.append([seed])
    return ", ".join(f"{s[0]} to {s[-1]}" if len(s) > 2 else ", ".join(map(str, s)) for s in spans)

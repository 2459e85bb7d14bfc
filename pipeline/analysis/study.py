"""The arms of a study, gathered from its stored runs: their values, their pairs, their curves and biases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pipeline.biases.keras_config import config_layers
from pipeline.biases.variables import GATES
from pipeline.errors import ConfigError, is_number
from pipeline.store.runs import HISTORY, Run, RunStore

EPOCHS_TO = "epochs_to_"  # a metric that begins like this may be censored
FIRST = ("no_bias", "zeros", "ones")  # the settings that come first in every table
# What a seed's runs of two arms must share to be a pair, and what a run calls it.
PROOF = {
    "kernels": lambda run: run.meta["initial_kernels_digest"],
    "data": lambda run: run.meta["data_digest"],
    "device": lambda run: run.meta["environment"]["device"],
    "optimizer": lambda run: run.meta["config"].get("optimizer"),
    "training": lambda run: run.meta["config"].get("training"),
}


@dataclass(frozen=True)
class Arm:
    """One arm's stored runs. `block` is what else was set, as in `zeros,optimizer=sgd`.

    histories: the learning curves of the complete runs, by seed. derived: what they come to, see `measures.measure`.
    """

    name: str
    setting: str
    runs: tuple[Run, ...]
    histories: Mapping[int, dict[str, list[float]]] = field(default_factory=dict)
    derived: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    @property
    def block(self) -> str:
        """The overrides besides the bias setting; empty for a plain arm."""
        return self.runs[0].block if self.runs else ""

    @cached_property
    def gates(self) -> dict[str, str]:
        """The parts of the last axis of each bias that has some, as in `{"lstm/bias": "ifco"}`."""
        model = {"class_name": "Sequential", "config": self.runs[0].meta["config"].get("model", {"layers": []})}
        known = {f"{layer.path}/bias": GATES.get(layer.class_name, "") for layer in config_layers(model, "", None)}
        return {path: gates for path, gates in known.items() if gates}

    @property
    def parts(self) -> tuple["Arm", ...]:
        """The arms that it is made of: itself, see `blocks.Overall`."""
        return (self,)

    @property
    def family(self) -> str:
        """Whose comparisons are corrected together for their number: those of its block."""
        return self.block

    @cached_property
    def complete(self) -> dict[int, Run]:
        """The runs that did not diverge, by seed."""
        return {run.seed: run for run in self.runs if run.meta["status"] == "complete"}

    @property
    def diverged(self) -> list[int]:
        """The seeds whose loss became infinite or nan: named, and in no mean."""
        return [run.seed for run in self.runs if run.meta["status"] == "diverged"]

    def values(self, metric: str) -> dict[int, float]:
        """A final or derived metric of the complete runs that have it, by seed."""
        if metric not in self._known:
            self._known[metric] = self._values(metric)
        return self._known[metric]

    @cached_property
    def _known(self) -> dict[str, dict[int, float]]:
        return {}

    def _values(self, metric: str) -> dict[int, float]:
        final = {seed: run.meta["metrics"].get(metric) for seed, run in self.complete.items()}
        found = {seed: self.derived.get(seed, {}).get(metric, value) for seed, value in final.items()}
        return {seed: value for seed, value in found.items() if is_number(value)}

    @cached_property
    def proofs(self) -> dict[int, tuple]:
        """What `PROOF` says of the complete runs, by seed."""
        return {seed: tuple(of(run) for of in PROOF.values()) for seed, run in self.complete.items()}

    def censored(self, metric: str) -> list[int]:
        """The seeds that did not get there in all their epochs, for which the epochs are one more."""
        if not metric.startswith(EPOCHS_TO):
            return []
        return [seed for seed, value in self.values(metric).items() if value >= len(self.histories[seed]["epoch"])]


def load_arms(store: RunStore) -> list[Arm]:
    """The arms of a study, `no_bias` and the constants first. Raises ConfigError when it has no complete run."""
    by_arm: dict[str, list[Run]] = {}
    for run in store.runs():
        if _says_all(run):
            by_arm.setdefault(run.arm, []).append(run)
    arms = [_arm(name, runs) for name, runs in by_arm.items()]
    if not any(arm.complete for arm in arms):
        bad = [f"{arm.name} (diverged: {seed_spans(arm.diverged)})" for arm in arms]
        bad += [f"{run} (damaged)" for run in damaged_runs(store, arms)]
        there = f" ({', '.join(bad)})" if bad else ""
        raise ConfigError(f"study: {store.study} has no complete run{there}; train one: python -m pipeline.train -m")
    order = {setting: place for place, setting in enumerate(FIRST)}
    return sorted(arms, key=lambda arm: (arm.block, order.get(arm.setting, len(order)), arm.name))


def _says_all(run: Run) -> bool:
    """Whether run.json has what a comparison reads, and is in the folder that it speaks of, no copy of another run."""
    try:
        started = all(isinstance(run.meta[key], str) for key in ("initial_kernels_digest", "data_digest"))
        named = isinstance(run.meta["config"]["bias_setting"], str) and "device" in run.meta["environment"]
        placed = run.path.parts[-2:] == (run.arm, f"seed={run.seed}")
        return started and named and placed and isinstance(run.meta["metrics"], dict)
    except (KeyError, TypeError):
        return False


def _arm(name: str, runs: list[Run]) -> Arm:
    histories = {run.seed: run.history() for run in runs if run.meta["status"] == "complete"}
    return Arm(name, runs[0].meta["config"]["bias_setting"], tuple(runs), histories)


def damaged_runs(store: RunStore, arms: list[Arm]) -> list[str]:
    """Runs on disk that are not what was written, and so in no arm, as `zeros/seed=0`."""
    read = {run.path for arm in arms for run in arm.runs}
    return sorted("/".join(path.parts[-2:]) for path in store.run_paths() if path not in read)


def baseline_arms(arms: list[Arm], baseline: str) -> dict[str, Arm]:
    """The arm with the setting `baseline` of each block."""
    return {arm.block: arm for arm in arms if arm.setting == baseline}


def final_metrics(arms: list[Arm]) -> list[str]:
    """The test metrics that any complete run has, the one that counts first, then by name, the loss last; then what
    is derived from the learning curves. Raises ConfigError when there is no test metric.
    """
    values = [item for arm in arms for run in arm.complete.values() for item in run.meta["metrics"].items()]
    names = dict.fromkeys(name for name, value in values if name.startswith("test_") and is_number(value))
    if not names:
        raise ConfigError("metric: no complete run of the study has a test metric that is a number")
    first = next((name for name in names if name != "test_loss"), None)
    derived = dict.fromkeys(name for arm in arms for found in arm.derived.values() for name in found)
    return [*sorted(names, key=lambda name: (name != first, name == "test_loss", name)), *derived]


def paired_seeds(arm: Arm, base: Arm, metric: str) -> list[int]:
    """Seeds of which both arms have the metric; none where any seed that both have shows that they are no pairs."""
    return [] if mismatches(arm, base) else sorted(arm.values(metric).keys() & base.values(metric).keys())


def mismatches(arm: Arm, base: Arm) -> dict[int, list[str]]:
    """Seeds that both arms completed, but not from the same start: what of `PROOF` differs."""
    differ: dict[int, list[str]] = {}
    for mine, theirs in zip(arm.parts, base.parts, strict=True):
        for seed, proof in mine.proofs.items():
            other = theirs.proofs.get(seed, proof)
            if proof != other:
                kinds = [what for what, a, b in zip(PROOF, proof, other, strict=True) if a != b]
                differ.setdefault(seed, []).extend(kinds)
    return differ


def same_curves(arm: Arm, base: Arm, seeds: list[int]) -> bool:
    """Whether these seeds have the same learning curves in both arms, bit for bit."""
    digests = [
        [part.complete[seed].meta["digests"][HISTORY] for part in side.parts for seed in seeds] for side in (arm, base)
    ]
    return bool(seeds) and digests[0] == digests[1]


def require_common_seeds(study: str, arms: list[Arm], baseline: str) -> None:
    """Raise ConfigError when there is something to compare with the baseline, and not one seed in common."""
    bases = baseline_arms(arms, baseline)
    couples = [(arm, bases[arm.block]) for arm in arms if arm.block in bases and arm is not bases[arm.block]]
    couples = [(arm, base) for arm, base in couples if arm.complete and base.complete]
    if couples and not any(arm.complete.keys() & base.complete.keys() for arm, base in couples):
        sides = {side.name: side for couple in couples for side in reversed(couple)}
        there = "; ".join(f"{name} has {seed_spans(list(side.complete))}" for name, side in sides.items())
        raise ConfigError(f"seeds: no arm of {study} shares a complete seed with {baseline}: {there}")


def seed_spans(seeds: list[int]) -> str:
    """`0 to 4, 7` for [0, 1, 2, 3, 4, 7]."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)

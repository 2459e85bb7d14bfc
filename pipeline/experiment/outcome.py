"""Outcome of a sweep, read from the store: which runs there are now, which are missing, and why.

Nothing is handed over by the jobs themselves, so the outcome is right under any Hydra launcher.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.experiment.plan import Plan, seeds_to_train, stored_seeds
from pipeline.store.failures import Failure, read_failure
from pipeline.store.runs import Run, RunStore


@dataclass(frozen=True)
class Outcome:
    """What became of an arm.

    runs: the stored runs that the plan asks for, by seed. trained: the seeds trained since the plan was made. failure:
    why the job failed, if it did. upload_problem: why MLflow did not take the arm, or "".
    """

    plan: Plan
    runs: list[Run]
    trained: tuple[int, ...]
    failure: Failure | None = None
    upload_problem: str = ""

    @property
    def missing(self) -> tuple[int, ...]:
        """The requested seeds without a stored run."""
        return tuple(seed for seed in self.plan.keys if seed not in {run.seed for run in self.runs})

    @property
    def problem(self) -> str:
        """Why runs are missing, in one line; "" where none is."""
        if not self.missing:
            return ""
        if self.failure:
            return f"{self.failure.overrides}: {self.failure.error} (log: {self.failure.log})"
        request = " ".join(self.plan.config.overrides) or "the default arm"
        return f"{request}: seeds {list(self.missing)} are missing and no error is recorded; the job was killed"


def to_train_by_arm(plans: Sequence[Plan]) -> dict[tuple[RunStore, str], tuple[int, ...]]:
    """The seeds that each arm has to train, before the first job runs."""
    return {(plan.store, plan.arm): seeds_to_train(plan) for plan in plans}


def read_outcomes(plans: Sequence[Plan], to_train: dict[tuple[RunStore, str], tuple[int, ...]]) -> list[Outcome]:
    """Read the outcome of each arm that the plans ask for. to_train: see `to_train_by_arm`."""
    merged: dict[tuple[RunStore, str], Plan] = {}
    for plan in plans:
        merged.setdefault((plan.store, plan.arm), plan)
    outcomes = []
    for (store, arm), plan in merged.items():
        runs = stored_seeds(plan)
        trained = tuple(seed for seed in to_train[store, arm] if seed in runs)
        outcomes.append(Outcome(plan, list(runs.values()), trained, read_failure(store, arm)))
    return outcomes

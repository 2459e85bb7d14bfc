"""Outcome of a sweep, read from the store: which runs there are now, which are missing, and why.

Nothing is handed over by the jobs themselves, so the outcome is right under any Hydra launcher.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.experiment.identity import SeedKeys
from pipeline.experiment.plan import Plan, stored_seeds
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
        stored = {run.seed for run in self.runs}
        return tuple(seed for seed in self.plan.keys if seed not in stored)

    @property
    def problem(self) -> str:
        """The recorded failure, or else the missing runs, in one line; "" where all is well."""
        if self.failure:
            from pipeline.analysis.arms import seed_spans  # which imports pandas

            seeds = list(self.failure.missing)
            some = f"seeds {seed_spans(seeds)}; " if seeds and len(seeds) < len(self.plan.keys) else ""
            return f"{self.failure.overrides}: {self.failure.error} ({some}log: {self.failure.log})"
        if not self.missing:
            return ""
        request = " ".join(self.plan.config.overrides) or "the default arm"
        why = "no error is recorded: the job did not run, or was killed"
        return f"{request}: seeds {list(self.missing)} are missing and {why}"


def plans_by_arm(plans: Sequence[Plan]) -> list[Plan]:
    """One plan per arm, in order: jobs may ask for different seeds of it (`seeds=5,10`), which are put together."""
    merged: dict[tuple[RunStore, str], Plan] = {}
    for plan in plans:
        earlier = merged.get((plan.store, plan.arm))
        if earlier is not None:
            seeds = sorted({*earlier.keys, *plan.keys})
            missing = tuple(sorted({*earlier.missing, *plan.missing}))
            show = earlier.config.show_weights or plan.config.show_weights
            keep = earlier.config.keep_model or plan.config.keep_model
            config = replace(earlier.config, seeds=tuple(seeds), show_weights=show, keep_model=keep)
            plan = replace(earlier, config=config, keys=SeedKeys(plan.recipe, seeds), missing=missing)
        merged[plan.store, plan.arm] = plan
    return list(merged.values())


def read_outcome(
    plan: Plan, to_train: Sequence[int], request: str, failed_before: Failure | None, there: Sequence[Run] | None = None
) -> Outcome:
    """Read the outcome of an arm. to_train: the seeds to train as planned. request: the identity of this command.
    there: the runs of the arm, if they are read.

    failed_before: the failure that was recorded when it began. What another command recorded since then is the reason
    where seeds are missing: it may have taken the place of this one's record.
    """
    runs, failure = stored_seeds(plan, there), read_failure(plan.store, plan.arm)
    outcome = Outcome(plan, list(runs.values()), tuple(seed for seed in to_train if seed in runs))
    if failure is None or (failure.request != request and (failure == failed_before or not outcome.missing)):
        return outcome
    return replace(outcome, failure=failure)

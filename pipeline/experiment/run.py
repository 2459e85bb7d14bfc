"""The data flow, from a config to stored and mirrored runs. `run_arm` is the whole of it.

`plan` says what a job asks for and what of it is missing, without TensorFlow; `check` finds, before anything is
trained, what would make it fail.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.biases.extraction import bias_variables, extract_biases, variable_paths
from pipeline.config.schema import Config
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.experiment.check import build_seed_model
from pipeline.experiment.plan import Plan, needed_files, plan_job
from pipeline.models.initializers.distributions import audit_biases
from pipeline.runtime.device import start_tensorflow
from pipeline.runtime.environment import describe_environment
from pipeline.runtime.hashing import NUMERICS_VERSION, digest
from pipeline.store.files import arm_lock
from pipeline.store.replaced import adopt_runs, retire_run, write_run
from pipeline.store.runs import Run, stored_runs
from pipeline.tracking.runs import mirror_arm
from pipeline.training.loop import Trained, train_seeds

MOST_WEIGHTS = 1_000_000  # of a model whose weights are kept unasked: 8 MB per run, before and after


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its finished runs, the seeds trained for them, and what MLflow did not take (or "")."""

    plan: Plan
    runs: list[Run]
    trained: tuple[int, ...]
    not_mirrored: str = ""


def run_arm(
    config: Config,
    progress: Callable[[str, int, int], None] = lambda arm, done, total: None,
    mirror: Callable[..., str] = mirror_arm,
) -> Outcome:
    """Train what is missing of one arm, store it, and mirror it to MLflow. progress(arm, epochs done, in all)."""
    arm, results, study = plan_job(config).arm, config.results_dir, config.study
    with arm_lock(results, study, arm):
        todo = plan_job(config)  # again: another process may have trained it while this one waited for the lock
        found = set()
        if todo.missing:
            wanted = {seed: todo.keys[seed] for seed in todo.missing}
            own = {"arm": arm, "config": todo.effective}
            found = adopt_runs(results, study, wanted, own, needed_files(config))
        to_train = tuple(seed for seed in todo.missing if seed not in found)
        if to_train:
            device = start_tensorflow(config.runtime.device)
            dataset = load_dataset(config.data)
            rows = [split_rows(dataset, config.data, seed) for seed in to_train]
            built = [build_seed_model(todo, dataset, one) for one in rows]
            audit_biases(built)
            before = [extract_biases(model) for model in built]
            kernels = [_kernel_digest(model) for model in built]
            keep = config.show_weights or built[0].count_params() <= MOST_WEIGHTS
            weights = [_weights("before", model) if keep else {} for model in built]
            trained = train_seeds(
                built, rows, dataset, config.optimizer, config.training, bias_variables,
                lambda done, total: progress(arm, done, total),
            )  # fmt: skip
            after = [extract_biases(model) for model in built]
            for i, seed in enumerate(to_train):
                digests = {"initial_kernels": kernels[i], "data": dataset.digest()}
                if keep:
                    weights[i] |= _weights("after", built[i])
                _store(todo, seed, before[i], after[i], trained[i], digests, device, weights[i])
        for run in stored_runs(results, study, arm):
            if run.meta["recipe"] not in todo.recipe.digests:  # a seed not asked for now, trained under other settings
                retire_run(results, run)
        runs = stored_runs(results, study, arm)
        asked = [run for run in runs if run.seed in todo.keys]
        return Outcome(todo, asked, to_train, mirror(config.tracking, results, study, arm, runs))


def _weights(when: str, model: Any) -> dict[str, np.ndarray]:
    """All weights of a model in its order, by the paths that biases have everywhere else."""
    paths = variable_paths(model)
    names = [paths.get(id(v), v.path.removeprefix(f"{model.name}/")) for v in model.weights]
    return {f"{when}/{name}": np.array(v.value) for name, v in zip(names, model.weights, strict=True)}


def _kernel_digest(model: Any) -> str:
    """Digest of everything that the model starts with, its biases excepted: equal in all arms of one seed."""
    skipped = {id(v) for v in bias_variables(model).values()}
    others = [v for v in model.variables if id(v) not in skipped]
    return digest(b"".join(f"{v.dtype}{v.shape}".encode() + np.asarray(v.value).tobytes() for v in others))


def _store(
    p: Plan, seed: int, before: dict, after: dict, trained: Trained, digests: dict[str, str], device: str,
    weights: dict[str, np.ndarray],
) -> None:  # fmt: skip
    arrays = {f"before/{path}": a for path, a in before.items()} | {f"after/{path}": a for path, a in after.items()}
    arrays |= {f"trajectory/{path}": a for path, a in trained.trajectory.items()}
    arrays["epoch"] = np.arange(p.config.training.epochs + 1)
    final = {name: _json_number(values[-1]) for name, values in trained.history.items()}
    meta = {
        "key": p.keys[seed][0],
        "recipe": p.recipe.current,
        "numerics_version": NUMERICS_VERSION,
        "arm": p.arm,
        "seed": seed,
        "status": "diverged" if trained.diverged else "complete",
        "metrics": final | {name: _json_number(value) for name, value in trained.test.items()},
        **{f"{name}_digest": value for name, value in digests.items()},
        "config": p.effective,
        "environment": describe_environment(device),
    }
    write_run(p.config.results_dir, p.config.study, meta, arrays, trained.history, weights)


def _json_number(value: Any) -> float | None:
    """JSON has no nan and no infinity: a value that is not finite becomes null."""
    return float(value) if np.isfinite(value) else None

"""The data flow from a config to stored and uploaded runs: `run_arm` is the whole of it."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from pipeline.biases.extraction import bias_variables, extract_biases, variable_paths
from pipeline.config.schema import Config, Tracking
from pipeline.data.dataset import Dataset
from pipeline.data.sources import load_dataset
from pipeline.data.splits import Split, split_rows
from pipeline.experiment.check import MAX_KEPT_WEIGHTS, build_seed_model
from pipeline.experiment.code import check_unchanged
from pipeline.experiment.identity import SeedKeys
from pipeline.experiment.outcome import Outcome
from pipeline.experiment.plan import Plan, describe_job, plan_and_read, stored_seeds
from pipeline.models.initializers.audit import audit_biases
from pipeline.models.irrelevant import irrelevant_biases
from pipeline.models.saved import model_bytes
from pipeline.models.spec import own_biases
from pipeline.runtime.device import start_tensorflow
from pipeline.runtime.environment import describe_environment
from pipeline.runtime.hashing import NUMERICS_VERSION, digest
from pipeline.runtime.machine import describe_machine, peak_memory
from pipeline.store.aside import sweep_aside
from pipeline.store.replaced import adopt_runs, retire_run, write_run
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.runs import mirror_arm
from pipeline.training.loop import Trained, batch_order, train_seeds
from pipeline.training.stopping import stops_by_training_rows

log = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]
Upload = Callable[[Tracking, RunStore, str, Sequence[Run]], str]
Progress = Callable[[str, int, int], None]  # arm, epochs done, epochs in all
Train = Callable[[Plan, Sequence[int], Progress], None]


def run_arm(
    config: Config,
    progress: Progress = lambda arm, done, total: None,
    upload: Upload = mirror_arm,
    train: Train | None = None,
    part: Sequence[int] | None = None,
) -> Outcome:
    """Train the missing seeds of one arm, store them, and upload the arm to MLflow.

    progress(arm, epochs done, epochs in all). upload(tracking, store, arm, runs): what sends the arm to MLflow.
    train(plan, seeds, progress): what trains and stores, if not `train_and_store` in this process. part: of the arm's
    seeds, those that this job is to train; others, which are trained at the same time, hold locks of their own.
    """
    arm = describe_job(config).arm
    store = RunStore(config.results_dir, config.study)
    sweep_aside(store.results)
    with store.lock(arm, f"seeds {part[0]} to {part[-1]}" if part else ""):
        plan, (runs, _) = plan_and_read(config)  # again: another process may have trained it while this one waited
        asked = None if part is None else set(part)
        missing = tuple(seed for seed in plan.missing if asked is None or seed in asked)
        with store.lock(arm) if part else nullcontext():
            adopted = adopt_runs(
                store,
                SeedKeys(plan.recipe, missing),
                {"arm": arm, "config": plan.settings},
                plan.required_files,
                _asked(config) if config.overrides else None,
            )
        seeds = tuple(seed for seed in missing if seed not in adopted)
        if seeds:
            (train or train_and_store)(plan, seeds, progress)
        with store.lock(arm) if part else nullcontext():
            fitting = []
            for run in store.runs(arm) if missing or part else runs:
                if run.meta["recipe"] in plan.recipe.digests:
                    fitting.append(run)
                else:  # trained under other settings, whatever its seed
                    retire_run(store.results, run)
        problem = upload(config.tracking, store, arm, fitting)
        return Outcome(plan, list(stored_seeds(plan, fitting).values()), seeds, upload_problem=problem)


def train_and_store(plan: Plan, seeds: Sequence[int], progress: Progress, program: str = "") -> None:
    """Build one model per seed, train all of them together, and store each run as soon as its stack has ended.

    program: what asked for it, where that is no command line.
    """
    config = plan.config
    device = start_tensorflow(config.runtime.device, plan.portable)
    check_unchanged(config, plan.settings)
    dataset = load_dataset(config.data)
    splits = [split_rows(dataset, config.data, seed) for seed in seeds]
    models = [build_seed_model(plan, dataset, split) for split in splits]
    audit_biases(models)
    keep_weights = config.show_weights or models[0].count_params() <= MAX_KEPT_WEIGHTS
    arrays = [_moment("before", extract_biases(model)) for model in models]
    weights = [_moment("before", _weights(model)) if keep_weights else {} for model in models]
    kernel_digests = [initial_digest(model) for model in models]
    irrelevant = [irrelevant_biases(model, config.optimizer.class_name) for model in models]

    asked = _asked(config)
    machine = describe_machine() | ({"program": program} if program else asked)
    if program and config.tune is not None:  # values that the program tried, the shared one first
        machine |= asked

    def store_run(i: int, trained: Trained) -> None:
        arrays[i] |= _moment("after", extract_biases(models[i])) | _moment("trajectory", trained.trajectory)
        arrays[i]["epoch"] = np.arange(trained.epochs + 1)
        if keep_weights:
            weights[i] |= _moment("after", _weights(models[i]))
        meta = _meta(plan, seeds[i], trained, kernel_digests[i], dataset, device)
        meta["parameters"] = models[i].count_params()
        if irrelevant[i]:
            n_steps = _steps(len(splits[i].train), config, trained)
            meta["irrelevant_biases"] = {path: why.facts(n_steps) for path, why in irrelevant[i].items()}
        if stops_by_training_rows(config.training.stop, splits[i]):
            meta["stopped_by_training_rows"] = True
        rows = kept_rows(splits[i], trained.epochs, dataset)
        model = model_bytes(models[i]) if config.keep_model else None
        spent = {"seconds": round(trained.seconds, 3), **peak_memory()}
        write_run(plan.store, meta, arrays[i], trained.history, weights[i], rows, machine | spent, model)

    log.info("training %d seeds of %s on %s", len(seeds), plan.arm, device)
    train_seeds(
        models, splits, dataset, config.optimizer, config.training, bias_variables,
        lambda done, total: progress(plan.arm, done, total), store_run,
    )  # fmt: skip


def _steps(n_rows: int, config: Config, trained: Trained) -> int:
    """How many training steps the weights that were tested have behind them."""
    epochs = trained.epochs if trained.best_epoch is None else trained.best_epoch
    return epochs * math.ceil(n_rows / config.training.batch_size)


def _asked(config: Config) -> dict[str, list[str]]:
    """What machine.json keeps of the command that asked for a run."""
    return {"overrides": [text for text in config.overrides if _is_about_training(text)]}


def _is_about_training(override: str) -> bool:
    """Whether an override belongs to the command that trains a run anywhere, not to this place."""
    return override.lstrip("+~").split("=")[0].split(".")[0] not in ("results", "tracking", "runtime", "hydra")


def kept_rows(split: Split, epochs: int, dataset: Dataset) -> dict[str, np.ndarray]:
    """What a run keeps of its rows, see `store.runs`: enough to redo it without this project."""
    parts = {part: getattr(split, part) for part in ("train", "validation", "test")}
    parts["order"] = np.stack([batch_order(split.seed, epoch, split.train) for epoch in range(1, epochs + 1)])
    numbers = {name: rows.astype(np.min_scalar_type(len(dataset.x))) for name, rows in parts.items()}
    names = ("mean", "scale", "fill") + (("target_mean", "target_scale") if dataset.task == "regression" else ())
    if dataset.source_rows is not None:
        numbers["source_rows"] = dataset.source_rows.astype(np.min_scalar_type(dataset.source_rows.max()))
    return numbers | {name: getattr(split, name) for name in names if getattr(split, name) is not None}


def _moment(moment: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {f"{moment}/{path}": array for path, array in arrays.items()}


def _weights(model: Any) -> dict[str, np.ndarray]:
    """All weights of a model in its order, by the paths that biases have everywhere else."""
    paths = variable_paths(model)
    names = [paths.get(id(v)) or v.path.removeprefix(f"{model.name}/") for v in model.weights]
    return {name: np.array(variable.value) for name, variable in zip(names, model.weights, strict=True)}


def initial_digest(model: Any) -> str:
    """Digest of everything that the model starts with except its biases: equal in all arms of one seed."""
    biases = {id(variable) for variable in bias_variables(model).values()}
    others = [v for v in model.variables if id(v) not in biases]
    return digest(b"".join(f"{v.dtype}{v.shape}".encode() + np.asarray(v.value).tobytes() for v in others))


def _meta(plan: Plan, seed: int, trained: Trained, kernel_digest: str, dataset: Dataset, device: str) -> dict[str, Any]:
    """The content of run.json."""
    own = plan.config.data.source in ("file", "images")  # what of the user's data stands where in x and y
    columns: dict[str, Any] = (
        {"data_columns": list(dataset.features), "data_classes": list(dataset.classes)} if own else {}
    )
    if remarks := own_biases(plan.config):
        columns["model_remarks"] = remarks
    return columns | {
        "key": plan.keys[seed][0],
        "recipe": plan.recipe.current,
        "numerics_version": NUMERICS_VERSION,
        "arm": plan.arm,
        "seed": seed,
        "status": "diverged" if trained.diverged else "complete",
        "metrics": {name: value if np.isfinite(value) else None for name, value in trained.final.items()},
        "initial_kernels_digest": kernel_digest,
        "data_digest": dataset.digest(),
        "data_remarks": list(dataset.remarks),
        "config": plan.settings,
        "environment": describe_environment(device, plan.portable),
    }

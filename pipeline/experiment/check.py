"""Check what only TensorFlow can tell: find, before anything is trained, what would make a job fail."""

import math
from collections.abc import Sequence
from typing import Any

from pipeline.biases.extraction import bias_variables
from pipeline.data.dataset import Dataset
from pipeline.data.sources import load_dataset
from pipeline.data.splits import Split, split_rows
from pipeline.errors import ConfigError
from pipeline.experiment.plan import Plan
from pipeline.models.build import build_model
from pipeline.runtime.device import free_disk, free_memory, start_tensorflow
from pipeline.training.loop import fit_batch_size
from pipeline.training.memory import memory_is_short
from pipeline.training.objectives import check_objective
from pipeline.training.optimizers import check_optimizer_values

MAX_KEPT_WEIGHTS = 1_000_000  # parameters up to which a run keeps its weights unasked: 8 MB, before and after
SEED_BYTES = 80 * 2**10  # of memory that a seed takes besides its weights and rows, as the models of conf/ do
RUN_BYTES = 16 * 2**10  # of disk that a run takes besides its arrays: four files, each of one block or more


def check_plans(plans: Sequence[Plan]) -> bool:
    """Load the data and build the model of every plan that has seeds to train. Raises ConfigError.

    Plans that differ only in their bias setting by name share one check. Returns whether some job may well be killed
    for memory, see `memory_is_short`.
    """
    checked, sizes, short = [], [], False
    total = 0
    for plan in plans:
        config, settings = plan.config, plan.settings
        subject = (settings["data"], settings["model"], settings["optimizer"], config.data.path, config.runtime,
                   config.training)  # fmt: skip
        if not plan.missing:
            continue
        if subject not in checked:
            checked.append(subject)
            is_short, bytes_per_run = _check_plan(plan)
            short |= is_short
            sizes.append(bytes_per_run)
        total += len(plan.missing) * sizes[checked.index(subject)]
        _check_room(plan, total, free_disk(plan.store.results), "on disk")
    return short


def _check_plan(plan: Plan) -> tuple[bool, int]:
    """Whether memory is short, and the bytes on disk of a run."""
    config = plan.config
    dataset = load_dataset(config.data)
    if dataset.n_test and config.data.test_fraction is not None:
        reason = f"but {config.data.name} has its own test rows"
        raise ConfigError("data.test_fraction", config.data.test_fraction, "null", reason=reason)
    check_objective(config.training, dataset.task, len(dataset.classes))
    start_tensorflow(config.runtime.device)
    check_optimizer_values(config.optimizer)
    model, dataset, split = first_model(plan)
    outputs, classes = model.output_shape[-1], len(dataset.classes)
    too_few = outputs < classes and (outputs, classes) != (1, 2)  # one sigmoid unit serves two classes
    if too_few or (dataset.task == "regression" and outputs != 1):
        target = f"has {classes} classes" if classes else "is a regression"
        raise ConfigError(
            f"model: {config.model.name} has {outputs} outputs, but {config.data.name} {target}; "
            "allowed: a last Dense layer without units, which then follow from the data"
        )
    weights = 4 * model.count_params()
    biases = sum(4 * math.prod(variable.shape) for variable in bias_variables(model).values())
    seed_bytes = SEED_BYTES + 2 * weights + 4 * len(dataset.x)
    _check_room(plan, len(plan.missing) * seed_bytes, free_memory(), "of memory")
    is_kept = config.show_weights or model.count_params() <= MAX_KEPT_WEIGHTS
    run_bytes = RUN_BYTES + biases * (config.training.epochs + 3) + 2 * weights * is_kept
    return memory_is_short(model, fit_batch_size(config.training, split)), run_bytes


def _check_room(plan: Plan, needed: int, free: int, where: str) -> None:
    """Refuse more seeds at once than there is room for."""
    if needed > free:
        reason = f"which take about {needed / 2**30:,.1f} GiB {where}, but {free / 2**30:,.1f} GiB are free"
        raise ConfigError("seeds", len(plan.config.seeds), "fewer; later seeds can follow", reason=reason)


def first_model(plan: Plan) -> tuple[Any, Dataset, Split]:
    """The initial model of a plan's first seed, the dataset, and the rows it trains on. Raises ConfigError."""
    start_tensorflow(plan.config.runtime.device)
    dataset = load_dataset(plan.config.data)
    split = split_rows(dataset, plan.config.data, plan.config.seeds[0])
    return build_seed_model(plan, dataset, split), dataset, split


def build_seed_model(plan: Plan, dataset: Dataset, split: Split) -> Any:
    """Build the Keras model of one seed with its initial weights. Raises ConfigError where Keras cannot."""
    labels = dataset.y[split.train]
    if dataset.task == "regression":
        labels = (labels - split.target_mean) / split.target_scale
    layers, shape = plan.settings["model"]["layers"], dataset.x.shape[1:]
    return build_model(layers, shape, dataset.task, len(dataset.classes), split.seed, labels)

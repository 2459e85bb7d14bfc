"""Check what only TensorFlow can tell: find, before anything is trained, what would make a job fail."""

from collections.abc import Sequence
from typing import Any

from pipeline.data.dataset import Dataset
from pipeline.data.sources import load_dataset
from pipeline.data.splits import Split, split_rows
from pipeline.errors import ConfigError
from pipeline.experiment.plan import Plan
from pipeline.models.build import build_model
from pipeline.runtime.device import start_tensorflow
from pipeline.training.loop import fit_batch_size
from pipeline.training.memory import memory_is_short
from pipeline.training.objectives import check_objective
from pipeline.training.optimizers import check_optimizer_values


def check_plans(plans: Sequence[Plan]) -> bool:
    """Load the data and build the model of every plan that has seeds to train. Raises ConfigError.

    Plans that differ only in their bias setting by name share one check. Returns whether some job may well be killed
    for memory, see `memory_is_short`.
    """
    checked, short = [], False
    for plan in plans:
        config, settings = plan.config, plan.settings
        subject = (settings["data"], settings["model"], settings["optimizer"], config.data.path, config.runtime,
                   config.training)  # fmt: skip
        if plan.missing and subject not in checked:
            checked.append(subject)
            short |= _check_plan(plan)
    return short


def _check_plan(plan: Plan) -> bool:
    config = plan.config
    dataset = load_dataset(config.data)
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
    return memory_is_short(model, fit_batch_size(config.training, split))


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

"""Find what would make a job fail, before anything is trained."""

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
from pipeline.training.memory import stacks_at_once
from pipeline.training.objectives import check_objective
from pipeline.training.optimizers import check_optimizer_values


def check_plans(plans: Sequence[Plan]) -> None:
    """Load the data and build the model of every plan that has seeds to train. Raises ConfigError."""
    seen = []
    for p in plans:
        parts = (p.settings["data"], p.settings["model"], p.settings["optimizer"], p.config.data.path,
                 p.config.runtime, p.config.training)  # fmt: skip
        if p.missing and parts not in seen:
            seen.append(parts)
            dataset = load_dataset(p.config.data)
            check_objective(p.config.training, dataset.task, len(dataset.classes))
            start_tensorflow(p.config.runtime.device)
            check_optimizer_values(p.config.optimizer)
            model, dataset, rows = first_model(p)
            outputs, classes = model.output_shape[-1], len(dataset.classes)
            if (outputs < classes and (outputs, classes) != (1, 2)) or (dataset.task == "regression" and outputs != 1):
                wanted = f"has {classes} classes" if classes else "is a regression"
                raise ConfigError(
                    f"model: {p.config.model.name} has {outputs} outputs, but {p.config.data.name} {wanted}; "
                    "allowed: a last Dense layer without units, which then follow from the data"
                )
            stacks_at_once(model, fit_batch_size(p.config.training, rows))  # refuses what does not fit


def first_model(p: Plan) -> tuple[Any, Dataset, Split]:
    """The model that an arm's first seed starts with, and what it trains on. Raises ConfigError."""
    start_tensorflow(p.config.runtime.device)
    dataset = load_dataset(p.config.data)
    rows = split_rows(dataset, p.config.data, p.config.seeds[0])
    return build_seed_model(p, dataset, rows), dataset, rows


def build_seed_model(p: Plan, dataset: Dataset, rows: Split) -> Any:
    """The model of one seed, with its initial weights."""
    shape, layers = dataset.x.shape[1:], p.settings["model"]["layers"]
    labels = dataset.y[rows.train]
    if dataset.task == "regression":
        labels = (labels - rows.target_mean) / rows.target_scale
    return build_model(layers, shape, dataset.task, len(dataset.classes), rows.seed, labels)

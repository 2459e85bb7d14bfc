"""What the process beside does for a comparison in Python: whatever needs TensorFlow, MLflow or the user's classes."""

import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle

from pipeline.analysis.arms import EPOCHS_TO
from pipeline.analysis.curves import INITIAL
from pipeline.config.metrics import RUN_LENGTHS, check_margin, metric_part
from pipeline.config.schema import Tracking
from pipeline.config.user_classes import UserClass, add_user_class
from pipeline.data.sources import load_dataset
from pipeline.errors import ConfigError, printable
from pipeline.experiment.ablation import ablate_studies
from pipeline.experiment.check import check_plans
from pipeline.experiment.plan import Plan
from pipeline.experiment.run import Progress, train_and_store
from pipeline.runtime.device import start_tensorflow
from pipeline.store.runs import RunStore
from pipeline.tracking.client import store_uri
from pipeline.training.objectives import metric_names

PROGRAM = "pipeline.api.compare_initializers"


def define(content: bytes, device: str, portable: bool, progress: Any) -> None:
    """Make the user's classes known in this process. content: see `classes.pickled`."""
    start_tensorflow(device, portable)
    import keras

    search_path, by_value = pickle.loads(content)
    sys.path += [folder for folder in search_path if folder not in sys.path]  # where modules of the user's may lie
    for name, group, digest, cls in cloudpickle.loads(by_value):
        package, _, short = name.rpartition(">")
        keras.saving.register_keras_serializable(package or "Custom", short)(cls)
        add_user_class(UserClass(name, group, cls, digest))


def check(plans: Sequence[Plan], metric: str, margin: float | None, progress: Any) -> list[str]:
    """Check what only TensorFlow can tell, and that the runs will have the metric, and the margin its unit; returns how
    the data were read, in sentences. Raises ConfigError."""
    check_metric(plans[0], metric)
    names = metric_names(plans[0].config.training, load_dataset(plans[0].config.data).task)
    check_margin("margin", margin, metric or f"test_{next(iter(names), 'loss')}")
    check_plans(plans)
    remarks = [printable(line) for plan in plans if plan.missing for line in load_dataset(plan.config.data).remarks]
    return list(dict.fromkeys(remarks))


def check_metric(plan: Plan, metric: str) -> None:
    """Raise ConfigError for a verdict's metric that no run of the plan will have."""
    training = plan.config.training
    of_others = metric == INITIAL or metric.startswith(EPOCHS_TO)
    if not metric or of_others or (training.stop and metric in RUN_LENGTHS):
        return
    names = [*metric_names(training, load_dataset(plan.config.data).task), "loss"]
    if metric_part(metric) not in names:
        raise ConfigError("metric", metric, f"{', '.join(names)}; others where metrics= names them")


def train(plan: Plan, seeds: Sequence[int], progress: Progress) -> None:
    """Train and store, for a report that then names no command line."""
    train_and_store(plan, seeds, progress, PROGRAM)


def ablate(plans: Sequence[Plan], progress: Any) -> list[str]:
    """Test the trained models with other biases; returns what could not be done."""
    return ablate_studies(plans)


def publish(tracking: Tracking, store: RunStore, folder: Path, is_kept: bool, progress: Any) -> list[str]:
    """Upload the report in a folder; returns the address of the verdict, or "", where it is, and what went wrong."""
    from pipeline.tracking.comparison import publish_comparison
    from pipeline.tracking.pages import verdict_link, verdict_page

    uri, other_means = store_uri(tracking), list[str]()
    problem = publish_comparison(tracking, store, folder, other_means, is_kept)
    if other_means:
        problem = f"mlflow: {', '.join(other_means)} has the mean of other runs there, and not this report"
    try:
        return [verdict_link(uri, store.study), verdict_page(uri, store.study), problem]
    except Exception:  # where MLflow has gone away since
        return ["", "", problem]


def send(tracking: Tracking, store: RunStore, arm: str, progress: Any) -> Sequence[Any]:
    """Upload an arm to MLflow; returns what became of it, a `tracking.runs.Sent`."""
    from pipeline.tracking.runs import Sent, rename_study, try_arm, up_to_date

    runs = store.runs(arm)
    if up_to_date(tracking, store, arm, runs):
        return Sent()
    sent = try_arm(tracking, store, arm, runs)
    return sent if sent.problem else sent._replace(problem=rename_study(tracking, store))

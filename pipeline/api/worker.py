"""What the process beside does for a comparison in Python: whatever needs TensorFlow, MLflow or the user's classes."""

import pickle
import sys
from collections.abc import Sequence
from typing import Any

import cloudpickle

from pipeline.config.schema import Tracking
from pipeline.config.user_classes import UserClass, add_user_class
from pipeline.data.sources import load_dataset
from pipeline.errors import printable
from pipeline.experiment.ablation import ablate_studies
from pipeline.experiment.check import check_plans
from pipeline.experiment.plan import Plan
from pipeline.runtime.device import start_tensorflow
from pipeline.store.runs import RunStore


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


def check(plans: Sequence[Plan], progress: Any) -> list[str]:
    """Check what only TensorFlow can tell; returns how the data were read, in sentences. Raises ConfigError."""
    check_plans(plans)
    remarks = [printable(line) for plan in plans if plan.missing for line in load_dataset(plan.config.data).remarks]
    return list(dict.fromkeys(remarks))


def ablate(plans: Sequence[Plan], progress: Any) -> list[str]:
    """Test the trained models with other biases; returns what could not be done."""
    return ablate_studies(plans)


def send(tracking: Tracking, store: RunStore, arm: str, progress: Any) -> str:
    """Upload an arm to MLflow; returns the problem, or ""."""
    from pipeline.tracking.runs import mirror_arm

    return mirror_arm(tracking, store, arm, store.runs(arm))

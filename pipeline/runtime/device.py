"""The machine: which device trains, what makes it deterministic, what must be recorded with a result."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psutil

from pipeline.errors import ConfigError


@cache
def start_tensorflow(device: str) -> str:
    """Import TensorFlow and settle it on a device; the device's name, e.g. `CPU` or `NVIDIA H200`.

    `device` is auto, cpu or gpu. Operations are made deterministic. Raises ConfigError for `gpu` without one.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _hidden("matplotlib.pyplot"):  # Keras takes two seconds to import it, for pictures that nobody draws here
        import keras
        import tensorflow as tf
    gc.collect()
    gc.freeze()  # a million objects that are here to stay: looking through them again took a quarter of all tracing

    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise ConfigError("runtime: gpu given, but TensorFlow sees no GPU here; allowed: auto, cpu")
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif gpus:
        for gpu in gpus:  # otherwise TensorFlow takes all of the GPU's memory at once
            tf.config.experimental.set_memory_growth(gpu, True)
    keras.utils.set_random_seed(0)  # deterministic operations refuse to run without; every draw here is seeded anyway
    tf.config.experimental.enable_op_determinism()
    if device == "cpu" or not gpus:
        return "CPU"
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Let an optional module seem not to be installed, unless it has been imported already."""
    hide = module not in sys.modules
    if hide:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hide:
            del sys.modules[module]


def n_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Bytes of the machine's memory that this process may still take."""
    return psutil.virtual_memory().available

"""The device that trains, made deterministic, and the cores, memory and disk of the machine."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

from pipeline.errors import ConfigError
from pipeline.installation import install_text
from pipeline.runtime.logs import tell_once
from pipeline.runtime.portable import set_portable

DEVICES = Path("/dev")

_portable: list[bool] = []  # whether TensorFlow, once started, computes portable numbers in this process


def start_tensorflow(device: str, portable: bool | None = None) -> str:
    """Import TensorFlow, with deterministic operations, for one device of this process.

    device: auto, cpu or gpu. portable: `runtime.portable`, which the first call decides for the process; None where it
    does not matter. Portable numbers are those of a CPU. Returns the device's name, e.g. `CPU` or `NVIDIA H200`. Raises
    ConfigError for `gpu` where TensorFlow sees none, and where the process was started the other way.
    """
    if not _portable:
        if portable and "tensorflow" in sys.modules:
            raise ConfigError("runtime.portable", "true", "false", reason="but something imported TensorFlow before")
        if portable:
            set_portable()
        _portable.append(bool(portable))
    if portable is not None and portable != _portable[0]:
        allowed = f"{str(_portable[0]).lower()}, or a command of its own"
        reason = "but TensorFlow has started the other way in this process"
        raise ConfigError("runtime.portable", str(portable).lower(), allowed, reason=reason)
    return _start("cpu" if portable else device)


@cache
def _start(device: str) -> str:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras would import the one for plots that are not used here, which takes two seconds, and TensorFlow the other for
    # conversions, which takes more than half a second of the processor.
    with _hidden("matplotlib.pyplot", "jax"):
        import keras
        import tensorflow as tf
    gc.collect()
    gc.freeze()  # the million objects that TensorFlow keeps: collecting garbage among them took a quarter of tracing

    gpus = tf.config.list_physical_devices("GPU")
    if device == "auto" and not gpus and visible_gpus():
        tell_once(
            "training on the CPU: TensorFlow sees no GPU here; "
            f"{install_text('gpu', 'tensorflow[and-cuda]')} installs what it needs for one"
        )
    if device == "gpu" and not gpus:
        raise ConfigError("runtime", "gpu", "auto, cpu", reason="but TensorFlow sees no GPU here")
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif gpus:
        for gpu in gpus:  # by default TensorFlow takes all of a GPU's memory at once
            tf.config.experimental.set_memory_growth(gpu, True)
    keras.utils.set_random_seed(0)  # required by deterministic operations; every draw has its own seed anyway
    tf.config.experimental.enable_op_determinism()
    if device == "cpu" or not gpus:
        return "CPU"
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs of the machine that the user has not hidden, as `CUDA_VISIBLE_DEVICES` names them."""
    there = sorted(path.name.removeprefix("nvidia") for path in DEVICES.glob("nvidia[0-9]*"))
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None or not there:
        return there
    return [name.strip() for name in shown.split(",") if name.strip() not in ("", "-1")]


@contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    """Within the context, optional modules that are not imported yet seem not to be installed."""
    hidden = [module for module in modules if module not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for module in hidden:
            del sys.modules[module]


def n_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """The machine's available memory in bytes."""
    return psutil.virtual_memory().available


def free_disk(folder: Path) -> int:
    """The free bytes of the disk that a folder, which need not exist yet, will be on."""
    return psutil.disk_usage(str(next(path for path in (folder, *folder.parents) if path.exists()))).free

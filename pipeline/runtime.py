"""The machine: which device trains, what makes it deterministic, what must be recorded with a result."""

import gc
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from pipeline.errors import ConfigError

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")
# The instruction sets that numerical libraries choose their code by: two machines that agree here compute alike.
INSTRUCTION_SETS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")


def digest(content: Any) -> str:
    """SHA-256 (hex, 16 digits) of bytes, or of anything JSON can hold."""
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def derive_seed(*parts: int | str) -> int:
    """A seed (0 to 2^31 - 1) of its own for every role, e.g. `derive_seed(3, "dense_1", "kernel_initializer")`.

    Roles get independent seeds, so that what one of them draws cannot shift what another one draws.
    """
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1


@cache
def start(device: str) -> str:
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


def environment(device: str) -> dict[str, Any]:
    """What a result depends on besides its config: versions, device, instruction sets, threads. No clock, no path."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "device": device,
        "platform": f"{platform.system()} {platform.machine()}",
        "instruction_sets": _instruction_sets(),
        "threads": n_cores(),
    }


def _instruction_sets() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    words = set(next((line for line in lines if line.lower().startswith(("flags", "features"))), "").split())
    return [name for name in INSTRUCTION_SETS if name in words]


@contextmanager
def noise_to(path: Path) -> Iterator[None]:
    """Send what is written to standard error, by native code too, to the end of a file."""
    sys.stderr.flush()
    screen = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(screen, 2)
        os.close(screen)

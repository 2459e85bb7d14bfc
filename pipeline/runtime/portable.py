"""`runtime.portable`: the same numbers on every x86-64 processor with AVX2.

Numerical libraries choose their code by the processor, and codes that add in another order differ in the last bits.
Each entry below was found by comparing an Intel processor with AVX-512 with an AMD processor without it:

- XLA's `max_isa` decides how wide its vectors are, and so the order of its sums.
- XLA's `platform_dependent_math` takes approximations that processors of one maker have.
- oneDNN computes the matrix products of TensorFlow and of XLA. `ONEDNN_MAX_CPU_ISA` limits its code, whichever of the
  two calls it; TensorFlow's own use of it, `TF_ENABLE_ONEDNN_OPTS`, depends on more than that.
- The number of threads decides how large matrix products and convolutions are cut: there is one per operation. Stacks
  of seeds still train side by side, each in the thread that calls it. XLA would hand much of their work to that one
  thread and so train them one after the other (1.3 instead of 0.9 ms per run and epoch, digits, MLP, 40 seeds), unless
  its scheduler orders operations for little memory: without `concurrency_optimized_scheduler`, which changes no number.

What still depends on the processor then is refused, see `training/portability.py`.

All of them must be set before TensorFlow is imported, and hold for the process.
"""

import os
import platform
from pathlib import Path

from pipeline.errors import ConfigError

XLA_FLAGS = (
    "--xla_cpu_max_isa=AVX2",
    "--xla_cpu_enable_platform_dependent_math=false",
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
)
VARIABLES = {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_ENABLE_ONEDNN_OPTS": "0", "TF_NUM_INTRAOP_THREADS": "1"}
CPUINFO = Path("/proc/cpuinfo")


def set_portable() -> None:
    """Set what makes the numbers of TensorFlow portable, in the environment of this process."""
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag not in XLA_FLAGS]
    os.environ["XLA_FLAGS"] = " ".join([*flags, *XLA_FLAGS])  # of two that set the same, XLA takes the last
    os.environ.update(VARIABLES)


def is_portable(setting: bool | str, device: str) -> bool:
    """Whether numbers are to be portable: `runtime.portable`, with `auto` resolved for this machine.

    Raises ConfigError where they are to be and cannot.
    """
    if setting is True and not can_be_portable():
        raise ConfigError("runtime.portable", "true", "auto, false", reason="but this is no x86-64 processor with AVX2")
    return can_be_portable() and device != "gpu" if setting == "auto" else bool(setting)


def can_be_portable() -> bool:
    """Whether this processor is one that portable numbers hold for: x86-64 with AVX2."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    features = processor_features()
    return not features or "avx2" in features


def processor_features() -> set[str]:
    """What Linux says that this processor can; nothing on other systems."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.lower().startswith(("flags", "features"))), "").split())

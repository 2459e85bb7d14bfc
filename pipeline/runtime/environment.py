"""The environment that is recorded with a result: versions, device, instruction sets, threads."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.runtime.device import n_cores

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")
# Numerical libraries choose their code by these: two machines that agree here compute the same bits.
INSTRUCTION_SETS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that decide numbers, by name."""
    return {name: version(name) for name in PACKAGES}


def describe_environment(device: str) -> dict[str, Any]:
    """Describe what a result depends on besides its settings; free of the clock and of paths.

    device: the device that trained, e.g. `CPU`.
    """
    return {
        "python": platform.python_version(),
        "packages": package_versions(),
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

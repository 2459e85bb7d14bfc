"""What is recorded with a result: versions and device, and apart from them the machine."""

import platform
from importlib.metadata import version
from typing import Any

from pipeline.runtime.device import n_cores
from pipeline.runtime.portable import processor_features

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")
# Numerical libraries choose their code by these: two machines that agree here compute the same bits.
INSTRUCTION_SETS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that decide numbers, by name."""
    return {name: version(name) for name in PACKAGES}


def describe_environment(device: str, portable: bool = False) -> dict[str, Any]:
    """Describe what decides a run's numbers besides its settings: versions, the device, whether they are portable.

    device: the device that trained, e.g. `CPU`. portable: see `runtime.portable`.
    """
    return {"packages": package_versions(), "device": device} | ({"portable": True} if portable else {})


def describe_machine() -> dict[str, Any]:
    """Describe the machine; free of the clock and of paths. It is kept apart from the run, as it decides no more than
    the last bits of its numbers, and none of a portable run's.
    """
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in processor_features()],
        "threads": n_cores(),
    }

"""What is recorded with a result, as it decides its numbers: versions and device. See `machine` for the rest."""

from functools import cache
from importlib.metadata import version
from typing import Any

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")
_version = cache(version)  # which reads files, for milliseconds, for every job and run


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that decide numbers, by name."""
    return {name: _version(name) for name in PACKAGES}


def describe_environment(device: str, portable: bool = False) -> dict[str, Any]:
    """Describe what decides a run's numbers besides its settings: versions, the device, whether they are portable.

    device: the device that trained, e.g. `CPU`. portable: see `runtime.portable`.
    """
    return {"packages": package_versions(), "device": device} | ({"portable": True} if portable else {})

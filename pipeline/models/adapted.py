"""Layers of Keras whose state `adapt` sets: an architecture does not hold it, only their arguments."""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import ConfigError

STATE = {"Normalization": ("mean", "variance"), "Discretization": ("bin_boundaries",)}


def check_state(class_name: str, config: Mapping[str, Any], key: str) -> None:
    """Raise ConfigError for such a layer without its state as arguments: it would do nothing, or something else."""
    needed = STATE.get(class_name, ())
    if any(config.get(name) in (None, []) for name in needed):
        others = ", or no such layer, since data.standardize does this" if class_name == "Normalization" else ""
        allowed = f"{class_name}({', '.join(f'{name}=...' for name in needed)}){others}"
        given = f"{class_name} without {' and '.join(needed)}"
        raise ConfigError(f"{key}: {given}, and what adapt() found is not part of an architecture; allowed: {allowed}")

"""Evenly spaced subsets, for what is drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """At most `most` of the places 0 to count - 1, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def thin_out(values: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the values, evenly, the first and the last among them."""
    return [values[i] for i in evenly_spaced(len(values), most)]

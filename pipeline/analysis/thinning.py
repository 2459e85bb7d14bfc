"""Choose evenly spaced values where there are too many to draw."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """At most `most` of the indices 0 to count - 1, evenly spaced, both ends included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def thin_out(values: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the values, evenly spaced, both ends included."""
    return [values[i] for i in evenly_spaced(len(values), most)]

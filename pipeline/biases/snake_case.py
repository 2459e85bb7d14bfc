"""Default names of layers, after their classes. Imports nothing that takes a while."""

import re
from functools import cache


@cache
def snake_case(name: str) -> str:
    """Convert a class name to snake case by the rules of keras/src/utils/naming.py."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def older_snake_case(name: str) -> str:
    """Convert a class name to snake case by the rules of Keras 2, by which ConvLSTM2D is `conv_lst_m2d`."""
    name = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()

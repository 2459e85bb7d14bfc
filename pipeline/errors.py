"""A request that cannot be carried out is refused in one line: the key, what was given, what is allowed."""

import math
from difflib import get_close_matches
from typing import Any


class ConfigError(ValueError):
    """A request that cannot be carried out; the message is one line for the person who made it."""


def require(condition: Any, key: str, given: Any, allowed: str) -> None:
    """Raise ConfigError with that line unless the condition holds."""
    if not condition:
        raise ConfigError(f"{key}: {'null' if given is None else given} given; allowed: {allowed}")


def closest(word: str, known: list[str]) -> str:
    """The nearest valid words, or all of them when none is near."""
    near = get_close_matches(word, known, n=3, cutoff=0.5)
    return f"nearest: {', '.join(near)}" if near else f"allowed: {', '.join(known) or 'none'}"


def is_number(value: Any) -> bool:
    """Whether it is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

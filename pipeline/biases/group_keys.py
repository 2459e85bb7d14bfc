"""Match the layers of a list with the groups of a weights file that are named by class and count.

Keras stores a layer in the list that holds it first; a list that holds it later has no group for it. Keras 2.12, 2.13
and 3 count such a layer (`dense`, then `dense_2`), tf_keras does not (`dense`, then `dense_1`), and no file says which.
"""

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import combinations

MOST_READINGS = 1000  # that are compared for one class in one list


@dataclass(frozen=True)
class Listed:
    """A layer of a list.

    names: of its class in a weights file, the name in each style. steps: how often the list holds it. may_be_elsewhere:
    whether a layer like it came before. has_variables: False if it surely has none, so that its group may be missing.
    """

    names: tuple[str, ...]
    steps: int
    may_be_elsewhere: bool
    has_variables: bool

    @property
    def is_optional(self) -> bool:
        """Whether the list may lack a group for it."""
        return self.may_be_elsewhere or not self.has_variables


def match_keys(layers: Sequence[Listed], keys: Set[str]) -> tuple[dict[int, str], set[int]]:
    """The group's name by the index of the layer, and the indices of the layers that the names do not tell apart.

    keys: the names of all groups of the list. A layer in neither is stored elsewhere, or missing.
    """
    found: dict[int, str] = {}
    ambiguous: set[int] = set()
    for names in dict.fromkeys(layer.names for layer in layers):
        indices = [index for index, layer in enumerate(layers) if layer.names == names]
        members = [layers[index] for index in indices]
        own = {key for key in keys if any(_count(key, name) is not None for name in names)}
        elsewhere = sum(member.may_be_elsewhere for member in members)
        readings = [] if _n_readings(elsewhere, len(members) - len(own)) > MOST_READINGS else [
            *_with_all_counted(members, own), *_with_stored_counted(members, own)
        ]  # fmt: skip
        for position, index in enumerate(indices):
            claims = {reading.get(position, "") for reading in readings}
            if len(claims) == 1 and (key := claims.pop()):
                found[index] = key
            elif len(claims) > 1 or (not readings and len(own) >= len(members) - elsewhere):
                ambiguous.add(index)
    return found, ambiguous


def _n_readings(elsewhere: int, missing: int) -> int:
    return math.comb(elsewhere, missing) if 0 <= missing <= elsewhere else 0


def _count(key: str, name: str) -> int | None:
    """The count that a group's name adds to the name of a class; None for another class."""
    if key == name:
        return 0
    number = key.removeprefix(f"{name}_")
    is_count = number != key and number.isdecimal() and number.isascii() and not number.startswith("0")
    return int(number) if is_count and len(number) < 9 else None


def _key(names: Sequence[str], count: int, keys: Set[str]) -> str:
    """The group's name with a count in the style that the file has; empty if it has none."""
    named = (f"{name}_{count}" if count else name for name in names)
    return next((key for key in named if key in keys), "")


def _with_all_counted(layers: Sequence[Listed], keys: Set[str]) -> Iterator[dict[int, str]]:
    """Yield the reading in which every layer counts, also one stored elsewhere, if it explains all groups."""
    reading, count = {}, 0
    for position, layer in enumerate(layers):
        if key := _key(layer.names, count, keys):
            reading[position] = key
        elif not layer.is_optional:
            return
        count += layer.steps
    if set(reading.values()) == keys:
        yield reading


def _with_stored_counted(layers: Sequence[Listed], keys: Set[str]) -> Iterator[dict[int, str]]:
    """Yield the readings in which only the layers count that this list stores, each of which explains all groups."""
    in_order = [_key(layers[0].names, count, keys) for count in range(len(keys))]
    if not all(in_order):
        return
    may_be_elsewhere = [position for position, layer in enumerate(layers) if layer.may_be_elsewhere]
    n_elsewhere = len(layers) - len(keys)
    if not 0 <= n_elsewhere <= len(may_be_elsewhere):
        return
    for elsewhere in combinations(may_be_elsewhere, n_elsewhere):
        stored = [position for position in range(len(layers)) if position not in elsewhere]
        yield dict(zip(stored, in_order, strict=True))

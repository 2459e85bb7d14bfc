"""Identity of a run: a key that is equal exactly when two trainings must give the same numbers.

The key is a digest of the settings that decide numbers, the data, the packages' versions, `NUMERICS_VERSION` and the
seed. Settings left at the schema's default are not part of it, so a new setting retires no stored result; nor do the
Python version, the wording of messages, or where a module lies.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from pipeline.config.schema import Data, Optimizer, Training
from pipeline.runtime.hashing import NUMERICS_VERSION, digest

# Results stored before NUMERICS_VERSION existed carry a digest of the source text instead, which Python 3.11 spells
# differently from 3.12 and 3.13. The last such code gave the numbers of version 1, so its runs are still found.
SOURCE_DIGESTS = ("52479a4d389e57f3", "3c346a52f07fd6ef")
SOURCE_DIGEST_FIELDS = {
    "data": ("source", "target", "task", "test_fraction", "validation_fraction", "standardize", "standardize_target",
             "file"),
    "optimizer": ("class_name", "learning_rate", "config", "schedule"),
    "training": ("epochs", "batch_size", "loss", "metrics", "class_weight", "xla"),
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """All that decides the numbers of an arm's runs, the seed excepted.

    current: its digest. older: digests by which earlier versions of this project knew the same recipe.
    """

    current: str
    older: tuple[str, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """The current digest, then the older ones."""
        return (self.current, *self.older)

    def keys(self, seed: int) -> tuple[str, ...]:
        """The keys under which a run of this seed may be stored; a new run gets the first."""
        return tuple(digest([recipe, seed]) for recipe in self.digests)


def identify(
    layers: list[dict[str, Any]],
    data: Mapping[str, Any],
    optimizer: Optimizer,
    training: Training,
    packages: Mapping[str, str],
) -> Recipe:
    """Identify what decides the numbers of a run.

    layers: the completed model. data: see `data.identity`. packages: name -> version.
    """
    groups = {"data": data, "optimizer": asdict(optimizer), "training": asdict(training)}
    del groups["training"]["seeds_at_once"]  # how many seeds share the memory changes no number
    decisive = {
        "layers": layers,
        "data": _without_defaults(groups["data"], Data),
        "optimizer": _without_defaults(groups["optimizer"], Optimizer),
        "training": _without_defaults(groups["training"], Training),
        "packages": dict(packages),
        "numerics": NUMERICS_VERSION,
    }
    older = []
    if NUMERICS_VERSION == 1:
        known = [
            {k: groups[name][k] for k in names if k in groups[name]} for name, names in SOURCE_DIGEST_FIELDS.items()
        ]
        older = [digest([layers, *known, dict(packages), source]) for source in SOURCE_DIGESTS]
    return Recipe(digest(decisive), tuple(older))


def _without_defaults(settings: Mapping[str, Any], group: type) -> dict[str, Any]:
    """The settings whose value is not the schema's default."""
    with_default = {f.name: f.default for f in fields(group) if f.default is not MISSING}
    with_default |= {f.name: f.default_factory() for f in fields(group) if f.default_factory is not MISSING}
    return {k: v for k, v in settings.items() if k not in with_default or with_default[k] != v}

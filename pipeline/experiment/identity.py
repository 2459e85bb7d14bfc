"""Identity of a run: a key that is equal exactly when two trainings must give the same numbers.

The key is a digest of the settings that decide numbers, the data, the packages' versions, `NUMERICS_VERSION` and the
seed. Settings at their neutral value are not part of it, so that a new setting retires no stored result; nor do the
Python version, the wording of messages, or where a module lies.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.schema import Optimizer, Training
from pipeline.models.spec import walk_layers
from pipeline.runtime.hashing import NUMERICS_VERSION, digest

# Values that leave a setting out of the key. They stay as they are when a default changes; a setting that is added
# later gets the value here that stands for what was done without it, so that it retires no stored result.
NEUTRAL: dict[str, dict[str, Any]] = {
    "data": {"target": None, "task": None, "test_fraction": 0.2, "validation_fraction": 0.2, "standardize": True,
             "standardize_target": True, "features": None, "drop": None, "categories": None, "separator": None,
             "decimal": None, "encoding": None, "header": None, "missing_texts": None, "missing": "refuse",
             "image_size": None, "split": "random", "split_by": None, "reader": 1},
    "optimizer": {"config": {}, "schedule": None},
    "training": {"loss": "auto", "metrics": "auto", "class_weight": None, "xla": "auto", "stop": None},
}  # fmt: skip

PORTABLE = {"runtime": {"portable": True}}  # what the key of a portable run has besides

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

    current: its digest. others: digests of recipes whose runs are as good: the same as earlier versions of this
    project knew it, and the one that asks for portable numbers as well.
    """

    current: str
    others: tuple[str, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """The current digest, then the others."""
        return (self.current, *self.others)

    def keys(self, seed: int) -> tuple[str, ...]:
        """The keys under which a run of this seed may be stored; a new run gets the first."""
        return tuple(digest([recipe, seed]) for recipe in self.digests)


class SeedKeys(Mapping[int, tuple[str, ...]]):
    """The keys of some seeds, `Recipe.keys` by seed, each computed when it is looked up: there may be a million."""

    def __init__(self, recipe: Recipe, seeds: Iterable[int]) -> None:
        self._recipe, self._seeds = recipe, dict.fromkeys(seeds)

    def __getitem__(self, seed: int) -> tuple[str, ...]:
        if seed not in self._seeds:
            raise KeyError(seed)
        return self._recipe.keys(seed)

    def fits(self, seed: int, key: str) -> bool:
        """Whether a run with this key is one of this seed; computes no more keys than that takes."""
        return seed in self._seeds and any(digest([recipe, seed]) == key for recipe in self._recipe.digests)

    def __contains__(self, seed: object) -> bool:
        return seed in self._seeds

    def __iter__(self) -> Iterator[int]:
        return iter(self._seeds)

    def __len__(self) -> int:
        return len(self._seeds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SeedKeys) and (self._recipe, self._seeds) == (other._recipe, other._seeds)


def identify(
    layers: list[dict[str, Any]],
    data: Mapping[str, Any],
    optimizer: Optimizer,
    training: Training,
    packages: Mapping[str, str],
    portable: bool = False,
    code: Iterable[str] = (),
) -> Recipe:
    """Identify what decides the numbers of a run.

    layers: the completed model. data: see `data.identity`. packages: name -> version. portable: see
    `runtime.portable`; it is part of the key, and who does not ask for it takes portable runs too. code: digests of the
    user's own code that the run depends on.
    """
    groups = {"data": data, "optimizer": asdict(optimizer), "training": asdict(training)}
    del groups["training"]["seeds_at_once"]  # how many seeds share the memory changes no number
    decisive = {
        "layers": layers,
        **{name: _without_neutral(settings, NEUTRAL[name]) for name, settings in groups.items()},
        "packages": dict(packages),
        "numerics": NUMERICS_VERSION,
    }
    if on_logits := _is_softmax_of_single_seeds(layers):
        decisive["loss_of"] = "logits"
    if zeroes_backwards := _zeroes_backwards(layers):
        decisive["zeroed_steps"] = "of the mask"
    if computed := _computed_otherwise(layers, training.xla):
        decisive["computed"] = computed
    if digests := sorted(code):
        decisive["code"] = digests
    if portable:
        return Recipe(digest(decisive | PORTABLE), ())
    others = []
    if NUMERICS_VERSION == 1 and not (digests or on_logits or zeroes_backwards or computed):
        known = [
            {k: groups[name][k] for k in names if k in groups[name]} for name, names in SOURCE_DIGEST_FIELDS.items()
        ]
        others = [digest([layers, *known, dict(packages), source]) for source in SOURCE_DIGESTS]
    return Recipe(digest(decisive), (*others, digest(decisive | PORTABLE)))


def _computed_otherwise(layers: list[dict[str, Any]], xla: bool | str) -> list[str]:
    """What gives other last bits than in earlier versions: products of the inputs of recurrent layers, under XLA, taken
    once for all steps, and convolutions that may train outside of a stack (`training.memory.trains_alone`).

    A layer of the user's own, `mine>Reader`, may hold either. Layers that turn out to be too small, or to have too many
    steps, are named too: that is known only of a built model.
    """
    names = {layer["class_name"] for layer, _ in walk_layers(layers)}
    is_own = any(">" in name for name in names)
    ways = {
        "recurrence": xla is not False and (is_own or bool(names & {"LSTM", "GRU", "SimpleRNN", "RNN"})),
        "convolutions": xla is not True and (is_own or any("Conv" in name for name in names)),
    }
    return [way for way, applies in ways.items() if applies]


def _zeroes_backwards(layers: list[dict[str, Any]]) -> bool:
    """Whether a layer goes backwards over masked steps and zeroes their outputs.

    Earlier versions zeroed those of other steps where XLA compiled the program (`training.cache`).
    """
    described = [(layer["class_name"], layer["config"]) for layer, _ in walk_layers(layers)]
    is_masked = any(name == "Masking" or config.get("mask_zero") for name, config in described)
    directions = [config.get("layer", {}).get("config", {}) for name, config in described if name == "Bidirectional"]
    own = [config for _, config in described if config.get("go_backwards") and config.get("zero_output_for_mask")]
    return is_masked and bool(own or any(config.get("return_sequences") for config in directions))


def _is_softmax_of_single_seeds(layers: list[dict[str, Any]]) -> bool:
    """Whether a model whose seeds cannot be stacked ends in a Softmax layer.

    Earlier versions took its loss from the outputs, clipped to 1e-7, and not from the logits as `model.fit` does.
    """
    names = [layer["class_name"] for layer, _ in walk_layers(layers)]
    return names[-1] == "Softmax" and any(name.startswith("ConvLSTM") for name in names)


def _without_neutral(settings: Mapping[str, Any], neutral: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in neutral or neutral[name] != value}

"""`tune` of a comparison in Python: the values at which every arm is trained, to compare each at its best."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from pipeline.api.objects import plain
from pipeline.config.schema import Config
from pipeline.config.tuning import ALLOWED, Values, is_number, read_tune
from pipeline.config.tuning_sweep import ordered
from pipeline.errors import ConfigError, kind_of
from pipeline.stats.tuning import FEWEST_SEEDS


def read_argument(tune: Any, keys: Mapping[str, str]) -> dict[str, Values]:
    """The tuned keys of the settings with their values, none where the default ones are asked for.

    tune: a name, names, or a mapping of names to lists. keys: argument -> key of the settings. Raises ConfigError.
    """
    if isinstance(tune, str):
        tune = [name.strip() for name in tune.split(",")]
    if not isinstance(tune, (Mapping, list, tuple)):
        raise ConfigError("tune", tune if is_number(tune) else kind_of(tune), ALLOWED)
    named = [keys.get(str(name), str(name)) for name in tune]
    if len(set(named)) < len(named):
        raise ConfigError("tune", ", ".join(map(str, tune)), ALLOWED, reason="one of them twice")
    if not isinstance(tune, Mapping):
        return read_tune(dict.fromkeys(named))
    return read_tune(dict(zip(named, map(_listed, tune.values()), strict=True)))


def _listed(values: Any) -> Any:
    """Values as a list, those of NumPy as numbers of Python; what is none stays as it is, to be refused."""
    if isinstance(values, (str, Mapping, set)) or not hasattr(values, "__len__"):
        return "none" if values is None else values
    return plain([one.item() if hasattr(one, "item") else one for one in values])


def tuned_trees(shared: dict[str, Any], tune: Mapping[str, Values]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The settings that all arms share, once for each point of the grid, with the overrides that a command would have.

    The shared point comes first. shared: as nested dicts, without `tune`. Raises ConfigError.
    """
    if not tune:
        yield shared, []
        return
    grid = {key: ordered(key, values, [_value(shared, key)]) for key, values in tune.items()}
    listed = ",".join(f"{key}:[{','.join(map(str, values))}]" for key, values in grid.items())
    points: list[dict[str, float]] = [{}]
    for key, values in grid.items():
        points = [point | {key: value} for point in points for value in values]
    for point in points:
        tree: dict[str, Any] = deepcopy(shared) | {"tune": {key: list(values) for key, values in grid.items()}}
        for key, value in point.items():
            *groups, name = key.split(".")
            place: dict[str, Any] = tree
            for group in groups:
                place = place[group]
            place[name] = value
        yield tree, [*(f"{key}={value}" for key, value in point.items()), f"tune={{{listed}}}"]


def _value(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def check_seeds(config: Config) -> None:
    """Raise ConfigError for fewer seeds than can choose and judge."""
    if config.tune is not None and config.until is None and len(config.seeds) < FEWEST_SEEDS:
        line = f"seeds: {len(config.seeds)} given with tune, where half of them choose a value and half judge it"
        raise ConfigError(f"{line}; allowed: {FEWEST_SEEDS} or more")

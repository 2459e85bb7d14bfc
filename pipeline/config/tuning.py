"""`tune=`: which settings each arm is tuned by, and the values that are tried.

`tune=optimizer.learning_rate` tries five values, half a decade apart, around the configured one;
`tune={optimizer.learning_rate:[0.0003,0.001,0.003]}` these; two keys are a grid. `tuning_sweep` makes a sweep of it.
"""

import math
from collections.abc import Mapping
from typing import Any, get_args

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from pipeline.config.schema import Config, key_types
from pipeline.errors import ConfigError

MOST_KEYS = 2
STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # decades from the configured value
GROUPS = ("optimizer", "training")  # whose numbers can be tuned
ALLOWED = "one or two numbers of optimizer or training, such as tune=optimizer.learning_rate"
REFUSED = {  # group -> why its numbers cannot be tuned
    "model": "but layers are a list, whose numbers are no keys, and other sizes start from other kernels; a sweep "
    "takes several models",
    "data": "but its numbers decide which rows train, choose and test",
}

Values = tuple[float, ...]


def read_tune(given: Any) -> dict[str, Values]:
    """The tuned keys with their values in ascending order, none where the default ones are asked for.

    given: what `tune` holds, or a text of it; several keys are `a,b`, `[a,b]` or named lists. Raises ConfigError.
    """
    if isinstance(given, str):
        try:
            override = OverridesParser.create().parse_override(f"tune={given}")
        except HydraException as error:
            raise ConfigError("tune", given, ALLOWED) from error
        given = list(override.sweep_string_iterator()) if override.is_sweep_override() else override.value()
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, (Mapping, list, tuple, type(None))):
        raise ConfigError("tune", given, ALLOWED)
    named: dict[Any, Any] = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given or ())
    if not 1 <= len(named) <= MOST_KEYS:
        raise ConfigError("tune", ", ".join(map(str, named)), ALLOWED, reason=f"{len(named)} keys")
    return {str(key): _checked(str(key), values) for key, values in named.items()}


def _checked(key: str, values: Any) -> Values:
    """The values of a key, as given. Raises ConfigError for a key or values that cannot be tuned."""
    hint, is_argument = key_types().get(key), ".config." in key or key.startswith("training.stop.")
    holds_number = {int, float} & {hint, *get_args(hint)}
    if key.partition(".")[0] not in GROUPS or not (holds_number or is_argument):
        raise ConfigError("tune", key, ALLOWED, reason=REFUSED.get(key.partition(".")[0], ""))
    if values is None:
        return ()
    allowed = f"two or more different numbers, tune={{{key}:[0.001,0.01]}}"
    listed = list(values) if isinstance(values, (list, tuple)) else [values]
    whole = hint is int
    fit = all(is_number(value) and (isinstance(value, int) or not whole) for value in listed)
    if not fit or len(set(listed)) != len(listed) or len(listed) < 2:
        if whole:
            allowed = f"two or more different whole numbers, tune={{{key}:[10,20]}}"
        raise ConfigError(f"tune of {key}", values, allowed)
    return tuple(listed)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that is not true or false."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def wider(key: str, values: Values, upwards: bool) -> Values:
    """The values, ascending, and one more half a decade beyond one end, as far as that is a value."""
    end = values[-1] if upwards else values[0]
    within = end * 10 ** (-0.5 if upwards else 0.5)
    half = [value for value in values if within > 0 and abs(math.log10(max(value, 1e-300) / within)) < 0.05]
    beyond = float(f"{(half[0] if half else within) * (10 if upwards else 0.1):.0e}")  # 0.001, 0.003: 0.01, not 0.009
    if all(isinstance(value, int) for value in values) and key_types().get(key) is int:
        beyond = int(beyond)
    return tuple(sorted({*values, *([beyond] if beyond > 0 else [])}))


def around(key: str, configured: Any) -> Values:
    """Five values half a decade apart around the configured one, the others in one digit: 0.0001, 0.0003, 0.001, ..."""
    if not is_number(configured) or configured <= 0:
        line = f"tune: {key} is {configured}, around which there are no values half a decade apart; "
        raise ConfigError(f"{line}allowed: a list, tune={{{key}:[0.001,0.01]}}")
    rounded = [configured if not step else float(f"{configured * 10**step:.0e}") for step in STEPS]
    if isinstance(configured, int):
        rounded = [int(value) for value in rounded if value >= 1]
    return tuple(dict.fromkeys(rounded))


def check_tune(config: Config) -> dict[str, list[float]] | None:
    """The `tune` of a job, of which its sweep was made. Raises ConfigError for one that is no such."""
    if config.tune is None:
        return None
    tuned = read_tune(config.tune)
    given = {override.partition("=")[0].lstrip("+") for override in config.overrides}
    if not all(tuned.values()) or not {"tune", *tuned} <= given:
        raise ConfigError("tune: given in a file of settings; allowed: on the command line, with -m")
    if config.until is not None and len(config.design.looks) < 2:
        line = f"design.looks: {list(config.design.looks)} given with tune, where the first look chooses the values"
        raise ConfigError(f"{line}; allowed: two looks or more, which judge them with further seeds")
    return {key: list(values) for key, values in tuned.items()}

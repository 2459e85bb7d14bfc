"""The setting `training.stop`: its form, its defaults and the direction of what it monitors."""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.config.metrics import higher_is_better
from pipeline.errors import ConfigError, closest, is_number, require

DEFAULTS = {"patience": 0, "monitor": "val_loss", "min_delta": 0, "mode": "auto", "start_from_epoch": 0}  # Keras' own
MODES = ("auto", "min", "max")
FORM = "null, or {patience: 5} with monitor, min_delta, mode and start_from_epoch as Keras' EarlyStopping has them"


def complete_stop(stop: Any) -> dict[str, Any] | None:
    """The setting with Keras' defaults for what it does not name, in one order. Raises ConfigError."""
    if stop is None:
        return None
    require(isinstance(stop, Mapping) and "patience" in stop, "training.stop", stop, FORM)
    for name in stop:
        if name not in DEFAULTS:
            known = "the best weights are always restored" if name == "restore_best_weights" else ""
            raise ConfigError(f"training.stop.{name}: no such argument; {known or closest(str(name), list(DEFAULTS))}")
    complete = DEFAULTS | dict(stop)
    for name in ("patience", "start_from_epoch"):
        value = complete[name]
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        require(whole, f"training.stop.{name}", value, "a whole number of epochs from 0 up")
    delta = complete["min_delta"]
    fits = is_number(delta) and 0 <= delta < math.inf
    require(fits, "training.stop.min_delta", delta, "a number from 0 up")
    require(isinstance(complete["monitor"], str), "training.stop.monitor", complete["monitor"], "a name like val_loss")
    require(complete["mode"] in MODES, "training.stop.mode", complete["mode"], ", ".join(MODES))
    return complete


def check_monitor(stop: Mapping[str, Any] | None, names: tuple[str, ...]) -> None:
    """Raise ConfigError if the setting monitors what is not recorded. names: the metrics."""
    if stop is None:
        return
    recorded = [f"{part}{name}" for part in ("val_", "") for name in ("loss", *names)]
    monitor = monitored_name(stop)
    if monitor not in recorded:
        allowed = f"{', '.join(recorded)}; others where training.metrics names them"
        raise ConfigError("training.stop.monitor", monitor, allowed)


def monitored_name(stop: Mapping[str, Any]) -> str:
    """The name of what is monitored."""
    return str(stop.get("monitor", DEFAULTS["monitor"]))


def monitors_up(stop: Mapping[str, Any]) -> bool:
    """Whether more of what is monitored is better: by its mode, or for `auto` by the table of metrics."""
    mode = stop.get("mode", DEFAULTS["mode"])
    return mode == "max" if mode != "auto" else higher_is_better(monitored_name(stop))

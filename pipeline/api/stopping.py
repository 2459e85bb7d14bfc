"""Early stopping as Keras' users ask for it: its callback, as `stop` or in `callbacks`."""

from typing import Any

from pipeline.config.stopping import DEFAULTS
from pipeline.errors import ConfigError, kind_of

CLASS = "EarlyStopping"


def with_callbacks(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, where `callbacks` is an EarlyStopping, as `stop`. Raises ConfigError for other callbacks."""
    given = settings.get("callbacks")
    if not given:
        return {name: value for name, value in settings.items() if name != "callbacks"}
    callbacks = list(given) if isinstance(given, (list, tuple)) else [given]
    for callback in callbacks:
        if not is_early_stopping(callback):
            raise ConfigError("callbacks", kind_of(callback), f"one keras.callbacks.{CLASS}, or stop=")
    if len(callbacks) > 1 or settings.get("stop") is not None:
        raise ConfigError(f"callbacks: several ways to stop given; allowed: one {CLASS}, or stop=")
    return {name: value for name, value in settings.items() if name != "callbacks"} | {"stop": callbacks[0]}


def is_early_stopping(value: Any) -> bool:
    """Whether a value is Keras' own callback."""
    return type(value).__name__ == CLASS and type(value).__module__.partition(".")[0] in ("keras", "tf_keras")


def stop_settings(value: Any) -> Any:
    """`training.stop` of a callback or of a mapping. Raises ConfigError for what would stop otherwise here."""
    if not is_early_stopping(value):
        return value
    if not value.restore_best_weights:
        allowed = "restore_best_weights=True, since each seed is tested with its best weights"
        raise ConfigError("stop", f"{CLASS}(restore_best_weights=False)", allowed)
    if value.baseline is not None:
        raise ConfigError("stop", f"{CLASS}(baseline={value.baseline})", f"{CLASS} without a baseline")
    settings = {name: getattr(value, name) for name in DEFAULTS}
    return settings | {"min_delta": abs(settings["min_delta"])}

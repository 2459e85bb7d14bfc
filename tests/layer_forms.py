"""A layer of (class, arguments) as an object of Keras and as a command line writes it."""

from typing import Any


def live(value: Any) -> Any:
    """A live layer of (class, arguments), also within lists; other values as they are."""
    import keras

    if isinstance(value, list):
        return [live(v) for v in value]
    if not isinstance(value, tuple):
        return value
    return getattr(keras.layers, value[0])(**{k: live(v) for k, v in value[1].items()})


def spelled(value: Any) -> str:
    """The same as a command line writes it."""
    if isinstance(value, list):
        return f"[{','.join(map(spelled, value))}]"
    if isinstance(value, tuple):
        return f"{{class_name: {value[0]}, config: {spelled(value[1])}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {spelled(v)}' for k, v in value.items())}}}"
    return f"'{value}'" if isinstance(value, str) else str(value).lower()

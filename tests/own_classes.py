"""Classes as a user of Keras writes them: a loss, a metric, and an initializer that draws what a bias cannot be."""

from typing import Any

import keras


class Squares(keras.losses.Loss):
    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.factor * keras.ops.mean((y_true - y_pred) ** 2, -1)


class Within(keras.metrics.MeanMetricWrapper):
    higher_is_better = True

    def __init__(self, width: float = 1.0, **more: Any) -> None:
        super().__init__(lambda y, z: keras.ops.cast(keras.ops.abs(y - z) < width, "float32"), **more)
        self.width = width

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "width": self.width}


class Wrong(keras.initializers.Initializer):
    def __init__(self, value: float = float("nan"), more: int = 0) -> None:
        self.value, self.more = value, more

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.full([shape[0] + self.more, *shape[1:]], self.value, dtype=dtype)

"""Refuse `runtime.portable` for a training whose numbers the processor decides, whatever libraries are told.

Two causes are left where `runtime.portable` has set what can be set, found by running single operations on an emulated
processor of another maker:

- The instructions for approximate reciprocals (`rsqrtps`, `rcpps`) give other bits on processors of other makers.
  TensorFlow and XLA refine them, which does not make the bits equal: normalization layers, RMSprop, GELU, softmax.
- Matrix products and convolutions are cut to fit the caches when their inner dimension is large.

So what is known to be portable is listed here, and everything else is refused.
"""

from typing import Any

from pipeline.biases.introspection import flatten_layers
from pipeline.config.schema import Optimizer, Training
from pipeline.errors import ConfigError

LAYERS = ("InputLayer", "Dense", "Flatten", "Reshape", "Dropout", "Activation", "ReLU")
ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid", "elu", "softplus")
OPTIMIZERS = ("SGD", "Adam")
# The largest inner dimension. From 1024 on (512 for a transposed product) bits differed between first-level caches of
# 32 and 48 KiB, up to 256 they did not, and 32 KiB hold the block of 288 that the library then takes.
MOST = 256


def check_portable(model: Any, optimizer: Optimizer, training: Training, setting: bool | str = True) -> None:
    """Raise ConfigError where the numbers of this training are not known to be portable.

    setting: `runtime.portable` as it was given.
    """
    if problem := _problem(model, optimizer, training):
        raise ConfigError("runtime.portable", str(setting).lower(), "false", reason=f"but {problem}")


def _problem(model: Any, optimizer: Optimizer, training: Training) -> str:
    """What is not known to be portable, as a phrase; "" if nothing."""
    layers = [layer for layer in flatten_layers(model) if layer is not model]
    for layer in layers:
        class_name = type(layer).__name__
        if class_name not in LAYERS:
            return f"a {class_name} layer gives other numbers on other processors"
        name = getattr(getattr(layer, "activation", None), "__name__", "linear")
        if name not in ACTIVATIONS and not (name == "softmax" and layer is layers[-1]):
            return f"{name} of {layer.name} gives other numbers on other processors"
        if any(getattr(layer, f"{variable}_constraint", None) is not None for variable in ("kernel", "bias")):
            return f"the constraint of {layer.name} gives other numbers on other processors"
        if any(max(variable.shape, default=1) > MOST for variable in layer.weights):
            return f"{layer.name} has more than {MOST} inputs or units, whose sums follow the processor's caches"
    if training.batch_size > MOST:
        return f"the sums over more than {MOST} rows of a batch follow the processor's caches"
    if training.xla is False:
        return "without XLA (training.xla=false) numbers differ on other processors"
    known = {
        f"optimizer {' or '.join(OPTIMIZERS)}": optimizer.class_name in OPTIMIZERS,
        "optimizer.schedule=null": optimizer.schedule is None,
        "optimizer.config without clipping": not any("clip" in key for key in optimizer.config),
        "training.loss=auto": training.loss == "auto",
        "training.metrics=auto": training.metrics == "auto",
    }
    unknown = [words for words, holds in known.items() if not holds]
    return f"only {unknown[0]} is known to give the same numbers on other processors" if unknown else ""

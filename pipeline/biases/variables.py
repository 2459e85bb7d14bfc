"""What each variable of each Keras layer is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple


class Weight(NamedTuple):
    """A variable of a layer: its attribute, its kind ("" for no bias), the setting without which it is not there.

    state: whether it is kept and not trained.
    """

    attribute: str
    kind: str = ""
    needs: str = ""
    state: bool = False


def _weights(*names: str) -> tuple[Weight, ...]:
    return tuple(Weight(name) for name in names)


def _state(*names: str, needs: str = "") -> tuple[Weight, ...]:
    return tuple(Weight(name, "", needs, state=True) for name in names)


_BIAS = Weight("bias", "bias", "use_bias")
_KERNEL = (*_weights("kernel"), _BIAS)
_CELL = (*_weights("kernel", "recurrent_kernel"), _BIAS)
_SCALE_AND_CENTER = (Weight("gamma", "", "scale"), Weight("beta", "beta", "center"))
# By Keras class, in the order in which the layer makes them; those of LoRA and of quantization come after.
WEIGHTS: dict[str, tuple[Weight, ...]] = {
    "Dense": _KERNEL,
    "EinsumDense": (*_weights("kernel"), Weight("bias", "bias", "bias_axes")),
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _KERNEL),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _KERNEL),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), (*_weights("depthwise_kernel", "pointwise_kernel"), _BIAS)),
    **dict.fromkeys(("SimpleRNNCell", "LSTMCell", "GRUCell", "ConvLSTMCell"), _CELL),
    "BatchNormalization": (
        *_SCALE_AND_CENTER,
        *_state("moving_mean", "moving_variance"),
        *_state("moving_stddev", "renorm_mean", "renorm_stddev", needs="renorm"),
    ),
    "LayerNormalization": _SCALE_AND_CENTER,
    "GroupNormalization": _SCALE_AND_CENTER,
    "RMSNormalization": _weights("scale"),
    "SpectralNormalization": (*_weights("kernel"), *_state("vector_u")),  # the kernel is the wrapped layer's
    "PReLU": _weights("alpha"),
    "Embedding": _weights("embeddings"),
    "ReversibleEmbedding": _weights("embeddings", "reverse_embeddings"),
    "Attention": _weights("scale", "concat_score_weight"),
    "AdditiveAttention": _weights("scale"),
    "Normalization": _state("mean", "variance", "count"),
    "STFTSpectrogram": _weights("real_kernel", "imag_kernel"),
}
ADDED = (
    "lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b", "kernel_scale", "embeddings_scale",
    "inputs_scale", "inputs_amax_history", "kernel_amax_history", "outputs_grad_scale", "outputs_grad_amax_history",
)  # fmt: skip
GATES = {"LSTMCell": "ifco", "ConvLSTMCell": "ifco", "GRUCell": "zrh"}
# What the layers within an attention layer are for, in the order in which it makes them.
ROLES = {f"{role}_dense": role for role in ("query", "key", "gate", "value", "output")}


@dataclass(frozen=True)
class Bias:
    """A bias of a model, or what stands for one: kind is `bias`, `beta`, `absent` or `unknown`.

    path: stable and readable, e.g. `encoder/conv/bias`. gates: one letter per part of the last axis, e.g. `ifco`.
    trainable: None where a file does not say it. values: a Keras variable or an array; None when absent.
    owner: the Keras layer that holds it, if it is a live one.
    """

    path: str
    layer: str
    layer_type: str
    kind: str
    role: str = ""
    gates: str = ""
    trainable: bool | None = None
    initializer: str = ""
    values: Any = None
    owner: Any = field(default=None, repr=False, compare=False)


def unique_paths(vectors: Iterable[Bias]) -> list[Bias]:
    """The same vectors; where layers share a name, later paths are told apart as `dense/bias (2)`."""
    seen: Counter[str] = Counter()
    told_apart = []
    for vector in vectors:
        seen[vector.path] += 1
        count = seen[vector.path]
        told_apart.append(vector if count == 1 else replace(vector, path=f"{vector.path} ({count})"))
    return told_apart


def initializer_name(class_name: str, config: dict[str, Any]) -> str:
    """`Zeros`, `Constant(value=0.1)`: an initializer in words, without its seed."""
    given = ", ".join(f"{k}={v}" for k, v in config.items() if k != "seed" and v is not None)
    return class_name + (f"({given})" if given else "")


def has_gates(gates: str, shape: Sequence[int]) -> bool:
    """Whether a bias of this shape has a part for each gate, in one row, or in two (input and recurrent)."""
    return bool(gates) and len(shape) > 0 and shape[-1] % len(gates) == 0 and tuple(shape[:-1]) in ((), (2,))

"""The project's definition of a bias: what each variable of each Keras layer is.

`WEIGHTS` lists the variables of every layer class of Keras. `Bias` is the record that all readers of biases return,
whether they read a live model or a file.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple


class Weight(NamedTuple):
    """A variable that a Keras layer creates.

    attribute: the attribute of the layer that holds it. kind: `bias`, `beta`, or empty for a variable that is no bias.
    needs: the constructor argument that must be set for the layer to create it. state: whether gradients never change
    it (moving averages, counters).
    """

    attribute: str
    kind: str = ""
    needs: str = ""
    state: bool = False


def _weights(*attributes: str) -> tuple[Weight, ...]:
    return tuple(Weight(attribute) for attribute in attributes)


def _state(*attributes: str, needs: str = "") -> tuple[Weight, ...]:
    return tuple(Weight(attribute, "", needs, state=True) for attribute in attributes)


_BIAS = Weight("bias", "bias", "use_bias")
_KERNEL = (*_weights("kernel"), _BIAS)
_CELL = (*_weights("kernel", "recurrent_kernel"), _BIAS)
_SCALE_AND_CENTER = (Weight("gamma", "", "scale"), Weight("beta", "beta", "center"))
# By Keras class, in the order in which the layer creates them. LoRA and quantization add those of ADDED_WEIGHTS later.
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
ADDED_WEIGHTS = (
    "lora_kernel_a", "lora_kernel_b", "lora_embeddings_a", "lora_embeddings_b", "kernel_scale", "embeddings_scale",
    "inputs_scale", "inputs_amax_history", "kernel_amax_history", "outputs_grad_scale", "outputs_grad_amax_history",
)  # fmt: skip
# One letter per gate, in the order of the last axis of the bias: input, forget, cell, output; update, reset, candidate.
GATES = {"LSTMCell": "ifco", "ConvLSTMCell": "ifco", "GRUCell": "zrh"}
# Attribute of an attention layer that holds a projection -> role of its bias, in the order in which they are created.
ROLES = {f"{role}_dense": role for role in ("query", "key", "gate", "value", "output")}


@dataclass(frozen=True)
class Bias:
    """A bias of a model, or an entry for a bias that a layer lacks or for a variable that may be one.

    path: stable and readable name, e.g. `encoder/conv/bias`.
    layer, layer_type: path and class of the layer, e.g. `encoder/conv` and `Conv2D`.
    kind: `bias` (set by `bias_initializer`), `beta` (offset of a normalization), `absent` (the layer was built without
        its bias), or `unknown` (a variable that may be one: of a layer that Keras does not ship, or that a file does
        not tell apart). Before biases are selected, also empty: a variable that is known to be no bias.
    role: which projection of an attention layer it belongs to, e.g. `query`; for other layers empty.
    gates: one letter per part of the last axis, e.g. `ifco`; empty for a bias without gates. Letters that occur twice
        are of the inputs, then recurrent.
    trainable: whether training may change it; None where a file does not say.
    initializer: e.g. `Constant(value=0.1)`; empty where unknown.
    values: the Keras variable of a live model, or an array; None for an absent bias.
    owner: the Keras layer of a live model that holds it.
    source: the dataset of a file that holds it.
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
    source: str = field(default="", repr=False, compare=False)


def join_path(*parts: str) -> str:
    """Join the parts of a path by `/`, leaving out empty ones."""
    return "/".join(part for part in parts if part)


def unique_paths(biases: Iterable[Bias]) -> list[Bias]:
    """Number paths that occur more than once: `dense/bias`, `dense/bias (2)`, ..."""
    counts: Counter[str] = Counter()
    unique = []
    for bias in biases:
        counts[bias.path] += 1
        count = counts[bias.path]
        unique.append(bias if count == 1 else replace(bias, path=f"{bias.path} ({count})"))
    return unique


def initializer_name(class_name: str, config: dict[str, Any]) -> str:
    """Name an initializer and its arguments except the seed: `Zeros`, `Constant(value=0.1)`."""
    arguments = ", ".join(f"{k}={v}" for k, v in config.items() if k != "seed" and v is not None)
    return class_name + (f"({arguments})" if arguments else "")


def has_gates(gates: str, shape: Sequence[int]) -> bool:
    """Whether a bias of this shape can be split into these gates.

    Its last axis must have equal parts for them; before it there may be an axis of 2 (input and recurrent bias).
    """
    return bool(gates) and len(shape) > 0 and shape[-1] % len(gates) == 0 and tuple(shape[:-1]) in ((), (2,))

"""The layers of Keras 1, Keras 2 and tf_keras that Keras 3 lacks or names otherwise, and what they call variables.

Sources: keras/layers of Keras 1.2.2 and 2.2.4, tf_keras/src/layers of tf_keras 2.21.
"""

import re

from pipeline.biases.variables import GATES, WEIGHTS, Weight

_KERNEL, _BIAS = Weight("kernel"), Weight("bias", "bias", "use_bias")
_GATED = (_KERNEL, Weight("recurrent_kernel"), Weight("bias", "bias"))  # cuDNN's layers always have a bias
OLDER_WEIGHTS: dict[str, tuple[Weight, ...]] = {
    **dict.fromkeys(("LocallyConnected1D", "LocallyConnected2D", "MaxoutDense"), (_KERNEL, _BIAS)),
    **dict.fromkeys(("CuDNNLSTM", "CuDNNGRU"), _GATED),
    "Highway": (_KERNEL, Weight("kernel_carry"), _BIAS, Weight("bias_carry", "bias", "use_bias")),
    "SReLU": tuple(Weight(name) for name in ("t_left", "a_left", "t_right", "a_right")),
    "ParametricSoftplus": (Weight("alpha"), Weight("betas")),  # a slope, no offset
}
ALL_WEIGHTS = WEIGHTS | OLDER_WEIGHTS  # by the class that `current_class` gives
# cuDNN's layers store the bias of the inputs for all gates, then the recurrent one, in one axis.
ALL_GATES = GATES | {"CuDNNLSTM": "ifcoifco", "CuDNNGRU": "zrhzrh"}
# The order of the variables that hold one gate each.
GATE_ORDER_OF_KERAS_1 = {"LSTMCell": "icfo", "ConvLSTMCell": "icfo", "GRUCell": "zrh"}
_NAMED_OTHERWISE = {
    **{f"Convolution{d}D": f"Conv{d}D" for d in (1, 2, 3)}, "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D", "Deconvolution2D": "Conv2DTranspose", "Deconvolution3D": "Conv3DTranspose",
    "SeparableConvolution1D": "SeparableConv1D", "SeparableConvolution2D": "SeparableConv2D",
    **dict.fromkeys(("BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization"), "BatchNormalization"),
    "ConvLSTM2DCell": "ConvLSTMCell", "TimeDistributedDense": "Dense",
}  # fmt: skip
OLDER_CLASSES = (*OLDER_WEIGHTS, *_NAMED_OTHERWISE)
# What Keras 1 calls a variable, behind its layer's name and an underscore: the attribute of later versions.
_ATTRIBUTES_OF_KERAS_1 = {"W": "kernel", "U": "recurrent_kernel", "b": "bias", "running_mean": "moving_mean",
                          "running_std": "moving_variance", "alphas": "alpha"}  # fmt: skip
_KEPT_BY_KERAS_1 = ("gamma", "beta", "betas", "depthwise_kernel", "pointwise_kernel",
                    *(weight.attribute for weight in OLDER_WEIGHTS["SReLU"]))  # fmt: skip
_OTHERS_OF_KERAS_1 = "|".join((*_ATTRIBUTES_OF_KERAS_1, *_KEPT_BY_KERAS_1))
# Behind them, TensorFlow numbers a name that occurs twice in a session.
_NAME_OF_KERAS_1 = re.compile(rf"(.+)_((?:W|U|b)(?:_[a-z]+)?|{_OTHERS_OF_KERAS_1})(?:_\d+)?")
# Later versions put a slash before the attribute.
_LATER_ATTRIBUTES = {weight.attribute for weights in ALL_WEIGHTS.values() for weight in weights}
_NAME_OF_LATER_VERSIONS = re.compile(rf".+/({'|'.join(sorted(_LATER_ATTRIBUTES))})(?:_\d+)?")
# The attribute of Keras 3 -> what the file of an earlier version calls the variable, by class.
_CALLED_OTHERWISE = {
    "DepthwiseConv1D": {"kernel": "depthwise_kernel"},
    "DepthwiseConv2D": {"kernel": "depthwise_kernel"},
    "Embedding": {"embeddings": "kernel"},  # by Keras 1
    "SpectralNormalization": {"vector_u": "sn_u"},
}


def current_class(name: str) -> str:
    """The name that Keras 3 has for a class of an earlier Keras; a name that it still has, or never had, stays."""
    return _NAMED_OTHERWISE.get(name, name)


def is_called(class_name: str, attribute: str, listed: str) -> bool:
    """Whether a variable that a file lists by this name can be this attribute of the class.

    TensorFlow 1 numbers a name that it has given before: `kernel_1`.
    """
    names = (attribute, _CALLED_OTHERWISE.get(class_name, {}).get(attribute, attribute))
    return listed in names or re.sub(r"_\d+$", "", listed) in names


def weights_by_gate(class_name: str) -> list[Weight]:
    """The variables of a recurrent layer of Keras 1, each of which holds one gate."""
    cell = (("kernel", ""), ("recurrent_kernel", ""), ("bias", "bias"))
    return [Weight(f"{name}_{gate}", kind) for gate in GATE_ORDER_OF_KERAS_1[class_name] for name, kind in cell]


def gates_of(class_name: str, attribute: str) -> str:
    """The gates of a bias: one letter per part of its last axis, or the one gate that a bias of Keras 1 is of."""
    gates = ALL_GATES.get(class_name, "")
    gate = attribute.removeprefix("bias_")
    return gates if attribute == "bias" else gate if len(gate) == 1 and gate in gates else ""


def split_name(path: str, by_keras_1: bool) -> tuple[str, str]:
    """Split the listed name of a variable into the scope, which has the layer's name, and the attribute.

    `lstm/lstm_cell/bias:0` -> `lstm/lstm_cell` and `bias`; of Keras 1, `lstm_1_b_i:0` -> `lstm_1` and `bias_i`.
    """
    name = re.sub(r":\d+$", "", path)
    parts = _NAME_OF_KERAS_1.fullmatch(name) if by_keras_1 else None
    if parts is None:
        scope, _, attribute = name.rpartition("/")
        return scope, attribute
    stem, _, gate = parts[2].partition("_")
    if stem in ("W", "U", "b"):
        return parts[1], _ATTRIBUTES_OF_KERAS_1[stem] + (f"_{gate}" if gate else "")
    return parts[1], _ATTRIBUTES_OF_KERAS_1.get(parts[2], parts[2])


def is_keras_1(version: str, listed: list[str]) -> bool:
    """Whether Keras 1 wrote a file: by the version that it has, else by how it names its variables.

    A layer of another library may name its own otherwise.
    """
    if version:
        return version.split(".")[0] in ("0", "1")
    names = [re.sub(r":\d+$", "", name) for name in listed]
    return any(map(_NAME_OF_KERAS_1.fullmatch, names)) and not any(map(_NAME_OF_LATER_VERSIONS.fullmatch, names))

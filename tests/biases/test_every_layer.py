"""Every variable of every Keras layer is listed as a bias or as none.

A new version of Keras with another layer, or another variable in a known one, fails here.
"""

import pytest

from pipeline.biases.extraction import find_biases
from pipeline.biases.introspection import (
    attribute_names,
    direct_state_variables,
    direct_trainable_variables,
    flatten_layers,
)
from pipeline.biases.variables import WEIGHTS
from pipeline.runtime.device import start_tensorflow


@pytest.fixture(scope="module")
def keras():
    start_tensorflow("cpu")
    import keras

    return keras


# What is no layer, is there to be subclassed, or has the variables of what it is given: a function, a saved model.
NOT_BUILT = {"FlaxLayer", "Input", "InputSpec", "JaxLayer", "Layer", "TFSMLayer", "TorchModuleWrapper", "Wrapper"}
# How the others are made and what they read, where not by their name alone from (batch, 8, 8, 3).
IMAGE, STEPS, ROWS, WORDS = (8, 8, 3), (6, 4), (5,), (4,)
MADE = {
    "ActivityRegularization": ({}, ROWS), "Activation": ({"activation": "relu"}, ROWS),
    **{f"Adaptive{kind}Pooling{d}D": ({"output_size": 2}, (6,) * d + (3,)) for kind in ("Average", "Max")
       for d in (1, 2, 3)},
    "Attention": ({"use_scale": True, "score_mode": "concat"}, [STEPS, STEPS]),
    "AdditiveAttention": ({}, [STEPS, STEPS]),
    **dict.fromkeys(("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"),
                    ({}, [ROWS, ROWS])),
    "Dot": ({"axes": 1}, [ROWS, ROWS]),
    "Dense": ({"units": 2}, ROWS),
    "EinsumDense": ({"equation": "ab,bc->ac", "output_shape": 2, "bias_axes": "c"}, ROWS),
    "Embedding": ({"input_dim": 5, "output_dim": 2}, WORDS),
    "ReversibleEmbedding": ({"input_dim": 5, "output_dim": 2, "tie_weights": False}, WORDS),
    **{f"{kind}{d}D": ({"filters": 2, "kernel_size": 2}, (6,) * d + (3,))
       for kind in ("Conv", "Convolution", "SeparableConv", "SeparableConvolution") for d in (1, 2, 3)},
    **{f"{kind}{d}DTranspose": ({"filters": 2, "kernel_size": 2}, (6,) * d + (3,))
       for kind in ("Conv", "Convolution") for d in (1, 2, 3)},
    **{f"DepthwiseConv{d}D": ({"kernel_size": 2}, (6,) * d + (3,)) for d in (1, 2)},
    **{f"ConvLSTM{d}D": ({"filters": 2, "kernel_size": 2}, (3, *(4,) * d, 2)) for d in (1, 2, 3)},
    **{f"{kind}{d}D": ({}, (6,) * d + (3,)) for d in (1, 2, 3)
       for kind in ("MaxPool", "MaxPooling", "GlobalAveragePooling", "GlobalAvgPool",
                    "GlobalMaxPool", "GlobalMaxPooling", "Cropping", "UpSampling", "ZeroPadding", "SpatialDropout")},
    **{f"{kind}{d}D": ({"pool_size": 2}, (6,) * d + (3,)) for d in (1, 2, 3) for kind in ("AveragePooling", "AvgPool")},
    **{f"SpatialDropout{d}D": ({"rate": 0.5}, (6,) * d + (3,)) for d in (1, 2, 3)},
    **dict.fromkeys(("Dropout", "GaussianDropout", "AlphaDropout"), ({"rate": 0.5}, ROWS)),
    "GaussianNoise": ({"stddev": 0.5}, ROWS),
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), ({"units": 2}, STEPS)),
    "GroupNormalization": ({"groups": 3}, IMAGE),
    "BatchNormalization": ({"renorm": True}, ROWS),
    "MultiHeadAttention": ({"num_heads": 2, "key_dim": 2}, "self"),
    "GroupQueryAttention": ({"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2, "use_gate": True}, "self"),
    "Permute": ({"dims": (2, 1)}, STEPS), "RepeatVector": ({"n": 2}, ROWS),
    "Reshape": ({"target_shape": (5, 1)}, ROWS),
    "InputLayer": ({"shape": (3,)}, None),
    "Rescaling": ({"scale": 2.0}, ROWS), "Normalization": ({}, ROWS),
    "Discretization": ({"bin_boundaries": [0.0]}, ROWS),
    "CategoryEncoding": ({"num_tokens": 4}, WORDS), "Hashing": ({"num_bins": 4}, WORDS),
    "HashedCrossing": ({"num_bins": 4}, None), "TextVectorization": ({}, None), "StringLookup": ({}, None),
    "IntegerLookup": ({"vocabulary": [1, 2]}, None),
    "MelSpectrogram": ({"sequence_length": 16, "fft_length": 16, "num_mel_bins": 2}, (64,)),
    "STFTSpectrogram": ({"frame_length": 8, "frame_step": 4, "fft_length": 8, "trainable": True}, (64, 1)),
    "Masking": ({}, STEPS), "Lambda": ({"function": lambda x: x}, ROWS), "Flatten": ({}, ROWS),
    "PReLU": ({}, ROWS), "MaxNumBoundingBoxes": ({"max_number": 2}, None),
    "CenterCrop": ({"height": 4, "width": 4}, IMAGE), "RandomCrop": ({"height": 4, "width": 4}, IMAGE),
    "Resizing": ({"height": 4, "width": 4}, IMAGE),
    **dict.fromkeys(("RandomBrightness", "RandomContrast", "RandomHue", "RandomRotation", "RandomSharpness",
                     "RandomSaturation", "RandomColorDegeneration"), ({"factor": 0.5}, IMAGE)),
    "RandomTranslation": ({"height_factor": 0.1, "width_factor": 0.1}, IMAGE),
    "RandomZoom": ({"height_factor": 0.1}, IMAGE), "RandomPosterization": ({"factor": 4}, IMAGE),
    "CutMix": ({}, None), "MixUp": ({}, None),
    "LSTMCell": ({"units": 2}, "cell"), "GRUCell": ({"units": 2}, "cell"), "SimpleRNNCell": ({"units": 2}, "cell"),
}  # fmt: skip


def _wrapping(L) -> dict:
    return {
        "Bidirectional": (lambda: L.Bidirectional(L.GRU(2)), STEPS),
        "TimeDistributed": (lambda: L.TimeDistributed(L.Dense(2)), STEPS),
        "SpectralNormalization": (lambda: L.SpectralNormalization(L.Dense(2)), ROWS),
        "RNN": (lambda: L.RNN(L.LSTMCell(2)), STEPS),
        "StackedRNNCells": (lambda: L.StackedRNNCells([L.GRUCell(2), L.LSTMCell(2)]), "cell"),
        "Pipeline": (lambda: L.Pipeline([L.Dense(2)]), ROWS),
    }


def _classes() -> list[str]:
    from keras import layers

    return sorted(name for name in dir(layers) if isinstance(getattr(layers, name), type) and name not in NOT_BUILT)


def _built(keras, name: str):
    """A layer of this class with all the variables that it can have."""
    settings, shape = MADE.get(name, ({}, IMAGE))
    make, shape = _wrapping(keras.layers).get(name, (lambda: getattr(keras.layers, name)(**settings), shape))
    layer = make()
    if shape == "cell":
        layer.build((None, 3))
    elif shape == "self":
        at = keras.Input(STEPS)
        layer(at, at)
    elif isinstance(shape, list):
        layer([keras.Input(one) for one in shape])
    elif shape is not None:
        layer(keras.Input(shape))
    return layer


# The attributes of trainable variables that are no biases, as Keras' own sources have them.
NO_BIAS = {"kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel", "gamma", "scale", "alpha",
           "embeddings", "reverse_embeddings", "concat_score_weight", "real_kernel", "imag_kernel"}  # fmt: skip


def test_every_variable_of_every_keras_layer_is_known(keras):
    """Each variable of each Keras layer is listed as a bias or as none."""
    with_variables, biased = set(), set()
    for name in _classes():
        layer = _built(keras, name)
        found = find_biases(layer) if layer.trainable_variables else []
        assert not [vector.path for vector in found if vector.kind == "unknown"], name
        is_bias = {id(vector.values) for vector in found}
        for own in flatten_layers(layer):
            attributes, trained = attribute_names(own), direct_trainable_variables(own)
            state = direct_state_variables(own)
            for variable in trained:
                attribute = attributes[id(variable)]
                assert attribute in NO_BIAS | {"bias", "beta"}, f"{name}.{attribute}"
                assert (id(variable) in is_bias) == (attribute in ("bias", "beta")), f"{name}.{attribute}"
            if trained or state:
                with_variables.add(type(own).__name__)
                assert len(WEIGHTS[type(own).__name__]) == len(trained) + len(state), name
            if any(attribute in ("bias", "beta") for attribute in attributes.values()):
                biased.add(type(own).__name__)
    assert with_variables | {"ConvLSTMCell"} == set(WEIGHTS)
    assert biased == {name for name, table in WEIGHTS.items() if any(weight.kind for weight in table)}

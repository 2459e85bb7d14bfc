"""Every public layer of Keras in a live model is the layer that YAML makes: the same weights, outputs and sweeps."""

from pathlib import Path

import numpy as np
import pytest
from factories import change_config, compose_config, made_meta, settings
from layer_forms import live, spelled

from pipeline.analysis.arms import Arm
from pipeline.biases.extraction import find_biases
from pipeline.config.keras_signatures import class_names
from pipeline.models.build import build_model
from pipeline.models.live import architecture_of_model
from pipeline.models.spec import CODE_BEARING, REFUSED, complete_layers
from pipeline.store.runs import Run

IMAGE, STEPS, CUBE, FLAT = (8, 8, 1), (8, 8), (4, 4, 4, 1), (64,)
CONV, CELL = {"filters": 2, "kernel_size": 2}, {"units": 2}
# Class -> (shape of a row, arguments). Those that are missing take FLAT and none.
CASES = {
    "Activation": (FLAT, {"activation": "tanh"}),
    **{f"{kind}Pooling{n}D": (shape, {}) for kind in ("GlobalAverage", "GlobalMax")
       for n, shape in ((1, STEPS), (2, IMAGE), (3, CUBE))},
    **{f"{kind}Pooling{n}D": (shape, {"pool_size": 2}) for kind in ("Average", "Max")
       for n, shape in ((1, STEPS), (2, IMAGE), (3, CUBE))},
    **{f"Adaptive{kind}Pooling{n}D": (shape, {"output_size": 2}) for kind in ("Average", "Max")
       for n, shape in ((1, STEPS), (2, IMAGE), (3, CUBE))},
    **{f"{kind}{n}D{end}": (shape, CONV) for n, shape in ((1, STEPS), (2, IMAGE), (3, CUBE))
       for kind, end in (("Conv", ""), ("Conv", "Transpose"))},
    **{f"DepthwiseConv{n}D": (shape, {"kernel_size": 2}) for n, shape in ((1, STEPS), (2, IMAGE))},
    **{f"SeparableConv{n}D": (shape, CONV) for n, shape in ((1, STEPS), (2, IMAGE))},
    **{f"{kind}{n}D": (shape, {}) for kind in ("ZeroPadding", "Cropping", "UpSampling")
       for n, shape in ((1, STEPS), (2, IMAGE), (3, CUBE))},
    "ConvLSTM1D": ((2, 8, 4), CONV), "ConvLSTM2D": ((2, 8, 4, 1), CONV), "ConvLSTM3D": ((2, 4, 4, 2, 1), CONV),
    **dict.fromkeys(("SimpleRNN", "LSTM", "GRU"), (STEPS, CELL)),
    "Bidirectional": (STEPS, {"layer": ("LSTM", CELL)}), "TimeDistributed": (STEPS, {"layer": ("Dense", CELL)}),
    "RNN": (STEPS, {"cell": [("LSTMCell", CELL), ("GRUCell", CELL)]}),
    "Bidirectional of stacked cells": (STEPS, {"layer": ("RNN", {"cell": [("LSTMCell", CELL), ("LSTMCell", CELL)]})}),
    "TimeDistributed of stacked cells":
        ((2, 4, 8), {"layer": ("RNN", {"cell": [("GRUCell", CELL), ("GRUCell", CELL)]})}),
    "Dense": (FLAT, {"units": 3, "activation": "relu", "kernel_initializer": "he_normal"}),
    "EinsumDense": (FLAT, {"equation": "ab,bc->ac", "output_shape": 3, "bias_axes": "c"}),
    "Embedding": (FLAT, {"input_dim": 9, "output_dim": 2}),
    "ReversibleEmbedding": (FLAT, {"input_dim": 9, "output_dim": 2}),
    **{name: (FLAT, {"rate": 0.2}) for name in ("Dropout", "GaussianDropout", "AlphaDropout")},
    "SpatialDropout1D": (STEPS, {"rate": 0.2}), "SpatialDropout2D": (IMAGE, {"rate": 0.2}),
    "SpatialDropout3D": (CUBE, {"rate": 0.2}),
    "GaussianNoise": (FLAT, {"stddev": 0.2}), "GroupNormalization": (FLAT, {"groups": 4}),
    "Flatten": (IMAGE, {}), "Reshape": (FLAT, {"target_shape": [8, 8]}), "Permute": (STEPS, {"dims": [2, 1]}),
    "RepeatVector": (FLAT, {"n": 2}), "PReLU": (FLAT, {}),
    "Resizing": (IMAGE, {"height": 4, "width": 4}), "CenterCrop": (IMAGE, {"height": 4, "width": 4}),
    "Rescaling": (FLAT, {"scale": 0.5}),
}  # fmt: skip
OTHERS = ("BatchNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization", "ReLU", "LeakyReLU",
          "ELU", "Softmax", "Identity", "Masking")  # fmt: skip
# Those that take several inputs, or none, or other than numbers, or that change pictures at random, and the parts of
# others: a Sequential on rows of numbers has no place for them, but for a few that augment pictures.
NOT_ON_ROWS = {
    "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot", "Attention", "Hashing",
    "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention", "InputLayer", "HashedCrossing", "Discretization",
    "CategoryEncoding", "Normalization", "STFTSpectrogram", "MelSpectrogram", "LSTMCell", "GRUCell", "SimpleRNNCell",
    "StackedRNNCells", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper",
}  # fmt: skip
AUGMENTATION = ("Rand", "Aug", "Mix", "Auto", "Cut", "Equalization", "Solarization", "Contrast", "MaxNumBounding")
NAMES = [*CASES, *OTHERS]


def test_every_public_layer_is_tried_or_has_a_reason():
    """A layer that a new Keras brings is noticed."""
    others = {*NAMES, *NOT_ON_ROWS, *CODE_BEARING, *REFUSED}
    unknown = [n for n in class_names("layers") if n not in others and not n.startswith(AUGMENTATION)]
    assert [n for n in unknown if ">" not in n] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* does not support masking")
@pytest.mark.parametrize("name", NAMES)
def test_a_live_layer_is_the_layer_of_yaml(name):
    """Weights bit for bit, gates, outputs and training outputs, whether the bias is zeros, glorot or absent."""
    import keras

    shape, arguments = CASES.get(name, (FLAT, {}))
    name = name.partition(" ")[0]
    model = keras.Sequential([keras.Input(shape), live((name, arguments)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(3, activation="softmax", name="output"))
    output = ("Dense", {"units": 3, "activation": "softmax", "name": "output"})
    yaml = f"model.layers={spelled([(name, arguments), ('Flatten', {}), output])}"
    mine, _ = architecture_of_model(model)
    rows = np.random.default_rng(0).random((5, *shape), np.float32)
    for bias in (["bias_initializer=zeros"], ["bias_initializer=glorot"], ["use_bias=false"]):
        typed = compose_config(yaml, *bias)
        taken = change_config(compose_config("model.name=mine", *bias), model={"layers": mine})
        one, other = (build_model(complete_layers(c), shape, "multiclass", 3, 7) for c in (typed, taken))
        for a, b in zip(one.variables, other.variables, strict=True):
            assert "seed_generator" in a.path or a.path == b.path  # Keras counts generators within a program
            np.testing.assert_array_equal(np.asarray(a.value), np.asarray(b.value))
        meta = made_meta("zeros", 0, config=settings(model={"layers": complete_layers(typed)}))
        gates = {bias.path: bias.gates for bias in find_biases(one) if bias.gates}
        assert Arm("zeros", "zeros", (Run(Path(), meta),)).gates == gates
        for training in (False, True):
            np.testing.assert_array_equal(*(np.asarray(m(rows, training=training)) for m in (one, other)))

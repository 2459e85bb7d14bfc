"""The layers that a Sequential can hold train stacked with the numbers of `model.fit`."""

import logging

import pytest
from factories import compose_config
from reference import EPOCHS, assert_equal, train

OUTPUT = "{class_name: Dense, config: {name: output}}"


def layer(class_name, **config):
    """A layer as a command line writes it."""
    return f"{{class_name: {class_name}, config: {{{', '.join(f'{k}: {v}' for k, v in config.items())}}}}}"


FLAT, GELU = layer("Flatten"), layer("Dense", units=6, activation="gelu")
STEPS, CUBE = (layer("Reshape", target_shape=shape) for shape in ("[8, 8]", "[4, 4, 4, 1]"))
MODELS = {
    "two dimensions": [
        layer("ZeroPadding2D"), layer("Conv2D", filters=4, kernel_size=3, strides=2, bias_regularizer="l2"),
        layer("DepthwiseConv2D", kernel_size=2), layer("UpSampling2D"), layer("Cropping2D"),
        layer("SeparableConv2D", filters=4, kernel_size=2), layer("GroupNormalization", groups=2),
        layer("MaxPooling2D", padding="same"), layer("GlobalMaxPooling2D"),
    ],
    "one dimension": [
        STEPS, layer("Conv1D", filters=4, kernel_size=3, padding="causal", dilation_rate=2),
        layer("SeparableConv1D", filters=4, kernel_size=2), layer("DepthwiseConv1D", kernel_size=2),
        layer("ZeroPadding1D"), layer("MaxPooling1D"), layer("UpSampling1D"), layer("Cropping1D"),
        layer("Permute", dims="[2, 1]"),
        layer("AveragePooling1D", pool_size=2), layer("GlobalAveragePooling1D"),
    ],
    "three dimensions": [
        CUBE, layer("Conv3D", filters=3, kernel_size=2), layer("MaxPooling3D", padding="same"),
        layer("GlobalAveragePooling3D"),
    ],
    "transposed": [
        layer("Conv2D", filters=2, kernel_size=2, strides=4), layer("Conv2DTranspose", filters=2, kernel_size=2),
        layer("AveragePooling2D", pool_size=2), FLAT, layer("RepeatVector", n=2),
        layer("Conv1DTranspose", filters=2, kernel_size=2), FLAT,
    ],
    "grouped": [layer("Conv2D", filters=2, kernel_size=3), layer("Conv2D", filters=2, kernel_size=3, groups=2), FLAT],
    "recurrent": [
        STEPS, layer("TimeDistributed", layer=layer("Dense", units=3)), layer("GRU", units=3, return_sequences="true"),
        layer("SimpleRNN", units=3, return_sequences="true"), layer("Bidirectional", layer=layer("LSTM", units=2)),
    ],
    "forms of recurrence": [  # so few steps that XLA writes them out
        layer("Reshape", target_shape="[2, 32]"),
        layer("LSTM", units=3, return_sequences="true", activation="relu", use_bias="false"),
        layer("GRU", units=3, return_sequences="true", reset_after="false", go_backwards="true"),
        layer("GRU", units=3, return_sequences="true"), layer("SimpleRNN", units=3, use_bias="false"),
    ],
    "bidirectional": [
        STEPS, layer("TimeDistributed", layer=layer("Dense", units=3)),
        layer("Bidirectional", layer=layer("GRU", units=2)),
    ],
    "stacked cells": [
        STEPS, f"{{class_name: RNN, config: {{cell: [{layer('LSTMCell', units=3)}, {layer('GRUCell', units=2)}]}}}}",
    ],
    "normalisation": [
        FLAT, layer("Dense", units=6), layer("BatchNormalization"), layer("LayerNormalization"),
        layer("UnitNormalization"),
        layer("RMSNormalization"),
    ],
    "nested, activations, constraints": [
        FLAT, f"{{class_name: Sequential, config: {{layers: [{GELU}, {layer('PReLU')}]}}}}",
        layer("LeakyReLU"), layer("EinsumDense", equation="'ab,bc->ac'", output_shape=5, bias_axes="c"), layer("ELU"),
        layer("Dense", units=6, kernel_constraint="max_norm", bias_constraint="non_neg", kernel_regularizer="l1",
              bias_regularizer="l2"), layer("Softmax"),
    ],
    "masked steps": [
        layer("Reshape", target_shape="[16, 4]"), layer("Masking"),
        layer("LSTM", units=3, return_sequences="true", zero_output_for_mask="true"),
        layer("GRU", units=3, return_sequences="true", zero_output_for_mask="true"),
        layer("SimpleRNN", units=3, zero_output_for_mask="true"),
    ],
    "masked steps, backwards": [  # so few that XLA would write them out
        layer("Reshape", target_shape="[16, 4]"), layer("Cropping1D", cropping="[6, 8]"), layer("Masking"),
        f"{{class_name: Bidirectional, config: {{layer: {layer('LSTM', units=3, return_sequences='true')}}}}}",
        layer("GRU", units=3, return_sequences="true", go_backwards="true", zero_output_for_mask="true"),
        layer("SimpleRNN", units=3),
    ],
    "embedding": [FLAT, layer("Embedding", input_dim=17, output_dim=3), layer("GlobalAveragePooling1D")],
}  # fmt: skip

# A bias in front of a normalisation has no gradient but float noise, which Adam would blow up. And where one row of an
# embedding occurs twice in a batch, Keras' own Adam squares two gradients, not their sum; the stack squares the sum.
OVERRIDES = {
    "normalisation": ("optimizer=sgd",),
    "masked steps": ("data.standardize=false",),
    "masked steps, backwards": ("data.standardize=false",),
    "embedding": ("optimizer=sgd", "data.standardize=false", "training.batch_size=32"),
}
# Compiling takes half a minute each.
WITHOUT_XLA = ("stacked cells", "masked steps", "transposed", "grouped", "three dimensions")
FAST = ("normalisation",)
CASES = [
    *((name, "false") for name in FAST),
    *(pytest.param(name, "false", marks=pytest.mark.slow) for name in MODELS if name not in FAST),
    *(
        pytest.param(name, "auto", marks=pytest.mark.slow)
        for name in MODELS
        if name not in (*WITHOUT_XLA, "bidirectional")
    ),
]

# A row's gradient is a sum over all its places in a batch, which `fit` adds up one after the other: against the same
# training in float64 (batches of 383 rows) it was wrong in the fifth decimal, and the stack in the eighth.
TOLERANCE = {"embedding": 1e-4}


@pytest.fixture(autouse=True)
def _in_stacks(monkeypatch):
    """These tests are about stacks, also of convolutions that would train alone."""
    for module in ("memory", "cache"):
        monkeypatch.setattr(f"pipeline.training.{module}.trains_alone", lambda model, batch_size: False)


def config_of(layers, *overrides):
    model = ("model.name=layers", f"model.layers=[{', '.join([*layers, OUTPUT])}]")
    common = ("bias_initializer=glorot", "seeds=[0,3]", f"training.epochs={EPOCHS}", "training.batch_size=383")
    return compose_config(*common, *model, *overrides)  # three whole batches: a fourth size would cost another trace


@pytest.mark.parametrize(("name", "xla"), CASES)
def test_a_stack_of_these_layers_equals_fit(name, xla, caplog):
    """Stacked layers compute what each computes alone, and none of them needs a copy per seed."""
    overrides = (*OVERRIDES.get(name, ()), f"training.xla={xla}")
    with caplog.at_level(logging.INFO, logger="pipeline.training"):
        assert_equal(config_of(MODELS[name], *overrides), TOLERANCE.get(name, 1e-5))
    assert "cannot be stacked" not in caplog.text


@pytest.mark.slow
def test_a_layer_that_cannot_be_stacked_is_trained_seed_by_seed(caplog):
    """ConvLSTM2D trains with a copy per seed, which the log says once, to the numbers of `model.fit`."""
    layers = [layer("Reshape", target_shape="[2, 8, 4, 1]"), layer("ConvLSTM2D", filters=1, kernel_size=3), FLAT]
    with caplog.at_level(logging.INFO, logger="pipeline.training"):
        assert_equal(config_of(layers, "training.batch_size=1000", "training.xla=false"))
    assert caplog.text.count("These layers cannot be stacked: ") == 1


SEPARATE = [layer("SeparableConv2D", filters=4, kernel_size=3), layer("DepthwiseConv2D", kernel_size=3), FLAT, OUTPUT]
SEPARABLE = ["model.name=separable", f"model.layers=[{','.join(SEPARATE)}]"]


@pytest.mark.slow
@pytest.mark.parametrize("model", [["model=cnn"], SEPARABLE], ids=["large", "separable"])
def test_convolutions_train_alone(model, monkeypatch, caplog):
    """Each seed in a stack of its own, with TensorFlow's convolutions, to the numbers of `model.fit`."""
    monkeypatch.undo()  # what keeps them in stacks
    common = ("bias_initializer=glorot", "seeds=[0,3]", f"training.epochs={EPOCHS}", "training.batch_size=383")
    config = compose_config(*model, *common)
    with caplog.at_level(logging.INFO, logger="pipeline.training"):
        assert_equal(config)
    assert not caplog.text


def test_noise_and_dropout_act_only_in_training():
    """Two evaluations with the same weights agree; the loss in training differs from both."""
    noise = [FLAT, layer("GaussianNoise", stddev=0.5), layer("Dropout", rate=0.5)]
    frozen = ("training.epochs=1", "optimizer.learning_rate=1e-30", "training.xla=false")
    _, trained = train(config_of(noise, *frozen))
    for one in trained:
        assert one.history["val_loss"][0] == pytest.approx(one.history["val_loss"][1], rel=1e-5)
        assert abs(one.history["loss"][0] - one.history["loss"][1]) > 1e-3

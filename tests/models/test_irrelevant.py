"""Which initial biases cannot matter is claimed where it is so, and nowhere else."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.models.irrelevant import irrelevant_biases

LAYERS = keras.layers


def dense(name: str, **options: Any) -> Any:
    return LAYERS.Dense(4, name=name, **options)


def norm(name: str = "norm") -> Any:
    return LAYERS.BatchNormalization(name=name)


def sequential(*layers: Any, rank: int = 1) -> Any:
    return keras.Sequential([LAYERS.Input((4,) * rank), *layers])


def nested(*layers: Any) -> Any:
    return keras.Sequential([LAYERS.Input((4,)), *layers], name="nested")


def functional(make: Callable[[Any], Any]) -> Any:
    x = LAYERS.Input((4,))
    return keras.Model(x, make(x))


def twice(layer: Any, other: Any) -> Callable[[Any], Any]:
    """Both layers called twice, in turn."""
    return lambda x: other(layer(other(layer(x))))


def two_norms(layer: Any) -> Callable[[Any], Any]:
    """A layer called twice, each time with a normalization of its own."""
    return lambda x: LAYERS.Add()([norm("a")(layer(x)), norm("b")(layer(LAYERS.ReLU()(x)))])


def shared_norm(other: Any) -> Callable[[Any], Any]:
    """One normalization of two layers: its moving mean is a mixture that never catches up with either."""
    return lambda x: other(dense("q")(other(dense("p")(x))))


def both(p: Any) -> Any:
    """A layer whose output is used without the normalization too."""
    return LAYERS.Add()([norm()(p), p])


NOT_CLAIMED = {
    "normalised within a nested model": lambda: sequential(nested(dense("p"), norm())),
    "normalised by a nested model": lambda: sequential(dense("p"), nested(norm(), LAYERS.ReLU())),
    "the end of a nested model": lambda: sequential(nested(dense("p")), norm()),
    "before dropout": lambda: sequential(dense("p"), LAYERS.Dropout(0.5), norm()),
    "before noise": lambda: sequential(dense("p"), LAYERS.GaussianNoise(0.1), norm()),
    "before a linear activation": lambda: sequential(dense("p"), LAYERS.Activation("linear"), norm()),
    "before flattening": lambda: sequential(dense("p"), LAYERS.Flatten(), norm(), rank=2),
    "of every step": lambda: sequential(LAYERS.TimeDistributed(dense("p")), norm(), rank=2),
    "recurrent": lambda: sequential(LAYERS.SimpleRNN(4, activation="linear", return_sequences=True), norm(), rank=2),
    "of gates": lambda: sequential(LAYERS.LSTM(4, activation="linear"), norm(), rank=2),
    "another activation": lambda: sequential(dense("p", activation="relu"), norm()),
    "layer and normalization shared": lambda: functional(twice(dense("p"), norm())),
    "layer shared": lambda: functional(two_norms(dense("p"))),
    "normalization shared": lambda: functional(shared_norm(norm())),
    "used without it too": lambda: functional(lambda x: both(dense("p")(x))),
    "hidden, before a nested softmax": lambda: sequential(dense("p"), nested(dense("q", use_bias=False), softmax())),
}  # fmt: skip


def softmax() -> Any:
    return LAYERS.Activation("softmax")


@pytest.mark.parametrize("make", NOT_CLAIMED.values(), ids=NOT_CLAIMED)
def test_nothing_is_claimed_of_a_bias_that_may_matter(make: Callable[[], Any]) -> None:
    """Each of these either changes training or leaves evaluation another offset, or is not looked into."""
    assert irrelevant_biases(make(), "Adam") == {}


@pytest.mark.parametrize("make", [
    lambda: sequential(dense("p"), norm(), dense("q", use_bias=False)),
    lambda: functional(lambda x: norm()(dense("p")(x))),
    lambda: sequential(LAYERS.SeparableConv1D(4, 2, name="p"), norm(), rank=2),
], ids=["sequential", "functional", "convolution"])  # fmt: skip
def test_a_bias_right_before_its_own_normalization_is_centred(make: Callable[[], Any]) -> None:
    """And a batch's outputs in training are the same whatever it is."""
    model = make()
    assert {path: why.kind for path, why in irrelevant_biases(model, "Adam").items()} == {"p/bias": "centred"}
    rows = np.random.default_rng(0).normal(size=(8, *model.input_shape[1:])).astype("float32")
    outputs = []
    for value in (0.0, 3.0):
        model.get_layer("p").bias.assign(np.full(4, value))
        outputs.append(np.array(model(rows, training=True)))
    np.testing.assert_allclose(*outputs, atol=1e-5)


@pytest.mark.parametrize("make", [
    lambda: sequential(dense("q"), nested(dense("p"), softmax())),
    lambda: sequential(dense("q"), nested(dense("p", activation="softmax"))),
    lambda: sequential(dense("q", activation="relu"), dense("p"), nested(LAYERS.Softmax())),
], ids=["within", "activation", "before"])  # fmt: skip
def test_only_the_logits_of_a_nested_softmax_are_shifted(make: Callable[[], Any]) -> None:
    """The bias of the layer that makes them, whichever model holds it, and no bias of a layer before."""
    (path,) = irrelevant_biases(make(), "Adam")
    assert path.endswith("p/bias")

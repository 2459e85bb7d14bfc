"""Random Sequentials, saved and read back from the file without Keras, give the biases of the live model."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras_files import stored_arrays

from pipeline.biases.extraction import bias_variables, find_biases
from pipeline.biases.model_files import read_biases, read_variables
from pipeline.runtime.device import start_tensorflow

PROFILE = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
NAMES = st.one_of(st.none(), st.text("abc_dense1 .[*]é", min_size=1, max_size=6).filter(lambda n: n not in (".", "..")))
CELLS = st.fixed_dictionaries({"units": st.integers(1, 3), "use_bias": st.booleans()})


def _settings(**more):
    """Settings that every layer takes, and more."""
    common = {
        "trainable": st.booleans(),
        "dtype": st.sampled_from([None, None, "float16", "bfloat16", "mixed_float16"]),
    }
    return st.fixed_dictionaries(common | more)


_FILTERS = {"filters": st.integers(1, 3), "kernel_size": st.just(1), "use_bias": st.booleans()}
_CENTER = {"center": st.booleans(), "scale": st.booleans()}
INITIALIZERS = st.sampled_from(["zeros", "ones", {"class_name": "Constant", "config": {"value": 0.5}}])
# Layers that take (batch, steps, features) and give it, by class.
KINDS = {
    "Dense": _settings(units=st.integers(1, 3), use_bias=st.booleans(), bias_initializer=INITIALIZERS),
    "Conv1D": _settings(**_FILTERS), "SeparableConv1D": _settings(**_FILTERS), "Conv1DTranspose": _settings(**_FILTERS),
    "DepthwiseConv1D": _settings(kernel_size=st.just(1), use_bias=st.booleans()),
    **{name: _settings(units=st.integers(1, 3), use_bias=st.booleans(), return_sequences=st.just(True),
                     recurrent_initializer=st.just("zeros"))
       for name in ("SimpleRNN", "LSTM")},
    "GRU": _settings(units=st.integers(1, 3), use_bias=st.booleans(), reset_after=st.booleans(),
                     dropout=st.sampled_from([0.0, 0.5]), return_sequences=st.just(True),
                     recurrent_initializer=st.just("zeros")),
    "BatchNormalization": _settings(renorm=st.booleans(), **_CENTER), "LayerNormalization": _settings(**_CENTER),
    "GroupNormalization": _settings(groups=st.just(1), **_CENTER), "RMSNormalization": _settings(),
    "PReLU": _settings(), "Dropout": _settings(rate=st.just(0.5)), "Activation": _settings(activation=st.just("relu")),
}  # fmt: skip
RECURRENT = ("SimpleRNN", "LSTM", "GRU")


@st.composite
def layers(draw, depth: int = 2) -> tuple:
    """A layer as (class, settings, name, what is within it)."""
    more = ("Sequential", "TimeDistributed", "Bidirectional", "RNN", "StackedRNN", "SpectralNormalization")
    kind = draw(st.sampled_from((*KINDS, *(more if depth else ()))))
    name = draw(NAMES)
    if kind in KINDS:
        return kind, draw(KINDS[kind]), name, []
    if kind == "Sequential":
        return kind, {}, name, draw(st.lists(layers(depth - 1), min_size=1, max_size=3))
    if kind in ("RNN", "StackedRNN"):
        cell = st.tuples(st.sampled_from(("SimpleRNNCell", "LSTMCell", "GRUCell")), CELLS, NAMES, st.just([]))
        return kind, {}, name, draw(st.lists(cell, min_size=1, max_size=1 if kind == "RNN" else 3))
    inner = {"TimeDistributed": "Dense", "SpectralNormalization": "Dense"}.get(kind) or draw(st.sampled_from(RECURRENT))
    return kind, {}, name, [(inner, draw(KINDS[inner]), draw(NAMES), [])]


@st.composite
def models(draw) -> list:
    return draw(st.lists(layers(), min_size=1, max_size=4))


def _unique(made: list) -> list:
    """The layers, without the name where an earlier one has it: names are unique within a model."""
    names = set()
    return [made_ for one in made if (made_ := (one if one[2] not in names else (*one[:2], None, one[3]))) and
            (names.add(one[2]) or True)]  # fmt: skip


def _make(keras, kind, config, name, inner):
    named = {} if name is None else {"name": name}
    within = [_make(keras, *one) for one in _unique(inner)]
    if kind == "Sequential":
        return keras.Sequential(within, **named)
    if kind in ("RNN", "StackedRNN"):
        return keras.layers.RNN(within[0] if kind == "RNN" else within, return_sequences=True, **named)
    return getattr(keras.layers, kind)(*within, **config, **named)


@pytest.fixture(scope="module")
def keras():
    start_tensorflow("cpu")
    import keras

    return keras


def _fields(vectors, *names: str) -> list[tuple]:
    """These fields of each bias, and its exact values."""
    return [(*(getattr(v, name) for name in names), _exact(v.values)) for v in vectors]


def _exact(values):
    """An array as a value that compares, with its type."""
    if values is None:
        return None
    array = np.array(getattr(values, "value", values))
    return str(array.dtype), array.shape, array.tobytes()


ALL = ("path", "layer", "layer_type", "kind", "role", "gates", "trainable", "initializer")


@settings(PROFILE, max_examples=15)
@given(models())
def test_a_random_model_is_read_back_from_every_format(keras, tmp_path_factory, made):
    """Every bias comes back from a file with its value, path and kind."""
    assert_read_back(keras, tmp_path_factory, made)


@pytest.mark.slow
@settings(PROFILE, max_examples=100)
@given(models())
def test_many_random_models_are_read_back_from_every_format(keras, tmp_path_factory, made):
    """Every bias of more models comes back from a file with its value, path and kind."""
    assert_read_back(keras, tmp_path_factory, made)


def assert_read_back(keras, tmp_path_factory, made):
    keras.backend.clear_session()
    model = keras.Sequential([keras.Input((3, 2)), *(_make(keras, *one) for one in _unique(made))])
    draw = np.random.default_rng(0)
    for variable in bias_variables(model).values():
        variable.assign(draw.normal(size=variable.shape))
    live, folder = find_biases(model), tmp_path_factory.mktemp("model")
    assert not [vector.path for vector in live if vector.kind == "unknown"]
    model.save(folder / "model.keras")
    assert _fields(read_biases(folder / "model.keras"), *ALL) == _fields(live, *ALL)
    model.save(folder / "model.h5")
    assert _fields(read_biases(folder / "model.h5"), *ALL) == _fields(live, *ALL)
    model.save_weights(folder / "model.weights.h5")
    _assert_nothing_wrong(read_biases(folder / "model.weights.h5"), live)
    for name in ("model.h5", "model.weights.h5"):
        _assert_nothing_left_out(folder / name)


def _assert_nothing_left_out(path):
    """Each dataset of the weights is a bias, another variable that is told apart, or unknown."""
    entries = [entry.source for entry in read_variables(path) if entry.kind != "absent"]
    assert sorted(entries) == sorted(stored_arrays(path))


def _assert_nothing_wrong(read, live):
    """Every bias that the file names is right, the others are unknown, and none is missing."""
    held = {vector.path: vector for vector in live}
    for vector in read:
        if vector.kind != "unknown":
            mine = held[vector.path]
            fields = ("path", "layer", "kind", "role", "gates")
            assert _fields([vector], *fields) == _fields([mine], *fields)
            assert vector.layer_type in ("", mine.layer_type) and vector.initializer == ""
    unsure = {vector.layer for vector in read if vector.kind == "unknown"}
    paths = {vector.path for vector in read}
    assert {v.path for v in live if v.values is not None and v.layer not in unsure} <= paths

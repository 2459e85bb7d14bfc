"""The comparison is fair: for one seed, whatever is not the bias is equal in every arm, bit for bit."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from factories import DROPOUT_GRU, compose_config

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.experiment.run import initial_digest, run_arm
from pipeline.models.build import build_model
from pipeline.models.spec import complete_layers
from pipeline.runtime.device import start_tensorflow
from pipeline.training.loop import batch_order

ARMS = {
    "no_bias": ("use_bias=false",),
    "zeros": ("bias_initializer=zeros",),
    "ones": ("bias_initializer=ones",),
    "glorot_uniform": ("bias_initializer=glorot_uniform",),
    "he_normal": ("bias_initializer=he_normal",),
}
MODELS = {
    "mlp": ("model=mlp",),
    "cnn": ("model=cnn",),
    "lstm": ("model=lstm",),
    "dropout_gru": DROPOUT_GRU,
}
TWO_DROPOUTS = (
    "model.layers=[{class_name:Dense,config:{units:8}},{class_name:Dropout,config:{rate:0.5}},"
    "{class_name:Dense,config:{units:8}},{class_name:Dropout,config:{rate:0.2}},{class_name:Dense}]",
)
each_model = pytest.mark.parametrize("model", MODELS)
each_arm = pytest.mark.parametrize("arm", ARMS)


@pytest.fixture(autouse=True, scope="module")
def _tensorflow() -> None:
    start_tensorflow("cpu")


@functools.cache
def built(model: str, arm: str, seed: int = 0) -> Any:
    """The model of one run on digits, as an arm starts with it; shared by tests that only read it."""
    return freshly_built(model, arm, seed)


def freshly_built(model: str, arm: str, seed: int = 0) -> Any:
    config = compose_config(*MODELS[model], *ARMS[arm])
    return build_model(complete_layers(config), (8, 8, 1), "multiclass", 10, seed)


def apart_from_biases(model: Any) -> list[np.ndarray]:
    """The values of all variables that are no bias: kernels, and the states of random generators."""
    biases = {id(variable) for variable in bias_variables(model).values()}
    return [np.array(variable.value) for variable in model.variables if id(variable) not in biases]


def kernels(model: Any) -> list[np.ndarray]:
    return [values for values in apart_from_biases(model) if values.ndim > 1]


def assert_equal(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    assert len(ours) == len(theirs) > 0
    for our, their in zip(ours, theirs, strict=True):
        assert (our.dtype, our.shape) == (their.dtype, their.shape)
        assert our.tobytes() == their.tobytes()


@each_model
@each_arm
def test_kernels_are_equal_in_every_arm(model: str, arm: str) -> None:
    """Whatever a bias initializer draws, the kernels and the generators of one seed start the same."""
    assert_equal(apart_from_biases(built(model, arm)), apart_from_biases(built(model, "zeros")))


@each_model
@each_arm
def test_digest_of_the_kernels_is_equal_in_every_arm(model: str, arm: str) -> None:
    """The digest that a run records proves equal kernels: it differs between seeds, never between arms."""
    digest = initial_digest(built(model, "zeros"))
    assert initial_digest(built(model, arm)) == digest
    assert initial_digest(built(model, arm, seed=1)) != digest


@each_model
def test_seeds_have_kernels_of_their_own(model: str) -> None:
    """No kernel is drawn from the same numbers under two seeds."""
    for ours, theirs in zip(kernels(built(model, "zeros", 0)), kernels(built(model, "zeros", 1)), strict=True):
        assert not np.isclose(ours, theirs).all()


@each_model
def test_layers_have_kernels_of_their_own(model: str) -> None:
    """No two kernels of one model are drawn from the same numbers, those of the two directions included."""
    flat = [values.ravel() for values in kernels(built(model, "zeros"))]
    for i, ours in enumerate(flat):
        for theirs in flat[:i]:
            n = min(len(ours), len(theirs))
            assert abs(np.corrcoef(ours[:n], theirs[:n])[0, 1]) < 1 - 1e-6


def test_two_directions_differ() -> None:
    """Forward and backward layer of a Bidirectional start with different kernels and different glorot biases."""
    layer = built("dropout_gru", "glorot_uniform").get_layer("bidirectional")
    forward, backward = layer.forward_layer.get_weights(), layer.backward_layer.get_weights()
    assert len(forward) == len(backward) >= 3
    for ours, theirs in zip(forward, backward, strict=True):
        assert ours.shape == theirs.shape
        assert not np.array_equal(ours, theirs)


@each_arm
def test_dropout_is_equal_in_every_arm(arm: str) -> None:
    """The dropout masks of one seed are the same in every arm, differ between its layers, steps and seeds."""

    def masks(arm: str, seed: int) -> list[np.ndarray]:
        layers = [layer for layer in freshly_built("dropout_gru", arm, seed).layers if "dropout" in layer.name]
        assert len(layers) == 2
        return [np.array(layer(np.ones((4, 50), "float32"), training=True)) for layer in layers for _ in range(2)]

    drawn = masks("zeros", 0)
    assert_equal(masks(arm, 0), drawn)
    for ours, theirs in zip(masks(arm, 1), drawn, strict=True):
        assert not np.array_equal(ours, theirs)
    assert len({mask.tobytes() for mask in drawn}) == 4


@each_arm
def test_split_is_equal_in_every_arm(arm: str) -> None:
    """An arm is trained and tested on the rows, and with the standardisation, that the others of its seed have."""
    ours, theirs = (compose_config("data=iris", *ARMS[name]) for name in (arm, "zeros"))
    for seed in (0, 1):
        cuts = [vars(split_rows(load_dataset(config.data), config.data, seed)) for config in (ours, theirs)]
        assert_equal(*([np.asarray(value) for value in cut.values()] for cut in cuts))


class Observed(NamedTuple):
    """What a real training of seeds 0 and 1 did, and the digests that it stored."""

    orders: dict[tuple[int, int], np.ndarray]  # (seed, epoch) -> row numbers
    before: list[list[np.ndarray]]  # states of the random generators, by seed
    after: list[list[np.ndarray]]
    digests: list[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Observed]:
    """Three arms of a model with two generators of random numbers, trained and watched."""
    return {arm: watch(arm, tmp_path_factory.mktemp(arm)) for arm in ("no_bias", "zeros", "glorot_uniform")}


def watch(arm: str, folder: Path) -> Observed:
    orders, both, before = {}, [], []

    def watched_order(seed: int, epoch: int, train_rows: np.ndarray) -> np.ndarray:
        orders[seed, epoch] = batch_order(seed, epoch, train_rows)
        return orders[seed, epoch]

    def watched_build(*arguments: Any) -> Any:
        both.append(build_model(*arguments))
        before.append(states(both[-1]))
        return both[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.training.loop.batch_order", watched_order)
        patch.setattr("pipeline.experiment.check.build_model", watched_build)
        config = compose_config(
            *TWO_DROPOUTS, *ARMS[arm], "data=iris", "seeds=2", "training.epochs=2", "tracking=none", "study=fair",
            "training.xla=false",
            f"results={folder}"
        )  # fmt: skip
        outcome = run_arm(config)
    digests = [run.meta["initial_kernels_digest"] for run in outcome.runs]
    return Observed(orders, before, [states(model) for model in both], digests)


def states(model: Any) -> list[np.ndarray]:
    return [np.array(variable.value) for variable in model.non_trainable_variables]


@pytest.mark.parametrize("arm", ["no_bias", "glorot_uniform"])
def test_batch_order_is_equal_in_every_arm(arm: str, trained: dict[str, Observed]) -> None:
    """Training goes through the rows in the order of the other arms, which each seed and epoch has for itself."""
    ours, theirs = trained[arm].orders, trained["zeros"].orders
    assert list(ours) == list(theirs)
    assert_equal(list(ours.values()), list(theirs.values()))
    assert set(ours) == {(0, 1), (0, 2), (1, 1), (1, 2)}
    assert sorted(ours[0, 1]) == sorted(ours[0, 2])
    assert not np.array_equal(ours[0, 1], ours[0, 2])
    assert not np.array_equal(ours[0, 1], ours[1, 1])


@pytest.mark.parametrize("arm", ["no_bias", "glorot_uniform"])
def test_dropout_moves_on_equally_in_every_arm(arm: str, trained: dict[str, Observed]) -> None:
    """Training draws from each generator of random numbers, and as often in one arm as in another."""
    for before, after, theirs in zip(trained[arm].before, trained[arm].after, trained["zeros"].after, strict=True):
        assert_equal(after, theirs)
        moved = [not np.array_equal(b, a) for b, a in zip(before, after, strict=True)]
        assert moved == [True, True]


@pytest.mark.parametrize("arm", ["no_bias", "glorot_uniform"])
def test_runs_record_the_digest_of_their_kernels(arm: str, trained: dict[str, Observed]) -> None:
    """run.json proves that the arms of a seed started alike, and that seeds did not."""
    assert trained[arm].digests == trained["zeros"].digests
    assert len(set(trained[arm].digests)) == 2


def glorot_limit(n: int) -> float:
    """Keras takes fan_in = fan_out = n for a bias with one axis, so U(+-sqrt(6/(n + n)))."""
    return np.sqrt(3 / n)


@each_model
def test_without_bias_there_is_none(model: str) -> None:
    """`use_bias=false` leaves no bias in the model: not zeros, but no variable."""
    assert extract_biases(built(model, "no_bias")) == {}
    assert not [v.path for v in built(model, "no_bias").variables if v.path.endswith("bias")]


def test_an_einsum_dense_without_bias_has_no_bias_axes() -> None:
    """EinsumDense, which has bias axes in place of `use_bias`, loses its bias in a no_bias arm, and only there."""
    layers = (
        "model.layers=[{class_name:Flatten},{class_name:EinsumDense,config:{equation:'ab,bc->ac',output_shape:[4],"
        "bias_axes:c}},{class_name:Dense}]"
    )
    biases = {}
    for choice in ("use_bias=false", "use_bias=true"):
        completed = complete_layers(compose_config(layers, choice))
        biases[choice] = extract_biases(build_model(completed, (8, 8, 1), "multiclass", 10, 0))
    assert biases["use_bias=false"] == {}
    assert list(biases["use_bias=true"]) == ["einsum_dense/bias", "dense/bias"]


PATHS = {
    "mlp": {"dense/bias": (64,), "dense_1/bias": (32,), "output/bias": (10,)},
    "cnn": {"conv2_d/bias": (16,), "conv2_d_1/bias": (32,), "output/bias": (10,)},
    "lstm": {"lstm/bias": (64,), "output/bias": (10,)},
    "dropout_gru": {
        "bidirectional/forward_gru/bias": (2, 12), "bidirectional/backward_gru/bias": (2, 12), "output/bias": (10,)
    },
}  # fmt: skip


@each_model
@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm != "no_bias"])
def test_every_bias_is_found(model: str, arm: str) -> None:
    """Every bias of a model is extracted under its layer's name, with its shape."""
    assert {path: values.shape for path, values in extract_biases(built(model, arm)).items()} == PATHS[model]


@each_model
@pytest.mark.parametrize(("arm", "value"), [("zeros", 0.0), ("ones", 1.0)])
def test_constant_biases_start_at_their_value(model: str, arm: str, value: float) -> None:
    """Zeros are zeros and ones are ones, but for the forget gate of an LSTM, which is one in both."""
    for path, start in extract_biases(built(model, arm)).items():
        expected = np.full(start.shape, value)
        if path == "lstm/bias":
            expected[16:32] = 1.0  # 16 units; gates i, f, c, o
        np.testing.assert_array_equal(start, expected)


@each_model
def test_glorot_biases_start_within_their_limits(model: str) -> None:
    """Glorot biases stay within +-sqrt(3/n) for n units, and reach into the outer half of that on both sides."""
    for path, start in extract_biases(built(model, "glorot_uniform")).items():
        if path == "lstm/bias":  # i by itself, then c and o in one draw; f is ones
            np.testing.assert_array_equal(start[16:32], 1.0)
            drawn = [(start[:16], glorot_limit(16)), (start[32:], glorot_limit(32))]
        elif start.ndim == 2:
            drawn = [(start, np.sqrt(6 / (2 + 12)))]
        else:
            drawn = [(start, glorot_limit(start.size))]
        for values, limit in drawn:
            assert np.abs(values).max() <= limit
            assert values.min() < -limit / 2
            assert values.max() > limit / 2


def test_he_normal_biases_start_with_their_deviation() -> None:
    """he_normal draws with standard deviation sqrt(2/n) from a normal that is cut at two of its deviations."""
    starts = [extract_biases(built("mlp", "he_normal", seed))["dense/bias"] for seed in range(30)]
    drawn = np.concatenate(starts)
    deviation = np.sqrt(2 / 64)
    assert drawn.std() == pytest.approx(deviation, rel=0.05)
    assert np.abs(drawn).max() <= 2 * deviation / 0.8796 * (1 + 1e-6)  # sd of a standard normal cut at +-2


def test_orthogonal_fills_the_matrix_of_a_gru() -> None:
    """Orthogonal, where a bias is a matrix, gives orthonormal rows."""
    config = compose_config(*DROPOUT_GRU, "bias_initializer=orthogonal", "bias_layers=hidden")
    model = build_model(complete_layers(config), (8, 8, 1), "multiclass", 10, 0)
    start = extract_biases(model)["bidirectional/forward_gru/bias"]
    np.testing.assert_allclose(start @ start.T, np.eye(2), atol=1e-6)


def test_biases_belong_to_seed_and_layer() -> None:
    """Random biases differ between seeds and between layers, and are drawn apart from the kernels."""
    first, other = (extract_biases(built("dropout_gru", "glorot_uniform", seed)) for seed in (0, 1))
    assert not [path for path in first if np.array_equal(first[path], other[path])]
    again = extract_biases(freshly_built("dropout_gru", "glorot_uniform", 0))
    assert_equal(list(first.values()), list(again.values()))

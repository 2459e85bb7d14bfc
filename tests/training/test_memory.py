"""Memory is estimated well enough to refuse what does not fit, and the width of a stack follows from the model."""

import subprocess
import sys

import numpy as np
import pytest
from factories import compose_config
from reference import train

from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.training.cache import use_xla
from pipeline.training.memory import (
    ALONE_PRODUCTS,
    COMPILER_BYTES,
    COPIES,
    EVALUATION_ROWS,
    evaluation_rows,
    memory_is_short,
    smallest_form,
    stack_bytes,
    stack_width,
    stacks_at_once,
    step_bytes,
    trains_alone,
)


@pytest.fixture(scope="module")
def keras():
    import keras

    return keras


def dense_net(keras, inputs, units, outputs):
    layers = [keras.Input((inputs,)), keras.layers.Dense(units), keras.layers.Dense(outputs)]
    return keras.Sequential(layers)


def test_estimates_of_a_dense_net_are_those_computed_by_hand(keras):
    """100 inputs, 50 and 10 units: 5,560 weights; a row is its inputs, and twice what each layer puts out."""
    model = dense_net(keras, 100, 50, 10)
    weights, row_bytes = 101 * 50 + 51 * 10, 4 * (100 + 2 * (100 + 50 + 10))  # the input layer included
    assert step_bytes(model, 32) == 4 * (4 * weights + 2 * 32 * (50 + 10))
    assert evaluation_rows(model, 20) == EVALUATION_ROWS
    expected = COMPILER_BYTES + 20 * (4 * COPIES * weights + EVALUATION_ROWS * row_bytes)
    assert stack_bytes(model, 20, 32) == expected
    more_rows = stack_bytes(model, 20, 1000) - expected
    assert more_rows == 20 * (2000 - EVALUATION_ROWS) * row_bytes


def test_larger_models_and_batches_make_narrower_stacks(keras):
    """A step of the stack touches at most 3 MB, unless two seeds already touch more."""
    assert stack_width(dense_net(keras, 64, 32, 10), 32) == 20
    assert stack_width(dense_net(keras, 64, 128, 10), 32) == 10
    assert stack_width(dense_net(keras, 64, 32, 10), 1000) == 5
    assert stack_width(dense_net(keras, 1000, 1000, 10), 32) == 2


@pytest.mark.parametrize(("side", "batch_size", "width"), [(8, 8, 10), (28, 128, 1)])
def test_large_convolutions_share_no_stack(keras, side, batch_size, width):
    """Eight images of 8 x 8 take 1.4 million multiplications at each step, 128 of 28 x 28 many more."""
    shapes = ((16, "valid"), (32, "same"))
    convolutions = [keras.layers.Conv2D(filters, 3, padding=padding) for filters, padding in shapes]
    model = keras.Sequential([keras.Input((side, side, 1)), *convolutions, keras.layers.Flatten()])
    per_row = (side - 2) ** 2 * 9 * 16 * (1 + 32)
    assert trains_alone(model, batch_size) == (width == 1) == (batch_size * per_row >= ALONE_PRODUCTS)
    assert stack_width(model, batch_size) == width
    assert stack_width(model, batch_size, xla=True) > 1  # XLA has no convolutions that are as fast


@pytest.mark.parametrize("name", ["DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "grouped Conv2D", "Conv3D"])
def test_convolutions_that_no_product_computes_share_no_stack(keras, name):
    """However small: a stack would repeat XLA's, which took 60 times as long as `model.fit`."""
    own = {"DepthwiseConv2D": {}, "grouped Conv2D": {"filters": 2, "groups": 2}}.get(name, {"filters": 2})
    layer = getattr(keras.layers, name.split()[-1])(kernel_size=2, **own)
    shape = (3, 3, 3, 1) if name == "Conv3D" else (3, 3, 2)
    model = keras.Sequential([keras.Input(shape), layer, keras.layers.Flatten(), keras.layers.Dense(2)])
    assert trains_alone(model, 2)
    assert stack_width(model, 2) == 1 < stack_width(model, 2, xla=True)


@pytest.fixture
def gpu(monkeypatch):
    """TensorFlow lists a GPU."""
    import tensorflow as tf

    devices = [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: devices if kind in ("GPU", None) else [])


def test_a_gpu_takes_one_stack_of_all_convolutions(keras, gpu, capsys):
    """It computes a stack's products in parallel, so no seed trains alone; its free memory is not known beforehand."""
    layers = [keras.layers.Conv2D(32, 3), keras.layers.Flatten(), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    config = compose_config("training.batch_size=128", "training.seeds_at_once=40")
    assert not trains_alone(model, 128)
    assert stack_width(model, 128) == 2
    assert use_xla(model, config.training)
    assert stacks_at_once(model, config.training) == 1
    assert memory_is_short(model, config.training)
    told = "training.seeds_at_once: 40 given, but 2 train at once: a GPU takes one stack\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("largest", [255, 256])
@pytest.mark.parametrize("added", [0, 0.5, -1, np.nan])
def test_pixels_are_held_as_bytes_where_that_loses_nothing(largest, added):
    """Whole numbers from 0 to 255 take a byte each; others, and a missing value, stay as they are."""
    x = np.arange(largest + 1, dtype=np.float32)
    x[0] += added
    held = smallest_form(x)
    assert (held.dtype == np.uint8) == (largest == 255 and added == 0)
    np.testing.assert_array_equal(held.astype(np.float32), x)


def test_a_stack_that_does_not_fit_is_refused(monkeypatch):
    """One line names the settings to lower and the memory needed and free."""
    monkeypatch.setattr("pipeline.training.memory.free_memory", lambda: 2**20)
    with pytest.raises(
        ConfigError, match=r"^training.batch_size, model: .* need about [\d.]+ [MG]iB, but 1.0 MiB are free"
    ):
        train(compose_config("data=iris", "model=mlp", "training.epochs=1", "training.batch_size=5000"))


PEAK = """
import sys
import psutil
sys.path[:0] = [".", "tests"]
from factories import compose_config
from peak import peak_bytes
from reference import stack
from pipeline.biases.extraction import bias_variables
from pipeline.training.loop import train_seeds
from pipeline.training.memory import stack_bytes, stack_width
config = compose_config(*sys.argv[1:], "seeds=2", "training.epochs=1", "training.seeds_at_once=1")
dataset, built, splits = stack(config)
width = stack_width(built[0], config.training.batch_size)
before = psutil.Process().memory_info().rss
train_seeds(built, splits, dataset, config.optimizer, config.training, bias_variables)
print(stack_bytes(built[0], width, config.training.batch_size), peak_bytes() - before)
"""
LARGE = {
    "many weights": "{class_name: Flatten}, {class_name: Dense, config: {units: 2000}},"
    " {class_name: Dense, config: {units: 2000}}",
    "large pictures": "{class_name: UpSampling2D, config: {size: 6}},"
    " {class_name: Conv2D, config: {filters: 32, kernel_size: 3}}, {class_name: MaxPooling2D},"
    " {class_name: Conv2D, config: {filters: 64, kernel_size: 3}}, {class_name: Flatten}",
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a process's own peak is read from /proc")
@pytest.mark.parametrize("layers", LARGE.values(), ids=LARGE.keys())
def test_the_measured_peak_is_near_the_estimate(layers):
    """The estimate is between 0.4 and 2 times the peak of what training adds to a fresh process."""
    options = (f"model.layers=[{layers}, {{class_name: Dense}}]", "training.batch_size=128")
    command = [sys.executable, "-c", PEAK, *options]
    done = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    estimated, measured = map(int, done.stdout.split()[-2:])
    assert 0.4 < estimated / measured < 2, (estimated, measured)

"""TensorFlow's private names, all in pfor.py: what each of them is needed for.

`_pfor_converter_registry` takes the conversions of operations that `tf.vectorized_map` has none for, `_create_op` and
`wrap` make their results, and `ConcreteFunction._call_flat` calls a traced function with other variables.
"""

import re

import numpy as np
import pytest

from pipeline.config.schema import PROJECT
from pipeline.runtime.device import start_tensorflow
from pipeline.training.pfor import install_converters, with_variables

SEEDS = 3


@pytest.fixture(scope="module", autouse=True)
def tf():
    start_tensorflow("cpu")
    import tensorflow

    install_converters()
    return tensorflow


def random(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def operations(tf):
    """name -> (function of one seed's arguments, the stacked arguments)."""
    x, nn = random(SEEDS, 2, 6, 6, 4), tf.nn
    cube = random(SEEDS, 2, 4, 4, 4, 1)
    seeds = np.int32([[1, 2], [3, 4], [5, 6]])
    return {
        "convolution": (lambda x, k: nn.conv2d(x, k, 1, "VALID"), (x, random(SEEDS, 3, 3, 4, 5))),
        "strides": (lambda x, k: nn.conv2d(x, k, 2, "SAME"), (x, random(SEEDS, 3, 3, 4, 5))),
        "dilations": (lambda x, k: nn.conv2d(x, k, 1, "SAME", dilations=2), (x, random(SEEDS, 2, 2, 4, 5))),
        "groups": (lambda x, k: nn.conv2d(x, k, 1, "SAME"), (x, random(SEEDS, 3, 3, 2, 6))),
        "max pooling": (lambda x: nn.max_pool2d(x, 2, 2, "VALID"), (x,)),
        "overlapping max pooling": (lambda x: nn.max_pool2d(x, 3, 2, "SAME"), (x,)),
        "transposed convolution": (
            lambda x, k: nn.conv2d_transpose(x, k, (2, 12, 12, 5), 2, "SAME"), (x, random(SEEDS, 3, 3, 5, 4)),
        ),
        "three dimensions": (lambda x, k: nn.conv3d(x, k, [1] * 5, "SAME"), (cube, random(SEEDS, 2, 2, 2, 1, 3))),
        "random numbers": (lambda seed: tf.random.stateless_uniform([5], seed), (seeds,)),
    }  # fmt: skip


NAMES = ("convolution", "strides", "dilations", "groups", "max pooling", "overlapping max pooling",
         "transposed convolution", "three dimensions", "random numbers")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_map_over_seeds_is_the_operation_of_each_seed(name, tf):
    """Without its conversion, an operation raises or loops (`fallback_to_while_loop` is off); with it, values and
    gradients are those of each seed alone.
    """
    function, arguments = operations(tf)[name]
    arguments = [tf.constant(a) for a in arguments]
    differentiable = [a for a in arguments if a.dtype == tf.float32]

    @tf.function(autograph=False)
    def stacked(*arguments):
        with tf.GradientTape() as tape:
            tape.watch([a for a in arguments if a.dtype == tf.float32])
            values = tf.vectorized_map(lambda seed: function(*seed), arguments, fallback_to_while_loop=False)
        return values, tape.gradient(values, [a for a in arguments if a.dtype == tf.float32])

    values, gradients = stacked(*arguments)
    for seed in range(SEEDS):
        own = [a[seed] for a in arguments]
        with tf.GradientTape() as tape:
            watched = [a for a in own if a.dtype == tf.float32]
            tape.watch(watched)
            alone = function(*own)
        np.testing.assert_allclose(values[seed], alone, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(gradients, tape.gradient(alone, watched), strict=True):
            np.testing.assert_allclose(ours[seed], theirs, rtol=1e-4, atol=1e-5)
    assert bool(differentiable) == (name != "random numbers")


def test_equal_values_send_the_gradient_to_the_first(tf):
    """Max pooling over a constant picture has the gradient that TensorFlow's own has."""
    x = tf.ones([SEEDS, 1, 4, 4, 1])

    @tf.function(autograph=False)
    def gradient(x):
        return tf.gradients(tf.vectorized_map(lambda one: tf.nn.max_pool2d(one, 2, 2, "VALID"), x), x)[0]

    np.testing.assert_array_equal(gradient(x)[0, 0, :, :, 0], np.tile([[1, 0], [0, 0]], (2, 2)))


def test_a_traced_function_runs_on_other_variables(tf):
    """A second stack shares the program and leaves the variables it was traced with alone."""
    traced, other = tf.Variable([1.0, 2.0]), tf.Variable([10.0, 20.0])
    function = tf.function(lambda x: traced.assign_add(x), autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec([2]))
    np.testing.assert_array_equal(with_variables(concrete, [(traced, other)])(np.float32([1, 1])), [11, 21])
    np.testing.assert_array_equal(other, [11, 21])
    np.testing.assert_array_equal(traced, [1, 2])


def test_a_variable_that_stacks_would_share_is_refused(tf):
    """A function that uses a variable without a replacement raises instead of training it for two stacks."""
    traced = tf.Variable([1.0])
    concrete = tf.function(lambda: traced.assign_add([1.0]), autograph=False).get_concrete_function()
    with pytest.raises(RuntimeError, match="has no value per seed"):
        with_variables(concrete, [])


def test_no_other_module_uses_tensorflows_private_names():
    """An update of TensorFlow that moves them touches pfor.py alone."""
    private = re.compile(r"tensorflow\.python|_call_flat|_pfor_converter_registry|_create_op")
    users = [path.name for path in (PROJECT / "pipeline").rglob("*.py") if private.search(path.read_text())]
    assert users == ["pfor.py"]

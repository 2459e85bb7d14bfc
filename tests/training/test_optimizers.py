"""One optimizer on stacked variables is one optimizer per seed: each step is that of Keras' optimizer alone."""

import numpy as np
import pytest

from pipeline.config.schema import Optimizer
from pipeline.runtime.device import start_tensorflow
from pipeline.training.optimizers import ELEMENTWISE, SCHEDULES, make_optimizer, norm_clipping

SEEDS, STEPS = 3, 4
ARGUMENTS = {"SGD": {"momentum": 0.9, "nesterov": True, "clipvalue": 0.01}, "AdamW": {"weight_decay": 0.1}}
SCHEDULE_ARGUMENTS = {
    "CosineDecay": {"decay_steps": 9, "alpha": 0.1, "warmup_target": 0.2, "warmup_steps": 3},
    "CosineDecayRestarts": {"first_decay_steps": 4},
    "ExponentialDecay": {"decay_steps": 2, "decay_rate": 0.5},
    "InverseTimeDecay": {"decay_steps": 2, "decay_rate": 0.5},
    "PiecewiseConstantDecay": {"boundaries": [1, 3], "values": [0.1, 0.01, 0.05]},
    "PolynomialDecay": {"decay_steps": 3, "power": 2.0, "cycle": True},
}
SETTINGS = {
    **{name: Optimizer(name, 0.01, ARGUMENTS.get(name, {})) for name in ELEMENTWISE},
    **{name: Optimizer("SGD", 0.1, {}, {"class_name": name, "config": SCHEDULE_ARGUMENTS[name]}) for name in SCHEDULES},
    "clipnorm": Optimizer("SGD", 0.1, {"clipnorm": 0.5}),
    "global_clipnorm": Optimizer("SGD", 0.1, {"global_clipnorm": 0.5}),
}


def keras_alone(settings):
    """Keras' optimizer with everything that the settings say, the clipping included."""
    import keras

    rate = settings.learning_rate
    if settings.schedule:
        config = settings.schedule["config"]
        schedule = getattr(keras.optimizers.schedules, settings.schedule["class_name"])
        rate = schedule(**config) if "values" in config else schedule(rate, **config)
    return getattr(keras.optimizers, settings.class_name)(rate, **settings.config)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_stacked_step_is_one_step_per_seed(name):
    """Four steps on stacked variables of two shapes leave each seed where its own optimizer leaves it."""
    start_tensorflow("cpu")
    import keras
    import tensorflow as tf

    settings, rng = SETTINGS[name], np.random.default_rng(0)
    start = [rng.normal(size=(SEEDS, *shape)).astype(np.float32) for shape in ((4, 3), (3,))]
    # Seeds of different magnitude: a norm over all of them would clip them alike.
    scale = np.float32([0.01, 1, 10])
    gradients = [[np.float32(rng.normal(size=v.shape) * scale.reshape(-1, *[1] * (v.ndim - 1))) for v in start]
                 for _ in range(STEPS)]  # fmt: skip

    stacked, optimizer = [keras.Variable(v) for v in start], make_optimizer(settings)
    optimizer.build(stacked)
    clip = norm_clipping(settings)
    for step in gradients:
        optimizer.apply(clip([tf.constant(g) for g in step]), stacked)
    for seed in range(SEEDS):
        alone, its_optimizer = [keras.Variable(v[seed]) for v in start], keras_alone(settings)
        its_optimizer.build(alone)
        for step in gradients:
            its_optimizer.apply([tf.constant(g[seed]) for g in step], alone)
        for ours, theirs, before in zip(stacked, alone, start, strict=True):
            np.testing.assert_allclose(np.array(ours)[seed], np.array(theirs), rtol=1e-5, atol=1e-6)
            assert not np.array_equal(np.array(theirs), before[seed])

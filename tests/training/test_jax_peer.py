"""The peer of the benchmark trains what we train: for one seed, JAX reaches our numbers."""

import numpy as np
import pytest

from pipeline.biases.extraction import bias_variables
from pipeline.runtime.device import start_tensorflow
from pipeline.training.loop import train_seeds
from tests.benchmarks.__main__ import CNN, LSTM, MLP

pytest.importorskip("jax")
EPOCHS = 3
OVERRIDES = {"mlp": MLP, "cnn": CNN, "lstm": LSTM}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "overrides"), [("mlp", MLP), ("cnn", CNN), ("lstm", LSTM)], ids=["mlp", "cnn", "lstm"]
)
def test_one_seed_in_jax_reaches_our_numbers(name, overrides):
    """Losses, validation accuracy and biases of every epoch agree to 1e-5 of each array's largest value."""
    from tests.benchmarks.jax_peer import FORWARD, arrays, train
    from tests.benchmarks.training import prepare

    start_tensorflow("cpu")
    config, dataset, models, splits = prepare(1, *OVERRIDES[name], f"training.epochs={EPOCHS}")
    of_jax = arrays(config, dataset, models, splits)
    (ours,) = train_seeds(models, splits, dataset, config.optimizer, config.training, bias_variables)
    _, curves = train(FORWARD[name], *of_jax)
    pairs = [(ours.history[name][1:], getattr(curves, name)[0]) for name in ("loss", "val_loss", "val_accuracy")]
    pairs += [(of_us[1:], values[0]) for of_us, values in zip(ours.trajectory.values(), curves.biases, strict=True)]
    for of_us, of_theirs in pairs:
        np.testing.assert_allclose(of_theirs, of_us, rtol=0, atol=1e-5 * np.abs(of_us).max())

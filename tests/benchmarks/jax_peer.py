"""The same trainings in JAX, as somebody who knows it writes them: `vmap` over seeds, `scan` over steps, one `jit`.

Each function of `FORWARD` maps the weights of one seed and a batch to logits. Weights, splits and orders are those that
our training starts from, so the numbers can be held against ours (`tests/training/test_jax_peer.py`).
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pipeline.data.splits import standardized_inputs
from pipeline.training.loop import batch_order
from tests.benchmarks.training import EPOCHS, prepare, time_training

ROUNDS = 6  # trainings of each side; the first compiles


class Curves(NamedTuple):
    """What is recorded at each epoch, [seeds, epochs, ...]: losses, the validation accuracy, the biases."""

    loss: Any
    val_loss: Any
    val_accuracy: Any
    biases: list[Any]


def mlp(weights: Any, x: Any) -> Any:
    """Dense layers with ReLU between them."""
    x = x.reshape(len(x), -1)
    *hidden, last = zip(weights[::2], weights[1::2], strict=True)
    for kernel, bias in hidden:
        x = jax.nn.relu(x @ kernel + bias)
    return x @ last[0] + last[1]


def cnn(weights: Any, x: Any) -> Any:
    """Convolutions with ReLU, then a Dense layer."""
    x = x.reshape(len(x), 8, 8, 1)
    *convolutions, last = zip(weights[::2], weights[1::2], strict=True)
    for kernel, bias in convolutions:
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + bias)
    return x.reshape(len(x), -1) @ last[0] + last[1]


def lstm(weights: Any, x: Any) -> Any:
    """An LSTM over 8 steps with Keras' order of gates, its inputs' product taken over all steps at once."""
    kernel, recurrent, bias, *last = weights
    inputs = jnp.swapaxes(x.reshape(len(x), 8, -1), 0, 1) @ kernel + bias
    zeros = jnp.zeros((len(x), recurrent.shape[0]))

    def step(state: Any, row: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(row + h @ recurrent, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    (h, _), _ = jax.lax.scan(step, (zeros, zeros), inputs, unroll=8)
    return h @ last[0] + last[1]


FORWARD = {"mlp": mlp, "cnn": cnn, "lstm": lstm}


def adam(rate: float = 1e-3, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7) -> optax.GradientTransformation:
    """Keras' Adam, which adds epsilon before it corrects the moments for their start, where `optax.adam` does after."""

    def start(weights: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, weights)
        return jnp.zeros(()), zeros, zeros

    def update(gradients: Any, state: Any, weights: Any = None) -> Any:
        n, m, v = state[0] + 1, *state[1:]
        m = jax.tree.map(lambda m, g: m + (g - m) * (1 - b1), m, gradients)
        v = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - b2), v, gradients)
        alpha = rate * jnp.sqrt(1 - b2**n) / (1 - b1**n)
        return jax.tree.map(lambda m, v: -m * alpha / (jnp.sqrt(v) + eps), m, v), (n, m, v)

    return optax.GradientTransformation(start, update)


@partial(jax.jit, static_argnums=0)
def train(forward: Callable, weights: Any, x: Any, y: Any, order: Any, mask: Any, val_x: Any, val_y: Any) -> Any:
    """Train all seeds for all epochs: (weights, `Curves`).

    x [seeds, rows, ...], y [seeds, rows], order [seeds, epochs, steps, batch], mask [steps, batch]: 0 where the last
    batch has no row.
    """
    optimizer, losses = adam(), optax.softmax_cross_entropy_with_integer_labels

    def one_seed(weights: Any, x: Any, y: Any, order: Any, val_x: Any, val_y: Any) -> Any:
        def loss_of(weights: Any, x: Any, y: Any, mask: Any) -> Any:
            return jnp.sum(losses(forward(weights, x), y) * mask) / jnp.sum(mask)

        def step(state: Any, batch: Any) -> Any:
            (weights, moments), (rows, mask) = state, batch
            loss, gradients = jax.value_and_grad(loss_of)(weights, x[rows], y[rows], mask)
            updates, moments = optimizer.update(gradients, moments)
            return (optax.apply_updates(weights, updates), moments), loss * jnp.sum(mask)

        def epoch(state: Any, order: Any) -> Any:
            state, sums = jax.lax.scan(step, state, (order, mask))
            logits = forward(state[0], val_x)
            accuracy = jnp.mean(jnp.argmax(logits, -1) == val_y)
            biases = [w for w in state[0] if w.ndim == 1]
            return state, Curves(jnp.sum(sums) / jnp.sum(mask), jnp.mean(losses(logits, val_y)), accuracy, biases)

        (weights, _), curves = jax.lax.scan(epoch, (weights, optimizer.init(weights)), order)
        return weights, curves

    return jax.vmap(one_seed)(weights, x, y, order, val_x, val_y)


def arrays(config: Any, dataset: Any, models: Sequence[Any], splits: Sequence[Any]) -> tuple[Any, ...]:
    """What `train` takes after the function, of our models and splits."""
    size, rows = config.training.batch_size, len(splits[0].train)
    steps, epochs = -(-rows // size), config.training.epochs
    weights = [np.stack(one) for one in zip(*(model.get_weights() for model in models), strict=True)]
    x, val_x = (np.stack([standardized_inputs(dataset, split, getattr(split, part)) for split in splits])
                for part in ("train", "validation"))  # fmt: skip
    y, val_y = (np.stack([dataset.y[getattr(split, part)] for split in splits]) for part in ("train", "validation"))
    order = np.zeros((len(splits), epochs, steps * size), np.int32)
    for i, split in enumerate(splits):
        place = np.zeros(len(dataset.x), np.int32)
        place[split.train] = np.arange(rows)
        for epoch in range(epochs):
            order[i, epoch, :rows] = place[batch_order(split.seed, epoch + 1, split.train)]
    mask = (np.arange(steps * size) < rows).astype(np.float32).reshape(steps, size)
    return weights, x, y, order.reshape(len(splits), epochs, steps, size), mask, val_x, val_y


def time_beside_jax(name: str, seeds: int, threads: int, *overrides: str) -> tuple[float, float]:
    """Milliseconds per run and epoch of our training and of JAX': the fastest of trainings that take turns.

    threads: 1, all seeds in one call, as JAX' tutorials do it; or 2, half of them in each of two threads.
    """
    weights, x, y, order, mask, val_x, val_y = arrays(*prepare(seeds, *overrides))

    def train_part(part: slice) -> None:
        of_part = [x[part], y[part], order[part], mask, val_x[part], val_y[part]]
        jax.block_until_ready(train(FORWARD[name], [w[part] for w in weights], *of_part))

    def time_jax() -> float:
        start, size = time.perf_counter(), seeds // threads
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(train_part, [slice(i * size, (i + 1) * size) for i in range(threads)]))
        return (time.perf_counter() - start) / (size * threads) / EPOCHS * 1000

    rounds = [(time_training(seeds, *overrides), time_jax()) for _ in range(ROUNDS)][1:]
    ours, theirs = map(min, zip(*rounds, strict=True))
    return ours, theirs

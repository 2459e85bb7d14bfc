"""Datasets that are computed, so that what a model can learn of them is known exactly."""

import numpy as np

from pipeline.runtime.hashing import derive_seed

ANGLES, INNER = 200, 0.5  # rows per circle; the inner radius, a power of two: scaling by it rounds nothing
STEPS = 100  # points of the parabola on each side of 0
RARE_ROWS, RARE_SHARE, RARE_FEATURES, RARE_SHIFT = 10_000, 0.01, 8, 0.8

SEQUENCES, STEPS_TO_ADD = 5_000, 40
SYMBOLS, SHOWN, BLANKS = (
    8,
    10,
    20,
)  # of the copy task: kinds of symbols, how many are shown, steps between them and the end


def circles() -> tuple[np.ndarray, np.ndarray]:
    """Two circles around the origin, (x [400, 2], codes [400]): each inner point is half the outer one at its angle.

    So a model whose outputs only grow by the factor by which its inputs do, as those of a ReLU network without biases,
    has outputs of one sign on both, and is right on one point of each pair.
    """
    angles = 2 * np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
    outer = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return np.concatenate([outer, np.float32(INNER) * outer]), np.repeat([0, 1], ANGLES)


def parabola() -> tuple[np.ndarray, np.ndarray]:
    """The square of x at i/100 for i = -100 to 100 without 0, (x [200, 1], y [200])."""
    positive = np.arange(1, STEPS + 1) / STEPS
    x = np.concatenate([-positive[::-1], positive])
    return x[:, None], x**2


def rare() -> tuple[np.ndarray, np.ndarray]:
    """10,000 rows of eight normal features, (x, codes): 1 % belong to class 1, whose means are 0.8 higher."""
    rng = np.random.default_rng(derive_seed("rare"))
    codes = (np.arange(RARE_ROWS) < RARE_SHARE * RARE_ROWS).astype(np.int32)
    x = rng.standard_normal((RARE_ROWS, RARE_FEATURES)) + RARE_SHIFT * codes[:, None]
    return x, codes


def adding() -> tuple[np.ndarray, np.ndarray]:
    """Hochreiter and Schmidhuber's adding problem, (x [5000, 40, 2], y [5000]): the sum of two of 40 numbers.

    Channel 0 has numbers that are uniform in [0, 1), channel 1 marks one of the first 20 and one of the last 20.
    Whoever remembers nothing can only say 1, the mean of such a sum, with an error of 2/12, its variance.
    """
    rng = np.random.default_rng(derive_seed("adding"))
    half, rows = STEPS_TO_ADD // 2, np.arange(SEQUENCES)
    x = np.zeros((SEQUENCES, STEPS_TO_ADD, 2), np.float32)
    x[:, :, 0] = rng.random((SEQUENCES, STEPS_TO_ADD))
    marked = rng.integers([0, half], [half, STEPS_TO_ADD], (SEQUENCES, 2))
    x[rows[:, None], marked, 1] = 1
    return x, x[rows[:, None], marked, 0].sum(1)


def copying() -> tuple[np.ndarray, np.ndarray]:
    """The copy task with one answer, (x [5000, 31, 10], codes [5000]): say after 20 blanks which symbol came first.

    Ten of eight kinds of symbols, 20 blanks, and a sign to answer, each a channel of its own. Whoever remembers nothing
    can only guess among eight, with a cross-entropy of log 8.
    """
    rng = np.random.default_rng(derive_seed("copying"))
    symbols = rng.integers(0, SYMBOLS, (SEQUENCES, SHOWN))
    channels = np.concatenate([symbols, np.full((SEQUENCES, BLANKS), SYMBOLS), np.full((SEQUENCES, 1), SYMBOLS + 1)], 1)
    return np.eye(SYMBOLS + 2, dtype=np.float32)[channels], symbols[:, 0].astype(np.int32)

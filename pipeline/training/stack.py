"""Many models of one structure as one TensorFlow program.

Each variable gets a leading seed axis. `tf.vectorized_map` calls the Keras model once for all seeds, and one Keras
optimizer updates the stacked variables: Keras' optimizers work element by element, so it is one optimizer per seed. An
epoch is one `tf.function` that loops over the steps on the device; the data are there once, and each seed picks its
own rows. The numbers are those of `model.fit`, seed by seed, on the same batches.

Measurements behind the design (digits, Dense 64-32-10, 2 cores):
- The step is traced before the XLA program that loops over it. Traced within it, the forward and backward passes become
  two functions that hand each other shapes; XLA then takes the inputs of the first, and with them the weights, for
  compile-time constants: it compiled anew at every call, and a smaller last step started from the first weights.
- The last bits depend on how many seeds are stacked (dense nets agreed for 1 to 10, not for 20 and 40), and without
  XLA on a seed's slot, but not on its neighbours. So the width follows from model and batch size alone, and a seed
  always gets the same slot: which seeds train together does not matter.
- XLA hardly uses a second core for such small products. Two stacks side by side do: 1.7 times as fast. They share one
  compiled program and differ in the variables that it is called with (`Stack`), so a core costs no compilation.
- Wider is faster for small models (40 dense seeds: 2.0 ms per run and epoch with 10 slots, 1.6 with 20) and slower for
  others (10 LSTM seeds: 14 ms with 10 slots, 10 with 5), hence `stack_width`.
- No gain: XLA's flags for vector width, copies and its scheduler. Adam's update is a fifth to two fifths of a step.
- Recurrent layers do not compile under XLA (tensor lists). With their steps written out they do, in some 10 s more, and
  train twice as fast (LSTM 16 over 8 steps), so short sequences are; long ones run without XLA. Taking the product of
  all inputs at once (`recurrence.py`) halves the time of XLA's kernels again, from 7.7 to 3.8 ms per run and epoch.
- No gain either: weights and the optimizer's state carried through the loop instead of variables; the rows of an epoch
  gathered and standardized in one go (both within 10 % of the variables, MLP). Where a step's time goes, and how long
  JAX takes, is in tests/README.md.
- Convolutions: a stack copies the patches that they see and takes one product, in XLA, which has no convolution of
  its own that is as fast. With much to compute the copies cost more than a stack saves, so that each seed trains
  alone then, with TensorFlow's convolutions and without XLA. Stacked against alone, by millions of multiplications at
  a step: Conv 16 and 32, 8 x 8 pixels, batches of 32, 2.5: 8.6 against 31 ms per run and epoch; with pooling between
  them, seconds of the processor: 12 x 12 pixels, 4.2: 0.52 against 0.52; 16 x 16, 8.1: 0.97 against 0.62; 20 x 20, 13:
  1.51 against 0.76; 28 x 28, 28: 1.63 against 0.60; in batches of 128, 112: 1.13 against 0.34.
- `model.fit` computes cross-entropies from the logits in front of a softmax or sigmoid, so the stack does too.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.data.splits import Split
from pipeline.training.pfor import with_variables
from pipeline.training.program import Program, model_variables


class Stack:
    """Seeds that train side by side: a shared program on variables of this stack, one seed per slot."""

    def __init__(self, program: Program) -> None:
        import tensorflow as tf

        self.program = program
        self._variables = [tf.Variable(tf.constant(values)) for values in program.initial_values]
        replaced = list(zip(program.variables, self._variables, strict=True))
        self._epoch = with_variables(program.epoch, replaced)
        self._evaluation = with_variables(program.evaluation, replaced)

    def load(self, models: Sequence[Any], splits: Sequence[Split], learning_rate: float) -> None:
        """Put a model and its split into each slot and reset the optimizer."""
        weights = [np.stack([np.asarray(v.value) for v in same])
                   for same in zip(*map(model_variables, models), strict=True)]  # fmt: skip
        constants = self.program.seed_constants(splits)
        optimizer = self.program.initial_values[len(weights) : -len(constants)]
        for variable, values in zip(self._variables, [*weights, *optimizer, *constants], strict=True):
            variable.assign(values)
        if self.program.learning_rate_index is not None:
            self._variables[self.program.learning_rate_index].assign(learning_rate)

    def train_epoch(self, order: np.ndarray, validation: np.ndarray) -> np.ndarray:
        """Train on the row numbers `order` [width, n_train], batch by batch, then evaluate on `validation` [width, n].

        Returns [width, 2 * (1 + metrics)]: loss and metrics averaged over the epoch's batches as they were trained,
        then over the validation rows.
        """
        sums = self._epoch(order, *self._padded(validation))
        n_rows = order.shape[1], validation.shape[1]
        return np.concatenate([self._means(s, n) for s, n in zip(sums, n_rows, strict=True)], 1)

    def evaluate(self, rows: np.ndarray) -> np.ndarray:
        """Loss and metrics [width, 1 + metrics] over the row numbers [width, n], without training."""
        (padded, counts), size = self._padded(rows), self.program.rows_per_evaluation
        sums = np.zeros([self.program.width, self.program.objective.size], np.float32)
        for start in range(0, padded.shape[1], size):
            piece = slice(start, start + size)
            sums += np.asarray(self._evaluation(padded[:, piece], counts[piece]))
        return self._means(sums, rows.shape[1])

    def values(self, variable: Any) -> np.ndarray:
        """Current values [width, *shape] of a variable of the program's template. Raises KeyError for another one."""
        for of_template, stacked in zip(model_variables(self.program.template), self._variables, strict=False):
            if of_template is variable:
                return np.array(stacked)
        raise KeyError(variable.path)

    def all_values(self) -> list[np.ndarray]:
        """Current weights and state of every slot, [width, *shape] each, in the order of `model_variables`."""
        return [np.array(v) for v in self._variables[: len(model_variables(self.program.template))]]

    def assign_all(self, values: Sequence[np.ndarray]) -> None:
        """Put back what `all_values` gave."""
        for variable, value in zip(self._variables, values, strict=False):  # the optimizer's follow
            variable.assign(value)

    def _padded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers padded to whole evaluations, and how often each column counts: 0 for the padding."""
        n = rows.shape[1]
        padded = np.pad(rows, [(0, 0), (0, -n % self.program.rows_per_evaluation)])
        return padded, (np.arange(padded.shape[1]) < n).astype(np.float32)

    def _means(self, sums: Any, n_rows: int) -> np.ndarray:
        return self.program.objective.means(np.asarray(sums), n_rows)


def assign_values(model: Any, values: Sequence[np.ndarray]) -> None:
    """Give a model its weights and state, in the order of `model_variables`."""
    for variable, value in zip(model_variables(model), values, strict=True):
        variable.value.assign(value)  # Keras' own takes twice as long, for checks that these values pass

"""Many models of one structure as one TensorFlow program.

Each variable gets a leading seed axis. `tf.vectorized_map` calls the Keras model once for all seeds, and one Keras
optimizer updates the stacked variables: Keras' optimizers work element by element, so it is one optimizer per seed. An
epoch is one `tf.function` that loops over the steps on the device; the data lie there once, and each seed picks its
own rows. The numbers are those of `model.fit`, seed by seed, on the same batches.

What was measured, and shapes it (digits, Dense 64-32-10, 2 cores):
- The step is traced before the XLA program that loops over it. Traced within, its forward and backward passes become
  two functions that hand each other shapes; XLA then takes the inputs of the first for compile-time constants, and
  with them the weights: it compiled anew at every call, and a last smaller step started from the first weights.
- The last bits depend on how many seeds are stacked (dense nets agreed for 1 to 10, not for 20 and 40), and without
  XLA on a seed's place, but not on its neighbours. So the width follows from the model alone, and a seed always has
  the same place: which seeds train together does not matter.
- XLA hardly uses a second core for such small products. Two stacks side by side do: 1.7 times as fast. They share one
  compiled program and differ in the variables that it is called with (`Stack`), so a core costs no compilation.
- Wider is faster for small models (40 dense seeds: 2.0 ms per run and epoch at 10 places, 1.6 at 20) and slower for
  others (10 LSTM seeds: 14 ms at 10 places, 10 at 5), hence `places`.
- Tried without gain: XLA's flags for vector width, copies and its scheduler; Adam's update is a fifth to two fifths of
  a step.
- Recurrent layers do not compile under XLA (tensor lists). With their steps written out they do, in some 10 s more, and
  train twice as fast (LSTM 16 over 8 steps), so short sequences are; long ones run without XLA.
- `model.fit` computes cross-entropies from the logits in front of a softmax or sigmoid, so the stack does too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.data.splits import Split
from pipeline.training.program import Program, model_variables


class Stack:
    """Seeds that train side by side: a program, and variables of its own."""

    def __init__(self, program: Program) -> None:
        import tensorflow as tf

        self.program = program
        self._variables = [tf.Variable(values) for values in program.first_values]
        pairs = zip(program.variables, self._variables, strict=True)
        own_handles = {id(traced.handle): own.handle for traced, own in pairs}

        def on_own(function: Any) -> Callable[..., Any]:
            """A traced function of the program, on this stack's variables instead of those it was traced with."""
            captured = [own_handles.get(id(handle), handle) for handle in function.captured_inputs]
            for handle, traced in zip(captured, function.captured_inputs, strict=True):
                if handle is traced and handle.dtype == tf.resource:
                    raise RuntimeError("a variable of this model is not known per seed, so seeds would share it")
            return lambda *arguments: function._call_flat([tf.convert_to_tensor(a) for a in arguments], captured)

        self._epoch, self._evaluation = on_own(program.epoch), on_own(program.evaluation)

    def load(self, models: Sequence[Any], rows: Sequence[Split], learning_rate: float) -> None:
        """Start anew with a model and its rows in each place, the optimizer at its start."""
        stacked = [
            np.stack([np.asarray(v.value) for v in same]) for same in zip(*map(model_variables, models), strict=True)
        ]
        per_seed = self.program.per_seed(rows)
        middle = self.program.first_values[len(stacked) : -len(per_seed)]
        for variable, values in zip(self._variables, [*stacked, *middle, *per_seed], strict=True):
            variable.assign(values)
        if self.program.rate is not None:
            self._variables[self.program.rate].assign(learning_rate)

    def train_epoch(self, order: np.ndarray, validation: np.ndarray) -> np.ndarray:
        """One pass over the row numbers `order` [width, training rows], a batch at a time, then over `validation`.

        [width, 2 * (1 + metrics)]: running means of loss and metrics, then the means over the validation rows.
        """
        filled, counts = self._filled(validation)
        sums = self._epoch(order, filled, counts)
        rows = order.shape[1], validation.shape[1]
        return np.concatenate([self._means(s, n) for s, n in zip(sums, rows, strict=True)], 1)

    def evaluate(self, numbers: np.ndarray) -> np.ndarray:
        """Means [width, 1 + metrics] over the row numbers [width, n], without training."""
        (filled, counts), size = self._filled(numbers), self.program.piece
        sums = np.zeros([self.program.width, self.program.objective.size], np.float32)
        for start in range(0, filled.shape[1], size):
            piece = slice(start, start + size)
            sums += np.asarray(self._evaluation(filled[:, piece], counts[piece]))
        return self._means(sums, numbers.shape[1])

    def values(self, variable: Any) -> np.ndarray:
        """What the stack holds now for a variable of the program's template: [width, *shape]."""
        for own, stacked in zip(model_variables(self.program.template), self._variables, strict=False):
            if own is variable:
                return np.array(stacked)
        raise KeyError(variable.path)

    def ends(self) -> list[np.ndarray]:
        """The weights and the state of all places, [width, *shape] each, in the order of `put_back`."""
        return [np.array(v) for v in self._variables[: len(model_variables(self.program.template))]]

    def _filled(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers filled up to whole pieces, and how often each counts: what fills counts 0."""
        count = numbers.shape[1]
        filled = np.pad(numbers, [(0, 0), (0, -count % self.program.piece)])
        return filled, np.float32(np.arange(filled.shape[1]) < count)

    def _means(self, sums: Any, rows: int) -> np.ndarray:
        return self.program.objective.means(np.asarray(sums), rows)


def put_back(model: Any, values: Sequence[np.ndarray]) -> None:
    """Give a model the weights and the state that its place in a stack has reached."""
    for own, value in zip(model_variables(model), values, strict=True):
        own.assign(value)

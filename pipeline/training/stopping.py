"""Early stopping of the seeds of a stack, each by itself, by the rule of `keras.callbacks.EarlyStopping`.

A stack trains all its places until the last has stopped; what a seed that has stopped computes meanwhile is thrown
away, so its numbers do not depend on its neighbours. Its best weights are put back, as `restore_best_weights` does.

Rounding can decide where a seed stops. On rows that a model comes to separate, Adam blows the last bits of small
gradients up, until the curves of two correct programs part. Of 84 runs held against `fit` (breast_cancer, iris, two
kinds of iris; linear and MLP; patience 2 and 5; of the last 20, those whose epochs came nearest to a tie) 83 had the
same epochs. One, an MLP on two kinds of iris at a loss of 4e-4, had `val_loss` equal to 1e-7 up to epoch 100, to 1e-3
at 280, and was best at epoch 400 instead of 310. So was `fit` itself, when one initial weight was moved by its last
bit: in two of three such trials it came to 400.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.config.stopping import DEFAULTS, monitored_name, monitors_up
from pipeline.data.splits import Split


def stops_by_training_rows(stop: Mapping[str, Any] | None, split: Split) -> bool:
    """Whether what is monitored is measured on the rows that are trained on."""
    if not stop:
        return False
    return not monitored_name(stop).startswith("val_") or np.array_equal(
        np.sort(split.validation), np.sort(split.train)
    )


class EarlyStopping:
    """Which places of a stack have stopped, and the weights of each at its best epoch.

    best_epoch, last_epoch [width]: of each place, from 1.
    """

    def __init__(self, stop: Mapping[str, Any], width: int) -> None:
        arguments = DEFAULTS | dict(stop)
        self._patience, self._first = int(arguments["patience"]), int(arguments["start_from_epoch"])
        self._sign = -1.0 if monitors_up(stop) else 1.0  # so that less is better
        self._delta = float(arguments["min_delta"])
        self._best = np.full(width, np.inf)
        self._wait = np.zeros(width, int)
        self._stopped = np.zeros(width, bool)
        self._weights: list[np.ndarray] = []
        self.best_epoch = np.zeros(width, int)
        self.last_epoch = np.zeros(width, int)

    def update(self, epoch: int, monitored: np.ndarray, stack_values: Any) -> bool:
        """Take note of an epoch that has ended (from 1); returns whether all places have stopped.

        monitored [width]: the value at its end. stack_values(): all weights and state, [width, ...] each.
        """
        training = ~self._stopped
        self.last_epoch[training] = epoch
        if epoch - 1 < self._first:
            return False
        values = self._sign * np.asarray(monitored, np.float64)
        first = self.best_epoch == 0
        better = training & (first | (values + self._delta < self._best))  # nothing is better than nan, as in Keras
        self._best[better] = values[better]
        self.best_epoch[better] = epoch
        self._keep(better, stack_values)
        self._wait = np.where(better, 0, self._wait + 1)
        self._stopped |= training & ~better & (self._wait >= self._patience) & (epoch > 1)
        return bool(self._stopped.all())

    def best_weights(self, stack_values: Any) -> Sequence[np.ndarray]:
        """The weights and state of each place at its best epoch; the last one's where none was looked at."""
        never = self.best_epoch == 0
        self.best_epoch[never] = self.last_epoch[never]
        self._keep(never, stack_values)
        return self._weights

    def _keep(self, places: np.ndarray, stack_values: Any) -> None:
        if not places.any():
            return
        current = stack_values()
        if not self._weights:
            self._weights = current
            return
        for kept, values in zip(self._weights, current, strict=True):
            kept[places] = values[places]

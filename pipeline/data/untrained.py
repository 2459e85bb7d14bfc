"""Classes that are tested, but that no training row has: by groups and by time, a split may leave some without."""

from collections.abc import Iterator

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset
from pipeline.data.splits import cut_rows, untrained_classes
from pipeline.errors import DataError

N_SEEDS = 10  # that are tried where rows are split by groups
ENOUGH_GROUPS = 20  # a class with rows in as many groups is in the training rows of practically any seed


def check_trained_classes(dataset: Dataset, data: Data) -> Iterator[str]:
    """Sentences on classes that some seeds test or validate without training rows of them.

    Raises DataError where every seed tests such a class.
    """
    if dataset.task == "regression" or (dataset.groups is None and dataset.ranks is None):
        return
    if dataset.groups is not None:
        pairs = np.unique(np.stack([dataset.y, dataset.groups]), axis=1)
        if np.bincount(pairs[0]).min(initial=ENOUGH_GROUPS) >= ENOUGH_GROUPS:
            return
    seeds = range(N_SEEDS) if dataset.ranks is None else (0,)  # time is the same for every seed
    cuts = {seed: cut_rows(dataset, data, seed) for seed in seeds}
    tested = {seed: untrained_classes(dataset, train, test) for seed, (train, _, test) in cuts.items()}
    lacking = {seed: labels for seed, labels in tested.items() if labels}
    units = "groups" if dataset.groups is not None else "times, some of them early"
    first = ", ".join(next(iter(lacking.values()), [])[:5])
    if len(lacking) == len(cuts):
        raise DataError(
            "data.split", data.split, f"data.split=random, or rows of each class in more {units}",
            reason=f"which tests on class {first} without a training row of it",
        )  # fmt: skip
    if lacking:
        shown = ", ".join(map(str, lacking))
        yield (
            f"data.split={data.split}: no training row has a class that is tested with seed {shown} (such as {first}; "
            f"{N_SEEDS} seeds from 0 on were tried, whichever are trained)"
        )
    validated = {label for train, validation, _ in cuts.values()
                 for label in untrained_classes(dataset, train, validation)}  # fmt: skip
    only = sorted(validated.difference(*lacking.values()))
    if only:
        yield f"data.split={data.split}: validation rows have class {', '.join(only[:5])}, but no training row has it"

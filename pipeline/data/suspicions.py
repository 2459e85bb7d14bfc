"""What is readable but seldom meant: features that count rows or give the target, and digits that float32 loses."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.dataset import INDICATOR, NUMBER, Dataset
from pipeline.data.odd_features import counts_rows, gives_target
from pipeline.data.precision import BLOCK, by_column, count_apart, merges
from pipeline.data.settings import how_to_drop, names
from pipeline.data.splits import split_rows

MOST_NAMED = 8


def suspicions(dataset: Dataset, data: Data) -> list[str]:
    """Sentences on features and targets that are likely a mistake."""
    found = [*_merged_values(dataset, data)]
    if data.source == "file" and dataset.x.ndim == 2:
        found = [*_odd_features(dataset, data), *found]
    more = len(found) - MOST_NAMED
    return found if more <= 0 else [*found[:MOST_NAMED], f"{more} more such sentences are left out"]


def _odd_features(dataset: Dataset, data: Data) -> Iterator[str]:
    (n_rows, n_columns), kinds = dataset.x.shape, dataset.kinds
    for i in range(n_columns):
        name = _name(dataset, i)
        what = counts_rows(dataset.x[:, i], dataset.parts) if kinds is None or kinds[i] == NUMBER else None
        if what:
            yield f"{name} {what}; if it is no measurement, leave it out{_drop(dataset, data, name)}"
    targets = names(data, "target") or []
    y = dataset.y.reshape(n_rows, -1)
    for name, values, is_text in _file_columns(dataset):
        for j in range(y.shape[1]):
            if gives_target(values, y[:, j], dataset.task, is_text):
                of = f" {targets[j]}" if y.shape[1] > 1 and len(targets) == y.shape[1] else ""
                yield (
                    f"{name} alone gives the target{of}; if it is made of it, leave it out{_drop(dataset, data, name)}"
                )
                break


def _file_columns(dataset: Dataset) -> Iterator[tuple[str, np.ndarray, bool]]:
    """(name, values, whether it is text or a gap) of each column of the file; text as codes of its categories."""
    x, kinds = dataset.x, dataset.kinds
    seen: set[int] = set()
    for i in range(x.shape[1]):
        kind, name = NUMBER if kinds is None else int(kinds[i]), _name(dataset, i)
        if kind == NUMBER:
            yield name, np.asarray(x[:, i], np.float64), False
        elif kind == INDICATOR:
            yield name.removesuffix(" is missing"), np.asarray(x[:, i], np.float64), True
        elif kinds is not None and kind not in seen:
            seen.add(kind)
            block = x[:, kinds == kind]
            codes = np.where(np.isnan(block).any(1), np.nan, block.argmax(1))
            yield name.partition("=")[0], codes, True


def _merged_values(dataset: Dataset, data: Data) -> Iterator[str]:
    """Columns of which float32 merges different values of the training rows, as a model sees them."""
    x = dataset.x
    by_inputs, is_number = x.ndim == 2 or x.dtype == np.float64, dataset.task == "regression"
    if not by_inputs and not is_number:
        return
    split = split_rows(dataset, data, 0)
    if by_inputs:
        name = partial(_name, dataset)
        numbers = np.ones(x.shape[-1], bool) if dataset.kinds is None else dataset.kinds == NUMBER
        statistics = split.mean, split.scale
        yield from _merged(x, split.train, statistics, numbers, name, data.standardize, "standardize")
    if is_number:
        y = dataset.y.reshape(len(dataset.y), -1)
        numbers, statistics = np.ones(y.shape[1], bool), (split.target_mean, split.target_scale)
        is_set = data.standardize_target
        yield from _merged(y, split.train, statistics, numbers, lambda _: "the target", is_set, "standardize_target")


def _merged(
    values: np.ndarray,
    rows: np.ndarray,
    statistics: tuple[np.ndarray, np.ndarray],
    numbers: np.ndarray,
    name: Callable[[int], str],
    standardized: bool,
    key: str,
) -> Iterator[str]:
    """values: [all rows, ..., columns]; rows: of the training; numbers: [columns], which are measured."""
    mean, scale = (np.broadcast_to(one, numbers.shape) for one in statistics)
    width = max(1, BLOCK // max(1, values[..., 0].size))
    for start in range(
        0, len(numbers), width
    ):  # in blocks, since all training rows at once would take twice the memory
        at = slice(start, start + width)
        before, after = count_apart(
            by_column(values[..., at][rows]),
            lambda block, c, first=start: np.asarray((block - mean[first:][c]) / scale[first:][c], np.float32),
        )
        for i in np.flatnonzero(numbers[at]).tolist():
            if merges(before[i], after[i]):
                near = "subtract a number near their mean, or scale them"
                advice = near if standardized else f"data.{key}=true keeps them"
                yield (
                    f"{name(start + i)}: float32 tells only {after[i]} of {before[i]} different values apart; {advice}"
                )


def _name(dataset: Dataset, i: int) -> str:
    return f"column {dataset.features[i]}" if dataset.features else f"column {i} of x"


def _drop(dataset: Dataset, data: Data, name: str) -> str:
    return f": {how_to_drop(data, [name.removeprefix('column ')])}" if dataset.features else ""

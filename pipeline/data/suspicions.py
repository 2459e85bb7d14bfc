"""What is readable but seldom meant: features that count rows or give the target, and digits that float32 loses."""

from collections.abc import Iterator

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.columns import MOST_CATEGORIES
from pipeline.data.dataset import INDICATOR, LARGEST_SEARCH, NUMBER, Dataset, merges
from pipeline.data.settings import names
from pipeline.data.splits import split_rows, standardized_inputs, standardized_targets

FEWEST_ROWS = 20  # with fewer, what is found below happens by chance

MOST_NAMED = 8


def suspicions(dataset: Dataset, data: Data) -> list[str]:
    """Sentences on features and targets that are likely a mistake."""
    found = [*_merged_values(dataset, data)]
    if data.source == "file" and dataset.x.ndim == 2 and dataset.x.size <= LARGEST_SEARCH:
        found = [*_odd_features(dataset, data), *found]
    more = len(found) - MOST_NAMED
    return found if more <= 0 else [*found[:MOST_NAMED], f"{more} more such sentences are left out"]


def _odd_features(dataset: Dataset, data: Data) -> Iterator[str]:
    n_rows, n_columns = dataset.x.shape
    if n_rows < FEWEST_ROWS:
        return
    for i in range(n_columns):
        values, name = dataset.x[:, i], _name(dataset, i)
        if (dataset.kinds is not None and dataset.kinds[i] != NUMBER) or np.isnan(values).any():
            continue
        different = np.unique(values)
        if len(different) == n_rows and bool((different == np.round(different)).all()):
            first, last = int(different[0]), int(different[-1])
            counts = last - first == n_rows - 1
            what = (
                f"counts the rows ({first} to {last})" if counts else "is another whole number in each row, like an id"
            )
            yield f"{name} {what}; if it is no measurement, leave it out{_drop(dataset, name)}"
    targets = names(data, "target") or []
    y = dataset.y.reshape(n_rows, -1)
    for name, values, is_text in _file_columns(dataset):
        for j in range(y.shape[1]):
            known = ~np.isnan(values)
            if known.sum() >= FEWEST_ROWS and _tells(values[known], y[known, j], dataset.task, is_text):
                of = f" {targets[j]}" if y.shape[1] > 1 and len(targets) == y.shape[1] else ""
                yield (f"{name} alone gives the target{of}; if it is made of it, leave it out{_drop(dataset, name)}")
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


def _tells(values: np.ndarray, y: np.ndarray, task: str, is_text: bool) -> bool:
    """Whether each value, or each interval of values, belongs to one class; or the target is a line of the values."""
    if np.ptp(values) == 0 or np.ptp(y) == 0:
        return False
    if task == "regression" and not is_text:
        return bool(1 - abs(np.corrcoef(values, np.asarray(y, np.float64))[0, 1]) < 1e-10)
    order = np.lexsort((y, values))
    ordered, classes = values[order], y[order]
    changes = classes[1:] != classes[:-1]
    if bool((changes & (ordered[1:] == ordered[:-1])).any()):
        return False
    n_different = 1 + int((ordered[1:] != ordered[:-1]).sum())
    by_interval = not is_text and int(changes.sum()) == len(np.unique(y)) - 1
    return by_interval or n_different <= min(MOST_CATEGORIES if is_text else 20, len(values) // 5)


def _merged_values(dataset: Dataset, data: Data) -> Iterator[str]:
    """Columns of which float32 merges different values of the training rows, as a model sees them."""
    x = dataset.x
    by_inputs = (x.ndim == 2 or x.dtype == np.float64) and x.size <= LARGEST_SEARCH
    is_number = dataset.task == "regression"
    if not by_inputs and not is_number:
        return
    split = split_rows(dataset, data, 0)
    if by_inputs:
        given, seen = x[split.train], standardized_inputs(dataset, split, split.train)
        for i in range(x.shape[-1]):
            if dataset.kinds is None or dataset.kinds[i] == NUMBER:
                yield from _merged(given[..., i], seen[..., i], _name(dataset, i), data.standardize, "standardize")
    if is_number:
        seen = standardized_targets(dataset, split, split.train).reshape(len(split.train), -1)
        given = dataset.y[split.train].reshape(len(split.train), -1)
        for i in range(given.shape[1]):
            yield from _merged(given[:, i], seen[:, i], "the target", data.standardize_target, "standardize_target")


def _merged(given: np.ndarray, seen: np.ndarray, name: str, standardized: bool, key: str) -> Iterator[str]:
    before, after = len(np.unique(given[~np.isnan(given)])), len(np.unique(seen))
    if merges(before, after):
        advice = "subtract a number near their mean, or scale them" if standardized else f"data.{key}=true keeps them"
        yield f"{name}: float32 tells only {after} of {before} different values apart; {advice}"


def _name(dataset: Dataset, i: int) -> str:
    return f"column {dataset.features[i]}" if dataset.features else f"column {i} of x"


def _drop(dataset: Dataset, name: str) -> str:
    return f": data.drop=[{name.removeprefix('column ')}]" if dataset.features else ""

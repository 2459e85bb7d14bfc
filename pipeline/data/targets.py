"""Tell what a target asks for: classes, or numbers to predict."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset, classification, classification_task, regression
from pipeline.data.precision import whole_numbers_lost
from pipeline.errors import DataError

MOST_CLASSES = 20  # a target with more different whole numbers than this is taken for a regression
MOST_SHOWN = 10


def make_dataset(
    x: np.ndarray, y: np.ndarray, targets: Sequence[str], data: Data, file: str, remarks: Sequence[str], **more: Any
) -> Dataset:
    """The dataset of these rows. y: [rows], or [rows, n] for several targets or classes in one-hot form.

    Without `data.task`, text, booleans, at most 20 different whole numbers, and one-hot rows make a classification;
    other numbers a regression. Raises DataError for a target that cannot be learnt.
    """
    name = ", ".join(targets[:MOST_SHOWN])
    features = "feature" if x.shape[1:] == (1,) else "features"
    remarks = [*remarks, f"{file}: {len(x)} rows, {' x '.join(map(str, x.shape[1:]))} {features}"]
    numeric = y.dtype.kind in "iuf"
    if numeric and not np.isfinite(y).all():
        n_bad = int((~np.isfinite(y)).sum())
        raise DataError(f"data.target: {n_bad} values of {name} are infinite (or NaN); allowed: finite numbers")
    columns = x.reshape(len(x), -1).T if x.dtype.kind in "iu" and x.ndim == 2 else ()
    if any(map(whole_numbers_lost, (*columns, y.ravel()))):
        remarks.append(f"{file}: floats cannot tell its whole numbers apart; subtract a number near their mean")
    labels = None
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    elif y.ndim == 2:
        y, labels = _several(y, targets, data, name)
    if labels is None and y.ndim == 1 and data.task != "regression":
        labels, y = _classes(y, data, name)
    if labels is None:
        if y.dtype.kind not in "iufb":
            raise DataError(f"data.target: {name} holds text; allowed for a regression: numbers")
        several = f" of {y.shape[1]} targets" if y.ndim == 2 else ""
        remarks.append(f"{name}: numbers to predict, a regression{several}{_rule(y, data)}")
        return regression(x, y.astype(np.float64), **more, remarks=tuple(remarks))
    if data.task == "binary" and len(labels) != 2:
        raise DataError("data.task", "binary", "multiclass", reason=f"but the target has {len(labels)} classes")
    shown = ", ".join(labels[:MOST_SHOWN]) + (", ..." if len(labels) > MOST_SHOWN else "")
    remarks.append(f"{name}: {len(labels)} classes ({shown})")
    task = data.task or classification_task(len(labels))
    return replace(classification(x, y, labels, **more, remarks=tuple(remarks)), task=task)


def _several(y: np.ndarray, targets: Sequence[str], data: Data, name: str) -> tuple[np.ndarray, list[str] | None]:
    """(class codes [rows], labels) of one-hot rows; (y, None) of several numbers to predict."""
    if y.dtype.kind not in "iufb":
        raise DataError(f"data.target: [{name}] holds text; allowed for several targets: numbers")
    if data.task == "regression":
        return y, None
    is_0_or_1 = bool(((y == 0) | (y == 1)).all())
    if is_0_or_1 and bool((y.sum(axis=1, dtype=np.int64) == 1).all()):
        all_labels = list(targets) if len(targets) == y.shape[1] else [str(i) for i in range(y.shape[1])]
        used, codes = np.unique(y.argmax(axis=1), return_inverse=True)
        return codes, [all_labels[i] for i in used]
    if is_0_or_1:
        raise DataError(
            f"data.target: [{name}] has rows of several classes, or of none (multi-label); allowed: one class per row, "
            "or data.task=regression to predict the numbers"
        )
    if data.task is not None:
        raise DataError("data.task", data.task, "regression", reason=f"but the target has {y.shape[1]} numbers per row")
    return y, None


def _classes(y: np.ndarray, data: Data, name: str) -> tuple[list[str] | None, np.ndarray]:
    """(labels, codes [rows]) of a target of classes; (None, y) where it is one of numbers."""
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    different, codes = np.unique(y if y.dtype.kind in "iuf" else y.astype(str), return_inverse=True)
    if different.dtype.kind in "iuf":
        whole = bool((different == np.round(different)).all())
        if data.task is None and not (whole and len(different) <= MOST_CLASSES):
            return None, y
        if whole and different.dtype.kind == "f" and np.abs(different).max(initial=0) < 2**53:
            different = different.astype(np.int64)  # 1.0 is the class 1
    elif len(different) > max(MOST_CLASSES, len(y) // 2):
        raise DataError(
            f"data.target: {name} has {len(different)} different texts in {len(y)} rows; allowed: classes that occur "
            "more than once, or numbers"
        )
    return [str(label) for label in different], codes


def _rule(y: np.ndarray, data: Data) -> str:
    """What to do where whole numbers were not taken for classes."""
    if data.task is not None or y.ndim > 1 or not bool((y == np.round(y)).all()):
        return ""
    n = len(np.unique(y))
    return f" (more than {MOST_CLASSES} different whole numbers, {n}; data.task=multiclass makes them classes)"

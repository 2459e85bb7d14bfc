"""What the data say about their split: parts, groups and times of rows (`data.split`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.columns import as_times
from pipeline.data.dataset import REST, TEST, VALIDATION, Dataset
from pipeline.errors import DataError, closest

WORDS = {
    "train": REST, "training": REST, "validation": VALIDATION, "val": VALIDATION, "valid": VALIDATION,
    "dev": VALIDATION, "test": TEST, "testing": TEST,
}  # fmt: skip
ALLOWED = "train, validation (val, valid, dev) and test"


def row_roles(values: Any, parts: np.ndarray, data: Data, remarks: list[str]) -> dict[str, Any]:
    """`parts`, `groups` and `ranks` of a Dataset. values: those of `data.split_by`, [rows]; parts: by file."""
    import pandas as pd

    roles: dict[str, Any] = {"parts": parts if parts.any() else None}
    if values is None:
        return roles
    by, values = data.split_by, pd.Series(values)
    n_missing = int(values.isna().sum())
    if n_missing:
        raise DataError(
            f"data.split_by: {by} has {n_missing} missing values; allowed: a value in every row, or data.missing=drop"
        )
    if data.split == "column":
        words = [str(value).strip().lower() for value in values]
        unknown = sorted({word for word in words if word not in WORDS})
        if unknown:
            raise DataError(f"data.split_by: {by} holds {', '.join(unknown[:5])}; allowed: {ALLOWED}")
        roles["parts"] = np.array([WORDS[word] for word in words], np.int8)
    elif data.split == "groups":
        roles["groups"] = np.unique(values.map(str).to_numpy(str), return_inverse=True)[1].astype(np.int32)
        of_parts = [set(roles["groups"][parts == part].tolist()) for part in (REST, VALIDATION, TEST)]
        shared = len(of_parts[0] & (of_parts[1] | of_parts[2]))
        if shared:
            remarks.append(f"{by}: {shared} groups are in the training file and in another one")
    else:
        times = as_times(values, str(by))
        if times.dtype.kind == "f" and not np.isfinite(times).all():
            raise DataError(f"data.split_by: {by} holds infinite values; allowed: finite numbers or dates")
        roles["ranks"] = np.unique(times, return_inverse=True)[1].astype(np.int32)
    return roles


def source_rows(lengths: Sequence[int], kept: np.ndarray) -> np.ndarray | None:
    """The number of each kept row in its file; None where it is the row. lengths: of the files; kept: [all rows]."""
    if len(lengths) == 1 and kept.all():
        return None
    return np.concatenate([np.arange(length) for length in lengths])[kept]


def check_parts(dataset: Dataset, data: Data) -> None:
    """Raise DataError where a part would have no rows, by what the data say or by the fractions."""
    n_rows = len(dataset.x)
    parts = np.zeros(n_rows, np.int8) if dataset.parts is None else dataset.parts
    rest = parts == REST
    has_test, has_validation = bool((parts == TEST).any()), bool((parts == VALIDATION).any())
    if data.test_fraction == 0 and has_test:
        raise DataError("data.test_fraction", 0, "null", reason=f"but {data.name} has test rows of its own")
    if data.split == "column" and not (has_test and rest.any()):
        lacking = "test" if rest.any() else "train"
        raise DataError(
            f"data.split_by: {data.split_by} has no row for {lacking}; allowed: {ALLOWED}, train and test at least once"
        )
    if not rest.any():
        raise DataError(f"data.path: {data.name} has no rows to train on; allowed: some besides the test rows")
    _check_classes(dataset, parts, data)
    test = 0.0 if has_test or data.test_fraction == 0 else data.test_fraction or 0.2
    validation = 0.0 if has_validation or data.test_fraction == 0 else data.validation_fraction
    for values, what in ((dataset.groups, "groups"), (dataset.ranks, "times")):
        if values is not None:
            _check_units(values[rest], what, data, test, validation)


def _check_classes(dataset: Dataset, parts: np.ndarray, data: Data) -> None:
    """Refuse a class that only test or validation rows have: more often a typing error than one to be learnt."""
    if dataset.task == "regression" or data.source != "file":
        return
    known = sorted({dataset.classes[code] for code in np.unique(dataset.y[parts == REST])})
    for part, word, path in ((TEST, "test", data.test_path), (VALIDATION, "validation", data.validation_path)):
        labels = {dataset.classes[code] for code in np.unique(dataset.y[parts == part])}
        only = sorted(labels.difference(known))
        if only:
            key = f"data.{word}_path" if path else "data.split_by" if data.split == "column" else "data.path"
            where = Path(path).name if path else f"the {word} part of {data.name}"
            # case first: of Q and q the letters differ altogether
            near = [label for label in known if label.strip().lower() == only[0].strip().lower()]
            shown = f"nearest: {near[0]}" if near else closest(only[0], known[:20])
            raise DataError(
                f"{key}: {where} has rows of class {', '.join(only[:5])}, which no training row has; {shown}"
            )


def _check_units(values: np.ndarray, what: str, data: Data, test: float, validation: float) -> None:
    """Refuse fractions that leave a part without any of the groups or times that are to be divided."""
    n, n_rows = len(np.unique(values)), len(values)
    n_parts = 1 + (test > 0) + (validation > 0)
    for part, fraction in (("test", test), ("validation", validation)):
        if fraction and (n < n_parts or round(n_rows * fraction) < 1):
            empty = "training rows" if n == 1 else f"{part} rows"
            raise DataError(
                f"data.split: {data.split} given, which leaves no {empty}: {data.split_by} has {n} {what} in {n_rows} "
                f"rows; allowed: more {what}, or another data.{part}_fraction (0 for none)"
            )

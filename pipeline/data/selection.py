"""Which columns of a table are targets and features, and which of its rows are used."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.columns import as_numbers
from pipeline.data.gaps import how_to_keep
from pipeline.data.layout import NAMELESS
from pipeline.data.odd_features import counts_rows
from pipeline.data.settings import how_to_set, names
from pipeline.errors import DataError, closest

INDEX = re.compile(r"Unnamed: 0(\.\d+)*|__index_level_\d+__")  # what pandas writes of an index, once or repeatedly
TARGET_NAMES = ("label", "target", "class", "y", "labels", "classes", "outcome", "category", "species", "output")


def choose_columns(
    frame: Any, lengths: Mapping[str, int], data: Data, remarks: list[str]
) -> tuple[list[str], list[str]]:
    """(target columns, feature columns) by the settings. Raises DataError for a name that the table lacks.

    lengths: the rows of each file that the table is made of, in order.
    """
    columns, file = list(frame.columns), next(iter(lengths))
    targets, chosen, dropped = (names(data, key, columns) for key in ("target", "features", "drop"))
    forced = names(data, "categories", columns)
    by = [] if data.split_by is None else [split_column(data)]
    if targets is None:
        listed = ", ".join(columns if len(columns) <= 8 else [*columns[:6], "...", columns[-1]])
        guess = next((c for word in TARGET_NAMES for c in columns if c.lower() == word), columns[-1])
        perhaps = how_to_set("target", [guess]).replace("[", "", 1).replace("]", "")
        raise DataError(
            f"data.target: null given; allowed: the column to predict; {file} has {listed}; perhaps {perhaps}"
        )
    for key, listed in (("target", targets), ("features", chosen), ("drop", dropped), ("split_by", by),
                        ("categories", forced)):  # fmt: skip
        for name in listed or ():
            if name not in columns:
                raise DataError(f"data.{key}: {file} has no column {name}; {closest(name, columns)}")
    for key, listed in (("features", chosen), ("drop", dropped)):
        for name in [name for name in listed or () if name in targets or (key == "features" and name in by)]:
            raise DataError(
                f"data.{key}",
                name,
                "another column",
                reason=f"which is data.{'target' if name in targets else 'split_by'}",
            )
    for name in [name for name in chosen or () if name in (dropped or ())]:
        raise DataError("data.drop", name, "columns that are not in data.features", reason="which is one of them")
    for name in [name for name in by if name in targets]:
        raise DataError("data.split_by", name, "another column", reason="which is data.target")
    for name in [name for name in forced or () if name in (*(dropped or ()), *by) or name not in (chosen or columns)]:
        if name not in targets:
            raise DataError("data.categories", name, "features and targets", reason="which is neither")
    if chosen is not None:
        return targets, chosen
    features = _besides([c for c in columns if c not in (*targets, *(dropped or ()), *by)], frame, lengths, remarks)
    if not features:
        raise DataError(f"data.path: {file} has no column besides the target; allowed: at least one feature")
    return targets, features


def _besides(features: list[str], frame: Any, lengths: Mapping[str, int], remarks: list[str]) -> list[str]:
    """The features without empty columns and without the index that pandas or R wrote."""
    file, kept = next(iter(lengths)), []
    for name in features:
        values = frame[name]
        if values.isna().all():
            remarks.append(f"{file}: column {name} is empty and is left out")
        elif INDEX.fullmatch(name) and _is_index(values, lengths):
            does = "counts rows" if values.dtype.kind in "iu" else "names rows"
            remarks.append(f"{file}: column {name} {does} and is left out (an index is no feature)")
        else:
            kept.append(name)
            if name.startswith(NAMELESS):
                remarks.append(f"{file}: column {name} has no name, and is a feature")
    return kept


def split_column(data: Data) -> str:
    """The column of `data.split_by`."""
    return str(data.split_by).strip()


def _is_index(values: Any, lengths: Mapping[str, int]) -> bool:
    """Whether a nameless first column is an index: another whole number or text in each row of a file, or counted."""
    numbers = values.dtype.kind in "iuf"
    if numbers and not bool((values.dropna() % 1 == 0).all()):
        return False
    ends = np.cumsum([0, *lengths.values()])
    known = [values.iloc[start:end].dropna() for start, end in pairwise(ends)]
    return all(one.is_unique for one in known) or (numbers and counts_rows(as_numbers(values), None) is not None)


def drop_missing(
    frame: Any,
    targets: list[str],
    features: list[str],
    lengths: Mapping[str, int],
    taken: Mapping[str, set[str]],
    data: Data,
    remarks: list[str],
) -> tuple[Any, np.ndarray]:
    """(the rows that are used, [rows] which these are): refuse missing values, or drop the rows as `missing` says.

    taken: the texts that were taken for missing values, by column.
    """
    used, file = [*targets, *features], ", ".join(lengths)
    if data.missing == "drop" and data.split_by is not None:
        used.append(split_column(data))
    missing = [column for column in used if frame[column].isna().to_numpy().any()]
    everything = np.ones(len(frame), bool)
    if not missing:
        return frame, everything
    if data.missing == "refuse":
        n_rows, shown = int(frame[missing].isna().any(axis=1).sum()), ", ".join(missing[:8])
        shown += f" and {len(missing) - 8} more columns" if len(missing) > 8 else ""
        keep = how_to_keep(frame, {column: texts for column, texts in taken.items() if column in used}, taken)
        raise DataError(
            f"data.missing: refuse given, but {file} has missing values (NaN) in {shown} ({n_rows} of "
            f"{len(frame)} rows); allowed: data.missing=drop or data.missing=impute{f', or {keep}' if keep else ''}"
        )
    where = used if data.missing == "drop" else targets
    kept = ~frame[where].isna().any(axis=1).to_numpy()
    if not kept.any():
        raise DataError("data.missing", data.missing, "impute", reason=f"but no row of {file} is complete")
    what, ends = "target" if data.missing == "impute" else "value", np.cumsum([0, *lengths.values()])
    for name, (start, end) in zip(lengths, pairwise(ends), strict=True):
        n_left_out = int((~kept[start:end]).sum())
        if n_left_out:
            remarks.append(f"{name}: {n_left_out} of {end - start} rows lack a {what} and are left out")
    frame = frame[kept].reset_index(drop=True)
    for name in [name for name in features if frame[name].isna().all()]:
        features.remove(name)
        remarks.append(f"{file}: column {name} is empty and is left out")
    return frame, kept

"""Make a dataset of a table: the user's own csv or parquet files, column by column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.assignment import row_roles, source_rows
from pipeline.data.columns import (
    MOST_CATEGORIES,
    as_numbers,
    as_texts,
    column_kind,
    digits_lost,
    one_hot,
)
from pipeline.data.dataset import INDICATOR, NUMBER, Dataset
from pipeline.data.dates import refuse_date
from pipeline.data.selection import INDEX, choose_columns, drop_missing, split_column
from pipeline.data.settings import how_to_drop, how_to_miss, kind_of_file, missing_texts, names
from pipeline.data.spellings import refuse_pairs, require_categories, spoken
from pipeline.data.targets import MOST_CLASSES, make_dataset
from pipeline.data.text import read_text
from pipeline.errors import DataError

NUMERIC = ("integer", "floating", "mixed-integer-float", "decimal", "boolean")  # as pandas.api.types.infer_dtype says


def read_tables(files: Sequence[tuple[str, Path, int]], data: Data) -> Dataset:
    """The dataset of one table, or of tables with the same columns. files: (key, path, part of its rows)."""
    import pandas as pd

    frames, remarks = [], []
    for key, path, _ in files:
        frame, said = _read(path, key, data)
        remarks += said
        if frames:
            frames[0], frame = _without_lone_index(frames[0], frame), _without_lone_index(frame, frames[0])
        _check_same_columns(frames, frame, files, key, path)
        frames.append(frame if not frames else frame[frames[0].columns])
    frames[1:] = [frame[frames[0].columns] for frame in frames[1:]]
    parts = np.repeat(np.array([part for *_, part in files], np.int8), [len(frame) for frame in frames])
    key, path, _ = files[0]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    twice = len({path.name for _, path, _ in files}) < len(files)
    shown = [f"{path.parent.name}/{path.name}" if twice else path.name for _, path, _ in files]
    if len(set(shown)) < len(files):
        shown = [str(path) for _, path, _ in files]
    lengths = dict(zip(shown, map(len, frames), strict=True))
    taken: dict[str, set[str]] = {}
    for column, texts in (item for one in frames for item in one.attrs.get("missing_texts", {}).items()):
        taken.setdefault(column, set()).update(texts)
    targets, features = choose_columns(frame, lengths, data, remarks)
    frame, kept = drop_missing(frame, targets, features, lengths, taken, data, remarks)
    parts = parts[kept]
    reading = _reading(frame, [*targets, *features], taken, path, data)
    if reading.forced:
        frame = frame.copy()
    for name in reading.forced:
        frame[name] = as_texts(frame[name])
    x, columns, kinds = _encode(frame, features, reading, path, data, remarks)
    y = _target_values(frame, targets, reading, data, remarks)
    roles = row_roles(None if data.split_by is None else frame[split_column(data)], parts, data, remarks)
    roles["source_rows"] = source_rows(list(lengths.values()), kept)
    return make_dataset(x, y, targets, data, path.name, remarks, features=columns, kinds=kinds, **roles)


@dataclass(frozen=True)
class _Reading:
    """How texts are told from numbers. typed: whether the file says which columns are text. missing: the texts that
    count as missing values, None where none does. forced: the columns that are categories whatever they hold. dates:
    whether a column that is neither feature nor target holds dates.
    """

    typed: bool
    missing: list[str] | None
    forced: set[str]
    dates: bool


def _reading(frame: Any, used: list[str], taken: Mapping[str, set[str]], path: Path, data: Data) -> _Reading:
    typed, listed = kind_of_file(path.name) == "parquet", missing_texts(data)
    found = sorted(set().union(*taken.values())) if listed is None else listed
    forced = set(names(data, "categories", list(frame.columns)) or ())
    dates = any(_holds_dates(frame[name], name) for name in frame.columns if name not in used)
    return _Reading(typed, None if typed else found, forced, dates)


def _holds_dates(values: Any, name: str) -> bool:
    try:
        return column_kind(values, name) == "date"
    except DataError:
        return False


def _kind(frame: Any, name: str, key: str, reading: _Reading) -> str:
    """The kind of a feature or target. Raises DataError for dates."""
    kind = "text" if name in reading.forced else column_kind(frame[name], name, key, reading.dates)
    if kind == "date":
        raise refuse_date(frame[name], name, "data.target" if key == "data.target" else "data.path")
    return kind


def _read(path: Path, key: str, data: Data) -> tuple[Any, list[str]]:
    """(data frame with texts as names, remarks)."""
    import pandas as pd

    if kind_of_file(str(path)) == "text":
        return read_text(path, key, data)
    try:
        frame = pd.read_parquet(path)
    except (ValueError, OSError, MemoryError, NotImplementedError) as error:
        raise DataError(f"{key}: {path.name} cannot be read: {error}") from error
    said = [] if all(name is None for name in frame.index.names) else [_spoken_index(frame.index.names, path)]
    try:
        frame = frame.reset_index([i for i, name in enumerate(frame.index.names) if name is not None])
    except ValueError as error:
        raise DataError(f"{key}: {path.name} has an index and a column of one name ({error})") from error
    frame.columns = [str(column).strip() for column in frame.columns]
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{key}: {path.name} has two columns called {twice[0]}; allowed: each name once")
    return frame.reset_index(drop=True), said


def _spoken_index(levels: Sequence[Any], path: Path) -> str:
    shown = ", ".join(str(name) for name in levels if name is not None)
    return f"{path.name}: its index {shown} is read as {'columns' if len(levels) > 1 else 'a column'}"


def _without_lone_index(frame: Any, other: Any) -> Any:
    """The table without an index that the other one was written without."""
    lone = [column for column in frame.columns if INDEX.fullmatch(column) and column not in other.columns]
    return frame.drop(columns=lone)


def _check_same_columns(
    frames: list[Any], frame: Any, files: Sequence[tuple[str, Path, int]], key: str, path: Path
) -> None:
    import pandas as pd

    if not frames:
        return
    first, first_path = frames[0], files[0][1]
    for have, lack, lacking in ((first, frame, path), (frame, first, first_path)):
        missing = [column for column in have.columns if column not in lack.columns]
        if missing:
            other = first_path if lacking is path else path
            raise DataError(
                f"{key}: {lacking.name} has no column {', '.join(missing[:5])}, which {other.name} has; allowed: files "
                "with the same columns"
            )
    for column in first.columns:
        both = [one[column] for one in (first, frame) if one[column].notna().any()]
        are_numbers = {pd.api.types.infer_dtype(one, skipna=True) in NUMERIC for one in both}
        if len(are_numbers) == 2:
            raise DataError(
                f"{key}: column {column} holds numbers in one of {first_path.name} and {path.name}, and text in the "
                "other; allowed: the same kind in both"
            )


def _encode(
    frame: Any, features: list[str], reading: _Reading, path: Path, data: Data, remarks: list[str]
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray | None]:
    """(x [rows, columns] float64, their names, their kinds or None), see `Dataset`."""
    kind = {name: _kind(frame, name, "data.drop", reading) for name in features}
    texts = {name: as_texts(frame[name]) for name in features if kind[name] == "text"}
    refuse_pairs({name: values for name, values in texts.items() if name not in reading.forced})
    categories = {name: _categories(values, name, "data.path", reading) for name, values in texts.items()}
    many = {name: len(values) for name, values in categories.items() if len(values) > MOST_CATEGORIES}
    if many:
        shown = ", ".join(f"{name} ({count})" for name, count in list(many.items())[:5])
        raise DataError(
            f"data.path: text with too many different values in {shown}; allowed: up to {MOST_CATEGORIES} categories, "
            f"or {how_to_drop(data, list(many)[:5])}"
        )
    blocks, columns, kinds, indicators = [], [], [], []
    if not texts and not any(frame[name].dtype == object for name in features):
        blocks = [frame[features].to_numpy(np.float64, na_value=np.nan)]
        columns, kinds = list(features), [NUMBER] * len(features)
    else:
        for name in features:
            block = one_hot(texts[name], categories[name]) if name in texts else as_numbers(frame[name])[:, None]
            blocks.append(block)
            columns += [f"{name}={category}" for category in categories[name]] if name in texts else [name]
            kinds += [1 + list(texts).index(name)] * block.shape[1] if name in texts else [NUMBER]
    for name, values in categories.items():
        remarks.append(_spoken(values, name, "categories", reading))
        if len(values) == len(frame) > 2:
            remarks.append(f"{name}: another text in each row, like a name; {how_to_drop(data, [name])} leaves it out")
    for name in features:
        if kind[name] == "number" and digits_lost(frame[name]):
            remarks.append(
                f"column {name}: floats cannot tell its whole numbers apart; subtract a number near their mean"
            )
    for name in features:
        if kind[name] == "number":
            _check_finite(as_numbers(frame[name]), name, "data.path", reading)
    for name in features:
        missing = frame[name].isna().to_numpy()
        if missing.any():
            indicators.append(name)
            blocks.append(missing[:, None].astype(np.float64))
            columns.append(f"{name} is missing")
            kinds.append(INDICATOR)
            by = "most frequent category" if name in texts else "median"
            remarks.append(
                f"{name}: {int(missing.sum())} missing values become the {by} of the training rows, and a feature says "
                "where"
            )
    x = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
    return x, tuple(columns), np.array(kinds, np.int32) if texts or indicators else None


def _check_finite(values: np.ndarray, name: str, key: str, reading: _Reading) -> None:
    n_bad = int(np.isinf(values).sum())
    if n_bad:
        spelled = how_to_miss([*(reading.missing or ()), "inf", "-inf"])
        or_ = "" if reading.typed else f", or {spelled} if they are spelled so and are missing values"
        raise DataError(f"{key}: column {name} holds {n_bad} infinite values; allowed: finite numbers{or_}")


def _categories(texts: np.ndarray, name: str, key: str, reading: _Reading) -> list[str]:
    if name in reading.forced:
        return sorted({text for text in texts if text is not None})
    return require_categories(texts, name, key, reading.typed, reading.missing)


def _spoken(categories: list[str], name: str, what: str, reading: _Reading) -> str:
    if name in reading.forced:
        return f"{name}: {len(categories)} {what} (data.categories)"
    return spoken(categories, name, what, reading.missing)


def _target_values(frame: Any, targets: list[str], reading: _Reading, data: Data, remarks: list[str]) -> np.ndarray:
    """The target [rows] or [rows, targets]: numbers, booleans or texts."""
    values = []
    for name in targets:
        kind = _kind(frame, name, "data.target", reading)
        if kind == "text":
            texts = as_texts(frame[name])
            said = _spoken(_categories(texts, name, "data.target", reading), name, "classes", reading)
            if ", though " in said:  # classes are listed anyway
                remarks.append(said)
            values.append(texts.astype(str))
        elif kind == "boolean":
            values.append(as_numbers(frame[name]).astype(bool))
        elif (
            digits_lost(frame[name])
            and len(targets) == 1
            and data.task != "regression"
            and (data.task is not None or frame[name].nunique() <= MOST_CLASSES)
        ):
            values.append(as_texts(frame[name]).astype(str))  # classes that floats would merge
        else:
            if digits_lost(frame[name]) and (frame[name].dtype == object or len(targets) > 1):
                raise DataError(
                    f"data.target: floats cannot tell the numbers of column {name} apart, such as "
                    f"{frame[name].iloc[0]}; allowed: numbers of less precision; subtract a number near their mean"
                )
            _check_finite(as_numbers(frame[name]), name, "data.target", reading)
            exact = frame[name].dtype.kind in "iuf" and isinstance(frame[name].dtype, np.dtype)
            values.append(frame[name].to_numpy() if exact else as_numbers(frame[name]))
    return values[0] if len(values) == 1 else np.stack(values, axis=1)

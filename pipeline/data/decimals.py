"""The decimal sign of a text table: detect it, and refuse a table that has two."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.config.schema import Data
from pipeline.data.header import WHOLE
from pipeline.data.settings import as_float, how_to_set, names
from pipeline.errors import DataError

COMMA = re.compile(r"\s*[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?\s*")
THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2},\d{3}\s*")


def _used(frame: Any, key: str, data: Data) -> tuple[list[str], list[str]]:
    """(the features and targets of a table, the targets)."""
    columns = list(frame.columns)
    dropped, chosen, targets = (names(data, name, columns) for name in ("drop", "features", "target"))
    features = [c for c in chosen or columns if c not in (dropped or ()) and c in columns]
    named = [c for c in targets or () if c in columns]
    return [*features, *(c for c in named if c not in features)], named


def check_points(frame: Any, commas: Any, path: Path, key: str, data: Data) -> None:
    """Refuse numbers with a point where commas mark the decimals. commas: what was read before that was known."""
    used, targets = _used(frame, key, data)
    for column in used:
        if frame[column].dtype.kind in "iufb":
            continue
        texts = sorted(set(frame[column].dropna().astype(str)))
        points = [text for text in texts if "." in text and as_float(text) is not None]
        if not points or len(points) < len([text for text in texts if not WHOLE.fullmatch(text)]):
            continue
        if data.decimal is not None:
            why = f"but column {column} of {path.name} holds {points[0]}"
            raise DataError(
                "data.decimal", data.decimal, "data.decimal=. or null, or numbers with commas alone", reason=why
            )
        raise _two_signs((column, points[0]), with_commas(commas), targets, path, key)


def check_commas(frame: Any, path: Path, key: str, data: Data) -> None:
    """Refuse numbers with a comma where points, which another column has, are set to mark the decimals."""
    used, targets = _used(frame, key, data)
    commas = {column: cells for column, cells in with_commas(frame).items() if column in used}
    points = next((column for column in used if frame[column].dtype.kind == "f"), None)
    if commas and points is not None:
        known = frame[points].dropna()
        raise _two_signs((points, str(known.iloc[0])), commas, targets, path, "data.decimal")


def _two_signs(
    point: tuple[str, str], commas: dict[str, set[str]], targets: Sequence[str], path: Path, key: str
) -> DataError:
    """The refusal of a table with both decimal signs. point: (column, example); commas: cells of other columns."""
    column, example = point
    other, cells = next(iter(commas.items()))
    ways = []
    if not set(commas) & set(targets):
        ways.append(f"data.decimal=. {how_to_set('drop', list(commas))}")
    if column not in targets:
        ways.append(f"data.decimal=',' {how_to_set('drop', [column])}")
    left_out = f", or one of them left out: {', or '.join(ways)}" if ways else " in the file"
    return DataError(
        f"{key}: column {column} of {path.name} holds {example}, but column {other} {min(cells)}; allowed: one "
        f"decimal sign{left_out}"
    )


def with_commas(frame: Any) -> dict[str, set[str]]:
    """The numbers with a comma of each column that holds nothing but such and whole ones."""
    import pandas as pd

    with_comma: dict[str, set[str]] = {}
    for column in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[column]) or pd.api.types.is_bool_dtype(frame[column]):
            continue
        texts = set(frame[column].dropna().astype(str))
        commas = {text for text in texts if COMMA.fullmatch(text)}
        if commas and all(text in commas or WHOLE.fullmatch(text) for text in texts):
            with_comma[column] = commas
    return with_comma


def detect_decimal(frame: Any, path: Path, key: str) -> str:
    """A comma where some column holds nothing but numbers with one. Raises DataError where either may be meant."""
    with_comma = with_commas(frame)
    if not with_comma:
        return "."
    if all(map(THOUSANDS.fullmatch, set().union(*with_comma.values()))):
        column = next(iter(with_comma))
        example = min(with_comma[column])
        raise DataError(
            f"{key}: column {column} of {path.name} holds {example}, which may be {example.replace(',', '')} or "
            f"{example.replace(',', '.')}; allowed: data.decimal=',' for the latter, else numbers without the comma"
        )
    return ","

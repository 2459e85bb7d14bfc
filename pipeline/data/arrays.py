"""Make a dataset of the arrays of npz files."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.assignment import WORDS, row_roles, source_rows
from pipeline.data.dataset import INDICATOR, NUMBER, REST, TEST, Dataset
from pipeline.data.settings import names
from pipeline.data.targets import make_dataset
from pipeline.errors import DataError, closest

INPUTS = ("x", "images", "inputs", "features", "data")
TARGETS = ("y", "labels", "label", "targets", "target")
_WORD, _USUAL = "|".join(WORDS), "|".join((*INPUTS, *TARGETS))
PART = re.compile(rf"(?:(.+?)[_. -])?({_WORD})(?:[_. -](.+))?", re.IGNORECASE)
CLOSE_PART = re.compile(rf"({_USUAL})?({_WORD})({_USUAL})?", re.IGNORECASE)  # xtest, TestX

Arrays = Mapping[str, np.ndarray]


class Block(NamedTuple):
    """Rows of one part: inputs, targets, values of `data.split_by`, and the name of the target."""

    x: np.ndarray
    y: np.ndarray
    by: np.ndarray | None
    part: int
    target: str


def read_arrays(files: Sequence[tuple[str, Path, int]], data: Data) -> Dataset:
    """The dataset of an npz file, or of several with the same arrays. files: (key, path, part of its rows).

    A file may hold its own parts, `x_train, y_train, x_test, y_test` and the like, or `x, y, x_test, y_test`.
    """
    remarks: list[str] = []
    blocks = [block for key, path, part in files for block in _blocks(key, path, part, data, len(files) > 1, remarks)]
    path = files[0][1]
    for name, shapes in (
        ("x", {block.x.shape[1:] for block in blocks}),
        ("y", {block.y.shape[1:] for block in blocks}),
    ):
        if len(shapes) > 1:
            shown = " and ".join(sorted(str(["rows", *shape]) for shape in shapes)).replace("'", "")
            raise DataError(
                f"{files[-1][0]}: the parts' {name} have the shapes {shown}; allowed: the same for each part"
            )
    if len({block.y.dtype.kind in "iufb" for block in blocks}) > 1:
        raise DataError(f"data.target: the arrays of {path.name} hold numbers and text; allowed: one of them")
    x, y = _joined([block.x for block in blocks]), _joined([block.y for block in blocks])
    by = [block.by for block in blocks if block.by is not None]
    parts = np.repeat(np.array([block.part for block in blocks], np.int8), [len(block.x) for block in blocks])
    targets = names(data, "target") or [blocks[0].target]
    split_by = _joined(by) if by else None
    x, y, more, kept = _without_missing(x, y, split_by, path, data, remarks)
    roles = row_roles(None if split_by is None else split_by[kept], parts[kept], data, remarks)
    roles["source_rows"] = source_rows([len(block.x) for block in blocks], kept)
    return make_dataset(x, y, targets, data, path.name, remarks, **more, **roles)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _blocks(key: str, path: Path, part: int, data: Data, several_files: bool, remarks: list[str]) -> list[Block]:
    """Each part that a file holds; where it has none of its own, its rows are of `part`."""
    arrays = _load(path, key)
    x_names, y_names = (names(data, key, list(arrays)) for key in ("features", "target"))
    if x_names and len(x_names) > 1:
        raise DataError("data.features", data.features, "the name of one array of inputs")
    parts = _own_parts(arrays, x_names, y_names, key, path, remarks)
    if several_files and set(parts) == {part}:
        found = [(part, parts[part])]
    elif REST not in parts:
        found = [(part, {name: name for name in arrays})]
    elif several_files:
        raise DataError(f"{key}: {path.name} has parts of its own ({', '.join(sorted(arrays)[:6])}); allowed: it alone")
    elif data.split == "column" and set(parts) != {REST}:
        raise DataError("data.split", "column", "random, groups or time", reason=f"but {path.name} has its own parts")
    else:
        found = sorted(parts.items())
    blocks = []
    for of_part, of_base in found:
        x_name = _require(of_base, x_names, INPUTS, "data.features" if x_names else key, path)
        targets = [_require(of_base, [name], (), "data.target", path) for name in y_names or ()]
        targets = targets or [_require(of_base, None, TARGETS, "data.target", path)]
        by = _require(of_base, [str(data.split_by)], (), "data.split_by", path) if data.split_by else None
        blocks.append(Block(*_checked(arrays, x_name, targets, by, key, path), of_part, targets[0]))
        if parts and of_part != REST:
            what = "test" if of_part == TEST else "validation"
            remarks.append(f"{path.name}: {x_name}: {len(blocks[-1].x)} rows are the {what} rows")
    return blocks


def _own_parts(
    arrays: Arrays,
    x_names: Sequence[str] | None,
    y_names: Sequence[str] | None,
    key: str,
    path: Path,
    remarks: list[str],
) -> dict[int, dict[str, str]]:
    """The parts with inputs and targets that a file holds: the array of each name without the part's word.

    An array without such a word is one to train on. A name that is asked for may have the word of the training rows;
    it stands for its like in the other parts. {} where the file is one part, whatever its arrays are called.
    """
    parts: dict[int, dict[str, str]] = {}
    asked = [*(x_names or ()), *(y_names or ())]
    for name in arrays:
        match = PART.fullmatch(name) or CLOSE_PART.fullmatch(name)
        base = "_".join(filter(None, (match[1], match[3]))) if match else name
        of_base = parts.setdefault(WORDS[match[2].lower()] if match else REST, {})
        if match and of_base.get(base, base) != base and base.lower() in (*INPUTS, *TARGETS, *asked):
            raise DataError(
                f"{key}: {path.name} has {of_base[base]} and {name}, which are one part; allowed: one of them"
            )
        if match or base not in of_base:
            of_base[base] = name
    for base, name in list(parts.get(REST, {}).items()):
        if name != base and name in asked:
            for of_base in parts.values():  # asked for by the name of its training part
                of_base |= {name: of_base[base]} if base in of_base else {}
    whole = [name for name in asked if name in arrays and name not in parts.get(REST, {}).values()]
    complete = {}
    for part, of_base in parts.items():
        x_name = _find(of_base, x_names, INPUTS)
        has_y = all(name in of_base for name in y_names) if y_names else _find(of_base, None, TARGETS) is not None
        if x_name is not None and has_y:
            complete[part] = of_base
        elif x_name is not None and part != REST:
            remarks.append(f"{path.name}: {of_base[x_name]} has no target beside it and is left out")
    is_plain = _find(arrays, x_names, INPUTS) is not None and _find(arrays, y_names, TARGETS) is not None
    if whole or (is_plain and set(complete) == {REST}):
        return {}
    return complete


def _load(path: Path, key: str) -> dict[str, np.ndarray]:
    try:
        # np.load would leave the file of a truncated archive open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except (ValueError, TypeError, AttributeError, OSError, EOFError, MemoryError, BadZipFile) as error:
        what = "it holds Python objects; allowed: arrays of numbers or text" if "pickle" in str(error) else error
        raise DataError(f"{key}: {path.name} cannot be read: {what}") from error


def _find(known: Mapping[str, Any], asked: Sequence[str] | None, usual: Sequence[str]) -> str | None:
    """The name that is asked for, else the first usual one, in any case, that is known."""
    if asked:
        return asked[0] if asked[0] in known else None
    by_lower = {name.lower(): name for name in reversed(list(known))}
    return next((by_lower[word] for word in usual if word in by_lower), None)


def _require(known: Mapping[str, str], asked: Sequence[str] | None, usual: Sequence[str], key: str, path: Path) -> str:
    name = _find(known, asked, usual)
    if name is None:
        wanted = asked[0] if asked else usual[0]
        how = "" if asked else f", and data.{'features' if usual is INPUTS else 'target'} names no other"
        raise DataError(f"{key}: {path.name} holds no array {wanted}{how}; {closest(wanted, sorted(known))}")
    return known[name]


def _checked(
    arrays: Arrays, x_name: str, targets: Sequence[str], by: str | None, key: str, path: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    x, ys = arrays[x_name], [arrays[name] for name in targets]
    y = ys[0] if len(ys) == 1 else np.stack(ys, axis=1) if len({one.shape for one in ys}) == 1 else ys[0][:0]
    bad_x = x.dtype.kind not in "biuf" or x.ndim < 2 or 0 in x.shape
    if bad_x or y.ndim not in (1, 2) or len(x) != len(y) or y.dtype.kind not in "biufUS":
        shown = ", ".join(f"{name} {arrays[name].dtype}{list(arrays[name].shape)}" for name in [x_name, *targets][:4])
        raise DataError(
            f"{key}: {path.name} holds {shown}; allowed: x numeric [rows, ...], the target [rows] or one-hot [rows, n]"
        )
    roles = None if by is None else arrays[by]
    if roles is not None and (roles.shape != (len(x),) or roles.dtype.kind not in "biufUSM"):
        raise DataError(
            f"data.split_by: {by} is {roles.dtype}{list(roles.shape)}; allowed: [{len(x)}], one value per row"
        )
    if roles is not None and roles.dtype.kind == "S":
        roles = np.char.decode(roles, "utf-8", "replace")
    return x, y, roles


def _without_missing(
    x: np.ndarray, y: np.ndarray, by: np.ndarray | None, path: Path, data: Data, remarks: list[str]
) -> tuple[np.ndarray, np.ndarray, dict[str, Any], np.ndarray]:
    """(x, y, kinds, kept rows) with NaN refused, dropped or left to be filled, as `data.missing` says."""
    kept = np.ones(len(x), bool)
    n_infinite = int(np.isinf(x).sum())
    if n_infinite:
        raise DataError(f"data.path: {path.name} holds {n_infinite} infinite values; allowed: finite numbers")
    nan = np.isnan(x)
    y_nan = np.asarray(np.isnan(y).reshape(len(y), -1).any(1) if y.dtype.kind == "f" else ~kept)
    if data.missing == "drop" and by is not None and by.dtype.kind in "fM":
        y_nan = y_nan | np.isnat(by) if by.dtype.kind == "M" else y_nan | np.isnan(by)
    if not nan.any() and not y_nan.any():
        return x, y, {}, kept
    if data.missing == "refuse":
        n_missing = int(nan.sum()) + int(y_nan.sum())
        raise DataError(
            f"data.missing: refuse given, but {path.name} holds {n_missing} missing values (NaN); "
            "allowed: data.missing=drop or data.missing=impute"
        )
    if data.missing == "impute" and x.ndim > 2 and nan.any():
        raise DataError("data.missing", "impute", "drop", reason=f"but the inputs of {path.name} are no table")
    lacks = y_nan if data.missing == "impute" else y_nan | nan.reshape(len(x), -1).any(axis=1)
    kept = np.logical_not(lacks)
    if not kept.any():
        raise DataError("data.missing", data.missing, "another file", reason=f"but no row of {path.name} is complete")
    if not kept.all():
        what = "target" if data.missing == "impute" else "value"
        remarks.append(f"{path.name}: {int((~kept).sum())} of {len(x)} rows lack a {what} and are left out")
    x, nan = x[kept], nan[kept]
    if not nan.any():
        return x, y[kept], {}, kept
    if nan.all(0).any():
        raise DataError("data.missing", "impute", "arrays without them", reason=f"but columns of {path.name} are empty")
    lacking = np.flatnonzero(nan.any(0))
    kinds = np.array([NUMBER] * x.shape[1] + [INDICATOR] * len(lacking), np.int32)
    remarks.append(
        f"{path.name}: {int(nan.sum())} missing values become the median of the training rows, and {len(lacking)} "
        "more features say where"
    )
    return np.concatenate([x, nan[:, lacking].astype(x.dtype)], 1), y[kept], {"kinds": kinds}, kept

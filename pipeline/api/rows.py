"""Rows as a user holds them in Python: arrays, data frames, `tf.data.Dataset`; made into plain arrays or a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import DataError, describe_size, kind_of
from pipeline.runtime.device import free_memory

MOST_ROWS = 3 * 10**5  # of a Dataset that does not say how many it has
ALLOWED = (
    "(x, y), a DataFrame with target=, a finite tf.data.Dataset of (x, y), the path of a file or of a folder of "
    "pictures, or a name of conf/data"
)


@dataclass(frozen=True)
class Arrays:
    """Inputs [rows, ...] and targets [rows] or [rows, n]."""

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Table:
    """A pandas DataFrame and the names of its columns to predict."""

    frame: Any
    targets: tuple[str, ...]


def is_frame(value: Any) -> bool:
    """Whether a value is a pandas DataFrame."""
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "columns")


def is_dataset(value: Any) -> bool:
    """Whether a value is a `tf.data.Dataset`."""
    return any(cls.__name__ == "DatasetV2" for cls in type(value).__mro__)


def read_rows(value: Any, argument: str, target: Any, input_shape: Sequence[int | None] | None) -> Arrays | Table:
    """The rows of an argument. input_shape: of one row, where the model says it. Raises DataError."""
    if is_frame(value):
        return _table(value, argument, target)
    if target is not None:
        raise DataError("target", target, f"with a DataFrame or a file; this {argument} brings its target along")
    if is_dataset(value):
        x, y = _of_dataset(value, argument, input_shape)
        return _arrays(x, y, argument, input_shape)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        given = f"{kind_of(value)}{f' of {len(value)}' if isinstance(value, (tuple, list)) else ''}"
        raise DataError(argument, given, ALLOWED)
    x, y = value
    if is_frame(x):
        return _joined(x, y, argument)
    return _arrays(x, y, argument, input_shape)


def _table(frame: Any, argument: str, target: Any) -> Table:
    targets = tuple(map(str, target if isinstance(target, (list, tuple)) else [target]))
    if target is None:
        raise DataError("target", None, f"the column of the {argument} to predict, one of {_listed(frame.columns)}")
    frame = frame.rename(columns=str)
    repeated = sorted({name for name in frame.columns if list(frame.columns).count(name) > 1})
    if repeated:
        raise DataError(f"{argument}: two columns are named {repeated[0]}; allowed: a different name for each")
    for name in targets:
        if name not in frame.columns:
            raise DataError(f"target: {argument} has no column {name}; allowed: {_listed(frame.columns)}")
    if not len(frame):
        raise DataError(f"{argument}: the DataFrame has no rows; allowed: at least 5")
    return Table(frame, targets)


def _listed(names: Any) -> str:
    shown = [str(name) for name in names][:8]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


def _joined(x: Any, y: Any, argument: str) -> Table:
    """Features as a DataFrame, and a target beside, as one table."""
    if len(x) != _length(y):
        raise DataError(f"{argument}: x has {len(x)} rows and y {_length(y)}; allowed: as many of both")
    frame = x.rename(columns=str).reset_index(drop=True)
    columns = y.rename(columns=str) if is_frame(y) else None
    if columns is None:
        values = _as_array(y, argument, "y")
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if values.ndim == 1:
            name = getattr(y, "name", None)
            name = "target" if name is None or str(name) in frame.columns else str(name)
            names, values = [name], values[:, None]
        else:
            names = [f"target_{i}" for i in range(values.shape[1])]
    else:
        names, values = list(columns.columns), columns.to_numpy()
    taken = [name for name in names if name in frame.columns]
    if taken:
        raise DataError(f"{argument}: x and y both have a column {taken[0]}; allowed: different names")
    for i, name in enumerate(names):
        frame[name] = values[:, i]
    return _table(frame, argument, names)


def _length(values: Any) -> int:
    try:
        return len(values)
    except TypeError:
        return 0


def _as_array(values: Any, argument: str, part: str) -> np.ndarray:
    """Anything that NumPy can read as an array of numbers, truth values or text."""
    if isinstance(values, dict):
        raise DataError(f"{argument}: {part} is a dict; allowed: one array, for a model with one input and one output")
    try:
        array = np.asarray(values.numpy() if hasattr(values, "numpy") else values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{argument}: {part} is no array: {error}; allowed: rows of one shape") from error
    if array.dtype.kind == "O":
        array = _from_objects(array, argument, part)
    if array.dtype.kind not in "biufUS":
        raise DataError(f"{argument}: {part} is of type {array.dtype}; allowed: numbers, truth values or text")
    return array


def _from_objects(array: np.ndarray, argument: str, part: str) -> np.ndarray:
    """Python objects as text or numbers, if they are of one of these kinds."""
    kinds = {type(value) for value in array.ravel()}
    if all(issubclass(kind, (str, np.str_)) for kind in kinds):
        return array.astype(str)
    if kinds and all(issubclass(kind, (bool, int, float, np.number, np.bool_)) for kind in kinds):
        return array.astype(bool if kinds <= {bool, np.bool_} else np.float64)
    names = ", ".join(sorted({kind_of(value) for value in array.ravel()})[:4])
    raise DataError(f"{argument}: {part} holds {names}; allowed: numbers, truth values or text, without gaps")


def _arrays(x: Any, y: Any, argument: str, input_shape: Sequence[int | None] | None) -> Arrays:
    x, y = _as_array(x, argument, "x"), _as_array(y, argument, "y")
    if x.dtype.kind in "US":
        raise DataError(f"{argument}: x holds text; allowed: numbers, or a DataFrame, whose text becomes categories")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        rows = [len(a) if a.ndim else "no" for a in (x, y)]
        raise DataError(f"{argument}: x has {rows[0]} rows and y {rows[1]}; allowed: as many of both")
    if len(x) == 0:
        raise DataError(f"{argument}: x and y have no rows; allowed: at least 5")
    if len(x) == 1 and argument == "data":
        raise DataError(f"{argument}: x and y have one row; allowed: at least 5")
    x = x[:, None] if x.ndim == 1 else x
    if input_shape is not None and x.ndim == len(input_shape) and input_shape[-1] == 1:
        x = x[..., None]  # pictures without their one channel, as Keras takes them
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    return Arrays(x, y)


def _of_dataset(dataset: Any, argument: str, row: Sequence[int | None] | None) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of a finite dataset of rows or batches. row: the shape of one, where the model says it."""
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2 or not all(hasattr(part, "shape") for part in spec):
        raise DataError(f"{argument}: a Dataset whose elements are no pairs of tensors; allowed: elements (x, y)")
    count = int(dataset.cardinality())
    if count == -1:  # tf.data.INFINITE_CARDINALITY
        raise DataError(f"{argument}: a Dataset that never ends; allowed: a finite one, as dataset.take(n) makes it")
    batched = _is_batched(spec, argument, row)
    most = MOST_ROWS if count < 0 else np.inf
    pieces: list[tuple[np.ndarray, np.ndarray]] = []
    rows = size = 0
    free = free_memory() / 2
    for x, y in dataset.as_numpy_iterator():
        pieces.append((x, y) if batched else (np.asarray(x)[None], np.asarray(y)[None]))
        rows, size = rows + len(pieces[-1][0]), size + pieces[-1][0].nbytes
        if rows > most:
            raise DataError(f"{argument}: a Dataset that has not ended after {MOST_ROWS:,} rows, and does not say how "
                            "many it has; allowed: dataset.take(n), or assert_cardinality")  # fmt: skip
        if size > free:
            raise DataError(f"{argument}: the Dataset's rows take more than {describe_size(free)}, half of the free "
                            "memory; allowed: fewer rows, as dataset.take(n)")  # fmt: skip
    if not pieces:
        raise DataError(f"{argument}: the Dataset has no elements; allowed: at least 5 rows")
    try:
        x, y = (np.concatenate([piece[i] for piece in pieces]) for i in (0, 1))
    except ValueError as error:
        raise DataError(f"{argument}: the Dataset's rows are of several shapes; allowed: one shape") from error
    return x, np.char.decode(y.astype(bytes), "utf-8", "replace") if y.dtype.kind in "OS" else y


def _is_batched(spec: tuple[Any, Any], argument: str, row: Sequence[int | None] | None) -> bool:
    """Whether elements are batches: by the shape of the model's input, else by a length that is left open, as `batch`
    leaves it, or that inputs of several axes share with the targets, as batches of one size do."""
    x, y = (part.shape for part in spec)
    if x.rank is None or y.rank is None:
        raise DataError(f"{argument}: a Dataset whose elements have no known number of axes; allowed: known shapes")
    if y.rank == 0 or x.rank == 0:
        return False
    if row is not None and _fits(x, row) != _fits(x[1:], row):
        return _fits(x[1:], row)
    return x[0] is None or y[0] is None or (x.rank > 1 and x[0] == y[0])


def _fits(shape: Any, row: Sequence[int | None]) -> bool:
    """Whether a row of this shape is one of the model's, perhaps without its one channel."""
    forms = [tuple(row), tuple(row[:-1])] if row and row[-1] == 1 else [tuple(row)]
    return any(shape.is_compatible_with(form) for form in forms)

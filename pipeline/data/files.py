"""Read the user's own csv, parquet or npz file."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset, classification_task
from pipeline.errors import ConfigError, closest

MOST_CLASSES = 20  # an integer target with more distinct values than this is taken for a regression


def load_file(data: Data) -> Dataset:
    """Read a csv, parquet or npz file. Raises ConfigError for what cannot be trained on."""
    path = data_file(data)
    x, y = _npz(path, data) if path.suffix == ".npz" else _table(path, data)
    if not np.isfinite(x).all():
        raise ConfigError(f"data.path: {path.name} holds {int((~np.isfinite(x)).sum())} NaN or infinite values; fill "
                          "or drop them first")  # fmt: skip
    numeric = y.dtype.kind in "iuf"
    if numeric and not np.isfinite(y).all():
        raise ConfigError(f"data.target: {int((~np.isfinite(y)).sum())} targets are NaN or infinite; drop them first")
    labels, codes = np.unique(y if numeric else y.astype(str), return_inverse=True)
    whole = not numeric or bool((labels == np.round(labels)).all())
    task = data.task or (classification_task(labels) if whole and len(labels) <= MOST_CLASSES else "regression")
    if task == "regression":
        if not numeric:
            raise ConfigError("data.target: it holds text; allowed for a regression: numbers")
        return Dataset(x, np.float32(y), task, ())
    if task == "binary" and len(labels) != 2:
        raise ConfigError(f"data.task: binary given, but the target has {len(labels)} classes; allowed: multiclass")
    return Dataset(x, np.int32(codes), task, tuple(map(str, labels)))


def data_file(data: Data) -> Path:
    """The path of the data file. Raises ConfigError where there is none, or of another kind."""
    kinds = (".csv", ".parquet", ".npz")
    path = Path(data.path or "").expanduser()
    if data.path is None or path.suffix not in kinds:
        raise ConfigError(f"data.path: {data.path} given; allowed: the path of a {', '.join(kinds)} file")
    if not path.is_file():
        raise ConfigError(f"data.path: there is no file {data.path}")
    return path


def _npz(path: Path, data: Data) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, TypeError, AttributeError, OSError, EOFError, BadZipFile) as error:
        raise ConfigError(f"data.path: {path.name} cannot be read: {error}") from error
    target = data.target or "y"
    for key, name in (("data.path", "x"), ("data.target", target)):
        if name not in arrays:
            raise ConfigError(f"{key}: {path.name} holds no array {name}; {closest(name, sorted(arrays))}")
    x, y = arrays["x"], arrays[target]
    if x.dtype.kind not in "biuf" or x.ndim < 2 or y.ndim != 1 or len(x) != len(y):
        raise ConfigError(
            f"data.path: {path.name} holds x {x.dtype}{list(x.shape)} and {target} {y.dtype}{list(y.shape)}; "
            "allowed: x numeric [rows, ...], the target [rows]"
        )
    return np.float32(x), y


def _table(path: Path, data: Data) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"data.path: {path.name} cannot be read: {reason}") from error
    columns = [str(c) for c in frame.columns]
    frame.columns = columns
    if data.target not in columns:
        known = closest(str(data.target), columns)
        raise ConfigError(f"data.target: {path.name} has no column {data.target}; {known}")
    features = frame.drop(columns=data.target)
    text = [c for c in features if not pd.api.types.is_numeric_dtype(features[c])]
    if text or features.empty:
        raise ConfigError(
            f"data.path: {path.name} has columns that are not numbers: {', '.join(text)}; encode or drop them"
            if text else f"data.path: {path.name} has no column besides the target"
        )  # fmt: skip
    holes = [c for c in frame if frame[c].isna().any()]
    if holes:
        raise ConfigError(f"data.path: {path.name} has missing values (NaN) in {', '.join(holes)}; fill or drop them")
    return features.to_numpy(np.float32), frame[data.target].to_numpy()

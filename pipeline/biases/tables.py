"""Tables of biases: one row per bias or gate."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.biases.extraction import find_biases, with_arrays
from pipeline.biases.variables import Bias
from pipeline.errors import ConfigError

NUMBERS = ("mean", "std", "min", "max")
COLUMNS = ("layer", "layer_type", "variable", "kind", "gate", "role", "trainable", "initializer", "shape", "dtype",
           *NUMBERS)  # fmt: skip


def describe_biases(model: Any) -> Any:
    """A DataFrame with a row per vector or gate of a built Keras model; see `table`."""
    return bias_table(with_arrays(find_biases(model)))


def bias_table(vectors: Iterable[Bias]) -> Any:
    """A DataFrame with a row per vector, or per gate of one: what it is, its shape, its mean, std, min and max."""
    import pandas as pd

    return pd.DataFrame(bias_rows(vectors), columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))


def bias_rows(vectors: Iterable[Bias]) -> list[dict[str, Any]]:
    """The rows of `table`; a number that does not exist is None."""
    found = []
    for vector in vectors:
        for role, gate, values in gate_parts(vector):
            described = {"shape": "", "dtype": ""} | dict.fromkeys(NUMBERS)
            if values is not None:
                exact = np.asarray(values, np.float64)
                described = {"shape": str(tuple(values.shape)), "dtype": str(values.dtype)}
                with np.errstate(all="ignore"):  # infinities have no standard deviation
                    described |= {name: float(getattr(exact, name)()) for name in NUMBERS}
            found.append({
                "layer": vector.layer, "layer_type": vector.layer_type, "variable": vector.path, "kind": vector.kind,
                "gate": gate, "role": role, "trainable": vector.trainable, "initializer": vector.initializer,
                **described,
            })  # fmt: skip
    return found


def bias_statistics(before: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation and Euclidean length of a bias, and its distance from where it started (drift)."""
    now64 = np.asarray(now, np.float64)
    return {
        "mean": float(now64.mean()),
        "std": float(now64.std()),
        "l2": float(np.linalg.norm(now64)),
        "drift": float(np.linalg.norm(now64 - before)),
    }


def gate_parts(vector: Bias) -> Iterator[tuple[str, str, np.ndarray | None]]:
    """(role, gate, values) of each gate; a GRU that resets after the product has two rows of them."""
    values = vector.values
    if values is None or not vector.gates or vector.kind != "bias":
        yield vector.role, "", values
        return
    rows = zip(("input", "recurrent"), values, strict=True) if values.ndim == 2 else [(vector.role, values)]
    for role, row in rows:
        for gate, part in zip(vector.gates, np.split(row, len(vector.gates)), strict=True):
            yield role, gate, part


def bias_differences(ours: Sequence[Bias], theirs: Sequence[Bias]) -> list[dict[str, Any]]:
    """A row per bias of two models.

    Columns: variable, kind, shape, other_shape, drift (Euclidean distance), cosine, sign_flips (of the values that are
    not 0 in either), only_in (first, second, or empty). What cannot be compared, for its shape, is None.
    """
    first, second = ({v.path: v for v in vectors if v.values is not None} for vectors in (ours, theirs))
    rows = []
    for path in dict.fromkeys([*first, *second]):
        a, b = first.get(path), second.get(path)
        row = {"variable": path, "kind": (a or b).kind, "shape": "", "other_shape": "", "drift": None,
               "cosine": None, "sign_flips": None,
               "only_in": "" if a and b else "first" if a else "second"}  # fmt: skip
        row |= {name: str(v.values.shape) for name, v in (("shape", a), ("other_shape", b)) if v}
        if a and b and a.values.shape == b.values.shape:
            x, y = (np.asarray(v.values, np.float64).ravel() for v in (a, b))
            with np.errstate(all="ignore"):  # of what is infinite
                lengths = np.linalg.norm(x) * np.linalg.norm(y)
                row["drift"] = float(np.linalg.norm(y - x))
                row["cosine"] = None if lengths == 0 else float(x @ y / lengths)
                row["sign_flips"] = int(np.sum(np.sign(x) * np.sign(y) < 0))
        rows.append(row)
    if not rows:
        raise ConfigError("--diff: neither of the two has a bias of this kind")
    return rows


def long_table(vectors: Sequence[Bias]) -> Any:
    """An Arrow table with a row per number: variable, role, gate, unit (its place within the gate, flat), value."""
    import pyarrow as pa

    tables = []
    for vector in vectors:
        for role, gate, values in gate_parts(vector):
            flat = np.empty(0) if values is None else np.asarray(values, np.float64).ravel()
            said = {"variable": vector.path, "role": role, "gate": gate}
            columns = {name: pa.repeat(text, len(flat)) for name, text in said.items()}
            tables.append(pa.table(columns | {"unit": np.arange(len(flat)), "value": flat}))
    return pa.concat_tables(tables)

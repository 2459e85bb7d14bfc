"""Tables and statistics of biases: one row per bias, or per gate of a bias that has gates."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.biases.extraction import find_biases, with_arrays
from pipeline.biases.variables import Bias

STATISTICS = ("mean", "std", "min", "max")
COLUMNS = ("layer", "layer_type", "variable", "kind", "gate", "role", "trainable", "initializer", "shape", "dtype",
           *STATISTICS)  # fmt: skip


def describe_biases(model: Any) -> Any:
    """Tabulate the biases of a built Keras model in a DataFrame, as `bias_table` does. Raises like `find_biases`."""
    return bias_table(with_arrays(find_biases(model)))


def bias_table(biases: Iterable[Bias]) -> Any:
    """A DataFrame with a row per bias or gate and the columns `COLUMNS`.

    `variable` is the bias's path; shape, mean, std, min and max are those of the gate where there are gates. An absent
    bias has an empty shape and nan for its numbers.
    """
    import pandas as pd

    return pd.DataFrame(bias_rows(biases), columns=COLUMNS).astype(dict.fromkeys(STATISTICS, float))


def bias_rows(biases: Iterable[Bias]) -> list[dict[str, Any]]:
    """The rows of `bias_table` as dictionaries; a statistic of an absent bias is None."""
    return [
        {
            "layer": bias.layer, "layer_type": bias.layer_type, "variable": bias.path, "kind": bias.kind,
            "gate": gate, "role": role, "trainable": bias.trainable, "initializer": bias.initializer,
            **_described(values),
        }
        for bias in biases
        for role, gate, values in gate_parts(bias)
    ]  # fmt: skip


def _described(values: np.ndarray | None) -> dict[str, Any]:
    if values is None:
        return {"shape": "", "dtype": ""} | dict.fromkeys(STATISTICS)
    exact = np.asarray(values, np.float64)
    with np.errstate(all="ignore"):  # infinities have no standard deviation
        statistics = {name: float(getattr(exact, name)()) for name in STATISTICS}
    return {"shape": str(tuple(values.shape)), "dtype": str(values.dtype)} | statistics


def bias_statistics(before: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """Mean, std, l2 (Euclidean norm) and drift (Euclidean distance from `before`) of a bias; both arrays [*shape]."""
    now64 = np.asarray(now, np.float64)
    return {
        "mean": float(now64.mean()),
        "std": float(now64.std()),
        "l2": float(np.linalg.norm(now64)),
        "drift": float(np.linalg.norm(now64 - before)),
    }


def gate_parts(bias: Bias) -> Iterator[tuple[str, str, np.ndarray | None]]:
    """Split a bias into its gates: (role, gate, values [units]) for each, or one item with gate "" if it has none.

    A GRU with `reset_after=True` has two rows of gates, of the roles `input` and `recurrent`, and so have the layers of
    cuDNN, one behind the other.
    """
    values = bias.values
    if values is None or not bias.gates or bias.kind != "bias":
        yield bias.role, "", values
        return
    gates, rows = bias.gates, values[None] if values.ndim == 1 else values
    if len(set(gates)) < len(gates):  # of cuDNN's layers, in one axis
        gates, rows = gates[: len(gates) // 2], np.split(values, 2)
    roles = ("input", "recurrent") if len(rows) == 2 else (bias.role,)
    for role, row in zip(roles, rows, strict=True):
        for gate, part in zip(gates, np.split(row, len(gates)), strict=True):
            yield role, gate, part


def value_table(biases: Sequence[Bias]) -> Any:
    """An Arrow table with a row per number: variable, role, gate, unit (its index in the gate), value (float64)."""
    import pyarrow as pa

    tables = []
    for bias in biases:
        for role, gate, values in gate_parts(bias):
            flat = np.empty(0) if values is None else np.asarray(values, np.float64).ravel()
            labels = {"variable": bias.path, "role": role, "gate": gate}
            columns = {name: pa.repeat(label, len(flat)) for name, label in labels.items()}
            tables.append(pa.table(columns | {"unit": np.arange(len(flat)), "value": flat}))
    return pa.concat_tables(tables)

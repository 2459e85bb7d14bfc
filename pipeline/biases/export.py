"""Write biases as a table for the terminal, CSV, JSON, Parquet or npz."""

import csv
import io
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.biases.tables import value_table
from pipeline.biases.variables import Bias
from pipeline.errors import ConfigError

VALUE_FORMATS = ("parquet", "npz")  # with every number; the others contain statistics
FORMATS = ("table", "csv", "json", *VALUE_FORMATS)
TABLE_WIDTH = 100
# The columns of the printed table; csv and json have all columns.
TABLE_COLUMNS = ("variable", "layer_type", "kind", "role", "gate", "shape", "mean", "std", "min", "max", "other_shape",
                 "drift", "cosine", "sign_flips", "only_in")  # fmt: skip


def export_biases(file_format: str, biases: Sequence[Bias], rows: list[dict[str, Any]]) -> bytes:
    """The whole content of a file in one of the FORMATS.

    biases: what parquet and npz contain, with arrays as values. rows: what the other formats contain, from `bias_rows`
    or `bias_differences`. Raises ConfigError when parquet or npz would contain nothing.
    """
    if file_format in VALUE_FORMATS and all(bias.values is None for bias in biases):
        raise ConfigError(f"--format: {file_format} holds values, and no chosen bias has any; allowed: csv, json")
    if file_format == "parquet":
        return _to_parquet(biases)
    if file_format == "npz":
        return _to_npz(biases)
    to_text = {"table": format_table, "csv": _to_csv, "json": _to_json}[file_format]
    return to_text(rows).encode()


def write_whole(content: bytes, output: Path) -> None:
    """Write a file whole or not at all. Raises ConfigError."""
    try:
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
            (Path(folder) / output.name).write_bytes(content)
            (Path(folder) / output.name).replace(output)
    except OSError as error:
        raise ConfigError(f"--output: {output} cannot be written: {error.strerror or error}") from error


def print_text(text: str) -> None:
    """Print to a terminal that may lack some letters."""
    has_lines = (sys.stdout.encoding or "utf").lower().startswith("utf")
    print(text if has_lines else text.replace("─", "-"), end="")


def format_table(rows: list[dict[str, Any]]) -> str:
    """A table of at most TABLE_WIDTH columns; a long name continues in the next line."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = [name for name in TABLE_COLUMNS if any(_cell(row.get(name)) for row in rows)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in columns:
        numeric = any(isinstance(row[name], (int, float)) for row in rows)  # a number must not be wrapped
        table.add_column(name, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    previous = None
    for row in rows:
        repeated = TABLE_COLUMNS[:3] if row["variable"] == previous else ()  # shown in the first row of its gates only
        previous = row["variable"]
        # As Text, since rich would interpret a name such as [red] as markup.
        table.add_row(*(Text("" if name in repeated else _cell(row[name])) for name in columns))
    buffer = io.StringIO()
    Console(file=buffer, width=TABLE_WIDTH, color_system=None).print(table)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)


def _to_csv(rows: list[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _to_json(rows: list[dict[str, Any]]) -> str:
    """JSON with null for nan and infinities, which it does not have."""

    def finite(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps([{key: finite(value) for key, value in row.items()} for row in rows], indent=2) + "\n"


def _to_parquet(biases: Sequence[Bias]) -> bytes:
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(value_table(biases), buffer)
    return buffer.getvalue()


def _to_npz(biases: Sequence[Bias]) -> bytes:
    """An npz of arrays by path. bfloat16, which the format lacks, becomes float32, which holds the same numbers."""
    arrays = {bias.path: bias.values for bias in biases if bias.values is not None}
    plain = {path: a if a.dtype.kind in "fiub" else a.astype(np.float32) for path, a in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **plain)
    return buffer.getvalue()

"""The biases of a saved model: `python -m pipeline.extract MODEL`.

MODEL is a .keras file, a .weights.h5 file, a legacy whole-model .h5, the folder of one of our runs
(results/<study>/<arm>/seed=<n>), or runs:/<id> of MLflow (of several models in it: runs:/<id>/<name>). Files are read
without Keras, and no code of theirs runs.
Exit code 2: nothing that can be read or shown, said in one line.
"""

import argparse
import csv
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from pipeline.biases.extraction import find_biases, with_arrays
from pipeline.biases.model_files import read_biases
from pipeline.biases.safe_files import one_line_error
from pipeline.biases.tables import bias_differences, bias_rows, long_table
from pipeline.biases.variables import Bias
from pipeline.errors import ConfigError, closest, require

KINDS = ("bias", "beta", "absent", "unknown")
FORMATS = ("table", "csv", "json", "parquet", "npz")
RUNS = "runs:/"
WIDTH = 100
OTHERS = "in Python, import what defines it, keras.saving.load_model, pipeline.biases.describe_biases"
# What is printed, of a table and of a difference. The files have all columns.
COLUMNS = ("variable", "layer_type", "kind", "role", "gate", "shape", "mean", "std", "min", "max", "other_shape",
           "drift", "cosine", "sign_flips", "only_in")  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the usage."""
        raise ConfigError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, choose, then print or write; the exit code."""
    try:
        options = _options(sys.argv[1:] if arguments is None else arguments)
        vectors = _chosen(options.model, options)
        rows = bias_differences(vectors, _chosen(options.diff, options)) if options.diff else bias_rows(vectors)
        content = _content(options.format, rows, vectors)
        if options.output:
            _write(content, options.output)
        else:
            _print(content.decode())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _print(text: str) -> None:
    """Print what the terminal has letters for, as far as anybody reads it."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:  # `... | head`; what is left must not be written when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="python -m pipeline.extract", description=__doc__, allow_abbrev=False,
                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("model", metavar="MODEL", help="what to read")
    parser.add_argument("--format", choices=FORMATS, help="npz and parquet hold the values, the others statistics")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write; its ending is the format")
    parser.add_argument("--layer", metavar="PATTERN", help="only layers or variables like this: 'conv*', 'encoder/*'")
    parser.add_argument("--kind", choices=KINDS, help="only this kind")
    parser.add_argument("--diff", metavar="OTHER", help="a second model, to be shown side by side")
    parser.add_argument(
        "--load", action="store_true", help="load it with Keras in safe mode, for layers of other kinds"
    )
    options = parser.parse_args(arguments)
    ending = options.output.suffix.removeprefix(".") if options.output else "table"
    require(
        options.format or ending in FORMATS,
        "--output",
        options.output,
        f"--format, or an ending of {', '.join(FORMATS[1:])}",
    )
    read = [Path(name).resolve() for name in (options.model, options.diff) if name]
    aside = options.output is None or options.output.resolve() not in read
    require(aside, "--output", options.output, "another file than those that are read")
    options.format = options.format or ending
    arrays = options.format in ("parquet", "npz")
    require(options.output or not arrays, "--format", options.format, "with --output FILE, since it is not text")
    require(not (arrays and options.diff), "--diff", f"--format {options.format}", "table, csv, json")
    return options


def _chosen(model: str, options: argparse.Namespace) -> list[Bias]:
    """The vectors of a model that --layer and --kind leave."""
    vectors = _read(model, options.load)
    if not vectors:
        raise ConfigError(f"{model}: none of its layers has a bias, or could have one, or they were not built")
    kept = [v for v in vectors if options.kind in (None, v.kind)]
    if not kept:
        raise ConfigError(f"--kind: {model} has no {options.kind}; allowed: {', '.join({v.kind: 0 for v in vectors})}")
    pattern = options.layer or "*"
    left = [v for v in kept if any(name == pattern or fnmatchcase(name, pattern) for name in (v.layer, v.path))]
    if not left:
        known = list(dict.fromkeys(vector.layer for vector in kept))
        raise ConfigError(f"--layer: {pattern} matches no layer of {model}; {closest(pattern, known)[:300]}")
    return left


def _read(model: str, load: bool) -> list[Bias]:
    if not model.startswith(RUNS):
        return _loaded(Path(model)) if load else read_biases(Path(model))
    from pipeline.tracking.models import fetch_model

    with tempfile.TemporaryDirectory() as folder:
        path = fetch_model(model, folder)
        try:
            return _loaded(path) if load else read_biases(path)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(path), model)) from error


def _loaded(path: Path) -> list[Bias]:
    """The biases of the model that Keras makes of a file, in safe mode. What `saved.read` refuses, it never sees."""
    others = sorted({v.layer_type for v in read_biases(path) if v.kind == "unknown" and v.layer_type})
    require(path.suffix in (".keras", ".h5") and not path.name.endswith(".weights.h5"), "--load", path,
            "a .keras file, or a .h5 file of a whole model")  # fmt: skip
    from pipeline.runtime.device import start_tensorflow

    start_tensorflow("cpu")
    import keras

    from pipeline.models.initializers import custom  # noqa: F401 (registers this project's initializers with Keras)

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        found = find_biases(model)
    except Exception as error:  # whatever a model of unknown layers raises, Keras passes on
        said = one_line_error(error).split(". ")[0]
        hint = f". For {', '.join(others)[:200]}: {OTHERS}" if others else ""
        raise ConfigError(f"--load: {path}: Keras: {said}{hint}") from error
    return with_arrays(found)


def _content(form: str, rows: list[dict[str, Any]], vectors: Sequence[Bias]) -> bytes:
    """The whole file, in the chosen format."""
    if form in ("parquet", "npz") and all(vector.values is None for vector in vectors):
        raise ConfigError(f"--format: {form} holds values, and nothing that was chosen has any; allowed: csv, json")
    if form in ("parquet", "npz"):
        buffer = io.BytesIO()
        if form == "parquet":
            from pyarrow import parquet

            parquet.write_table(long_table(vectors), buffer)
        else:  # NumPy's files have no bfloat16, hence the float32
            arrays = {v.path: v.values for v in vectors if v.values is not None}
            plain = {path: a if a.dtype.kind in "fiub" else a.astype(np.float32) for path, a in arrays.items()}
            np.savez(buffer, allow_pickle=False, **plain)
        return buffer.getvalue()
    if form == "json":
        known = [{name: _known(value) for name, value in row.items()} for row in rows]
        return (json.dumps(known, indent=2) + "\n").encode()
    if form == "csv":
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()
    return _text(rows).encode()


def _known(value: Any) -> Any:
    """A value as JSON can hold it: None for nan and the infinities."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(rows: list[dict[str, Any]]) -> str:
    """The table, in at most 100 columns: a long name goes on in the next line."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = [name for name in COLUMNS if any(_cell(row.get(name)) for row in rows)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in columns:
        numbers = any(isinstance(row[name], (int, float)) for row in rows)  # a number may not be broken
        table.add_column(name, justify="right" if numbers else "left", no_wrap=numbers, overflow="fold")
    last = None
    for row in rows:  # what a bias is stands in the first row of its gates
        said = COLUMNS[:3] if row["variable"] == last else ()
        last = row["variable"]
        cells = ("" if name in said else _cell(row[name]) for name in columns)
        table.add_row(*map(Text, cells))  # Text, since a name may look like markup
    buffer = io.StringIO()
    Console(file=buffer, width=WIDTH, color_system=None).print(table)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)


def _write(content: bytes, output: Path) -> None:
    """Write a file whole, or not at all."""
    try:
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as aside:
            (Path(aside) / output.name).write_bytes(content)
            (Path(aside) / output.name).replace(output)
    except OSError as error:
        raise ConfigError(f"--output: {output} cannot be written: {error.strerror or error}") from error


if __name__ == "__main__":
    sys.exit(main())

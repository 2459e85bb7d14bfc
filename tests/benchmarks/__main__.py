"""How fast seeds train together, compared with what people write by hand: `uv run python -m tests.benchmarks`.

Every ratio is taken from two timings on one machine, one right after the other. Prints a table and writes
`reports/benchmark.json`, which records each row with its machine and day. All rows take a quarter of an hour, most of
it `sweep`; `rows="mlp;cnn"` measures only these and keeps the others in the file.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from pipeline.config.options import parse_options
from pipeline.config.schema import PROJECT
from pipeline.runtime.device import start_tensorflow
from pipeline.runtime.environment import describe_environment
from pipeline.runtime.machine import describe_machine
from tests.benchmarks.commands import time_compare, time_sweeps
from tests.benchmarks.training import peak_memory, pictures, time_matrix_products, time_model_fit, time_seeds_together
from tests.peak import peak_bytes

CNN = ("model.name=cnn", (
    "model.layers=[{class_name: Conv2D, config: {filters: 16, kernel_size: 3, activation: relu}},"
    "{class_name: Conv2D, config: {filters: 32, kernel_size: 3, activation: relu}},"
    "{class_name: Flatten}, {class_name: Dense, config: {name: output}}]"
))  # fmt: skip
MLP, LSTM = ("model=mlp",), ("model=lstm",)  # the LSTM reads the rows of a picture as 8 steps


class Row(NamedTuple):
    """A row of the table.

    measure() returns our figure and the one it is compared with, None if there is none. At least `target` times faster
    is asked for, or with `at_most`, a difference (without a second figure: a figure) of at most `target`.
    """

    measure: Callable[[], tuple[float, float | None]]
    target: float
    unit: str = "ms"
    at_most: bool = False


def against_fit(seeds: int, overrides: tuple[str, ...], cached: bool = False) -> Callable[[], tuple[float, float]]:
    """Compare training these seeds together with one `model.fit`."""
    return lambda: (time_seeds_together(seeds, *overrides), time_model_fit(cached, *overrides))


def against_jax(name: str, seeds: int, overrides: tuple[str, ...], threads: int) -> Callable[[], tuple[float, float]]:
    """Compare training these seeds together with the same in JAX, which is imported for these rows alone."""

    def measure() -> tuple[float, float]:
        from tests.benchmarks.jax_peer import time_beside_jax

        return time_beside_jax(name, seeds, threads, *overrides)

    return measure


ROWS = {
    "mlp": Row(against_fit(40, MLP), 100),
    "mlp, tf.data": Row(against_fit(40, MLP, cached=True), 15),
    "cnn": Row(against_fit(10, CNN), 20),
    "lstm": Row(against_fit(10, LSTM), 20),
    "mlp, jax": Row(against_jax("mlp", 40, MLP, threads=1), 1.5),
    "mlp, jax in threads": Row(against_jax("mlp", 40, MLP, threads=2), 1.5),
    "cnn, jax": Row(against_jax("cnn", 10, CNN, threads=1), 1),
    "lstm, jax": Row(against_jax("lstm", 10, LSTM, threads=1), 1.3),
    "lstm, jax in threads": Row(against_jax("lstm", 10, LSTM, threads=2), 1.3),
    "mlp, 60000 pictures": Row(lambda: against_fit(10, pictures("mlp", 60_000))(), 10),
    "cnn, 12000 pictures": Row(lambda: against_fit(2, pictures("cnn", 12_000))(), 4),
    "matmul": Row(lambda: (time_seeds_together(40, *MLP), time_matrix_products()), 0.25),
    "sweep": Row(time_sweeps, 12, "s"),
    "memory": Row(lambda: (peak_memory(40), peak_memory(1)), 300, "MB", at_most=True),
    "compare 40 runs": Row(lambda: (time_compare(40), None), 8, "s", at_most=True),
    "compare 4000 runs": Row(lambda: (time_compare(4000), None), 30, "s", at_most=True),
}


@dataclass(frozen=True)
class BenchmarkOptions:
    """Which rows to measure, separated by semicolons; or only the peak memory of this many seeds."""

    rows: str = ";".join(ROWS)
    peak: int = 0


def main(arguments: list[str]) -> None:
    """Measure the rows that were asked for, print them, and add them to the file."""
    options = parse_options(arguments, BenchmarkOptions)
    if options is None:
        print(__doc__)
        return
    names = [name.strip() for name in options.rows.split(";")]
    if unknown := [name for name in names if name not in ROWS]:
        raise SystemExit(f"rows: {unknown[0]} given; allowed: {'; '.join(ROWS)}")
    device = start_tensorflow("auto")
    if options.peak:
        time_seeds_together(options.peak, *MLP)
        print(peak_bytes() / 2**20)
        return
    machine = describe_environment(device) | describe_machine()
    table = Table(
        "work", "ours", "compared with", "ratio", "target",
        title=f"{machine['processor']}, {device}, {machine['threads']} threads",
    )  # fmt: skip
    measured: dict[str, Any] = {}
    for name in names:
        ours, other = ROWS[name].measure()
        result = ratio(ROWS[name], ours, other)
        measured[name] = {"ours": ours, "other": other, "ratio": result, "machine": machine}
        measured[name]["day"] = time.strftime("%Y-%m-%d")
        table.add_row(name, *cells(ROWS[name], ours, other, result))
    Console(width=110).print(table)
    path = PROJECT / "reports" / "benchmark.json"
    path.parent.mkdir(exist_ok=True)
    earlier = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(earlier | measured, indent=2) + "\n")


def ratio(row: Row, ours: float, other: float | None) -> float:
    """How many times faster ours is; with `at_most`, how much more ours takes, or what it takes."""
    if row.at_most:
        return ours - (other or 0)
    assert other is not None
    return other / ours


def cells(row: Row, ours: float, other: float | None, result: float) -> list[str]:
    """Our figure, the other one, the ratio, and the target with whether it was missed."""
    missed = result > row.target if row.at_most else result < row.target
    other_cell = "–" if other is None else f"{other:.3g} {row.unit}"
    result_cell = f"{result:.3g} {row.unit}" if row.at_most else f"{result:.3g}x"
    target = f"at most {row.target} {row.unit}" if row.at_most else f"{row.target}x"
    return [f"{ours:.3g} {row.unit}", other_cell, result_cell, target + (" (missed)" if missed else "")]


if __name__ == "__main__":
    main(sys.argv[1:])

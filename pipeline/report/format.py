"""The cells of the comparison table, as text."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipeline.analysis.formatting import Row, number_format, p_value, signed, unsigned_zero
from pipeline.analysis.verdict import verdict_word
from pipeline.stats.intervals import ALPHA

HEADINGS = ["arm", "seeds", "mean ± 95 %", "difference [95 %]", "p (Holm)", "verdict"]
SORTED_BY = ["arm", "seeds", "mean", "difference", "p_holm", "verdict"]  # the column of the summary behind each heading
P_COLUMN = HEADINGS.index("p (Holm)")
UNKNOWN = "–"
DUST = 1e-10  # of the largest number of a column: what rounding leaves
MOST_DECIMALS, LARGEST_PLAIN = 7, 1e7  # beyond which numbers have an exponent


def headings(alpha: float = ALPHA, uncorrected: bool = False) -> list[str]:
    """What stands above `table_cells`. alpha: 1 less the level of the differences' intervals."""
    texts = [text.replace("[95 %]", f"[{100 * (1 - alpha):g} %]") for text in HEADINGS]
    return [*texts[:P_COLUMN], "p", *texts[P_COLUMN:]] if uncorrected else texts


def sorted_by(uncorrected: bool = False) -> list[str]:
    """The column of the summary behind each of `headings`."""
    return [*SORTED_BY[:P_COLUMN], "p_uncorrected", *SORTED_BY[P_COLUMN:]] if uncorrected else SORTED_BY


def table_cells(rows: Iterable[Row], alpha: float = ALPHA, uncorrected: bool = False) -> list[list[str]]:
    """Write one metric's rows of the summary, as `formatting.plain_rows` gives them, under `headings`.

    uncorrected: whether p of one arm at one look stands beside the p that is corrected.
    """
    rows = list(rows)
    number = number_format(rows)
    baselines = {row.get("baseline") for row in rows}
    return [_cells(row, number, row["arm"] in baselines, alpha, uncorrected) for row in rows]


def with_role(metric: str, role: str) -> str:
    """The name of a metric above its table: whether the verdict is about it."""
    return f"{metric} ({role})"


def narrow_cells(rows: Iterable[list[str]], above: Sequence[str] = HEADINGS) -> list[list[str]]:
    """The headings (`above`) and rows of `table_cells` in four columns of two lines, for a narrow terminal."""
    narrow = [["arm\nseeds", "mean\n± 95 %", above[3].replace(" [", "\n["), f"verdict\n{', '.join(above[4:-1])}"]]
    for arm, seeds, mean, difference, *p_cells, verdict in rows:
        p = ", ".join(p_cells) if UNKNOWN not in p_cells else UNKNOWN
        seeds = seeds if seeds.endswith(")") else f"{seeds} seed{'s' * (seeds != '1')}"
        ends = [difference.replace(" [", "\n["), verdict if p == UNKNOWN else f"{verdict}\np {p}"]
        narrow.append([f"{arm}\n{seeds}", mean.replace(" ±", "\n±"), *ends])
    return narrow


def rows_by_metric(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group the rows of the summary by their metric, in order."""
    by_metric: dict[str, list[Row]] = {}
    for row in rows:
        by_metric.setdefault(row["metric"], []).append(row)
    return by_metric


def interval_texts(rows: Sequence[tuple[float | None, float | None, float | None]]) -> list[str]:
    """Signed numbers with their intervals, in as many digits as two of the intervals' half width, at their median."""
    known = [(low, high) for value, low, high in rows if value is not None and low is not None and high is not None]
    widths = sorted(high - low for low, high in known if low < high)
    if not widths:
        return ["" if value is None else f"{value:+.3g}" for value, _, _ in rows]
    digits = min(9, max(0, 1 - math.floor(math.log10(widths[len(widths) // 2] / 2))))

    def text(value: float | None, low: float | None, high: float | None) -> str:
        if value is None or low is None or high is None or not low < high:
            return "" if value is None else signed(value, digits)
        middle, *ends = (signed(number, digits) for number in (value, low, high))
        return f"{middle} [{', '.join(ends)}]"

    return [text(*row) for row in rows]


def column_format(values: Iterable[Any], significant: int) -> Callable[[float], str]:
    """How to write the numbers of a column: all with the same decimals, `significant` digits at their median.

    Where that would show a number as 0 that is none, all have an exponent. Whole numbers are written as they are.
    """
    sizes = sorted(abs(value) for value in values if isinstance(value, int | float) and value)
    if all(float(value).is_integer() for value in sizes) and sizes[-1:] < [LARGEST_PLAIN]:
        return lambda value: f"{value:.0f}"
    sizes = [size for size in sizes if size > DUST * sizes[-1]]
    digits = max(0, significant - 1 - math.floor(math.log10(sizes[len(sizes) // 2])))
    if sizes[0] < 0.5 * 10**-digits or digits > MOST_DECIMALS or sizes[-1] >= LARGEST_PLAIN:
        return lambda value: f"{value:.{significant - 1}e}" if value else "0"
    return lambda value: unsigned_zero(f"{value:.{digits}f}")


def _cells(
    row: dict[str, Any], number: Callable[..., str], is_baseline: bool, alpha: float, uncorrected: bool
) -> list[str]:
    seeds, total = row["seeds"], row["seeds"] + row["diverged"]
    seeds_cell = str(seeds) if seeds == total else f"{seeds} of {total}"
    if never := row.get("censored"):
        seeds_cell += f" ({never} censored)"
    mean = number(row["mean"])
    if row["std"] is not None:
        mean += f" ± {number(row['ci_high'] - row['mean'])}"
    cells = [row["arm"], seeds_cell, mean]
    if row.get("baseline") is None:
        return [*cells, *[UNKNOWN] * (2 + uncorrected), verdict_word(row, is_baseline)]
    difference, low, high = number(row["difference"], "+"), row["difference_ci_low"], row["difference_ci_high"]
    if low is not None and high is not None and low < high:
        difference += f" [{number(low, '+')}, {number(high, '+')}]"
    shown = [(row["p_holm"], row.get("look") is not None)]
    if uncorrected:
        shown.insert(0, (row.get("p_uncorrected"), False))
    p_cells = [UNKNOWN if p is None or row["pairs"] == 1 else p_value(p, alpha=alpha, is_bound=b) for p, b in shown]
    return [*cells, difference, *p_cells, row["verdict"]]

"""The cells of the comparison table, as text."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from pipeline.analysis.formatting import Row, number_format, p_value, signed
from pipeline.analysis.verdict import verdict_word

HEADINGS = ["arm", "seeds", "mean ± 95 %", "difference [95 %]", "p (Holm)", "verdict"]
SORTED_BY = ["arm", "seeds", "mean", "difference", "p_holm", "verdict"]  # the column of the summary behind each heading
UNKNOWN = "–"


def table_cells(rows: Iterable[Row]) -> list[list[str]]:
    """Write one metric's rows of the summary, as `formatting.plain_rows` gives them, under `HEADINGS`."""
    rows = list(rows)
    number = number_format(rows)
    baselines = {row.get("baseline") for row in rows}
    return [_cells(row, number, row["arm"] in baselines) for row in rows]


def narrow_cells(rows: Iterable[list[str]]) -> list[list[str]]:
    """The headings and rows of `table_cells` in four columns of two lines, for a narrow terminal."""
    narrow = [["arm\nseeds", "mean\n± 95 %", "difference\n[95 %]", "verdict\np (Holm)"]]
    for arm, seeds, mean, difference, p, verdict in rows:
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


def interval_text(value: float, low: float | None, high: float | None) -> str:
    """A signed number and its interval in as many digits as two of the interval's half width."""
    if low is None or high is None or not low < high:
        return f"{value:+.3g}"
    digits = min(9, max(0, 1 - math.floor(math.log10((high - low) / 2))))
    middle, *ends = (signed(number, digits) for number in (value, low, high))
    return f"{middle} [{', '.join(ends)}]"


def _cells(row: dict[str, Any], number: Callable[..., str], is_baseline: bool) -> list[str]:
    seeds, total = row["seeds"], row["seeds"] + row["diverged"]
    seeds_cell = str(seeds) if seeds == total else f"{seeds} of {total}"
    if never := row.get("censored"):
        seeds_cell += f" ({never} censored)"
    mean = number(row["mean"])
    if row["std"] is not None:
        mean += f" ± {number(row['ci_high'] - row['mean'])}"
    cells = [row["arm"], seeds_cell, mean]
    if row.get("baseline") is None:
        return [*cells, UNKNOWN, UNKNOWN, verdict_word(row, is_baseline)]
    difference, low, high = number(row["difference"], "+"), row["difference_ci_low"], row["difference_ci_high"]
    if low is not None and high is not None and low < high:
        difference += f" [{number(low, '+')}, {number(high, '+')}]"
    p = UNKNOWN if row["p_holm"] is None or row["pairs"] == 1 else p_value(row["p_holm"])
    return [*cells, difference, p, row["verdict"]]

"""Cells of the comparison table."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.formatting import number_format, p_value

HEADINGS = ["arm", "seeds", "mean ± 95 %", "difference [95 %]", "p (Holm)", "verdict"]


def table_cells(summary: pd.DataFrame) -> list[list[str]]:
    """The table's rows as text; one metric's."""
    number = number_format(summary)
    bases = set(summary["baseline"].dropna()) if "baseline" in summary else set()
    return [_row(row, number, row["arm"] in bases) for row in summary.to_dict("records")]


def _row(row: dict[str, Any], number: Callable, is_baseline: bool) -> list[str]:
    seeds, total = row["seeds"], row["seeds"] + row["diverged"]
    cells = [row["arm"], str(seeds) if seeds == total else f"{seeds} of {total}", number(row["mean"])]
    if pd.notna(never := row.get("censored", pd.NA)) and never:
        cells[1] += f" ({never} censored)"
    if np.isfinite(row["std"]):
        cells[-1] += f" ± {number(row['ci_high'] - row['mean'])}"
    if not isinstance(row.get("baseline"), str):
        return [*cells, "–", "–", "baseline" if is_baseline else "–" if seeds else "diverged"]
    difference = number(row["difference"], "+")
    if row["difference_ci_low"] < row["difference_ci_high"]:
        difference += f" [{number(row['difference_ci_low'], '+')}, {number(row['difference_ci_high'], '+')}]"
    p = "–" if pd.isna(row["p_holm"]) or row["pairs"] == 1 else p_value(row["p_holm"])
    return [*cells, difference, p, row["verdict"]]

"""The answer as files: `write` puts tables, figures and text into a study's report folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import dynamics, figures, verdicts
from pipeline.answer import Answer

ENDS = {"difference_ci_low": "low", "difference_ci_high": "high"}
HEADINGS = ["arm", "seeds", "mean ± 95 %", "difference [95 %]", "p (Holm)", "verdict"]


def write(answer: Answer, folder: Path) -> None:
    """Write the tables (summary, differences, biases), metrics.json for DVC, figures/ and answer.md into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    answer.table.to_csv(folder / "summary.csv", index=False)
    answer.differences.to_csv(folder / "differences.csv", index=False)
    dynamics.write_values(answer.courses, folder / "biases.parquet")
    (folder / "metrics.json").write_text(json.dumps(_nested(answer.table), indent=2) + "\n")
    _write_plots(answer, folder / "plots")
    pictures = _draw(answer, folder / "figures")
    (folder / "answer.md").write_text(_markdown(answer, pictures))


def _write_plots(answer: Answer, folder: Path) -> None:
    """The tables behind `dvc plots`, of the chosen metric; their Vega-Lite templates are in .dvc/plots."""
    folder.mkdir(exist_ok=True)
    against = answer.chosen.reindex(columns=["arm", "baseline", "metric", "difference", *ENDS, "verdict"])
    against.dropna(subset="difference").rename(columns=ENDS).to_csv(folder / "intervals.csv", index=False)
    values = [
        {"arm": arm.name, "seed": seed, "metric": answer.metric, "value": value}
        for arm in answer.arms
        for seed, value in arm.values(answer.metric).items()
    ]
    pd.DataFrame(values, columns=["arm", "seed", "metric", "value"]).to_csv(folder / "values.csv", index=False)
    answer.quantiles.to_csv(folder / "biases.csv", index=False)


def cells(summary: pd.DataFrame) -> list[list[str]]:
    """The table's rows as text; one metric's."""
    number = verdicts.number_format(summary)
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
    p = "–" if pd.isna(row["p_holm"]) or row["pairs"] == 1 else verdicts.p_value(row["p_holm"])
    return [*cells, difference, p, row["verdict"]]


def _nested(summary: pd.DataFrame) -> dict[str, dict[str, dict[str, float | str]]]:
    """The table as DVC reads metrics: arm -> metric -> statistic, without what is not known."""
    nested: dict[str, dict[str, dict[str, float | str]]] = {}
    for row in summary.drop(columns=["baseline", "block", "same_curves"], errors="ignore").to_dict("records"):
        known = {k: v for k, v in row.items() if k not in ("arm", "metric") and pd.notna(v)}
        nested.setdefault(row["arm"], {})[row["metric"]] = known
    return nested


def _draw(answer: Answer, folder: Path) -> list[str]:
    """Draw the figures into `folder`; their names."""
    names, quantiles = answer.names, answer.quantiles
    pictures = {"learning_curves": figures.learning_curves(answer.curves, names)}
    if not quantiles.empty:
        pictures["biases"] = figures.bias_distributions(quantiles, names)
    for name, chart in pictures.items():
        figures.save(chart, folder / name)
    return list(pictures)


def _markdown(answer: Answer, pictures: list[str]) -> str:
    tables = []
    for metric in dict.fromkeys(answer.table["metric"]):
        rows = [HEADINGS, ["---"] * len(HEADINGS), *cells(answer.table[answer.table["metric"] == metric])]
        tables += [f"**{metric}**", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([
        f"# {answer.study}", "", answer.said[0], "", *(f"- {sentence}" for sentence in answer.said[1:]), "", *tables,
        "± is the half width of Student's 95 % interval. Differences are paired by seed, since a seed starts every arm",
        "from the same kernels, split and data order; their interval is a bootstrap (BCa), nowhere narrower than",
        "Student's; p is of sign flips, after Holm over the arms.", "",
        *(f"![{name}](figures/{name}.svg)\n" for name in pictures),
    ])  # fmt: skip

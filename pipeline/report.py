"""The answer as files: `write` puts tables, figures and text into a study's report folder."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline import bias_figures, dynamics, figures, look, page, press, summary, verdicts
from pipeline.answer import Answer

ENDS = {"difference_ci_low": "low", "difference_ci_high": "high"}
HEADINGS = ["arm", "seeds", "mean ± 95 %", "difference [95 %]", "p (Holm)", "verdict"]


def write(answer: Answer, folder: Path, commands: Mapping[str, str] | None = None) -> None:
    """Write tables, biases.parquet, metrics.json and plots/ (for DVC), figures/, answer.md and report.html.

    commands: how the study is compared again; what a command does -> how it is typed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    specs = _draw(answer, folder / "figures")
    answer.table.to_csv(folder / "summary.csv", index=False)
    answer.differences.to_csv(folder / "differences.csv", index=False)
    dynamics.write_values(answer.courses, folder / "biases.parquet")
    (folder / "metrics.json").write_text(json.dumps(_nested(answer.table), indent=2) + "\n")
    _write_plots(answer, folder / "plots")
    tables = {metric: cells(rows) for metric, rows in answer.table.groupby("metric", sort=False)}
    (folder / "answer.md").write_text(_markdown(answer, tables, specs))
    html = page.render(answer, tables, HEADINGS, specs, press.finish(), commands or {})
    (folder / "report.html").write_text(html, encoding="utf-8")


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


def _draw(answer: Answer, folder: Path) -> dict[str, dict[str, Any]]:
    """Have the figures drawn into `folder`; their Vega-Lite specifications by name."""
    specs = {}
    for name, chart in _charts(answer):
        specs[name] = chart.to_dict(validate=False) | {"description": chart.title.text}
        params = [
            param for param in specs[name].get("params", []) if param.get("bind") != "scales"
        ]  # paper has no zoom
        press.draw(specs[name] | {"config": look.theme(), "params": params}, folder / name)
    return specs


def _charts(answer: Answer) -> Iterator[tuple[str, Any]]:
    """Every figure that there is something to draw for, in the order of the page."""
    names, more = answer.names, summary.higher_is_better(answer.metric)
    if "baseline" in answer.table and answer.chosen["baseline"].notna().any():
        yield "intervals", figures.forest(answer.chosen, names, answer.margin, more)
    pairs = answer.differences[answer.differences["metric"] == answer.metric]
    if not pairs.empty:
        yield "paired_differences", figures.paired_differences(pairs, names, more)
    yield "learning_curves", figures.learning_curves(answer.curves, names)
    if not answer.quantiles.empty:
        yield "biases", bias_figures.bias_distributions(answer.quantiles, names)
    if not answer.trajectories.empty:
        yield "trajectories", bias_figures.bias_trajectories(answer.trajectories, names)
    if not answer.drift.empty:
        yield "drift", bias_figures.drift_heatmap(answer.drift, names)


def _markdown(answer: Answer, tables: Mapping[str, list[list[str]]], pictures: Iterable[str]) -> str:
    lines = []
    for metric, rows in tables.items():
        table = [HEADINGS, ["---"] * len(HEADINGS), *rows]
        lines += [f"**{metric}**", "", *map(verdicts.markdown_row, table), ""]
    return "\n".join([
        f"# {answer.study}", "", answer.said[0], "", *(f"- {sentence}" for sentence in answer.said[1:]), "",
        "The same with figures that answer to the pointer, method and settings: [report.html](report.html).", "",
        *lines,
        "± is the half width of Student's 95 % interval. Differences are paired by seed, since a seed starts every arm",
        "from the same kernels, split and data order; their interval is a bootstrap (BCa), nowhere narrower than",
        "Student's; p is of sign flips, after Holm over the arms.", "",
        *(f"![{name}](figures/{name}.svg)\n" for name in pictures),
    ])  # fmt: skip

"""The answer as files: `write` puts tables, figures and text into a study's report folder."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.analysis.bias_dynamics import write_bias_values
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.curves import higher_is_better
from pipeline.report.figures.biases import bias_distributions, bias_trajectories, drift_heatmap
from pipeline.report.figures.performance import forest, learning_curves, paired_differences
from pipeline.report.figures.theme import theme
from pipeline.report.format import HEADINGS, table_cells
from pipeline.report.html import render_page
from pipeline.report.markdown import render_markdown
from pipeline.report.render import draw_figure, finish_figures

ENDS = {"difference_ci_low": "low", "difference_ci_high": "high"}


def write_report(answer: Comparison, folder: Path, commands: Mapping[str, str] | None = None) -> None:
    """Write tables, biases.parquet, metrics.json and plots/ (for DVC), figures/, answer.md and report.html.

    commands: how the study is compared again; what a command does -> how it is typed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    specs = _draw(answer, folder / "figures")
    answer.table.to_csv(folder / "summary.csv", index=False)
    answer.differences.to_csv(folder / "differences.csv", index=False)
    write_bias_values(answer.courses, folder / "biases.parquet")
    (folder / "metrics.json").write_text(json.dumps(_nested(answer.table), indent=2) + "\n")
    _write_plots(answer, folder / "plots")
    tables = {metric: table_cells(rows) for metric, rows in answer.table.groupby("metric", sort=False)}
    (folder / "answer.md").write_text(render_markdown(answer, tables, specs))
    html = render_page(answer, tables, HEADINGS, specs, finish_figures(), commands or {})
    (folder / "report.html").write_text(html, encoding="utf-8")


def _write_plots(answer: Comparison, folder: Path) -> None:
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


def _nested(summary: pd.DataFrame) -> dict[str, dict[str, dict[str, float | str]]]:
    """The table as DVC reads metrics: arm -> metric -> statistic, without what is not known."""
    nested: dict[str, dict[str, dict[str, float | str]]] = {}
    for row in summary.drop(columns=["baseline", "block", "same_curves"], errors="ignore").to_dict("records"):
        known = {k: v for k, v in row.items() if k not in ("arm", "metric") and pd.notna(v)}
        nested.setdefault(row["arm"], {})[row["metric"]] = known
    return nested


def _draw(answer: Comparison, folder: Path) -> dict[str, dict[str, Any]]:
    """Have the figures drawn into `folder`; their Vega-Lite specifications by name."""
    specs = {}
    for name, chart in _charts(answer):
        specs[name] = chart.to_dict(validate=False) | {"description": chart.title.text}
        params = [
            param for param in specs[name].get("params", []) if param.get("bind") != "scales"
        ]  # paper has no zoom
        draw_figure(specs[name] | {"config": theme(), "params": params}, folder / name)
    return specs


def _charts(answer: Comparison) -> Iterator[tuple[str, Any]]:
    """Every figure that there is something to draw for, in the order of the page."""
    names, more = answer.names, higher_is_better(answer.metric)
    if "baseline" in answer.table and answer.chosen["baseline"].notna().any():
        yield "intervals", forest(answer.chosen, names, answer.margin, more)
    pairs = answer.differences[answer.differences["metric"] == answer.metric]
    if not pairs.empty:
        yield "paired_differences", paired_differences(pairs, names, more)
    yield "learning_curves", learning_curves(answer.curves, names)
    if not answer.quantiles.empty:
        yield "biases", bias_distributions(answer.quantiles, names)
    if not answer.trajectories.empty:
        yield "trajectories", bias_trajectories(answer.trajectories, names)
    if not answer.drift.empty:
        yield "drift", drift_heatmap(answer.drift, names)

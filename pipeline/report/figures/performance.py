"""Figures of how well the arms perform: learning curves, differences from the baseline, differences seed by seed."""

import math
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from pipeline.analysis.formatting import number_format
from pipeline.analysis.thinning import thin_out
from pipeline.report.figures.lines import row_height, title_lines
from pipeline.report.figures.theme import (
    COLOURS,
    DASHES,
    TOOLTIP_POINT,
    Arms,
    by_arm,
    dash_by_arm,
    data_rows,
    data_series,
    figure_title,
    keep,
    opacity_if_selected,
    scale_around,
    select_arms,
    tooltips,
    wrap_labels,
    wrapped,
)

# What is drawn at most; beyond, evenly spaced epochs, and the first seeds.
MAX_EPOCHS = 200  # of a curve
MAX_TOOLTIPS = 25  # of a curve
MAX_SEEDS = 200  # of an arm
VERDICT_SHAPES = {
    "better": "triangle-up", "worse": "triangle-down", "equivalent": "square", "identical": "diamond",
    "undecided": "circle",
}  # fmt: skip
CHANGES = ["better", "worse", "the same"]  # of a seed, with the arm in place of the baseline


def learning_curves(curves: pd.DataFrame, arms: Arms) -> ChartType:
    """Draw each metric over the epochs: mean over seeds with its 95 % interval as a band, one panel per metric.

    curves: columns arm, metric, epoch, mean, low, high; a row per point. arms: all arms of the study with their
    settings, which decide the colours.
    """
    epochs = thin_out(sorted(curves["epoch"].unique().tolist()), MAX_EPOCHS)
    curves = curves.loc[curves["epoch"].isin(epochs)]
    selection = select_arms()
    panels = [
        _curve_panel(curves.loc[curves["metric"] == metric], metric, arms, selection, position)
        for position, metric in enumerate(curves["metric"].unique())
    ]
    return alt.concat(
        *panels,
        data=data_series(curves, ["arm", "metric"], ["epoch", "mean", "low", "high"]),
        columns=2,
        title=figure_title(
            "Learning curves by arm",
            "Mean over seeds with its 95 % interval as a band. Without val_: mean over an epoch's batches.",
        ),
    )


def _curve_panel(curves: pd.DataFrame, metric: str, arms: Arms, selection: alt.Parameter, position: int) -> ChartType:
    """Draw one metric's curves. Losses have a log scale; the first panel carries the selection of arms."""
    is_log = "loss" in metric and curves[["mean", "low"]].min().min() > 0
    scale = alt.Scale(type="log", nice=False) if is_log else scale_around(curves[["mean", "low"]], nice=False)
    y_axis = (
        alt.Axis(values=_log_ticks(curves[["mean", "low", "high"]].to_numpy(float)))
        if is_log
        else alt.Axis(tickCount=6)
    )
    x = alt.X("epoch:Q", title="epoch (0 = before training)", axis=alt.Axis(tickMinStep=1))
    y = alt.Y("mean:Q", title=None, scale=scale, axis=y_axis)
    colour = by_arm(arms)

    band = alt.Chart().mark_area(strokeWidth=0).encode(
        x=x, y=alt.Y("low:Q", title=None, scale=scale, axis=y_axis), y2="high:Q", color=colour,
        fillOpacity=opacity_if_selected(selection, 0.18),
    )  # fmt: skip
    line = alt.Chart(name=f"curve{position}").mark_line(strokeWidth=2).encode(
        x=x, y=y, color=colour, strokeDash=dash_by_arm(arms), opacity=opacity_if_selected(selection)
    )  # fmt: skip
    zoom = alt.selection_interval(name=f"zoom{position}", bind="scales", zoom="wheel![event.shiftKey]")
    line = line.add_params(zoom) if position else line.add_params(zoom, selection)
    epochs = sorted(curves["epoch"].unique().tolist())
    with_tooltip = epochs[:: max(1, len(epochs) // MAX_TOOLTIPS)]
    point = (
        alt.Chart()
        .transform_filter(f"indexof({with_tooltip}, datum.epoch) >= 0")
        .mark_point(style=TOOLTIP_POINT, filled=True, size=90, clip=True)
        .encode(x=x, y=y, tooltip=tooltips(["arm"], ["epoch", "mean", "low", "high"]))
    )
    layers = [band, line, point] if bool(curves["low"].notna().any()) else [line, point]  # one seed has no interval
    panel = alt.layer(*layers).transform_filter(keep(metric=metric))
    title = f"{metric} (log scale)" if is_log else metric
    return panel.transform_flatten(["epoch", "mean", "low", "high"]).properties(width=330, height=230, title=title)


def difference_curves(curves: pd.DataFrame, arms: Arms) -> ChartType:
    """Draw how far each arm is from its baseline over the epochs, with the 95 % interval as a band; a panel per metric.

    curves: see `analysis.difference_curves`. arms: all arms of the study with their settings, which decide the colours.
    """
    epochs = thin_out(sorted(curves["epoch"].unique().tolist()), MAX_EPOCHS)
    curves = curves.loc[curves["epoch"].isin(epochs)]
    baselines = curves["baseline"].unique()
    against = baselines[0] if len(baselines) == 1 else "the baseline of its block"
    panels = [_difference_panel(curves.loc[curves["metric"] == m], m, arms) for m in curves["metric"].unique()]
    return alt.concat(
        *panels,
        data=data_series(curves, ["arm", "metric"], ["epoch", "mean", "low", "high"]),
        columns=2,
        title=figure_title(
            f"Difference from {against}, epoch by epoch",
            "Mean over pairs of seeds, with its 95 % interval as a band. Where a band holds 0, the seeds show no "
            "difference at that epoch alone.",
        ),
    )


def _difference_panel(curves: pd.DataFrame, metric: str, arms: Arms) -> ChartType:
    values = curves[["mean", "low", "high"]].to_numpy(float)
    has_band = bool(curves["low"].notna().any())
    scale = scale_around(np.append(values.ravel(), 0.0), nice=False)
    x = alt.X("epoch:Q", title="epoch (0 = before training)", axis=alt.Axis(tickMinStep=1))
    y, colour = alt.Y("mean:Q", title=None, scale=scale, axis=alt.Axis(tickCount=6)), by_arm(arms)
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(style="neutral").encode(y=alt.Y("zero:Q", scale=scale))
    band = alt.Chart().mark_area(strokeWidth=0, fillOpacity=0.15).encode(
        x=x, y=alt.Y("low:Q", title=None, scale=scale), y2="high:Q", color=colour
    )  # fmt: skip
    line = alt.Chart().mark_line(strokeWidth=2).encode(
        x=x, y=y, color=colour, strokeDash=dash_by_arm(arms),
        tooltip=tooltips(["arm"], ["epoch", "mean", "low", "high"]),
    )  # fmt: skip
    drawn = [
        layer.transform_filter(keep(metric=metric)).transform_flatten(["epoch", "mean", "low", "high"])
        for layer in (band, line)
    ]
    return alt.layer(zero, *(drawn if has_band else drawn[1:])).properties(width=330, height=200, title=metric)


def _log_ticks(values: np.ndarray) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten within the values' range; over many decades, only powers of ten."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    decades = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    digits = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
    return [tick for tick in ticks if low <= tick <= high] or [low, high]


def forest(
    table: pd.DataFrame, arms: Arms, margin: float, more_is_better: bool, interval: str = "95 % interval"
) -> ChartType:
    """Draw each arm's difference from its baseline with its interval; the margin is shaded.

    table: one metric's rows of `analysis.summary.summarize`, drawn in their order, without those that have no baseline.
    arms: those of the study and those over blocks.
    margin: largest difference that does not matter, in the metric's unit. interval: which one it is, in words.
    """
    metric, baselines = table["metric"].iloc[0], table["baseline"].dropna().unique()
    rows = _forest_rows(table)
    shown = rows["arm"].tolist()
    scale = _forest_scale(rows, margin)
    axis_title = f"difference in {metric} (better →)" if more_is_better else f"difference in {metric} (← better)"
    x = alt.X("difference:Q", scale=scale, title=axis_title, axis=alt.Axis(tickCount=8))
    y = alt.Y("arm:N", sort=shown, title=None, axis=alt.Axis(labelExpr=wrapped(), grid=False))
    colour = by_arm(arms, legend=False)
    shapes = alt.Scale(domain=list(VERDICT_SHAPES), range=list(VERDICT_SHAPES.values()))
    base = alt.Chart().encode(
        y=y, color=colour, tooltip=tooltips(["arm", "baseline", "verdict", "pairs"], ["difference", "low", "high"])
    )
    rule = base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    chart = alt.layer(
        alt.Chart(alt.Data(values=[{"from": -margin, "to": margin}]))
        .mark_rect(style="margin")
        .encode(x=alt.X("from:Q", scale=scale), x2="to:Q"),
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(style="neutral").encode(x=alt.X("zero:Q", scale=scale)),
        *([rule] if bool(rows["low"].notna().any()) else []),  # one pair has no interval
        base.mark_point(filled=True, size=130, opacity=1).encode(
            x=x, shape=alt.Shape("verdict:N", legend=None, scale=shapes)
        ),
        alt.Chart().mark_text(align="left", dx=6, dy=-15).encode(y=y, x=alt.value(0), text="label:N"),
        data=data_rows(rows),
        width=620,
        height=alt.Step(row_height(shown, 48)),
        title=figure_title(
            f"Difference from {baselines[0] if len(baselines) == 1 else 'the baseline'} in {metric}",
            f"Mean difference over seeds with its {interval}. Shaded: the margin of {margin:g}, within which a "
            "difference does not matter.",
        ),
    )
    return wrap_labels(chart, shown)


def _forest_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per compared arm: arm, baseline, difference, low, high, pairs, verdict, and a label in words."""
    write = number_format(table.to_dict("records"))
    names = {"difference_ci_low": "low", "difference_ci_high": "high"}
    rows = table.loc[table["baseline"].notna()].rename(columns=names)
    rows = rows.loc[:, ["arm", "baseline", "difference", "low", "high", "pairs", "verdict"]].astype({"pairs": int})

    def label(row: Any) -> str:
        if row.difference == row.low == row.high == 0:
            return f"{row.verdict}: 0 on every seed"
        interval = f" [{write(row.low, '+')}, {write(row.high, '+')}]" if pd.notna(row.low) else ""
        return f"{row.verdict}: {write(row.difference, '+')}{interval}".replace("-", "−")

    return rows.assign(label=[label(row) for row in rows.itertuples()])


def _forest_scale(rows: pd.DataFrame, margin: float) -> alt.Scale:
    """Return a scale that shows every interval and the margin, with some room at both ends."""
    ends = rows[["difference", "low", "high"]].astype(float)
    low, high = min(-margin, ends.min().min()), max(margin, ends.max().max())
    room = 0.06 * (high - low)
    return alt.Scale(domain=[low - room, high + room], nice=False, zero=False)


def paired_differences(differences: pd.DataFrame, arms: Arms, more_is_better: bool) -> ChartType:
    """Draw a line per seed from its value with the baseline to its value with the arm, one panel per arm.

    differences: one metric's rows of `analysis.summary.seed_differences`, with columns arm, baseline, metric, seed,
    value, baseline_value, difference.
    """
    metric, baselines = differences["metric"].iloc[0], ", ".join(differences["baseline"].unique())
    gains = differences["difference"] * (1 if more_is_better else -1)
    rows = differences.assign(became=gains.map(lambda gain: CHANGES[0] if gain > 0 else CHANGES[1 if gain else 2]))
    columns = ["arm", "baseline", "seed", "baseline_value", "value", "difference", "became"]
    rows = rows.loc[rows.groupby("arm").cumcount() < MAX_SEEDS, columns]
    y = alt.Y("of:Q", title=None, scale=scale_around(rows[["baseline_value", "value"]]))
    compared = [arm for arm in arms if arm in set(rows["arm"])]
    return alt.concat(
        *(_seeds_panel(arm, y) for arm in compared),
        data=data_rows(rows),
        columns=4,
        title=figure_title(
            f"{metric} seed by seed",
            f"Each line is a seed, from its value with the baseline ({baselines}) to its value with the arm.",
        ),
    ).resolve_scale(y="shared")


def _seeds_panel(arm: str, y: alt.Y) -> ChartType:
    title = "with the arm, the seed is"
    colour = alt.Color(
        "became:N", title=title, sort=CHANGES,
        scale=alt.Scale(domain=CHANGES, range=[COLOURS[0], COLOURS[1], COLOURS[7]]),
        legend=alt.Legend(symbolType="stroke", symbolOpacity=1, columns=3),
    )  # fmt: skip
    dash = alt.StrokeDash(
        "became:N", title=title, sort=CHANGES, scale=alt.Scale(domain=CHANGES, range=list(DASHES[:3]))
    )
    base = alt.Chart().encode(
        x=alt.X("side:N", sort=["baseline", "arm"], title=None, axis=alt.Axis(labelAngle=0, labelPadding=6)),
        y=y,
        color=colour,
        detail="seed:N",
        tooltip=tooltips(["seed", "arm", "baseline", "became"], ["baseline_value", "value", "difference"]),
    )
    return (
        alt.layer(
            base.mark_line(strokeWidth=1.8).encode(strokeDash=dash), base.mark_point(filled=True, size=36, opacity=1)
        )
        .transform_filter(keep(arm=arm))
        .transform_fold(["baseline_value", "value"], as_=["end", "of"])
        .transform_calculate(side="datum.end === 'value' ? 'arm' : 'baseline'")
        .properties(width=190, height=220, title=title_lines(arm))
    )

"""Figures, one function each: a data frame in, an Altair chart out. `save` writes PNG and SVG without a browser."""

from pathlib import Path

import altair as alt
import pandas as pd

# Okabe and Ito's palette, told apart by colour-blind eyes too; the order is the order of the arms.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])


def learning_curves(curves: pd.DataFrame, arms: list[str]) -> alt.Chart:
    """Mean over seeds with its 95 % interval as a band, one panel per metric.

    curves: columns arm, metric, epoch, mean, low, high; a row per point.
    """
    colour = _by_arm(arms)
    base = alt.Chart().encode(x=alt.X("epoch:Q", title="epoch (0 = before training)", axis=alt.Axis(tickMinStep=1)))
    dash = alt.StrokeDash("arm:N", sort=arms, scale=alt.Scale(domain=arms, range=_cycled(DASHES, arms)), title="arm")
    panels = []
    for metric in dict.fromkeys(curves["metric"]):
        here = curves[curves["metric"] == metric]
        positive = "loss" in metric and (here[["mean", "low"]].min().min() > 0)
        scale = alt.Scale(type="log" if positive else "linear", zero=False, nice=False)
        title = f"{metric} (log scale)" if positive else metric
        band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=None, scale=scale), y2="high:Q", color=colour)
        line = base.mark_line(strokeWidth=2).encode(y=alt.Y("mean:Q", scale=scale), color=colour, strokeDash=dash)
        panels.append(alt.layer(band, line, data=here).properties(width=330, height=230, title=title))
    return _styled(
        alt.concat(*panels, columns=2),
        "Learning curves by arm",
        "Mean over seeds; the band is its 95 % interval. Without val_: running means within the epoch.",
    )


def bias_distributions(quantiles: pd.DataFrame, arms: list[str]) -> alt.Chart:
    """Each layer's bias values before and after training: median, middle half and 5 % to 95 %, over units and seeds.

    quantiles: columns arm, layer, moment (before | after), q05, q25, q50, q75, q95; a row per box. An arm keeps the
    colour that it has among `arms`, whether it has biases or not.
    """
    biased = [arm for arm in arms if arm in set(quantiles["arm"])]
    x = alt.X("arm:N", sort=biased, title=None, axis=alt.Axis(labelAngle=-35, labelLimit=250))
    colour = _by_arm(arms, legend=False)
    base = alt.Chart().encode(x=x, color=colour)
    value = alt.Y("q05:Q", title="bias", scale=alt.Scale(zero=False))
    whisker = base.mark_rule(strokeWidth=2).encode(y=value, y2="q95:Q")
    box = base.mark_bar(size=16, opacity=0.6).encode(y="q25:Q", y2="q75:Q")
    median = base.mark_tick(size=24, thickness=3).encode(y="q50:Q")
    rows = []
    for layer in dict.fromkeys(quantiles["layer"]):
        here = quantiles[quantiles["layer"] == layer]
        panel = alt.layer(whisker, box, median, data=here).properties(width=60 + 34 * len(biased), height=150)
        moments = alt.Column("moment:N", sort=["before", "after"], title=None, header=alt.Header(labelFontSize=12))
        rows.append(panel.facet(column=moments, title=alt.Title(layer, anchor="start", fontSize=12)))
    return _styled(
        alt.vconcat(*rows),
        "Bias values before and after training",
        "Tick: median; bar: middle half; line: 5 % to 95 %, over all units and seeds. Arms without a bias are absent.",
    )


def save(chart: alt.Chart, path: Path) -> None:
    """Write `path`.png and `path`.svg."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chart.save(f"{path}.png", scale_factor=2)
    chart.save(f"{path}.svg")


def _by_arm(arms: list[str], legend: bool = True) -> alt.Color:
    scale = alt.Scale(domain=arms, range=_cycled(COLOURS, arms))
    return alt.Color(
        "arm:N",
        sort=arms,
        scale=scale,
        title="arm",
        legend=alt.Legend(symbolType="stroke", symbolOpacity=1) if legend else None,
    )


def _cycled(values: tuple, arms: list[str]) -> list:
    return [values[i % len(values)] for i in range(len(arms))]


def _styled(chart: alt.Chart, title: str, subtitle: str) -> alt.Chart:
    heading = alt.Title(title, subtitle=subtitle, anchor="start", fontSize=16, subtitleColor="#555555", offset=12)
    return (
        chart.properties(title=heading, background="white", padding=12)
        .configure_view(stroke="#DDDDDD")
        .configure_axis(gridColor="#EEEEEE", labelFontSize=11, titleFontSize=12)
        .configure_legend(symbolStrokeWidth=3, symbolSize=200, labelLimit=400, labelFontSize=12)
    )

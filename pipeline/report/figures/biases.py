"""Figures of what training does to the biases: distributions, trajectories of units, drift of layers."""

import itertools

import altair as alt
import pandas as pd
from altair.typing import ChartType

from pipeline.analysis.thinning import thin_out
from pipeline.report.figures.lines import row_height, title_lines
from pipeline.report.figures.theme import (
    Arms,
    by_arm,
    data_rows,
    data_series,
    figure_title,
    keep,
    scale_around,
    tooltips,
    wrap_labels,
    wrapped,
)

# What is drawn at most; beyond, an evenly spaced choice that includes the first and the last.
MAX_LAYERS = 12
MAX_PANELS = 36
MAX_UNITS = 32  # of a layer
MAX_POINTS = 20_000  # of all trajectories together
MAX_HEATMAP_EPOCHS = 60
MOMENTS = ["before", "after"]


def bias_distributions(quantiles: pd.DataFrame, arms: Arms) -> ChartType:
    """Draw each layer's bias values before and after training: median, quartiles, 5 % and 95 % quantiles.

    quantiles: columns arm, layer, moment (before | after), q05, q25, q50, q75, q95; a row per box, over units and
    seeds. arms: all arms of the study with their settings, which decide the colours, whether they have biases or not.
    """
    layers, note = _choose_layers(quantiles, MAX_LAYERS)
    chart = alt.concat(
        *(_distribution_panel(quantiles.loc[quantiles["layer"] == layer], layer, arms) for layer in layers),
        data=data_rows(quantiles.loc[quantiles["layer"].isin(layers)]),
        columns=2,
        title=figure_title(
            "Bias values before and after training",
            "Tick: median; bar: middle half; line: 5 % to 95 %, over all units and seeds. Upper and paler: "
            f"before. Arms without a bias are absent.{note}",
        ),
    )
    return wrap_labels(chart, _biased(arms, quantiles))


def _distribution_panel(quantiles: pd.DataFrame, layer: str, arms: Arms) -> ChartType:
    biased = _biased(arms, quantiles)
    base = alt.Chart().encode(
        y=alt.Y("arm:N", sort=biased, title=None, axis=alt.Axis(labelExpr=wrapped(), grid=False)),
        yOffset=alt.YOffset("moment:N", sort=MOMENTS, scale=alt.Scale(paddingInner=0.25)),
        tooltip=[
            *tooltips(["arm", "layer", "moment"]),
            *(alt.Tooltip(f"q{q}:Q", title=f"{int(q)} %") for q in ("05", "25", "50", "75", "95")),
        ],
    )
    colour = by_arm(arms, legend=False)
    outline = alt.Stroke("arm:N", scale=colour["scale"], legend=None)
    shade = alt.FillOpacity(
        "moment:N", sort=MOMENTS, title=None, legend=None, scale=alt.Scale(domain=MOMENTS, range=[0.25, 0.85])
    )
    x = alt.X("q05:Q", title="bias", scale=scale_around(quantiles[["q05", "q95"]]), axis=alt.Axis(tickCount=5))
    step = row_height(biased, 34) / 2  # a row has two bars
    return (
        alt.layer(
            base.mark_rule(strokeWidth=1.5).encode(x=x, x2="q95:Q", color=colour),
            base.mark_bar(size=9, strokeWidth=1).encode(
                x=alt.X("q25:Q", title="bias"), x2="q75:Q", color=colour, stroke=outline, fillOpacity=shade
            ),
            base.mark_tick(size=13, thickness=2, style="median").encode(x=alt.X("q50:Q", title="bias")),
        )
        .transform_filter(keep(layer=layer))
        .properties(width=300, height=alt.Step(step, **{"for": "offset"}), title=title_lines(layer))
    )


def bias_trajectories(trajectories: pd.DataFrame, arms: Arms) -> ChartType:
    """Draw each unit's bias over the epochs in one seed, one panel per layer and arm.

    trajectories: columns arm, seed, layer, unit, epoch, value; a row per point.
    """
    biased = _biased(arms, trajectories)
    layers, note = _choose_layers(trajectories, max(1, min(MAX_LAYERS, MAX_PANELS // len(biased))))
    drawn = trajectories.loc[trajectories["layer"].isin(layers)]
    max_units = max(8, min(MAX_UNITS, MAX_UNITS * 20 // (len(biased) * len(layers))))
    is_drawn = drawn.groupby("layer")["unit"].transform(lambda u: u.isin(thin_out(sorted(u.unique()), max_units)))
    drawn = drawn.loc[is_drawn.astype(bool)]
    max_epochs = max(2, MAX_POINTS // drawn.groupby(["arm", "layer", "unit"]).ngroups)
    drawn = drawn.loc[drawn["epoch"].isin(thin_out(sorted(drawn["epoch"].unique()), max_epochs))]
    values = dict(iter(drawn.groupby(["layer", "arm"])["value"]))
    panels = [
        _trajectory_panel(values[layer, arm], layer, arm, arms)
        for layer in layers
        for arm in biased
        if (layer, arm) in values
    ]
    seed = ", ".join(str(seed) for seed in drawn["seed"].unique())
    return alt.concat(
        *panels,
        data=data_series(drawn, ["arm", "layer", "unit"], ["epoch", "value"]),
        columns=len(biased) if 1 < len(biased) < 4 else 4,
        title=figure_title(
            f"How each bias moved in seed {seed}",
            f"Each line is a unit, at most {max_units} per layer. Every panel has its own scale.{note}",
        ),
    )


def _trajectory_panel(values: pd.Series, layer: str, arm: str, arms: Arms) -> ChartType:
    return (
        alt.Chart()
        .mark_line(strokeWidth=1.1, strokeOpacity=0.65)
        .transform_filter(keep(layer=layer, arm=arm))
        .transform_flatten(["epoch", "value"])
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, tickCount=5)),
            y=alt.Y("value:Q", title=None, scale=scale_around(values), axis=alt.Axis(tickCount=5)),
            color=by_arm(arms, legend=False),
            detail="unit:N",
            tooltip=tooltips(["arm", "layer", "unit"]),
        )
        .properties(width=190, height=130, title=[*title_lines(layer), *title_lines(arm)])
    )


def drift_heatmap(drift: pd.DataFrame, arms: Arms) -> ChartType:
    """Draw how far each layer's biases are from their initial values, epoch by epoch, one panel per arm.

    drift: columns arm, layer, epoch, drift, low, high; a row per cell.
    """
    epochs = thin_out(sorted(drift["epoch"].unique().tolist()), MAX_HEATMAP_EPOCHS)
    ends = [(a + b) / 2 for a, b in itertools.pairwise(epochs)]  # a cell ends where the next begins
    widths = [2 * (ends[0] - epochs[0]), 2 * (epochs[-1] - ends[-1])] if ends else [1, 1]
    ends = [epochs[0] - widths[0] / 2, *ends, epochs[-1] + widths[1] / 2]  # so that an epoch is in its cell's middle
    drawn = drift.loc[drift["epoch"].isin(epochs)]
    cells = {"begin": dict(zip(epochs, ends, strict=False)), "until": dict(zip(epochs, ends[1:], strict=True))}
    drawn = drawn.assign(**{name: drawn["epoch"].map(place) for name, place in cells.items()})
    scale = alt.Scale(scheme="viridis", domain=[0, float(drawn["drift"].max()) or 1])
    legend = alt.Legend(orient="top", gradientLength=180)
    layers = drift["layer"].unique().tolist()
    epoch_axis = alt.Axis(tickMinStep=1, grid=False)
    cell = (
        alt.Chart()
        .mark_rect(strokeWidth=0.5, stroke=alt.expr("scale('color', datum.drift)"))  # no seams between cells
        .encode(
            x=alt.X("begin:Q", title="epoch", scale=alt.Scale(nice=False), axis=epoch_axis),
            x2="until:Q",
            y=alt.Y("layer:N", sort=layers, title=None, axis=alt.Axis(grid=False, labelExpr=wrapped())),
            color=alt.Color("drift:Q", scale=scale, legend=legend),
            tooltip=tooltips(["arm", "layer", "epoch"], ["drift", "low", "high"]),
        )
    )
    panels = [
        cell.transform_filter(keep(arm=arm))
        .transform_flatten(["epoch", "begin", "until", "drift", "low", "high"])
        .properties(width=300, height=alt.Step(row_height(layers, 26)), title=title_lines(arm))
        for arm in _biased(arms, drift)
    ]
    chart = alt.concat(
        *panels,
        data=data_series(drawn, ["arm", "layer"], ["epoch", "begin", "until", "drift", "low", "high"]),
        columns=2,
        title=figure_title(
            "Drift: distance of the biases from their initial values",
            "Euclidean distance over a layer's units, mean over seeds; it grows with the number of units.",
        ),
    )
    return wrap_labels(chart, layers)


def _biased(arms: Arms, frame: pd.DataFrame) -> list[str]:
    """Return the arms that the frame has, in the order of the study: an arm without biases has no rows."""
    present = set(frame["arm"])
    return [arm for arm in arms if arm in present]


def _choose_layers(frame: pd.DataFrame, most: int) -> tuple[list[str], str]:
    """Return the layers to draw, and a remark for the subtitle if that is not all of them."""
    names = frame["layer"].unique().tolist()
    return thin_out(names, most), f" {most} of {len(names)} layers are drawn." if len(names) > most else ""

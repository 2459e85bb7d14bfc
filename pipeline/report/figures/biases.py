"""Figures of what training does to the biases, one function each: a data frame in, an Altair chart out."""

import altair as alt
import pandas as pd

from pipeline.analysis.thinning import thin_out
from pipeline.report.figures.theme import WRAP, by_arm, data_rows, data_series, figure_title, scale_around, title_lines

MOST_LAYERS = 12  # that are drawn: evenly chosen, the first and the last among them
MOST_PANELS = 36
MOST_LINES = 32  # units of a layer
MOST_POINTS = 20_000  # of all trajectories together
MOST_COLUMNS = 60  # epochs of the heatmap


def bias_distributions(quantiles: pd.DataFrame, arms: list[str]) -> alt.Chart:
    """Each layer's bias values before and after training: median, middle half and 5 % to 95 %, over units and seeds.

    quantiles: columns arm, layer, moment (before | after), q05, q25, q50, q75, q95; a row per box. An arm keeps the
    colour that it has among `arms`, whether it has biases or not.
    """
    biased = [arm for arm in arms if arm in set(quantiles["arm"].unique())]
    layers, note = _drawn(quantiles["layer"], MOST_LAYERS)
    moments = ["before", "after"]
    y = alt.Y("arm:N", sort=biased, title=None, axis=alt.Axis(labelExpr=WRAP, grid=False))
    offset = alt.YOffset("moment:N", sort=moments, scale=alt.Scale(paddingInner=0.25))
    shade = alt.FillOpacity(
        "moment:N", sort=moments, title=None, legend=None, scale=alt.Scale(domain=moments, range=[0.25, 0.85])
    )  # fmt: skip
    found = [alt.Tooltip(f"{name}:N") for name in ("arm", "layer", "moment")]
    found += [alt.Tooltip(f"q{q}:Q", title=f"{int(q)} %") for q in ("05", "25", "50", "75", "95")]
    base = alt.Chart().encode(y=y, yOffset=offset, color=by_arm(arms, legend=False), tooltip=found)
    step = max(17, 7 * max(1 + arm.count(",") for arm in biased))  # room for the lines of a name
    panels = []
    for layer in layers:
        here = quantiles[quantiles["layer"] == layer]
        x = alt.X("q05:Q", title="bias", scale=scale_around(here["q05"], here["q95"]), axis=alt.Axis(tickCount=6))
        panel = alt.layer(
            base.mark_rule(strokeWidth=1.5).encode(x=x, x2="q95:Q"),
            base.mark_bar(size=9, strokeWidth=1).encode(
                x=alt.X("q25:Q", title="bias"), x2="q75:Q", stroke=by_arm(arms, legend=False), fillOpacity=shade
            ),
            base.mark_tick(size=13, thickness=3).encode(x=alt.X("q50:Q", title="bias")),
        )
        panel = panel.transform_filter(alt.FieldEqualPredicate(field="layer", equal=layer))
        panels.append(panel.properties(width=300, height=alt.Step(step, **{"for": "offset"}), title=title_lines(layer)))
    return alt.concat(
        *panels,
        data=data_rows(quantiles[quantiles["layer"].isin(layers)]),
        columns=2,
        title=figure_title(
            "Bias values before and after training",
            "Tick: median; bar: middle half; line: 5 % to 95 %, over all units and seeds; upper and paler: before. "
            f"Arms without a bias are absent.{note}",
        ),
    )


def bias_trajectories(trajectories: pd.DataFrame, arms: list[str]) -> alt.Chart:
    """Each unit's bias over the epochs in one seed, a panel per layer and arm.

    trajectories: columns arm, seed, layer, unit, epoch, value.
    """
    biased = [arm for arm in arms if arm in set(trajectories["arm"].unique())]
    layers, note = _drawn(trajectories["layer"], max(1, min(MOST_LAYERS, MOST_PANELS // len(biased))))
    drawn = trajectories[trajectories["layer"].isin(layers)]
    most = max(8, min(MOST_LINES, MOST_LINES * 20 // (len(biased) * len(layers))))
    units = drawn.groupby("layer")["unit"].transform(lambda unit: unit.isin(thin_out(sorted(unit.unique()), most)))
    drawn = drawn[units.astype(bool)]
    epochs = max(2, MOST_POINTS // drawn.groupby(["arm", "layer", "unit"]).ngroups)
    drawn = drawn[drawn["epoch"].isin(thin_out(sorted(drawn["epoch"].unique()), epochs))]
    line = (
        alt.Chart()
        .mark_line(strokeWidth=1.1, strokeOpacity=0.65)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, tickCount=5)),
            color=by_arm(arms, legend=False),
            detail="unit:N",
            tooltip=[alt.Tooltip(f"{name}:N") for name in ("arm", "layer", "unit")],
        )
    )
    values = dict(iter(drawn.groupby(["layer", "arm"])["value"]))
    panels = [
        line.transform_filter(alt.FieldEqualPredicate(field="layer", equal=layer))
        .transform_filter(alt.FieldEqualPredicate(field="arm", equal=arm))
        .transform_flatten(["epoch", "value"])
        .encode(
            y=alt.Y("value:Q", title=None, scale=scale_around(values[layer, arm]), axis=alt.Axis(tickCount=5)),
        )
        .properties(width=190, height=130, title=[*title_lines(layer), *title_lines(arm)])
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
            f"How each bias moved: seed {seed}",
            f"A line is a unit, at most {most} of a layer; every panel has a scale of its own.{note}",
        ),
    )


def drift_heatmap(drift: pd.DataFrame, arms: list[str]) -> alt.Chart:
    """How far each layer's biases are from where they began, epoch by epoch, a panel per arm.

    drift: columns arm, layer, epoch, drift, low, high.
    """
    biased = [arm for arm in arms if arm in set(drift["arm"].unique())]
    layers = drift["layer"].unique().tolist()
    epochs = thin_out(sorted(drift["epoch"].unique().tolist()), MOST_COLUMNS)
    until = dict(
        zip(epochs, [*epochs[1:], epochs[-1] + (epochs[-1] - epochs[-2] if len(epochs) > 1 else 1)], strict=True)
    )
    drawn = drift[drift["epoch"].isin(epochs)]
    drawn = drawn.assign(until=drawn["epoch"].map(until))
    top = float(drawn["drift"].max())
    cell = (
        alt.Chart()
        .mark_rect()
        .encode(
            x=alt.X("epoch:Q", title="epoch", scale=alt.Scale(nice=False), axis=alt.Axis(tickMinStep=1, grid=False)),
            x2="until:Q",
            y=alt.Y("layer:N", sort=layers, title=None, axis=alt.Axis(grid=False, labelLimit=260)),
            color=alt.Color(
                "drift:Q", title="drift", scale=alt.Scale(scheme="viridis", domain=[0, top or 1]),
                legend=alt.Legend(orient="top", gradientLength=180),
            ),
            tooltip=[alt.Tooltip(f"{name}:N") for name in ("arm", "layer", "epoch")]
            + [alt.Tooltip(f"{name}:Q") for name in ("drift", "low", "high")],
        )
    )  # fmt: skip
    panels = [
        cell.transform_filter(alt.FieldEqualPredicate(field="arm", equal=arm))
        .transform_flatten(["epoch", "until", "drift", "low", "high"])
        .properties(width=300, height=alt.Step(26), title=title_lines(arm))
        for arm in biased
    ]
    return alt.concat(
        *panels,
        data=data_series(drawn, ["arm", "layer"], ["epoch", "until", "drift", "low", "high"]),
        columns=2,
        title=figure_title(
            "Drift: how far the biases are from where they began",
            "Euclidean distance over the units of a layer, mean over seeds. A layer of more units has more to drift.",
        ),
    )


def _drawn(layers: pd.Series, most: int) -> tuple[list[str], str]:
    """The layers that are drawn, and a remark when some are not."""
    names = layers.unique().tolist()
    return thin_out(names, most), f" {most} of {len(names)} layers are drawn." if len(names) > most else ""

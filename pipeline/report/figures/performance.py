"""Figures of what the arms achieve, one function each: a data frame in, an Altair chart out."""

import altair as alt
import pandas as pd

from pipeline.analysis.thinning import thin_out
from pipeline.report.figures.theme import (
    COLOURS,
    DASHES,
    WRAP,
    bright,
    by_arm,
    dash_by_arm,
    data_rows,
    data_series,
    figure_title,
    picked,
    scale_around,
    title_lines,
)

MOST_EPOCHS = 200  # that are drawn of a curve
MOST_SEEDS = 200  # that are drawn of an arm's pairs
SIGNS = {"better": "triangle-up", "worse": "triangle-down", "equivalent": "square", "identical": "diamond"}


def learning_curves(curves: pd.DataFrame, arms: list[str]) -> alt.Chart:
    """Mean over seeds with its 95 % interval as a band, one panel per metric.

    curves: columns arm, metric, epoch, mean, low, high; a row per point.
    """
    pick, colour = picked(), by_arm(arms)
    epochs = thin_out(sorted(curves["epoch"].unique().tolist()), MOST_EPOCHS)
    curves = curves[curves["epoch"].isin(epochs)]
    along = ["epoch", "mean", "low", "high"]
    base = alt.Chart().encode(x=alt.X("epoch:Q", title="epoch (0 = before training)", axis=alt.Axis(tickMinStep=1)))
    every = max(1, len(epochs) // 25)  # points that a pointer can find
    found = [alt.Tooltip(f"{name}:{'N' if name == 'arm' else 'Q'}") for name in ("arm", *along)]
    panels = []
    for metric in curves["metric"].unique():
        here = curves[curves["metric"] == metric]
        positive = "loss" in metric and here[["mean", "low"]].min().min() > 0
        scale = alt.Scale(type="log", nice=False) if positive else scale_around(here["mean"], here["low"], nice=False)
        y = alt.Y("mean:Q", title=None, scale=scale, axis=alt.Axis(tickCount=6))
        band = base.mark_area(strokeWidth=0).encode(
            y=alt.Y("low:Q", title=None, scale=scale), y2="high:Q", color=colour, fillOpacity=bright(pick, 0.18)
        )
        zoom = alt.selection_interval(name=f"zoom{len(panels)}", bind="scales", zoom="wheel![event.shiftKey]")
        line = alt.Chart(name=f"curve{len(panels)}").mark_line(strokeWidth=2)
        line = line.encode(x=base.encoding.x, y=y, color=colour, strokeDash=dash_by_arm(arms), opacity=bright(pick))
        line = line.add_params(zoom) if panels else line.add_params(zoom, pick)
        point = (
            base.transform_filter(f"indexof({epochs[::every]}, datum.epoch) >= 0")
            .mark_point(filled=True, size=90, fillOpacity=0, strokeOpacity=0)
            .encode(y=y, tooltip=found)
        )
        panel = alt.layer(*([band] if here["low"].notna().any() else []), line, point).transform_filter(
            alt.FieldEqualPredicate(field="metric", equal=metric)
        )
        title = f"{metric} (log scale)" if positive else metric
        panels.append(panel.transform_flatten(along).properties(width=330, height=230, title=title))
    return alt.concat(
        *panels,
        data=data_series(curves, ["arm", "metric"], along),
        columns=2,
        title=figure_title(
            "Learning curves by arm",
            "Mean over seeds; the band is its 95 % interval. Without val_: running means within the epoch.",
        ),
    )


def forest(table: pd.DataFrame, arms: list[str], margin: float, more_is_better: bool) -> alt.Chart:
    """Each arm's difference from its baseline with the 95 % interval, the margin shaded, the verdict in words.

    table: one metric's rows of `summary.summarize`, drawn in their order; those without a baseline are left out.
    """
    metric = table["metric"].iloc[0]
    compared = table[table["baseline"].notna()]
    columns = {"difference_ci_low": "low", "difference_ci_high": "high"}
    compared = compared.rename(columns=columns)[["arm", "baseline", "difference", "low", "high", "pairs", "verdict"]]
    here = compared["arm"].tolist()
    ends = compared[["difference", "low", "high"]].astype(float)
    domain = [min(-margin, ends.min().min()), max(margin, ends.max().max())]
    known = ends["low"].notna().any()  # one pair has no interval
    edge = 0.06 * (domain[1] - domain[0])
    scale = alt.Scale(domain=[domain[0] - edge, domain[1] + edge], nice=False, zero=False)
    title = f"difference in {metric} (better →)" if more_is_better else f"difference in {metric} (← better)"
    y = alt.Y("arm:N", sort=here, title=None, axis=alt.Axis(labelExpr=WRAP, grid=False))
    x = alt.X("difference:Q", scale=scale, title=title, axis=alt.Axis(tickCount=8))
    colour = by_arm([*arms, *(arm for arm in here if arm not in arms)], legend=False)  # over blocks: not in arms
    found = [alt.Tooltip(f"{name}:N") for name in ("arm", "baseline", "verdict", "pairs")]
    found += [alt.Tooltip(f"{name}:Q") for name in ("difference", "low", "high")]
    base = alt.Chart().encode(y=y, color=colour, tooltip=found)
    shape = alt.Shape(
        "verdict:N", legend=None, scale=alt.Scale(domain=[*SIGNS, "undecided"], range=[*SIGNS.values(), "circle"])
    )
    return alt.layer(
        alt.Chart(alt.Data(values=[{"from": -margin, "to": margin}]))
        .mark_rect(style="margin")
        .encode(x=alt.X("from:Q", scale=scale), x2="to:Q"),
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(style="neutral").encode(x=alt.X("zero:Q", scale=scale)),
        *([base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")] if known else []),
        base.mark_point(filled=True, size=130, opacity=1).encode(x=x, shape=shape),
        alt.Chart().mark_text(align="left", dx=6, dy=-15).encode(y=y, x=alt.value(0), text="verdict:N"),
        data=data_rows(compared.astype({"pairs": int})),
        width=620,
        height=alt.Step(48),
        title=figure_title(
            f"Difference from the baseline in {metric}",
            f"Mean difference over seeds with its 95 % interval. Shaded: the margin of {margin:g}, within which a "
            "difference does not matter.",
        ),
    )


def paired_differences(differences: pd.DataFrame, arms: list[str], more_is_better: bool) -> alt.Chart:
    """A line per seed from the baseline's value to the arm's, a panel per arm.

    differences: one metric's rows of `summary.differences`.
    """
    metric = differences["metric"].iloc[0]
    here = [arm for arm in arms if arm in set(differences["arm"])]
    best = differences["difference"] * (1 if more_is_better else -1)
    became = best.map(lambda d: "better" if d > 0 else "worse" if d < 0 else "the same")
    shown = differences.assign(became=became)[
        ["arm", "baseline", "seed", "baseline_value", "value", "difference", "became"]
    ]
    shown = shown[shown.groupby("arm").cumcount() < MOST_SEEDS]
    words = ["better", "worse", "the same"]
    found = [alt.Tooltip(f"{name}:N") for name in ("seed", "arm", "baseline", "became")]
    found += [alt.Tooltip(f"{name}:Q") for name in ("baseline_value", "value", "difference")]
    colour = alt.Color(
        "became:N", title="with this arm the seed is", sort=words,
        scale=alt.Scale(domain=words, range=[COLOURS[0], COLOURS[1], COLOURS[7]]),
        legend=alt.Legend(symbolType="stroke", symbolOpacity=1, columns=3),
    )  # fmt: skip
    dash = alt.StrokeDash(
        "became:N", sort=words, title="with this arm the seed is",
        scale=alt.Scale(domain=words, range=[DASHES[0], DASHES[1], DASHES[2]]),
    )  # fmt: skip
    panels = []
    y = alt.Y("of:Q", title=None, scale=scale_around(shown["baseline_value"], shown["value"]))
    for arm in here:
        base = alt.Chart().encode(
            x=alt.X("side:N", sort=["baseline", "arm"], title=None, axis=alt.Axis(labelAngle=0, labelPadding=6)),
            y=y, color=colour, detail="seed:N", tooltip=found,
        )  # fmt: skip
        panel = alt.layer(
            base.mark_line(strokeWidth=1.8).encode(strokeDash=dash), base.mark_point(filled=True, size=36, opacity=1)
        )
        panel = panel.transform_filter(alt.FieldEqualPredicate(field="arm", equal=arm))
        panel = panel.transform_fold(["baseline_value", "value"], as_=["end", "of"])
        panel = panel.transform_calculate(side="datum.end === 'value' ? 'arm' : 'baseline'")
        panels.append(panel.properties(width=190, height=220, title=title_lines(arm)))
    bases = ", ".join(dict.fromkeys(shown["baseline"]))
    return alt.concat(
        *panels, data=data_rows(shown), columns=4,
        title=figure_title(
            f"Seed by seed: {metric} with the baseline and with the arm",
            f"A line is a seed, from its {metric} with the baseline ({bases}) to that with the arm.",
        ),
    ).resolve_scale(y="shared")  # fmt: skip

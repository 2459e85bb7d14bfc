"""Figure of the metric over the values that arms were tuned over."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import altair as alt
import numpy as np
import pandas as pd
from altair.typing import ChartType

from pipeline.report.figures.lines import title_lines
from pipeline.report.figures.theme import (
    COLOURS,
    by_arm,
    dash_by_arm,
    data_rows,
    figure_title,
    keep,
    scale_around,
    tooltips,
)

COLUMNS = ("mean", "low", "high")
GREY = COLOURS[7]  # seen on a dark page too
CHOSEN_BY = ["neither", "one half", "both halves"]
CHOSEN_BY_ALL = ["not chosen", "some of them", "all seeds here"]  # of the first look of a design


def tuned_values(
    curve: pd.DataFrame, arms: Sequence[str], keys: Sequence[str], shared: Mapping[str, float], metric: str,
    chosen_by: str, by_first_look: bool = False,
) -> ChartType:  # fmt: skip
    """Draw the metric over the values of the first key: a line per arm with its 95 % interval as a band.

    curve: see `analysis.tuning_answer.tuning_curve`. With two keys there is a panel per value of the second, and one
    per set of other overrides. arms: the bias settings, which decide the colours. shared: other overrides -> the
    shared value of the first key, which is marked by a line. by_first_look: whether all seeds chose, and none judged.
    """
    panels = []
    for point, rest in zip(curve["points"], curve["rest"], strict=True):
        others = [f"{key}={value:g}" for key, value in zip(keys[1:], point[1:], strict=True)]
        panels.append(", ".join(filter(None, [*others, rest])))
    names_of_sizes = CHOSEN_BY_ALL if by_first_look else CHOSEN_BY
    rows = curve.assign(
        value=[float(point[0]) for point in curve["points"]],
        panel=panels,
        halves=[names_of_sizes[chosen] for chosen in curve["chosen"]],
    ).drop(columns="points")
    how = f"values that a half of the seeds chose by {chosen_by}, to be judged on the other half"
    if by_first_look:
        how = f"values that these seeds chose by {chosen_by}, to be judged by others"
    values = sorted(rows["value"].unique().tolist())
    names = rows.drop_duplicates("panel")[["panel", "rest"]].to_numpy().tolist()
    scale = scale_around(rows[["mean", "low", "high"]], nice=False)
    width = 620 if len(names) == 1 else 420
    panels = [
        _panel(name, keys[0], values, shared.get(rest), scale, list(arms), metric, width, names_of_sizes)
        for name, rest in names
    ]
    return alt.concat(
        *panels,
        data=data_rows(rows),
        columns=2,
        title=figure_title(
            f"{metric} over {' and '.join(keys)}",
            f"Mean over seeds with its 95 % interval as a band. Large points: {how}. Vertical line: the shared value.",
        ),
    ).resolve_scale(y="shared")


def _panel(
    name: str, key: str, values: list[float], shared: float | None, scale: alt.Scale, arms: list[str], metric: str,
    width: int, sizes: list[str],
) -> ChartType:  # fmt: skip
    kind = "log" if is_geometric(values) else "linear"
    room = (values[-1] / values[0]) ** 0.04 if kind == "log" else (values[-1] - values[0]) * 0.04
    ends = [values[0] / room, values[-1] * room] if kind == "log" else [values[0] - room, values[-1] + room]
    along = alt.Scale(type=kind, domain=ends, nice=False)
    y = alt.Y("mean:Q", title=None, scale=scale)
    x = alt.X(
        "value:Q", title=f"{key} (log scale)" if kind == "log" else key, scale=along,
        axis=alt.Axis(values=values, format="~g"),
    )  # fmt: skip
    base = alt.Chart().encode(x=x, color=by_arm(arms), tooltip=tooltips(["arm", "halves"], ["value", *COLUMNS]))
    band = base.mark_area(strokeWidth=0, fillOpacity=0.12).encode(
        y=alt.Y("low:Q", title=None, scale=scale), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash_by_arm(arms))
    legend = alt.Legend(
        values=sizes[2:] if sizes is CHOSEN_BY_ALL else sizes[1:], symbolFillColor=GREY, symbolStrokeColor=GREY
    )
    areas = alt.Scale(domain=sizes, range=[14, 70, 150])
    point = base.mark_point(filled=True, opacity=1).encode(
        y=y, size=alt.Size("halves:N", scale=areas, title="chosen by", legend=legend)
    )
    drawn = [layer.transform_filter(keep(panel=name)) for layer in (band, line, point)]
    if shared is not None:
        rule = alt.Chart(alt.Data(values=[{"shared": shared}])).mark_rule(style="neutral")
        drawn.insert(0, rule.encode(x=alt.X("shared:Q", scale=along)))
    return alt.layer(*drawn).properties(width=width, height=260, title=title_lines(name) if name else metric)


def is_geometric(values: Sequence[float]) -> bool:
    """Whether ascending values, over a factor of 4 or more, are spaced more evenly on a log scale than on a linear."""
    if values[0] <= 0 or values[-1] < 4 * values[0]:
        return False
    linear = np.array([b - a for a, b in pairwise(values)])
    ratios = np.array([math.log(b / a) for a, b in pairwise(values)])
    return float(ratios.std() / ratios.mean()) <= float(linear.std() / linear.mean())

"""Chart theme: palette, dashes, light and dark Vega-Lite configs, and the encodings and data that charts share."""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import altair as alt
import numpy as np
import pandas as pd

from pipeline.report.figures.lines import LABEL_LETTERS, LABEL_LINE, LEGEND_LETTERS, line_pattern

# Okabe and Ito's palette, which colour-blind readers can tell apart, in the order of the arms.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
TOOLTIP_POINT = "tooltip-point"  # style of invisible points along a curve, which the pointer can find
DIMMED = 0.12  # opacity of the arms that are not selected in the legend
INK = "ink"  # parameter of a theme: black on a light page

Spec = dict[str, Any]
Arms = Mapping[str, str] | Sequence[str]  # names, with their settings where these differ from the names


def theme(dark: bool = False) -> Spec:
    """Return the Vega-Lite `config` of all figures; with dark=True, for a dark page, whose background shows through."""
    ink, grey, grid = ("#E6E6E6", "#A8ADB5", "#33383F") if dark else ("#222222", "#555555", "#E8E8E8")
    text = {
        "labelColor": grey,
        "titleColor": grey,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    axis = {"gridColor": grid, "domainColor": grey, "tickColor": grey, "labelLimit": 190, "labelSeparation": 8}
    legend = {"symbolStrokeWidth": 3, "symbolSize": 160, "labelLimit": 420, "orient": "top", "columns": 4}
    return {
        "background": None if dark else "white",
        "padding": 12,
        "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
        "view": {"stroke": grid},
        "params": [{"name": INK, "value": ink}],
        "range": {"category": [ink if colour == "#000000" else colour for colour in COLOURS]},
        "axis": text | axis,
        "axisXQuantitative": {"labelFlush": False},  # a label is centred below its tick, at the ends too
        "header": text | {"labelFontSize": 12, "labelColor": ink, "labelLimit": 300},
        "legend": text | legend,
        "title": {
            "color": ink,
            "subtitleColor": grey,
            "anchor": "start",
            "frame": "group",
            "fontSize": 12,
            "subtitleFontSize": 12,
        },
        "text": {"color": ink, "fontSize": 11},
        "style": {
            "neutral": {"stroke": grey, "strokeWidth": 1, "color": grey},  # lines that belong to no arm
            "margin": {"color": grey, "fillOpacity": 0.15},
            "median": {"color": ink},
            TOOLTIP_POINT: {"fillOpacity": 0, "strokeOpacity": 0},
        },
    }


def for_print(spec: Spec) -> Spec:
    """Return a figure's Vega-Lite specification as an image needs it.

    It has the light theme, and nothing for a pointer: no zoom, no selection of arms, and no invisible points that show
    tooltips, which are half of an image. So any of its panels can be drawn alone.
    """
    reacting = {param["name"] for param in spec.get("params", []) if "select" in param or "bind" in param}
    params = [param for param in spec.get("params", []) if param["name"] not in reacting]
    printed = spec | {"config": theme(), "params": params}
    if "concat" in spec:
        printed["concat"] = [_without_tooltip_points(panel) for panel in spec["concat"]]
    return _without_conditions(printed, reacting)


def _without_conditions(part: Any, params: set[str]) -> Any:
    """What a specification shows while nothing is selected: the value that such a selection has for all."""
    if isinstance(part, list):
        return [_without_conditions(item, params) for item in part]
    if not isinstance(part, dict):
        return part
    condition = part.get("condition")
    if isinstance(condition, dict) and condition.get("param") in params:
        return {name: value for name, value in condition.items() if name not in {"param", "empty"}}
    return {name: value if name == "data" else _without_conditions(value, params) for name, value in part.items()}


def _without_tooltip_points(panel: Spec) -> Spec:
    if "layer" not in panel:
        return panel
    return panel | {"layer": [layer for layer in panel["layer"] if layer["mark"].get("style") != TOOLTIP_POINT]}


def by_arm(arms: Arms, legend: bool = True) -> alt.Color:
    """Colour by the arm's setting: a setting has the same colour in every block, and in every figure of a study."""
    lines = wrapped(json.dumps(line_pattern(LEGEND_LETTERS)))
    shown = alt.Legend(symbolType="stroke", symbolOpacity=1, labelExpr=lines) if legend else None
    colours = [COLOURS[place] for place in colour_places(arms)]
    scale = alt.Scale(domain=list(arms), range=[alt.ExprRef(INK) if c == "#000000" else c for c in colours])
    return alt.Color("arm:N", sort=list(arms), scale=scale, title="arm", legend=shown)


def dash_by_arm(arms: Arms) -> alt.StrokeDash:
    """Dash by arm, so that arms of the same colour have different dashes, and so do most neighbours."""
    places = colour_places(arms)
    dashes = [DASHES[(place + places[:i].count(place)) % len(DASHES)] for i, place in enumerate(places)]
    return alt.StrokeDash("arm:N", sort=list(arms), scale=alt.Scale(domain=list(arms), range=dashes), title="arm")


def colour_places(arms: Arms) -> list[int]:
    """The place in `COLOURS` of each arm's setting."""
    settings = [arms[arm] for arm in arms] if isinstance(arms, Mapping) else list(arms)
    order = list(dict.fromkeys(settings))
    return [order.index(setting) % len(COLOURS) for setting in settings]


def select_arms() -> alt.Parameter:
    """Return the selection of arms by a click in the legend (with shift: several). Add it to one view of a figure."""
    return alt.selection_point(name="picked", fields=["arm"], bind="legend")


def opacity_if_selected(selection: alt.Parameter, opacity: float = 1.0) -> Any:
    """Return `opacity` for selected arms, or for all if none is selected, and a fraction of it for the others."""
    return alt.condition(selection, alt.value(opacity), alt.value(opacity * DIMMED))


def keep(**values: str) -> Any:
    """Return a filter of the rows that have these values, such as arm="zeros", for `transform_filter`."""
    return alt.LogicalAndPredicate(**{
        "and": [alt.FieldEqualPredicate(field=name, equal=value) for name, value in values.items()]
    })  # fmt: skip


def tooltips(names: Sequence[str], numbers: Sequence[str] = ()) -> list[alt.Tooltip]:
    """Return tooltip rows that show some columns as text and others as numbers."""
    return [alt.Tooltip(f"{name}:N") for name in names] + [alt.Tooltip(f"{name}:Q") for name in numbers]


def figure_title(title: str, subtitle: str) -> alt.Title:
    """Return a figure's heading, and below it how to read the figure, in lines that fit the narrowest figure."""
    return alt.Title(title, subtitle=textwrap.wrap(subtitle, 95), anchor="start", fontSize=16, offset=14)


def data_rows(frame: pd.DataFrame) -> alt.Data:
    """Embed a frame row by row: numbers with six significant digits, null for what is not finite."""
    columns = {name: _plain_column(frame.loc[:, name]) for name in frame}
    return _data(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def data_series(frame: pd.DataFrame, by: list[str], along: list[str]) -> alt.Data:
    """Embed one row per group of the columns `by`, with the columns `along` as lists.

    That is much smaller than `data_rows`; the chart needs `transform_flatten(along)`.
    """
    groups = frame.groupby(by, sort=False, dropna=False)
    return _data(
        dict(zip(by, map(_plain, key), strict=True)) | {name: _plain_column(part.loc[:, name]) for name in along}
        for key, part in cast("Iterable[tuple[tuple[Any, ...], pd.DataFrame]]", groups)
    )


def _data(rows: Iterable[dict[str, Any]]) -> alt.Data:
    """Embed rows as a tuple, which Altair does not copy, as it does lists whenever a chart becomes part of another."""
    return alt.Data(values=tuple(rows))  # pyright: ignore[reportArgumentType]


def scale_around(columns: Any, **options: Any) -> alt.Scale:
    """Return a scale for one or several columns that need not include 0.

    Around a single value it has room, so that the axis shows which value it is.
    """
    values = np.asarray(columns, np.float64).ravel()
    values = values[np.isfinite(values)]
    if len(values) and np.ptp(values) == 0:
        room = abs(float(values[0])) / 10 or 1.0
        options["domain"] = [float(f"{values[0] + sign * room:.6g}") for sign in (-1, 1)]
    return alt.Scale(zero=False, **options)


def wrap_labels(chart: Any, names: Sequence[str]) -> Any:
    """Give a figure whose axis has `wrapped()` labels what these need. names: those labels.

    Whoever draws it narrower puts another pattern into the parameter, and counts the lines of the names in `usermeta`.
    """
    chart.usermeta = {"labels": list(names)}
    return chart.add_params(alt.param(name=LABEL_LINE, value=line_pattern(LABEL_LETTERS)))


def wrapped(pattern: str = LABEL_LINE) -> str:
    """Return the Vega expression for a label in lines. pattern: an expression for the pattern of a line."""
    return f"split(trim(replace(datum.label, regexp({pattern}, 'g'), '$&\\n')), '\\n')"


def _plain_column(column: pd.Series) -> list[Any]:
    if column.dtype.kind != "f":
        return [_plain(value) for value in column.tolist()]
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in column.tolist()]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value

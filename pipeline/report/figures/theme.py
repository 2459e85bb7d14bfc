"""How every figure looks, on paper and on the page: colours, sizes, theme, data."""

import re
import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

# Okabe and Ito's palette, told apart by colour-blind eyes too; the order is the order of the arms.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
DIMMED = 0.12  # opacity of the arms that were not picked in the legend
# Long names of arms, broken after a comma and before the blocks that they are over.
WRAP = "length(datum.label) > 24 ? split(replace(datum.label, /, ?| (?=over )/g, '$&\\n'), '\\n') : datum.label"

Spec = dict[str, Any]


def theme(dark: bool = False) -> Spec:
    """Vega-Lite's `config`: what is the same in all figures. `dark`: for a dark page."""
    ink, soft, grid, ground = (
        ("#E6E6E6", "#A8ADB5", "#33383F", None) if dark else ("#222222", "#555555", "#E8E8E8", None)
    )
    category = [ink if colour == "#000000" else colour for colour in COLOURS]
    text = {
        "labelColor": soft,
        "titleColor": soft,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    return {
        "background": ground if dark else "white",
        "padding": 12,
        "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
        "view": {"stroke": grid},
        "range": {"category": category},
        "axis": text
        | {"gridColor": grid, "domainColor": soft, "tickColor": soft, "labelLimit": 190, "labelSeparation": 8},
        "header": text | {"labelFontSize": 12, "labelColor": ink, "labelLimit": 300},
        "legend": text | {"symbolStrokeWidth": 3, "symbolSize": 160, "labelLimit": 420, "orient": "top", "columns": 4},
        "title": {
            "color": ink,
            "subtitleColor": soft,
            "anchor": "start",
            "frame": "group",
            "fontSize": 12,
            "subtitleFontSize": 12,
        },
        "text": {"color": ink, "fontSize": 11},
        "style": {
            "neutral": {"stroke": soft, "strokeWidth": 1, "color": soft},  # lines that belong to no arm
            "margin": {"color": soft, "fillOpacity": 0.15},
        },
    }


def by_arm(arms: Sequence[str], legend: bool = True) -> alt.Color:
    """The colour of an arm: the same in every figure that is given the same arms."""
    shown = alt.Legend(symbolType="stroke", symbolOpacity=1) if legend else None
    return alt.Color("arm:N", sort=list(arms), scale=alt.Scale(domain=list(arms)), title="arm", legend=shown)


def dash_by_arm(arms: Sequence[str]) -> alt.StrokeDash:
    """The dash of an arm; arms of one colour have different ones."""
    dashes = [DASHES[(i + i // len(COLOURS)) % len(DASHES)] for i in range(len(arms))]
    return alt.StrokeDash("arm:N", sort=list(arms), scale=alt.Scale(domain=list(arms), range=dashes), title="arm")


def picked() -> alt.Parameter:
    """The arms that a reader picked in the legend (with shift: several). It belongs to one view of a figure."""
    return alt.selection_point(name="picked", fields=["arm"], bind="legend")


def bright(pick: alt.Parameter, full: float = 1.0) -> alt.condition:
    """The opacity of what belongs to an arm: `full` for the picked ones, and for all while none is picked."""
    return alt.condition(pick, alt.value(full), alt.value(full * DIMMED))


def figure_title(title: str, said: str) -> alt.Title:
    """A figure's heading, and below it how to read it, in lines that fit the narrowest figure."""
    return alt.Title(title, subtitle=textwrap.wrap(said, 95), anchor="start", fontSize=16, offset=14)


def data_rows(frame: pd.DataFrame) -> alt.Data:
    """A frame as a figure holds it: six digits that count, and null for what is not finite."""
    columns = {name: _plain(frame[name]) for name in frame}
    return alt.Data(values=[dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


def data_series(frame: pd.DataFrame, by: list[str], along: list[str]) -> alt.Data:
    """One row per group `by`, with the columns `along` as lists: small, and for `transform_flatten(along)`."""
    groups = frame.groupby(by, sort=False, dropna=False)
    return alt.Data(values=[
        dict(zip(by, map(_word, key), strict=True)) | {name: _plain(part[name]) for name in along}
        for key, part in groups
    ])  # fmt: skip


def scale_around(*columns: pd.Series, **more: Any) -> alt.Scale:
    """A scale that need not begin at 0; around a value that is always the same it has room, so that it says which."""
    values = np.concatenate([column.to_numpy(float) for column in columns])
    values = values[np.isfinite(values)]
    if len(values) and np.ptp(values) == 0:
        room = abs(float(values[0])) / 10 or 1.0
        more["domain"] = [float(f"{values[0] + sign * room:.6g}") for sign in (-1, 1)]
    return alt.Scale(zero=False, **more)


def title_lines(name: str, most: int = 26) -> list[str]:
    """The name of an arm or a layer as a title: a long one in lines of about `most` letters, broken after , and /."""
    found = [""]
    for piece in re.split("(?<=[,/])", name):
        if found[-1] and len(found[-1] + piece) > most:
            found.append("")
        found[-1] += piece
    return found


def _plain(column: pd.Series) -> list[Any]:
    if column.dtype.kind != "f":
        return [_word(value) for value in column.tolist()]
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in column.tolist()]


def _word(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value

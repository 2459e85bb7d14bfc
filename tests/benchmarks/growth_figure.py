"""The figure of `growth`: a panel per axis with its seconds, and one of the memory over seeds."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from PIL import Image

from pipeline.report.figures.theme import COLOURS, data_rows, keep, theme

Points = Sequence[dict[str, Any]]

KINDS = {"elapsed": "elapsed", "cpu": "CPU of all threads"}
SLOPE_1 = "slope 1"
WIDTH, HEIGHT = 190, 150


def draw(measured: Mapping[str, Points], fits: Mapping[str, Sequence[Any]]) -> bytes:
    """Return the PNG. fits: of each axis, a `Growth` of elapsed and of CPU seconds."""
    import vl_convert

    panels = [_panel(axis, points, fits[axis]) for axis, points in measured.items()]
    if "seeds" in measured:
        panels.append(_memory(measured["seeds"]))
    chart = alt.concat(*panels, columns=3, bounds="flush", spacing={"column": 72, "row": 96})
    drawn = vl_convert.svg_to_png(vl_convert.vegalite_to_svg(chart.to_dict() | {"config": theme()}), scale=2)
    png = io.BytesIO()  # a palette takes a seventh of the bytes
    Image.open(io.BytesIO(drawn)).convert("RGB").quantize(64).save(png, "png", optimize=True)
    return png.getvalue()


def memory_per_seed(points: Points) -> float:
    """Bytes that each seed adds, between the two largest numbers of seeds: before, memory that is reused hides it."""
    before, last = points[-2], points[-1]
    return (last["peak"] - before["peak"]) / (last["size"] - before["size"])


def _panel(axis: str, points: Points, fits: Sequence[Any]) -> Any:
    """Draw the fastest try of each size, a rule to the slowest, the fitted curve, and slope 1 through the last."""
    sizes = [point["size"] for point in points]
    marks = pd.DataFrame([
        {"size": point["size"], "line": name, "seconds": min(point[kind]), "slowest": max(point[kind])}
        for kind, name in KINDS.items() for point in points
    ])  # fmt: skip
    curves = []
    for name, fit in zip(KINDS.values(), fits, strict=True):
        along = np.geomspace(fit.start, sizes[-1], 40)
        curves.append(pd.DataFrame({"size": along, "line": name, "seconds": fit.at(along)}))
    lowest, top = marks["seconds"].min(), min(points[-1]["elapsed"])
    ends = np.array([max(sizes[0], sizes[-1] * lowest / top), sizes[-1]])  # no lower than what was measured
    curves.append(pd.DataFrame({"size": ends, "line": SLOPE_1, "seconds": top * ends / sizes[-1]}))
    x, y = _log_x(axis, sizes), _seconds(float(lowest), float(marks["slowest"].max()))
    line = alt.Chart(data_rows(pd.concat(curves))).mark_line(strokeWidth=1.5).encode(x, y, _by_line(), _dash())
    base = alt.Chart(data_rows(marks))
    spread = base.mark_rule(strokeWidth=1.5).encode(x, y, alt.Y2("slowest"), _by_line())
    elapsed, cpu = (base.transform_filter(keep(line=name)) for name in KINDS.values())
    point = elapsed.mark_point(filled=True, size=40, opacity=1).encode(x, y, _by_line())
    ring = cpu.mark_point(size=90, opacity=1).encode(x, y, _by_line())  # around the point where one thread works
    title = alt.Title(axis, subtitle=f"slope {fits[0].slope:.2f}, of CPU {fits[1].slope:.2f}")
    return alt.layer(line, spread, ring, point).properties(width=WIDTH, height=HEIGHT, title=title)


def _memory(points: Points) -> Any:
    frame = pd.DataFrame({"size": [p["size"] for p in points], "memory": [p["peak"] / 2**30 for p in points]})
    x = _log_x("seeds", frame["size"].tolist())
    y = alt.Y("memory:Q", title="GB", scale=alt.Scale(domain=[0, 1.15 * frame["memory"].max()], nice=False))
    base = alt.Chart(data_rows(frame)).encode(x, y)
    line = base.mark_line(strokeWidth=1.5, color=COLOURS[2])
    point = base.mark_point(filled=True, size=40, opacity=1, color=COLOURS[2])
    title = alt.Title("peak memory", subtitle=_per_seed(points) if len(points) > 1 else "")
    return (line + point).properties(width=WIDTH, height=HEIGHT, title=title)


def _per_seed(points: Points) -> str:
    per_seed = memory_per_seed(points) / 2**20
    return f"{per_seed:.2f} MB more a seed" if per_seed >= 0.01 else "less than 0.01 MB more a seed"


def _log_x(title: str, sizes: Sequence[int]) -> alt.X:
    axis = alt.Axis(values=sizes, format=".2~s", grid=False)
    return alt.X("size:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=8), axis=axis)


def _seconds(lowest: float, highest: float) -> alt.Y:
    """A logarithmic axis with few ticks: 1, 2, 5, 10 of a short range, 1, 10, 100 of a long one."""
    domain = [lowest * 0.8, highest * 1.25]
    steps = (1, 2, 5) if highest < 40 * lowest else (1,)
    decades = range(int(np.floor(np.log10(domain[0]))), int(np.ceil(np.log10(domain[1]))) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    # A label at the upper end would reach above the panel and push its title up.
    axis = alt.Axis(values=[tick for tick in ticks if domain[0] <= tick <= 0.9 * domain[1]], format="~g")
    return alt.Y("seconds:Q", title="seconds", scale=alt.Scale(type="log", nice=False, domain=domain), axis=axis)


def _by_line() -> alt.Color:
    names = [*KINDS.values(), SLOPE_1]
    legend = alt.Legend(title=None, symbolType="stroke")
    return alt.Color("line:N", scale=alt.Scale(domain=names, range=[*COLOURS[:2], COLOURS[7]]), legend=legend)


def _dash() -> alt.StrokeDash:
    names = [*KINDS.values(), SLOPE_1]
    return alt.StrokeDash("line:N", scale=alt.Scale(domain=names, range=[[1, 0], [1, 0], [4, 3]]), legend=None)

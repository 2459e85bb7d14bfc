"""Figures at the width of a column of print, with letters that can be read there; high ones on several pages."""

import copy
import math
import re
from typing import Any

from pipeline.report.figures.lines import LABEL_LINE, line_pattern, row_height, title_lines

COLUMN_WIDTH = 241.0  # points: 8.5 cm
PAGE_HEIGHT = 600.0  # points, at most
LABEL, TITLE = 7, 8  # points
SIZES = {"labelFontSize": LABEL, "titleFontSize": LABEL}
LABEL_LETTERS, TITLE_LETTERS, EPOCH = 21, {1: 44, 2: 20}, "epoch"  # of a line; of a title, by the number of columns
HALF_LEGEND = 22  # letters of a name of which two fit beside each other in a legend
AROUND = 40  # points of a page that its rows do not have: axis and title
NARROWEST, TRIES = 50, 5


def column_pages(spec: dict[str, Any]) -> list[str]:
    """Draw a figure's printed specification for one column: SVG of each page, of `COLUMN_WIDTH` by `PAGE_HEIGHT`.

    Panels that one page cannot hold go on to the next, and so do the arms of one panel.
    """
    column = column_spec(spec)
    pages = [_fitted(column)]
    panels = column.get("concat", [])
    rows = math.ceil(len(panels) / column.get("columns", 1))
    while any(_size(svg)[1] > PAGE_HEIGHT for svg in pages) and len(pages) < rows:
        count = max(len(pages) + 1, math.ceil(sum(_size(svg)[1] for svg in pages) / PAGE_HEIGHT))
        per_page = math.ceil(rows / min(count, rows)) * column["columns"]
        pages = [_fitted(column | {"concat": panels[i : i + per_page]}) for i in range(0, len(panels), per_page)]
    highest, labels = max(_size(svg)[1] for svg in pages), spec.get("usermeta", {}).get("labels", [])
    if highest <= PAGE_HEIGHT or len(labels) < 2 or not set(labels) <= {row.get("arm") for row in _rows(spec)}:
        return pages
    count = math.ceil(highest / (PAGE_HEIGHT - AROUND))
    per_page = math.ceil(len(labels) / count)
    groups = (labels[i : i + per_page] for i in range(0, len(labels), per_page))
    return [page for group in groups for page in column_pages(_of_arms(spec, labels, group))]


def _of_arms(spec: dict[str, Any], labels: list[str], arms: list[str]) -> dict[str, Any]:
    """The figure of some of the arms on its axis."""
    rows = [row for row in _rows(spec) if row.get("arm") in arms]
    part = _with_sort(spec, labels, arms) | {"data": spec["data"] | {"values": rows}}
    return part | {"usermeta": spec["usermeta"] | {"labels": arms}}


def _with_sort(part: Any, old: list[str], new: list[str]) -> Any:
    """A copy in which axes that are sorted like `old` are sorted like `new`."""
    if isinstance(part, dict):
        return {name: new if name == "sort" and value == old else _with_sort(value, old, new)
                for name, value in part.items()}  # fmt: skip
    return [_with_sort(value, old, new) for value in part] if isinstance(part, list) else part


def _rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return spec.get("data", {}).get("values", [])


def column_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """A figure's printed specification for one column: panels in one or two columns, small letters, no heading.

    The heading belongs into the caption, which a paper writes itself.
    """
    spec = copy.deepcopy(spec)
    labels = spec.get("usermeta", {}).get("labels", [])
    columns = 2 if "concat" in spec and not labels else 1
    config = spec["config"]
    config["padding"] = 2
    for part in ("axis", "header"):
        config[part] |= SIZES
    config["axis"] |= {"labelLimit": 90, "titlePadding": 3, "tickSize": 3, "labelSeparation": 4}
    wide = _longest_arm(spec) > HALF_LEGEND
    config["legend"] |= SIZES | {"symbolSize": 60, "symbolStrokeWidth": 2}
    config["legend"] |= {"columns": 1, "labelLimit": 215} if wide else {"columns": 2, "labelLimit": 100}
    config["title"] |= {"fontSize": TITLE, "subtitleFontSize": LABEL}
    config["text"]["fontSize"] = LABEL
    spec.pop("title", None)
    for param in spec.get("params", []):
        if param["name"] == LABEL_LINE:
            param["value"] = line_pattern(LABEL_LETTERS)
    if "concat" in spec:
        spec |= {"columns": columns, "spacing": 10}
    for panel in spec.get("concat", [spec]):
        _shrink_panel(panel, columns, row_height(labels, 0, LABEL_LETTERS, LABEL + 1.5))
    _shrink_marks(spec)
    return spec


def _shrink_panel(panel: dict[str, Any], columns: int, row: float) -> None:
    """Make a panel small, in place. row: the height that its labels need."""
    panel["width"] = 190 if columns == 1 else 85
    height = panel.get("height")
    if isinstance(height, int | float):
        panel["height"] = 110 if columns == 1 else 75
    elif isinstance(height, dict):
        bars = 2 if height.get("for") == "offset" else 1  # in a row
        height["step"] = max(0.45 * height["step"] if bars == 1 else 9, row / bars)
    if "title" in panel:
        old = panel["title"] if isinstance(panel["title"], list) else [panel["title"]]
        panel["title"] = [line for text in old for line in title_lines(text, TITLE_LETTERS[columns])]


def _longest_arm(spec: dict[str, Any]) -> int:
    return max((len(str(row.get("arm", ""))) for row in _rows(spec)), default=0)


def _shrink_marks(part: Any) -> None:
    """Halve the sizes of marks and what is written beside them, and shorten the title of epochs, in place."""
    if isinstance(part, dict):
        mark = part.get("mark")
        if isinstance(mark, dict):
            for name in {"size", "strokeWidth", "dx", "dy", "thickness"} & mark.keys():
                mark[name] = mark[name] * (0.4 if name == "size" else 0.55)
        if str(part.get("title", "")).startswith(EPOCH):
            part["title"] = EPOCH
        for value in part.values():
            _shrink_marks(value)
    elif isinstance(part, list):
        for value in part:
            _shrink_marks(value)


def _fitted(spec: dict[str, Any]) -> str:
    """Draw one page: its panels as wide as leaves the whole at `COLUMN_WIDTH`, then scaled by what is left over."""
    import vl_convert

    spec = copy.deepcopy(spec)
    svg = vl_convert.vegalite_to_svg(spec)
    panels = spec.get("concat", [spec])
    columns = min(spec.get("columns", 1), len(panels))
    for _ in range(TRIES):
        surplus = _size(svg)[0] - COLUMN_WIDTH
        if abs(surplus) < 1:
            break
        for panel in panels:
            panel["width"] = max(NARROWEST, panel["width"] - surplus / columns)
        svg = vl_convert.vegalite_to_svg(spec)
    width, height = _size(svg)
    scaled = {"width": COLUMN_WIDTH, "height": height * COLUMN_WIDTH / width}
    return re.sub(r'\b(width|height)="[\d.]+"', lambda match: f'{match[1]}="{scaled[match[1]]:.3f}"', svg, count=2)


def _size(svg: str) -> tuple[float, float]:
    found = dict(re.findall(r'\b(width|height)="([\d.]+)"', svg.partition(">")[0]))
    return float(found["width"]), float(found["height"])

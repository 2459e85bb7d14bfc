"""Figures at the width of a column of print, with letters that can be read there."""

import copy
from typing import Any

COLUMN_WIDTH = 241.0  # points: 8.5 cm
LABEL, TITLE = 7, 8  # points
SIZES = {"labelFontSize": LABEL, "titleFontSize": LABEL}


def column_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """A figure's printed specification for one column: panels below each other, small letters, no heading.

    The heading belongs into the caption, which a paper writes itself.
    """
    spec = copy.deepcopy(spec)
    config = spec["config"]
    config["padding"] = 2
    for part in ("axis", "header"):
        config[part] |= SIZES
    config["axis"] |= {"labelLimit": 80, "titlePadding": 3, "tickSize": 3}
    config["legend"] |= SIZES | {"symbolSize": 60, "symbolStrokeWidth": 2, "columns": 2, "labelLimit": 100}
    config["title"] |= {"fontSize": TITLE, "subtitleFontSize": LABEL}
    config["text"]["fontSize"] = LABEL
    spec.pop("title", None)
    if "concat" in spec:
        spec["columns"] = 2 if max(panel.get("width", 0) for panel in spec["concat"]) < 250 else 1
    for panel in spec.get("concat", [spec]):
        panel["width"] = 190 if spec.get("columns", 1) == 1 else 85
        if isinstance(panel.get("height"), int | float):
            panel["height"] = 110 if spec.get("columns", 1) == 1 else 75
        if isinstance(panel.get("height"), dict):
            panel["height"]["step"] = max(9, 0.7 * panel["height"]["step"])
    _shrink_marks(spec)
    return spec


def _shrink_marks(part: Any) -> None:
    """Halve the sizes of marks, and what is written beside them, in place."""
    if isinstance(part, dict):
        mark = part.get("mark")
        if isinstance(mark, dict):
            for name in {"size", "strokeWidth", "dx", "dy", "thickness"} & mark.keys():
                mark[name] = mark[name] * (0.75 if name == "dy" else 0.55)
        for value in part.values():
            _shrink_marks(value)
    elif isinstance(part, list):
        for value in part:
            _shrink_marks(value)

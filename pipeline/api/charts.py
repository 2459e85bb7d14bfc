"""A figure of the report as a notebook shows it: an image that needs neither widgets nor a network."""

import base64
import io
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError

COLOURS = 64  # of an image in a notebook
SCALE = 2  # pixels of the image per pixel of the figure


class Chart:
    """A figure. altair: the Altair chart, to change or combine."""

    def __init__(self, altair: Any, name: str = "") -> None:
        self.altair, self.name = altair, name

    def __repr__(self) -> str:
        return f"Chart({self.name!r})"

    @cached_property
    def svg(self) -> str:
        """The figure as SVG."""
        import vl_convert

        from pipeline.report.figures.theme import for_print

        return vl_convert.vegalite_to_svg(for_print(self.altair.to_dict(validate=False)))

    @cached_property
    def png(self) -> bytes:
        """The figure as PNG."""
        import vl_convert

        return vl_convert.svg_to_png(self.svg, scale=SCALE)

    def save(self, path: Any) -> Path:
        """Write the figure as .svg or .png."""
        path = Path(path).expanduser()
        if path.suffix.lower() not in (".svg", ".png"):
            raise ConfigError("path", path.name, "a name that ends in .svg or .png")
        path.write_bytes(self.svg.encode() if path.suffix.lower() == ".svg" else self.png)
        return path

    def as_html(self) -> str:
        """The figure as an element of a page."""
        width = int.from_bytes(self.png[16:20], "big") // SCALE
        content = base64.b64encode(_with_few_colours(self.png)).decode()
        style = f'width="{width}" style="max-width: 100%; height: auto"'  # no wider than the cell
        return f'<img alt="{self.name}" {style} src="data:image/png;base64,{content}">'

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        width, height = (int.from_bytes(self.png[i : i + 4], "big") // SCALE for i in (16, 20))
        return _with_few_colours(self.png), {"width": width, "height": height}


def _with_few_colours(png: bytes) -> bytes:
    """An image in a palette, a fifth of the size: a notebook keeps it as text."""
    from PIL import Image

    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS).save(small, "png", optimize=True)
    return small.getvalue()

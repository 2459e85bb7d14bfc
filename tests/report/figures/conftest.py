"""What the tests of all figures look at: a figure's data, its arms' colours, and the drawn picture."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from factories import found
from PIL import Image

from pipeline.report.figures.theme import for_print
from pipeline.report.render import draw_figure, finish_figures

LONG_NAME = "constant(value=0.1),optimizer.learning_rate=0.001,training.batch_size=64"


@pytest.fixture(
    params=[
        ["zeros", "ones", "glorot_uniform"],
        pytest.param([LONG_NAME, "zeros"], marks=pytest.mark.slow),
        pytest.param(["zeros"], marks=pytest.mark.slow),
    ],
    ids=["three", "long", "one"],
)
def arms(request: pytest.FixtureRequest) -> list[str]:
    """Arms of a figure: three of usual names, one with a name longer than its panel is wide, a single one."""
    return request.param


@pytest.fixture
def check_picture(tmp_path: Path) -> Callable[[Any], None]:
    """Check that a chart is valid Vega-Lite, and that its picture is not blank, of a usable size, and has its title."""

    def check(chart: Any) -> None:
        spec = chart.to_dict()  # raises if it is not valid
        draw_figure(for_print(spec), tmp_path / "figure")
        for path, content in finish_figures().files.items():
            path.write_bytes(content)
        with Image.open(tmp_path / "figure.png") as image:
            assert 200 < image.width < 2400 and 100 < image.height < 4000
            colours = image.convert("RGB").getcolors(2**24)
        assert max(pixels for pixels, _ in colours) < 0.99 * sum(pixels for pixels, _ in colours)
        text = re.sub(r"<[^>]+>", " ", (tmp_path / "figure.svg").read_text())
        assert not re.search(r"\b(NaN|undefined|null)\b", text)
        assert all(word in text for word in spec["title"]["text"].split())

    return check


@pytest.fixture
def data_of() -> Callable[[Any], pd.DataFrame]:
    """Return the data of a chart, a row per point."""

    def read(chart: Any) -> pd.DataFrame:
        frame = pd.DataFrame(chart.to_dict(validate=False)["data"]["values"])
        lists = [name for name in frame if isinstance(frame[name].iloc[0], list)]
        return frame.explode(lists, ignore_index=True) if lists else frame

    return read


@pytest.fixture
def check_data(data_of: Callable[[Any], pd.DataFrame]) -> Callable[[Any, pd.DataFrame], None]:
    """Check that a chart has the values of a frame, each with its arm, layer and epoch."""

    def check(chart: Any, frame: pd.DataFrame) -> None:
        drawn = data_of(chart)
        columns = [name for name in frame if name in drawn]
        assert {"seed"} >= set(frame) - set(columns)
        keys = [name for name in columns if frame[name].dtype.kind not in "f"]
        ours, theirs = (f[columns].sort_values(keys, ignore_index=True) for f in (drawn, frame))
        assert ours[keys].astype(str).equals(theirs[keys].astype(str))
        numbers = [name for name in columns if name not in keys]
        assert ours[numbers].to_numpy(float) == pytest.approx(theirs[numbers].to_numpy(float), rel=1e-5)

    return check


@pytest.fixture
def colour_domains() -> Callable[[Any], list[list[str]]]:
    """Return the arms in the order of their colours, for each colour scale by arm in a chart."""

    def read(chart: Any) -> list[list[str]]:
        colours = found(chart.to_dict(validate=False), "color")
        return [colour["scale"]["domain"] for colour in colours if colour.get("field") == "arm"]

    return read

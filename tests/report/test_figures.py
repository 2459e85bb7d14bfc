"""Figures hold the numbers of their frames, and can be drawn: checked in their Vega-Lite and in what comes out."""

import json
import re
from itertools import product
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import pytest
from factories import ARMS, drift, found, quantiles, trajectories
from PIL import Image

from pipeline.report.figures.biases import bias_distributions, bias_trajectories, drift_heatmap
from pipeline.report.figures.performance import forest, learning_curves, paired_differences
from pipeline.report.figures.theme import dash_by_arm, scale_around, theme, title_lines
from pipeline.report.render import draw_figure, finish_figures

LONG = "constant(value=0.1),optimizer.learning_rate=0.001,training.batch_size=64"


def curves(arms: list[str] = ARMS, epochs: int = 5, band: float = 0.05) -> pd.DataFrame:
    rows = [
        {"arm": arm, "metric": metric, "epoch": t, "mean": 0.1 * t + i + 0.5, "low": 0.1 * t + i + 0.5 - band,
         "high": 0.1 * t + i + 0.5 + band}
        for (i, arm), metric, t in product(enumerate(arms), ("loss", "accuracy"), range(epochs + 1))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def table(metric: str = "test_accuracy") -> pd.DataFrame:
    """The baseline, an arm with an interval, and one of a single pair."""
    return pd.DataFrame({
        "arm": ARMS, "metric": metric, "mean": [0.9, 0.92, 0.87], "ci_low": [0.89, 0.91, np.nan],
        "ci_high": [0.91, 0.93, np.nan], "baseline": [None, "zeros", "zeros"], "pairs": [np.nan, 5, 1],
        "difference": [np.nan, 0.02, -0.03], "difference_ci_low": [np.nan, 0.01, np.nan],
        "difference_ci_high": [np.nan, 0.04, np.nan], "verdict": [None, "better", "undecided"],
    })  # fmt: skip


def differences(metric: str = "test_accuracy") -> pd.DataFrame:
    frame = pd.DataFrame({
        "arm": ["ones"] * 3, "baseline": "zeros", "block": "", "metric": metric, "seed": [0, 1, 2],
        "value": [0.9, 0.7, 0.8], "baseline_value": [0.8, 0.8, 0.8],
    })  # fmt: skip
    return frame.assign(difference=frame["value"] - frame["baseline_value"])


CHARTS = {
    "learning_curves": lambda arms: learning_curves(curves(arms), arms),
    "intervals": lambda arms: forest(table(), ARMS, 0.005, True),
    "paired_differences": lambda arms: paired_differences(differences(), ARMS, True),
    "biases": lambda arms: bias_distributions(quantiles(arms), arms),
    "trajectories": lambda arms: bias_trajectories(trajectories(arms), arms),
    "drift": lambda arms: drift_heatmap(drift(arms), arms),
}


def held(chart: alt.Chart) -> pd.DataFrame:
    """The data of a figure, a row per point."""
    frame = pd.DataFrame(chart.to_dict(validate=False)["data"]["values"])
    lists = [name for name in frame if isinstance(frame[name].iloc[0], list)]
    return frame.explode(lists, ignore_index=True) if lists else frame


@pytest.mark.parametrize(
    ("chart", "frame"),
    [
        (CHARTS["learning_curves"](ARMS), curves()),
        (CHARTS["biases"](ARMS), quantiles()),
        (CHARTS["trajectories"](ARMS), trajectories()),
        (CHARTS["drift"](ARMS), drift()),
    ],
    ids=["curves", "quantiles", "trajectories", "drift"],
)
def test_a_figure_holds_the_numbers_of_its_frame(chart: alt.Chart, frame: pd.DataFrame) -> None:
    """A value is lost, changed, or put to another arm, layer or epoch on its way into the figure."""
    drawn = held(chart)
    columns = [name for name in frame if name in drawn]
    assert {"seed"} >= set(frame) - set(columns)
    order = [name for name in columns if frame[name].dtype.kind not in "f"]
    ours, theirs = (f[columns].sort_values(order, ignore_index=True) for f in (drawn, frame))
    assert ours[order].astype(str).equals(theirs[order].astype(str))
    numbers = [name for name in columns if name not in order]
    assert ours[numbers].to_numpy(float) == pytest.approx(theirs[numbers].to_numpy(float), rel=1e-5)


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("arms", [ARMS, [LONG, "zeros"], ["zeros"]], ids=["three", "long", "one"])
def test_every_figure_is_valid_and_can_be_drawn(name: str, arms: list[str], tmp_path: Path) -> None:
    """A figure breaks Vega-Lite's schema, cannot be drawn, is blank, or is of a size that no page has room for."""
    spec = CHARTS[name](arms).to_dict()
    draw_figure(spec | {"config": theme()}, tmp_path / "figure")
    finish_figures()
    with Image.open(tmp_path / "figure.png") as image:
        assert 200 < image.width < 2400 and 100 < image.height < 4000
        colours = image.convert("RGB").getcolors(2**24)
    assert max(pixels for pixels, _ in colours) < 0.99 * sum(pixels for pixels, _ in colours)
    text = re.sub(r"<[^>]+>", " ", (tmp_path / "figure.svg").read_text())
    assert not re.search(r"\b(NaN|undefined|null)\b", text)
    assert all(word in text for word in spec["title"]["text"].split())


def test_the_intervals_reach_what_they_are_said_to_reach() -> None:
    """The axis cuts off an interval or the margin, or tells the wrong direction for better."""
    spec = forest(table(), ARMS, 0.005, more_is_better=True).to_dict()
    rows = {row["arm"]: row for row in spec["data"]["values"]}
    assert set(rows) == {"ones", "glorot_uniform"}
    assert (rows["ones"]["low"], rows["ones"]["high"], rows["ones"]["verdict"]) == (0.01, 0.04, "better")
    assert rows["glorot_uniform"]["low"] is None
    for low, high in found([layer["encoding"]["x"] for layer in spec["layer"][:1]], "domain"):
        assert low < -0.03 and high > 0.04
    assert {"from": -0.005, "to": 0.005} in [row for rows in found(spec, "values") for row in rows]
    assert "(better →)" in json.dumps(spec, ensure_ascii=False)
    overall = pd.concat([table().assign(arm=lambda rows: rows["arm"] + " over both blocks"), table()])
    spec = forest(overall, ARMS, 0.005, more_is_better=True).to_dict()
    coloured = {name for domain in found([layer["encoding"].get("color", {}) for layer in spec["layer"]], "domain")
                for name in domain}  # fmt: skip
    assert coloured >= {row["arm"] for row in spec["data"]["values"]}, "what has no colour is not drawn"
    loss = forest(table("test_loss"), ARMS, 0.005, more_is_better=False).to_dict()
    assert "(← better)" in json.dumps(loss, ensure_ascii=False)


@pytest.mark.parametrize(
    ("more_is_better", "became"), [(True, ["better", "worse", "the same"]), (False, ["worse", "better", "the same"])]
)
def test_a_seed_is_called_better_as_the_metric_goes(more_is_better: bool, became: list[str]) -> None:
    """A lower loss is drawn as a loss, or a seed's line goes between other values than its own."""
    drawn = held(paired_differences(differences(), ARMS, more_is_better))
    assert drawn["became"].tolist() == became
    assert drawn[["baseline_value", "value"]].to_numpy().tolist() == [[0.8, 0.9], [0.8, 0.7], [0.8, 0.8]]


@pytest.mark.parametrize("name", ["learning_curves", "intervals", "biases", "trajectories"])
def test_an_arm_has_one_colour_in_all_figures(name: str) -> None:
    """An arm without a bias, or the baseline, shifts the colours of the others from figure to figure."""
    spec = {
        "intervals": lambda: forest(table(), ARMS, 0.005, True),
        "biases": lambda: bias_distributions(quantiles(ARMS[1:]), ARMS),
        "trajectories": lambda: bias_trajectories(trajectories(ARMS[1:]), ARMS),
        "learning_curves": lambda: learning_curves(curves(ARMS), ARMS),
    }[name]().to_dict()
    domains = [color["scale"]["domain"] for color in found(spec, "color") if color.get("field") == "arm"]
    assert domains and all(domain == ARMS for domain in domains)


def test_no_two_of_many_arms_look_the_same() -> None:
    """Two of twenty arms have one colour and one dash."""
    arms = [f"arm {i}" for i in range(20)]
    dashes = dash_by_arm(arms).to_dict()["scale"]["range"]
    colours = theme()["range"]["category"]
    assert len({(colours[i % len(colours)], str(dashes[i])) for i in range(20)}) == 20


def test_dark_figures_have_no_colour_that_dark_paper_hides() -> None:
    """Black lines or labels on a dark page."""

    def brightness(colour: str) -> float:
        r, g, b = (
            v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4
            for v in (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        )
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    dark = theme(dark=True)
    ground = brightness("#15181c")
    labels = [dark["axis"]["labelColor"], dark["title"]["color"], dark["text"]["color"], dark["legend"]["labelColor"]]
    assert all((brightness(c) + 0.05) / (ground + 0.05) >= 3 for c in dark["range"]["category"])
    assert all((brightness(c) + 0.05) / (ground + 0.05) >= 4.5 for c in labels)


def test_an_axis_around_one_value_says_which() -> None:
    """A metric that is always 0.5, or a bias that is always 0.1, stands at an axis that says 1 or 0."""
    low, high = scale_around(pd.Series([0.5, 0.5])).domain
    assert low < 0.5 < high and high - low < 0.2
    low, high = scale_around(pd.Series([0.0, np.nan])).domain
    assert low < 0 < high
    assert scale_around(pd.Series([0.5, 0.6])).domain is alt.Undefined
    flat = bias_distributions(quantiles(spread=0), ARMS).to_dict()
    assert [domain for domain in found(flat, "domain") if domain == [0.45, 0.55]]


def test_large_studies_are_thinned_to_what_can_be_drawn() -> None:
    """A study of many arms, layers, units and epochs makes a figure of megabytes, or loses its first or last epoch."""
    arms = [f"arm {i}" for i in range(12)]
    many = bias_trajectories(trajectories(arms, 100, {f"layer {i}/bias": 64 for i in range(5)}), arms).to_dict(
        validate=False
    )
    assert len(json.dumps(many)) < 600_000
    assert len(many["concat"]) == 36 and "3 of 5 layers are drawn." in " ".join(many["title"]["subtitle"])
    assert {(row["epoch"][0], row["epoch"][-1]) for row in many["data"]["values"]} == {(0, 100)}
    long = held(learning_curves(curves(ARMS, epochs=5000), ARMS))
    assert len(long) <= 200 * 2 * 3
    assert {long["epoch"].min(), long["epoch"].max()} == {0, 5000}


def test_a_drawn_cell_reaches_to_the_next_drawn_epoch() -> None:
    """The heatmap leaves gaps between the epochs that are drawn, or its cells overlap."""
    drawn = held(drift_heatmap(drift(["ones"], epochs=300), ["ones"]))
    one = drawn[drawn["layer"] == "dense/bias"]
    assert len(one) <= 60
    assert one["until"].tolist()[:-1] == one["epoch"].tolist()[1:]


def test_a_long_name_is_broken_where_it_can_be() -> None:
    """A title loses a letter, or runs over its panel although it has a comma or a slash."""
    for name in (LONG, "bidirectional/forward_lstm/lstm_cell/bias", "zeros", "dense/bias"):
        assert "".join(title_lines(name)) == name
    assert title_lines("zeros") == ["zeros"] and title_lines("dense/bias") == ["dense/bias"]
    assert title_lines("bidirectional/forward_lstm/lstm_cell/bias") == [
        "bidirectional/",
        "forward_lstm/lstm_cell/",
        "bias",
    ]

"""Colours, dashes, scales and titles can be told apart and read, on light and on dark pages."""

import altair as alt
import numpy as np
import pandas as pd
import pytest

from pipeline.report.figures.lines import most_lines, row_height, title_lines
from pipeline.report.figures.theme import by_arm, dash_by_arm, data_rows, scale_around, theme


def test_no_two_of_many_arms_look_the_same():
    """Twenty arms have twenty pairs of a colour and a dash."""
    dashes = dash_by_arm([f"arm {i}" for i in range(20)]).to_dict()["scale"]["range"]
    colours = theme()["range"]["category"]
    assert len({(colours[i % len(colours)], str(dashes[i])) for i in range(20)}) == 20


def test_a_setting_has_one_colour_in_every_block():
    """Its arms and the one over blocks are told apart by dashes, and so is a ninth setting from the first."""
    settings = [f"s{i}" for i in range(9)]
    arms = {f"{setting},{block}": setting for block in "ab" for setting in settings} | {"s8 over both": "s8"}
    colours = by_arm(arms).to_dict()["scale"]["range"]
    dashes = dash_by_arm(arms).to_dict()["scale"]["range"]
    assert colours[:9] == colours[9:18] and colours[18] == colours[8]
    assert len({str(pair) for pair in zip(colours[:18], dashes[:18], strict=True)}) == 18
    assert [theme(dark)["params"][0]["value"] for dark in (False, True)] == ["#222222", "#E6E6E6"]
    assert colours[6] == {"expr": theme()["params"][0]["name"]}  # black, which a dark page does not show


@pytest.mark.parametrize("letters", [24, 21])
def test_between_two_long_names_is_a_gap(letters):
    """A row is higher than the lines of the longest name by half a line or more; one line needs no more than a bar."""
    name = "branch_a=constant(0.1)+branch_b=mine>MyInitializer(0.3)+output=class_prior,kernel_initializer=he_normal"
    assert row_height(["zeros", name], 48, letters) >= 13 * (most_lines([name], letters) + 0.5)
    assert row_height(["zeros", "ones"], 26, letters) == 26


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb; WCAG 2.1."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize(("dark", "background"), [(False, "#ffffff"), (True, "#15181c")])
def test_text_has_contrast(dark, background):
    """Text has WCAG's contrast of 4.5 on a light and on a dark page."""
    config = theme(dark)
    texts = [config["axis"]["labelColor"], config["title"]["color"], config["text"]["color"]]
    for colour in [*texts, config["legend"]["labelColor"], config["style"]["median"]["color"]]:
        dim, bright = sorted((luminance(colour), luminance(background)))
        assert (bright + 0.05) / (dim + 0.05) >= 4.5


def test_no_arm_disappears_on_a_dark_page():
    """Every colour of an arm has WCAG's contrast of 3 for graphics on a dark page."""
    ground = luminance("#15181c")
    assert all((luminance(c) + 0.05) / (ground + 0.05) >= 3 for c in theme(dark=True)["range"]["category"])


def test_a_scale_around_one_value_has_room():
    """A single value lies within the scale; several values need no fixed domain."""
    low, high = scale_around(pd.Series([0.5, 0.5])).domain
    assert low < 0.5 < high and high - low < 0.2
    low, high = scale_around(pd.Series([0.0, np.nan])).domain
    assert low < 0 < high
    assert scale_around(pd.Series([0.5, 0.6])).domain is alt.Undefined


def test_embedded_numbers_have_six_digits():
    """What is not finite becomes null, since NaN is no JSON."""
    frame = pd.DataFrame({"arm": ["a", "b", "c"], "value": [1 / 3, np.nan, np.inf], "seed": [0, 1, 2]})
    rows = data_rows(frame).to_dict()["values"]
    assert rows == [
        {"arm": "a", "value": 0.333333, "seed": 0},
        {"arm": "b", "value": None, "seed": 1},
        {"arm": "c", "value": None, "seed": 2},
    ]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("zeros", ["zeros"]),
        ("dense/bias", ["dense/bias"]),
        ("bidirectional/forward_lstm/lstm_cell/bias", ["bidirectional/", "forward_lstm/lstm_cell/", "bias"]),
        (
            "constant(value=0.1),optimizer.learning_rate=0.001,training.batch_size=64",
            ["constant(value=0.1),", "optimizer.", "learning_rate=0.001,", "training.batch_size=64"],
        ),
        ("hidden=constant(0.1)+output=random_normal", ["hidden=constant(0.1)+", "output=random_normal"]),
        ("mine.my_very_long_initializer(1e+05)", ["mine.", "my_very_long_initializer(", "1e+05)"]),
        ("MyVeryLongUniformInitializer(0.2)", ["MyVeryLongUniform", "Initializer(0.2)"]),
        ("a" * 30, ["a" * 26, "a" * 4]),
        ("", [""]),
    ],
)
def test_a_long_name_is_broken_after_its_punctuation(name, lines):
    """Every character is kept, short names and numbers are not broken, and no line is too long."""
    assert title_lines(name) == lines
    assert most_lines([name], 26) == len(lines)


def test_data_are_not_copied_with_their_chart():
    """Altair copies charts whenever one becomes part of another; rows are most of what there is."""
    data = data_rows(pd.DataFrame({"arm": ["zeros", "ones"], "value": [0.5, np.nan]}))
    chart = alt.layer(alt.Chart().mark_point(), data=data).properties(title="copied").add_params(alt.param("p"))
    assert chart.data["values"] is data["values"]
    rows = [{"arm": "zeros", "value": 0.5}, {"arm": "ones", "value": None}]
    assert chart.to_dict()["data"]["values"] == rows

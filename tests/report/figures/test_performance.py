"""Learning curves, the forest plot and the differences by seed hold the numbers of their frames, and can be drawn."""

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
from factories import ARMS, found

from pipeline.report.figures.performance import forest, learning_curves, paired_differences
from pipeline.report.figures.theme import for_print


def curves(arms: list[str] = ARMS, epochs: int = 5) -> pd.DataFrame:
    """A loss and an accuracy of each arm, with an interval of 0.05 to each side."""
    rows = [
        {"arm": arm, "metric": metric, "epoch": epoch, "mean": 0.1 * epoch + i + 0.5}
        for (i, arm), metric, epoch in product(enumerate(arms), ("loss", "accuracy"), range(epochs + 1))
    ]
    return pd.DataFrame(rows).assign(low=lambda frame: frame["mean"] - 0.05, high=lambda frame: frame["mean"] + 0.05)


def table(metric: str = "test_accuracy", arms: list[str] = ARMS) -> pd.DataFrame:
    """The baseline, an arm with an interval, and one of a single pair."""
    return pd.DataFrame({
        "arm": arms, "metric": metric, "mean": [0.9, 0.92, 0.87], "ci_low": [0.89, 0.91, np.nan],
        "ci_high": [0.91, 0.93, np.nan], "baseline": [None, arms[0], arms[0]], "pairs": [np.nan, 5, 1],
        "difference": [np.nan, 0.02, -0.03], "difference_ci_low": [np.nan, 0.01, np.nan],
        "difference_ci_high": [np.nan, 0.04, np.nan], "verdict": [None, "better", "undecided"],
    })  # fmt: skip


def differences(arm: str = "ones") -> pd.DataFrame:
    """Three seeds of an arm: one is better than with the baseline, one worse, one the same."""
    frame = pd.DataFrame({
        "arm": [arm] * 3, "baseline": "zeros", "block": "", "metric": "test_accuracy", "seed": [0, 1, 2],
        "value": [0.9, 0.7, 0.8], "baseline_value": [0.8, 0.8, 0.8],
    })  # fmt: skip
    return frame.assign(difference=frame["value"] - frame["baseline_value"])


def test_learning_curves_can_be_drawn(arms, check_picture):
    """The figure is valid and shows something, with long names and with a single arm too."""
    check_picture(learning_curves(curves(arms), arms))


def test_the_forest_plot_can_be_drawn(arms, check_picture):
    """The figure is valid and shows something, with long names too."""
    three = ["baseline", *arms, "other"][:3]
    check_picture(forest(table(arms=three), three, 0.005, more_is_better=True))


def test_the_differences_by_seed_can_be_drawn(arms, check_picture):
    """The figure is valid and shows something, with long names too."""
    check_picture(paired_differences(differences(arms[0]), arms, more_is_better=True))


def test_learning_curves_hold_the_numbers_of_their_frame(check_data):
    """Each value stands at its arm, metric and epoch."""
    check_data(learning_curves(curves(), ARMS), curves())


def test_learning_curves_without_an_interval_have_no_band():
    """A single seed is drawn as lines alone."""
    one_seed = curves().assign(low=np.nan, high=np.nan)
    marks = [mark["type"] for mark in found(learning_curves(one_seed, ARMS).to_dict(), "mark")]
    assert "line" in marks and "area" not in marks


def test_images_have_neither_zoom_nor_tooltip_points():
    """On the page each panel has both; in an image the points would be half of its elements."""
    spec = learning_curves(curves(), ARMS).to_dict()
    assert "tooltip-point" in found(spec, "style") and "scales" in found(spec, "bind")
    printed = for_print(spec)
    assert "tooltip-point" not in found(printed["concat"], "style") and "scales" not in found(printed, "bind")
    assert [len(panel["layer"]) for panel in printed["concat"]] == [2, 2]


@pytest.mark.parametrize(
    ("factor", "ticks"),
    [
        (1, [0.5, 1, 2]),  # from 0.45 to 3.05
        (100, [50, 100, 200]),
        (1e-6, [5e-7, 1e-6, 2e-6]),
    ],
)
def test_a_log_axis_has_ticks_at_1_2_and_5(factor, ticks):
    """Losses of any size have labelled ticks within their range."""
    loss = curves()[lambda frame: frame["metric"] == "loss"]
    loss = loss.assign(**{name: loss[name] * factor for name in ("mean", "low", "high")})
    values = found(found(learning_curves(loss, ARMS).to_dict(), "y"), "values")
    assert values and all(value == pytest.approx(ticks) for value in values)


def test_long_learning_curves_are_thinned():
    """Of 5001 epochs at most 200 are drawn, the first and the last among them."""
    chart = learning_curves(curves(epochs=5000), ARMS).to_dict(validate=False)
    for row in chart["data"]["values"]:
        assert len(row["epoch"]) <= 200
        assert (row["epoch"][0], row["epoch"][-1]) == (0, 5000)


def test_the_forest_plot_shows_every_interval_and_the_margin():
    """The axis reaches beyond intervals and margin, and says which direction is better."""
    spec = forest(table(), ARMS, 0.005, more_is_better=True).to_dict()
    rows = {row["arm"]: row for row in spec["data"]["values"]}
    assert set(rows) == {"ones", "glorot_uniform"}
    assert (rows["ones"]["low"], rows["ones"]["high"], rows["ones"]["verdict"]) == (0.01, 0.04, "better")
    assert rows["glorot_uniform"]["low"] is None
    assert rows["ones"]["label"] == "better: +0.020 [+0.010, +0.040]"  # two digits of a half width of 0.010
    assert rows["glorot_uniform"]["label"] == "undecided: −0.030"
    for low, high in found([layer["encoding"]["x"] for layer in spec["layer"][:1]], "domain"):
        assert low < -0.03 and high > 0.04
    assert {"from": -0.005, "to": 0.005} in [row for values in found(spec, "values") for row in values]
    assert "Difference from zeros in test_accuracy" in spec["title"]["text"]
    assert "(better →)" in json.dumps(spec, ensure_ascii=False)
    loss = forest(table("test_loss"), ARMS, 0.005, more_is_better=False).to_dict()
    assert "(← better)" in json.dumps(loss, ensure_ascii=False)


@pytest.mark.parametrize("verdict", ["identical", "equivalent"])
def test_seeds_that_are_all_alike_have_no_interval_of_zeros(verdict):
    """`0.00 [0.00, 0.00]` would look like a difference that was measured."""
    frame = table()
    frame.loc[1, ["difference", "difference_ci_low", "difference_ci_high", "verdict"]] = [0.0, 0.0, 0.0, verdict]
    (row,) = [row for row in forest(frame, ARMS, 0.005, True).to_dict()["data"]["values"] if row["arm"] == "ones"]
    assert row["label"] == f"{verdict}: 0 on every seed"


def test_the_forest_plot_has_a_colour_for_arms_over_blocks():
    """Rows over several blocks, which are no arms of the study, have a colour; without one they would not be drawn."""
    overall = pd.concat([table().assign(arm=lambda rows: rows["arm"] + " over both blocks"), table()])
    arms = dict(zip(ARMS, ARMS, strict=True)) | {f"{arm} over both blocks": arm for arm in ARMS}
    spec = forest(overall, arms, 0.005, more_is_better=True).to_dict()
    colours = [layer["encoding"].get("color", {}) for layer in spec["layer"]]
    coloured = {arm for domain in found(colours, "domain") for arm in domain}
    assert coloured >= {row["arm"] for row in spec["data"]["values"]}


@pytest.mark.parametrize(
    ("more_is_better", "became"), [(True, ["better", "worse", "the same"]), (False, ["worse", "better", "the same"])]
)
def test_a_seed_is_called_better_as_the_metric_goes(more_is_better, became, data_of):
    """A lower loss is better, and a seed's line goes between its own two values."""
    drawn = data_of(paired_differences(differences(), ARMS, more_is_better))
    assert drawn["became"].tolist() == became
    assert drawn[["baseline_value", "value"]].to_numpy().tolist() == [[0.8, 0.9], [0.8, 0.7], [0.8, 0.8]]


def test_an_arm_has_one_colour_in_all_figures(colour_domains):
    """The baseline, which the forest plot leaves out, still takes its colour."""
    for chart in (learning_curves(curves(), ARMS), forest(table(), ARMS, 0.005, more_is_better=True)):
        domains = colour_domains(chart)
        assert domains and all(domain == ARMS for domain in domains)

"""Distributions, trajectories and drift of biases hold the numbers of their frames, and can be drawn."""

import json

from factories import ARMS, drift, found, quantiles, trajectories

from pipeline.report.figures.biases import bias_distributions, bias_trajectories, drift_heatmap


def test_distributions_can_be_drawn(arms, check_picture):
    """The figure is valid and shows something, with long names and with a single arm too."""
    check_picture(bias_distributions(quantiles(arms), arms))


def test_trajectories_can_be_drawn(arms, check_picture):
    """The figure is valid and shows something, with long names and with a single arm too."""
    check_picture(bias_trajectories(trajectories(arms), arms))


def test_the_drift_can_be_drawn(arms, check_picture):
    """The figure is valid and shows something, with long names and with a single arm too."""
    check_picture(drift_heatmap(drift(arms), arms))


def test_figures_hold_the_numbers_of_their_frames(check_data):
    """Each value stands at its arm, layer, unit and epoch."""
    check_data(bias_distributions(quantiles(), ARMS), quantiles())
    check_data(bias_trajectories(trajectories(), ARMS), trajectories())
    check_data(drift_heatmap(drift(), ARMS), drift())


def test_an_arm_has_one_colour_in_all_figures(colour_domains):
    """An arm without a bias, which these figures leave out, still takes its colour."""
    for chart in (bias_distributions(quantiles(ARMS[1:]), ARMS), bias_trajectories(trajectories(ARMS[1:]), ARMS)):
        domains = colour_domains(chart)
        assert domains and all(domain == ARMS for domain in domains)


def test_an_axis_around_one_value_says_which():
    """Biases that are all 0.5 stand in the middle of an axis from 0.45 to 0.55."""
    flat = bias_distributions(quantiles(spread=0), ARMS).to_dict(validate=False)
    assert [domain for domain in found(flat, "domain") if domain == [0.45, 0.55]]


def test_large_studies_are_thinned_to_what_can_be_drawn():
    """Trajectories of many arms, layers, units and epochs stay below 600 kB, from the first to the last epoch."""
    arms, epochs = [f"arm {i}" for i in range(12)], 40
    frame = trajectories(arms, epochs, {f"layer {i}/bias": 64 for i in range(5)})
    spec = bias_trajectories(frame, arms).to_dict(validate=False)
    assert len(json.dumps(spec)) < 600_000
    assert len(spec["concat"]) == 36 and "3 of 5 layers are drawn." in " ".join(spec["title"]["subtitle"])
    assert all(len(row["epoch"]) < epochs + 1 for row in spec["data"]["values"])
    assert {(row["epoch"][0], row["epoch"][-1]) for row in spec["data"]["values"]} == {(0, epochs)}


def test_a_cell_of_the_heatmap_reaches_to_the_next_drawn_epoch(data_of):
    """Of 301 epochs at most 60 are drawn, without gaps and without overlaps."""
    drawn = data_of(drift_heatmap(drift(["ones"], epochs=300), ["ones"]))
    one = drawn[drawn["layer"] == "dense/bias"]
    assert len(one) <= 60
    assert one["until"].tolist()[:-1] == one["begin"].tolist()[1:]


def test_an_epoch_stands_in_the_middle_of_its_cell(data_of):
    """So does its label, which the axis puts at the epoch."""
    drawn = data_of(drift_heatmap(drift(["ones"], epochs=3), ["ones"]))
    one = drawn[drawn["layer"] == "dense/bias"]
    assert ((one["begin"] + one["until"]) / 2).tolist() == one["epoch"].tolist() == [0, 1, 2, 3]
    (single,) = data_of(drift_heatmap(drift(["ones"], epochs=0), ["ones"]))[["begin", "until"]].drop_duplicates().values
    assert single.tolist() == [-0.5, 0.5]

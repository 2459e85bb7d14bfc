"""Settings and versions in words, as the page shows them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.analysis.arms import Arm
from pipeline.report.settings import (
    describe_arms,
    describe_differences,
    describe_environments,
    describe_settings,
    first_config,
    name_arms,
)
from pipeline.store.runs import Run
from pipeline.store.whole_names import WholeName


def arm(name: str, rate: float, **config: Any) -> Arm:
    """An arm of one run with these settings."""
    meta = {
        "config": {
            "bias_setting": name, "use_bias": True, "bias_layers": ["dense"],
            "bias_initializer": {"class_name": "Ones", "config": {"gain": 2}},
            "optimizer": {"class_name": "Adam", "learning_rate": rate},
            "data": {"standardize": True},
            "model": {"layers": [
                {"class_name": "Bidirectional", "config": {"layer": {"class_name": "GRU", "config": {"units": 4}}}},
            ]},
            "training": {"class_weight": None}, "block": "",
        } | config,
        "environment": {"packages": {"keras": f"3.{rate}"}, "device": "CPU", "python": "3.13"},
    }  # fmt: skip
    return Arm(name, name, (Run(Path("run"), meta),))


ARMS = [arm("a", 0.01), arm("b", 0.01, use_bias=False), arm("c", 0.02, bias_layers="all")]


def test_every_setting_is_there_once() -> None:
    """Settings that all arms share are dotted names with a value, others stand apart; the arms' own are left out."""
    assert dict(describe_settings(ARMS)) == {
        "optimizer.class_name": "Adam", "data.standardize": "yes",
        "model.layers 1": "Bidirectional(layer=GRU(units=4))", "training.class_weight": "none",
    }  # fmt: skip


def test_what_differs_is_named_with_its_arms() -> None:
    """By the bias settings or the blocks that tell them, else by a few names."""
    assert describe_differences(ARMS) == [
        ("optimizer.learning_rate", "0.01", "a, b"), ("optimizer.learning_rate", "0.02", "c")]  # fmt: skip
    blocks = [f"optimizer.learning_rate={rate},and.a.long.name=of_the_block" for rate in (1, 2)]
    many = [
        replace(arm(setting, 1.0), name=f"{setting},{block}", whole=WholeName(setting, setting, block, block))
        for block in blocks for setting in ("no_bias", "zeros", "ones")
    ]  # fmt: skip
    assert name_arms(many[::3], many) == "no_bias" and name_arms(many[3:], many) == blocks[1]
    assert name_arms(many[:1], many) == many[0].name and name_arms(many, many) == "all arms"
    several = [arm(f"constant({i})", 1.0) for i in range(9)]
    assert name_arms(several[:8], several) == "constant(0), constant(1), constant(2), constant(3) and 4 more"


def test_each_arm_is_its_initializer() -> None:
    """An arm is described by its initializer, its arguments, and the layers if not all."""
    assert describe_arms(ARMS) == [("a", "Ones(gain=2) in dense"), ("b", "no bias"), ("c", "Ones(gain=2)")]


def test_versions_that_differ_are_all_shown() -> None:
    """Where runs differ in a version, all of them are given."""
    assert dict(describe_environments(ARMS)) == {"keras": "3.0.01 | 3.0.02", "device": "CPU", "Python": "3.13"}


@pytest.mark.parametrize("word", ['"bias_setting": "a"', '"units": 4', '"class_weight": null'])
def test_the_whole_configuration_is_json(word: str) -> None:
    """The configuration of the first arm is given in full."""
    assert word in first_config(ARMS)


def test_an_arm_with_layers_has_the_names_of_the_other_tables() -> None:
    """A class of the user's is spelled as everywhere on the page, not as its folder is; an exponent keeps its sign."""
    shown = "hidden=mine>MyInitializer(1e+05)+output=zeros"
    of_layers = arm(shown, 0.01, bias_setting="hidden=mine.my_initializer(1e+05)+output=zeros",
                    bias_initializer={"layers": {"hidden": {}, "output": {}}})  # fmt: skip
    assert describe_arms([of_layers]) == [(shown, "hidden=mine>MyInitializer(1e+05), output=zeros")]

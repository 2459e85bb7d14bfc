"""The training commands of a report: accepted as they are printed, with the biases that the runs had."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from factories import change_meta, compose_config, last_of_each, put, share

from pipeline.analysis.arms import load_arms
from pipeline.analysis.commands import training_commands
from pipeline.analysis.comparison import compare_study
from pipeline.config.made_options import initializer_node
from pipeline.config.overrides import parse_overrides, validate_overrides
from pipeline.config.schema import CONF
from pipeline.config.spelling import spell_overrides
from pipeline.experiment.plan import plan_job
from pipeline.experiment.validate import compose_jobs
from pipeline.store.runs import RunStore

ZEROS = {"class_name": "Zeros", "config": {}}
CONSTANT, PRIOR = {"class_name": "Constant", "config": {"value": 3}}, {"class_name": "ClassPrior", "config": {}}
ONES = {"class_name": "Ones", "config": {}}


def named(*names: str) -> str:
    """A model of Dense layers of these names; the one called `nb` has no bias."""
    layers = [f"{{class_name:Dense,config:{{name:{n},units:4{',use_bias:false' * (n == 'nb')}}}}}" for n in names[:-1]]
    return f"model.layers=[{','.join(layers)},{{class_name:Dense,config:{{name:{names[-1]}}}}}]"


@pytest.mark.parametrize(
    ("name", "stored", "option"),
    [
        ("he_normal", {"class_name": "HeNormal", "config": {}}, "he_normal"),
        ("constant(3)", CONSTANT, "constant(3)"),
        ("random_normal(std~12345678", {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 0.5}},
         "random_normal(stddev=0.5)"),
        ("hidden=constant(3)+output=class_prior", ZEROS | {"layers": {"hidden": CONSTANT, "output": PRIOR}},
         "{hidden:constant(3),output:class_prior}"),
        ("a=constant(3)+others=ones", ONES | {"layers": {"a": CONSTANT}},
         '{class_name:"Ones",layers:{a:constant(3)}}'),
        ("mine.my_initializer", {"class_name": "mine>MyInitializer", "config": {}}, "mine>MyInitializer"),
        ("mine.my_initializer(0.3)", {"class_name": "mine>MyInitializer", "config": {"value": 0.3, "how": "fast"}},
         "mine>MyInitializer(value=0.3,how=fast)"),
        ("mine.my_initializer(of=_1_ 2_)", {"class_name": "mine>MyInitializer", "config": {"of": [1, 2], "no": None}},
         '{class_name:"mine>MyInitializer",config:{of:[1, 2],no:null}}'),
        ("output=mine.my_initializer", ZEROS | {"layers": {"output": {"class_name": "mine>M", "config": {"v": 0.3}}}},
         "{output:mine>M(v=0.3)}"),
    ],
)  # fmt: skip
def test_a_printed_command_is_accepted_and_gives_the_same_biases(
    tmp_path: Path, name: str, stored: dict[str, Any], option: str
) -> None:
    """The command's words pass the checks of overrides, and the option that they name is what the run had."""
    put(tmp_path, "ones", 0, 0.5, bias_initializer=ONES)
    run = put(tmp_path, name, 0, 0.5, setting=name, bias_initializer=stored)
    overrides = ["data=iris", "study=s"]
    (run.path / "machine.json").write_text(json.dumps({"overrides": [*overrides, "code=[mine.py]", "use_bias=True"]}))
    (line,) = training_commands(compare_study(RunStore(tmp_path, "s"), "ones").study.arms, "s")
    words = shlex.split(line.rpartition(" -m ")[2])
    assert f"bias_initializer=ones,{option}" in words and "code=[mine.py]" in words
    words = spell_overrides(words, is_sweep=True)
    validate_overrides(words)
    (override,) = [o for o in parse_overrides(words) if o.key_or_group == "bias_initializer"]
    swept = [getattr(value, "text", value) for value in override.sweep_iterator(lambda value: value)]
    given = initializer_node(_node(str(swept[1])), [CONF])
    assert given == stored


def test_a_study_of_a_program_names_the_call(tmp_path: Path) -> None:
    """No command line trained it: one without its settings would train something else."""
    for name in ("no_bias", "zeros"):
        run = put(tmp_path, name, 0, 0.5, setting=name, bias_initializer=ZEROS)
        (run.path / "machine.json").write_text(json.dumps({"program": "pipeline.api.compare_initializers"}))
    (line,) = training_commands(compare_study(RunStore(tmp_path, "s"), "zeros").study.arms, "s")
    assert line == 'pipeline.api.compare_initializers(…, arms=["no_bias", "zeros"], seeds=1)'


LAYERS = named(*(f"a_layer_with_a_long_name_{i}" for i in range(12)))


@pytest.mark.parametrize(
    ("given", "recorded", "words"),
    [
        (["data=iris", "study=s", LAYERS], ["data=iris", "study=s", LAYERS], ["study=s", "data=iris", LAYERS]),
        (["data=iris", LAYERS, "study=s"], ["data=iris", LAYERS], ["study=s", "data=iris", LAYERS]),
        (["data=iris", "model=linear"], None, ["study=iris-linear", "data=iris", "model=linear"]),
        (["data=iris", "model=linear", "training.epochs=3"], [], ["study=iris-linear"]),
        (["data=iris", "model=linear", "bias_layers=output", "training.epochs=3"], None,
         ["study=iris-linear", "data=iris", "model=linear", "bias_layers=output", "training.epochs=3"]),
    ],
)  # fmt: skip
def test_the_command_of_portable_runs_is_whole(
    given: list[str], recorded: list[str] | None, words: list[str], tmp_path: Path
) -> None:
    """Also where the arm's folder has a name that was cut, or the study's name tells data and model."""
    plan = plan_job(compose_config(*given, "bias_initializer=ones", "runtime.portable=true"))
    study, more = plan.config.study, {name: plan.settings[name] for name in ("bias_initializer", "model")}
    run = put(tmp_path, plan.arm, 0, 0.5, study=study, setting="ones", block=plan.settings["block"], **more)
    change_meta(run.path, lambda meta: meta["environment"].update({"portable": True}))
    change_meta(run.path, lambda meta: meta["config"].update({"data": plan.settings["data"]}))
    if recorded is not None:
        (run.path / "machine.json").write_text(json.dumps({"overrides": recorded}))
    (line,) = training_commands(load_arms(RunStore(tmp_path, study))[0], study)
    assert shlex.split(line.rpartition(" -m ")[2]) == [
        *words, "runtime.portable=true", "bias_initializer=ones", "seeds=1"]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "layers"),
    share([
        (["model=linear"], "{output:constant(3)}"),
        (["model=mlp"], "{output:constant(3)}"),
        (["model=mlp"], "{dense:constant(3)}"),
        ([named("hidden", "b", "c")], "{b:constant(3)}"),
        ([named("hidden", "output", "c")], "{c:constant(3)}"),
        ([named("a", "b", "output")], "{a:constant(3)}"),
        ([named("a", "nb", "hidden", "c")], "{output:constant(3)}"),
        (["model=mlp", "bias_initializer=random_normal(stddev=0.1)"], "{dense:constant(3)}"),
    ], every=9),
)  # fmt: skip
def test_a_command_for_initializers_of_layers_composes_to_the_same_model(
    model: list[str], layers: str, tmp_path: Path
) -> None:
    """Whatever its layers are called, one with a bias or several, when the others have another than zeros."""
    given = ["data=iris", "study=s", "bias_initializer=ones", *model, f"bias_initializer.layers={layers}"]
    config = compose_config(*given)
    plan = plan_job(config)
    more = {name: plan.settings[name] for name in ("bias_initializer", "model")}
    put(tmp_path, plan.arm, 0, 0.5, setting=plan.bias_setting, **more)
    (line,) = training_commands(load_arms(RunStore(tmp_path, "s"))[0], "s")
    (option,) = [word for word in shlex.split(line) if word.startswith("bias_initializer=")]
    (again,) = compose_jobs(last_of_each(["data=iris", "study=s", *model, option]))
    assert plan_job(again).settings == plan.settings and plan_job(again).arm == plan.arm
    assert plan_job(again).keys[0] == plan.keys[0]


def _node(option: str) -> Any:
    from pipeline.config.calls import is_mapping, read_mapping

    return read_mapping(option) if is_mapping(option) else option

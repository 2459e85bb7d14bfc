"""The keys of runs, and where the bias setting applies."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import DROPOUT_GRU, TrainedStudy, compose_config

from pipeline.config.schema import BiasInitializer, Data, Optimizer
from pipeline.errors import ConfigError
from pipeline.experiment.plan import Plan, plan_job
from pipeline.experiment.retraining import explain_retraining
from pipeline.models.initializers.registry import initializer_names

GLOROT, ORTHOGONAL = BiasInitializer("GlorotUniform"), BiasInitializer("Orthogonal")
PEOPLE = "height,weight,sex\n" + "".join(f"{150 + i},{50 + i},{'fm'[i % 2]}\n" for i in range(20))


def plan(**changes: Any) -> Plan:
    """The plan of the default config with some fields changed; a group's fields as `training={"epochs": 3}`."""
    config = compose_config()
    for name, value in changes.items():
        value = replace(getattr(config, name), **value) if isinstance(value, dict) else value
        config = replace(config, **{name: value})
    return plan_job(config)


def dense(units: int = 2, **config: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"units": units} | config}


@pytest.mark.parametrize("class_name", ["Orthogonal", "Identity"])
@pytest.mark.parametrize("model", ["mlp", "cnn", "lstm"])
def test_matrix_initializers_need_a_matrix(class_name: str, model: str) -> None:
    """Orthogonal and Identity are refused on a bias with one axis, which Keras cannot fill with them."""
    with pytest.raises(ConfigError, match=f"^bias_initializer: {class_name} given"):
        plan(
            bias_initializer=BiasInitializer(class_name),
            model={"layers": compose_config(f"model={model}").model.layers},
        )


def test_matrix_initializers_fit_a_matrix() -> None:
    """They are taken for the GRU's bias, which has two axes, and where there is no bias to fill."""
    hidden = compose_config(*DROPOUT_GRU, "bias_layers=hidden")
    assert plan_job(replace(hidden, bias_initializer=ORTHOGONAL)).arm.startswith("orthogonal,")
    assert plan(bias_initializer=ORTHOGONAL, use_bias=False).arm == "no_bias"


@pytest.mark.parametrize("class_name", initializer_names())
def test_without_a_bias_the_initializer_does_not_matter(class_name: str) -> None:
    """`use_bias=false` is one arm with one key per seed, whatever the initializer."""
    assert plan(use_bias=False, bias_initializer=BiasInitializer(class_name)).keys == plan(use_bias=False).keys


@pytest.mark.parametrize(
    "changes",
    [{"study": "mine"}, {"results": "elsewhere"}, {"tracking": {"enabled": False}}, {"runtime": {"device": "cpu"}},
     {"data": {"name": "mine"}}, {"training": {"seeds_at_once": 2}}, {"ablation": False}],
    ids=str,
)  # fmt: skip
def test_key_ignores_who_and_where(changes: dict[str, Any]) -> None:
    """What a run is called, and where it is kept, shown or trained, does not make it another run."""
    assert plan(**changes).keys == plan().keys


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"epochs": 19}}, {"training": {"batch_size": 16}}, {"optimizer": {"learning_rate": 0.01}},
        {"optimizer": Optimizer("SGD", 0.001)}, {"optimizer": {"config": {"beta_1": 0.8}}},
        {"bias_initializer": BiasInitializer("Ones")}, {"use_bias": False}, {"bias_layers": "hidden"},
        {"model": {"layers": [{"class_name": "Flatten"}, dense(64), dense(31), dense(10)]}},
        {"data": Data("digits", "iris")}, {"data": {"test_fraction": 0.3}}, {"data": {"validation_fraction": 0.3}},
        {"data": {"standardize": False}},
    ],
    ids=str,
)  # fmt: skip
def test_key_changes_with_what_decides_the_numbers(changes: dict[str, Any]) -> None:
    """A changed setting is another run, so that no stored result passes for it."""
    changed, default = plan(**{"bias_initializer": GLOROT} | changes), plan(bias_initializer=GLOROT)
    assert not {key for keys in changed.keys.values() for key in keys} & {
        key for keys in default.keys.values() for key in keys
    }


def test_key_belongs_to_the_seed_not_to_the_list() -> None:
    """Seed 7 has the same key in every list of seeds, so that more seeds train only the new ones."""
    two = plan(seeds=(3, 7))
    assert two.keys[7] == plan(seeds=tuple(range(8))).keys[7]
    assert two.keys[3] != two.keys[7]


def test_key_follows_the_rows_of_a_file(tmp_path: Path) -> None:
    """A moved file is the same data; one changed cell makes another run."""
    path = tmp_path / "people.csv"
    path.write_text(PEOPLE)
    data = Data("people", "file", str(path), target="sex")
    first = plan(data=data)
    moved = path.rename(tmp_path / "moved.csv")
    assert plan(data=replace(data, path=str(moved))).keys == first.keys
    moved.write_text(PEOPLE.replace("150,", "151,"))
    assert plan(data=replace(data, path=str(moved))).recipe != first.recipe


@pytest.mark.parametrize(
    ("bias_layers", "names"),
    [("all", ["dense", "dense_1", "output"]), ("hidden", ["dense", "dense_1"]), ("output", ["output"]),
     (["dense_1"], ["dense_1"])],
)  # fmt: skip
def test_bias_layers_choose_where_the_setting_applies(bias_layers: str | list[str], names: list[str]) -> None:
    """`hidden` and `output` give the choice to those layers only; the others keep Keras' zeros."""
    ones = plan(bias_initializer=BiasInitializer("Ones"), bias_layers=bias_layers)
    configs = [layer["config"] for layer in ones.settings["model"]["layers"]]
    assert [c["name"] for c in configs if c.get("bias_initializer", {}).get("class_name") == "Ones"] == names


def test_a_layer_that_sets_its_own_bias_keeps_it() -> None:
    """`use_bias` and `bias_initializer` in a model file win over the study's."""
    layers = [
        {"class_name": "Flatten"}, dense(bias_initializer="ones"), dense(use_bias=True), dense(use_bias=False),
        {"class_name": "Dense"},
    ]  # fmt: skip
    model = {"layers": layers}
    chosen = plan(model=model, bias_initializer=BiasInitializer("HeNormal")).settings["model"]["layers"]
    config = {layer["config"]["name"]: layer["config"] for layer in chosen}
    assert config["dense"]["bias_initializer"]["class_name"] == "Ones"
    assert config["dense_1"]["bias_initializer"]["class_name"] == "HeNormal"
    assert config["dense_2"]["use_bias"] is False
    assert "bias_initializer" not in config["dense_2"]
    without = [
        layer["config"].get("use_bias") for layer in plan(model=model, use_bias=False).settings["model"]["layers"]
    ]
    assert without == [None, False, True, False, False]


def test_a_renamed_arm_is_trained_again_and_its_folder_named(trained_study: TrainedStudy) -> None:
    """The folder holds runs of the arm that count only under its name; where nothing is missing, nothing is said."""
    name, setting = "zeros,training.epochs=2", "bias_initializer=zeros"
    config = compose_config(*trained_study.overrides, "tracking=none", f"results={trained_study.results}", setting)
    arm = trained_study.results / trained_study.name / name
    shutil.copytree(arm, arm.with_name("kept"))
    assert explain_retraining(plan_job(config), "zeros") == []
    arm.rename(arm.with_name("renamed"))
    plan = plan_job(config)
    assert plan.missing == (0, 1, 2)
    assert explain_retraining(plan, plan.arm) == [
        f"{name}: the folder {folder} holds 3 runs of this arm, which count only in {name}"
        for folder in ("kept", "renamed")
    ]


def test_damaged_runs_are_named_with_what_becomes_of_them(trained_study: TrainedStudy) -> None:
    """A damaged run is trained again and kept; a copy of another does not count. Both are named with the reason."""
    name, setting = "zeros,training.epochs=2", "bias_initializer=zeros"
    config = compose_config(*trained_study.overrides, "tracking=none", f"results={trained_study.results}", setting)
    arm = trained_study.results / trained_study.name / name
    assert explain_retraining(plan_job(config), "zeros") == []
    (arm / "seed=1" / "history.csv").write_text("")
    shutil.copytree(arm / "seed=0", arm / "seed=0 (copy)")
    plan = plan_job(config)
    assert plan.missing == (1,)
    assert explain_retraining(plan, plan.arm) == [
        f"{name}/seed=0 (copy) is a copy (run.json says {name}/seed=0): it does not count",
        f"{name}/seed=1 is damaged (history.csv does not match its digest): it is trained again, and kept in "
        ".replaced/damaged",
    ]

"""What is shown of arms whose folders' names are cut, and of initializers of the user's own."""

import json
from pathlib import Path
from typing import Any

import pytest
from factories import EIGHT, change_config, compose_config, put

from pipeline.analysis.across_studies import names_across
from pipeline.analysis.arms import load_arms
from pipeline.analysis.comparison import compare_study
from pipeline.analysis.study import load_study
from pipeline.config.naming import arm_name, block_name
from pipeline.config.schema import Config
from pipeline.experiment.plan import plan_job, shown_names
from pipeline.store.runs import RunStore
from pipeline.tracking.names import stored_names

LONG = (
    "data.features=[alpha,beta,gamma,delta]", "data.target=label", "training.class_weight=balanced",
    "optimizer.schedule.class_name=ExponentialDecay", "optimizer.schedule.config.decay_steps=1000",
    "training.batch_size=64",
)  # fmt: skip
ZEROS, ONES = {"class_name": "Zeros", "config": {}}, {"class_name": "Ones", "config": {}}


def config_of(results: Path, initializer: str, *overrides: str) -> Config:
    """A config as if the overrides had made it."""
    config = compose_config("data=iris", "model=linear", f"bias_initializer={initializer}")
    return change_config(config, results=str(results), study="s", overrides=overrides)


def store_arm(config: Config, recorded: list[Any] | None, seeds: int = 2) -> str:
    """Store runs of a config's arm. recorded: what machine.json says of the overrides."""
    setting = config.bias_initializer.class_name.lower()
    arm, block = arm_name(config, {}), block_name(config)
    for seed in range(seeds):
        accuracy = float(EIGHT[seed])
        run = put(config.results_dir, arm, seed, accuracy, study="s", setting=setting, block=block)
        if recorded is not None:
            (run.path / "machine.json").write_text(json.dumps({"overrides": recorded}))
    return arm


def shown(results: Path) -> list[str]:
    return [arm.name for arm in load_arms(RunStore(results, "s"))[0]]


@pytest.fixture
def blocks(tmp_path: Path) -> list[Config]:
    """Two settings in two blocks that share many overrides, and differ in one."""
    epochs = [f"training.epochs={n}" for n in (2, 3)]
    return [config_of(tmp_path, name, *LONG, e) for e in epochs for name in ("zeros", "ones")]


NAMES = [f"{name},training.epochs={n}" for n in (2, 3) for name in ("zeros", "ones")]


def test_what_differs_is_looked_for_in_whole_names(blocks: list[Config], tmp_path: Path) -> None:
    """In compare, in MLflow and in the plan of a sweep; folders keep their names, with a hash."""
    plans = [plan_job(config) for config in blocks]
    assert shown_names(plans) == NAMES
    arms = [store_arm(config, ["results=x", *config.overrides]) for config in blocks]
    assert arms == [plan.arm for plan in plans] and all("~" in arm for arm in arms)
    assert shown(tmp_path) == NAMES
    assert stored_names(RunStore(tmp_path, "s")) == dict(zip(arms, NAMES, strict=True))
    comparison = compare_study(RunStore(tmp_path, "s"), "zeros")
    assert [arm.block for arm in comparison.study.arms] == [name.partition(",")[2] for name in NAMES]
    assert [arm.folder for arm in comparison.study.arms] == arms
    assert names_across([comparison])[0] == {name: name for name in NAMES}
    assert shown_names(plans[:1]) == NAMES[:1]  # beside those that are stored


@pytest.mark.parametrize("recorded", [None, [], ["training.epochs=9"], [3], ["a=[", "b"], "text"])
def test_a_name_that_nothing_explains_stays_cut(blocks: list[Config], recorded: Any, tmp_path: Path) -> None:
    """Of runs of earlier versions, of those that another arm lent, and where machine.json is damaged."""
    arms = [store_arm(config, recorded) for config in blocks]
    names = shown(tmp_path)
    assert len(set(names)) == 4 and sorted(name[-9:] for name in names) == sorted(arm[-9:] for arm in arms)


def test_one_run_that_explains_the_name_is_enough(blocks: list[Config], tmp_path: Path) -> None:
    """The others may be lent by another arm."""
    for config in blocks:
        arm = store_arm(config, ["training.epochs=9"])
        (tmp_path / "s" / arm / "seed=1" / "machine.json").write_text(json.dumps({"overrides": [*config.overrides]}))
    assert shown(tmp_path) == NAMES


def test_a_hash_is_shown_where_the_difference_is_too_long(tmp_path: Path) -> None:
    """And nowhere else."""
    long = [f"data.features=[{','.join(f'feature_{i}' for i in range(start, start + 20))}]" for start in (0, 1)]
    configs = [config_of(tmp_path, "zeros", "data.target=label", features) for features in long]
    for config in configs:
        store_arm(config, [*config.overrides])
    names = shown(tmp_path)
    assert [name.partition("=")[0] for name in names] == ["zeros,data.features"] * 2
    assert all(len(name) < 160 and "~" in name for name in names) and len(set(names)) == 2


def test_blocks_that_a_name_cannot_tell_apart_stay_cut(tmp_path: Path) -> None:
    """Signs that no folder may have are `_`, so two blocks could have the same whole name."""
    for features in ("[a b]", "[a/b]"):
        config = config_of(tmp_path, "zeros", *LONG[1:], f"data.features={features}", f"data.drop=[{'x' * 40}]")
        store_arm(config, [*config.overrides])
    assert len({*shown(tmp_path)}) == 2


@pytest.mark.parametrize(
    ("setting", "initializer", "name"),
    [
        ("custom.spread", {"class_name": "Custom>Spread", "config": {"width": 0.5}}, "Spread(0.5)"),
        ("custom.spread(0.1)", {"class_name": "Custom>Spread", "config": {"width": 0.1}}, "Spread(0.1)"),
        ("mine.spread(width=0.1)", {"class_name": "mine>Spread", "config": {"width": 0.1}}, "mine>Spread(width=0.1)"),
        ("mine.spread(b=2)", {"class_name": "mine>Spread", "config": {"a": 1, "b": 2}}, "mine>Spread(a=1,b=2)"),
        ("mine.spread", {"class_name": "mine>Spread", "config": {}}, "mine>Spread"),
        ("hidden=constant(3)+output=custom.spread",
         ZEROS | {"layers": {"hidden": {"class_name": "Constant", "config": {"value": 3}},
                             "output": {"class_name": "Custom>Spread", "config": {"width": 0.5}}}},
         "hidden=constant(3)+output=Spread(0.5)"),
        ("output=custom.spread+others=ones",
         ONES | {"layers": {"output": {"class_name": "Custom>Spread", "config": {"width": 0.5}}}},
         "output=Spread(0.5)+others=ones"),
    ],
)  # fmt: skip
def test_an_own_initializer_is_shown_as_it_was_written(
    setting: str, initializer: dict[str, Any], name: str, tmp_path: Path
) -> None:
    """With every argument that is known, also one that is the default; the folder is named as ever."""
    put(tmp_path, "zeros", 0, 0.5, bias_initializer=ZEROS)
    put(tmp_path, setting, 0, 0.5, setting=setting, bias_initializer=initializer)
    assert set(shown(tmp_path)) == {"zeros", name}
    assert stored_names(RunStore(tmp_path, "s")) == {"zeros": "zeros", setting: name}
    for baseline in (setting, name):
        assert load_study(RunStore(tmp_path, "s"), baseline).baseline == name


def test_own_initializers_that_would_look_alike_keep_their_names(tmp_path: Path) -> None:
    """As of one class whose argument has signs that no name may have."""
    for text in ("a/b", "a b"):
        form = {"class_name": "mine>Spread", "config": {"how": text}}
        put(tmp_path, f"mine.spread({len(text)}{text[1] == '/'})", 0, 0.5, bias_initializer=form)
    put(tmp_path, "zeros", 0, 0.5)
    assert set(shown(tmp_path)) == {"zeros", "mine.spread(3True)", "mine.spread(3False)"}


def test_names_have_the_spelling_that_was_typed(tmp_path: Path) -> None:
    """Lists and mappings with their brackets, what is shared and what differs; without the record the folder's name."""
    shared, kinds = "training.metrics=[accuracy,f1]", ("[a,b]", "[a]")
    for kind in kinds:
        asked = [shared, f"data.drop={kind}", "training.stop={patience:2,monitor:val_f1}"]
        for initializer in ("zeros", "ones"):
            store_arm(config_of(tmp_path, initializer, *asked), asked)
    arms = load_arms(RunStore(tmp_path, "s"))[0]
    assert sorted(arm.name for arm in arms) == sorted(
        f"{initializer},data.drop={kind}" for initializer in ("zeros", "ones") for kind in kinds
    )
    assert arms[0].shared == {shared, "training.stop={patience:2,monitor:val_f1}"}
    assert set(stored_names(RunStore(tmp_path, "s")).values()) == {arm.name for arm in arms}
    for file in tmp_path.rglob("machine.json"):
        file.unlink()
    assert "zeros,data.drop=_a_" in shown(tmp_path)

"""`--plan` prints what a sweep would do, does none of it, and what it prints is true."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from factories import CommandResult, TrainedStudy, change_config, compose_config, share
from reference import train

from pipeline import train as cli_train
from pipeline.config.schema import BiasInitializer
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.experiment.dry_run import TunedNames, show_plan
from pipeline.experiment.plan import plan_job
from pipeline.experiment.same_arms import SameArms

IRIS = ("data=iris", "model=linear")
NORMALISED = (
    "data=iris",
    "model.name=normalised",
    "model.layers=[{class_name: Dense, config: {units: 8}}, {class_name: BatchNormalization},"
    " {class_name: Dense, config: {name: output}}]",
    "bias_layers=hidden",
)


def initializer(name: str) -> BiasInitializer:
    return compose_config(f"bias_initializer={name}").bias_initializer


@pytest.fixture
def show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`show(["zeros", "no_bias"], "data=iris")` is what `--plan` prints of these two arms.

    changes: fields of their config.
    """

    def show(bias_settings: Sequence[str], *overrides: str, **changes: Any) -> str:
        config = change_config(compose_config(*overrides), **({"results": str(tmp_path / "results")} | changes))
        arms = [
            change_config(config, use_bias=False)
            if arm == "no_bias"
            else change_config(config, bias_initializer=initializer(arm))
            for arm in bias_settings
        ]
        capsys.readouterr()
        plans = [plan_job(arm) for arm in arms]
        show_plan(plans, [plan.missing for plan in plans])
        return capsys.readouterr().out

    return show


def trained(name: str, *overrides: str) -> list[Any]:
    """The models of two seeds that this initializer's arm ends with."""
    config = change_config(
        compose_config(*overrides, "optimizer=sgd"), bias_initializer=initializer(name), seeds=(0, 1),
        training={"epochs": 2, "xla": False},
    )  # fmt: skip
    return train(config)[0]


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_jobs_that_ask_for_the_same_arm_are_planned_as_one(cli: Callable[..., CommandResult]) -> None:
    """`seeds=3,1` is two jobs of one arm, of which three seeds are missing, as the sweep will count them."""
    planned = cli("-m", "--plan", *IRIS, "seeds=3,1", "use_bias=choice(true)")
    assert (planned.code, planned.err) == (0, "")
    assert re.search(r"│ zeros +│ 3 +│ 0 +│ 3 +│", planned.out) and "3 runs to train" in planned.out


def test_a_plan_trains_and_writes_nothing(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """`--plan` prints how many runs are missing, starts no job, and leaves no folder, log or MLflow store."""
    planned = cli("-m", "--plan", *IRIS)
    assert planned.code == 0
    assert "40 runs to train, in roughly " in planned.out
    assert "Launching" not in planned.out + planned.err
    assert list(tmp_path.iterdir()) == []


def test_the_plan_counts_stored_runs(show: Callable[..., str], trained_study: TrainedStudy) -> None:
    """Each arm has its number of seeds, of stored runs and of missing ones."""
    stored = {"results": str(trained_study.results)}
    planned = show(["zeros", "ones", "glorot", "no_bias"], *trained_study.overrides, **stored, seeds=(0, 1, 2, 3, 4))
    arms = planned.partition("runs to train")[0]
    counts = {row[0]: row[1:] for row in re.findall(r"│ (\w+) +│ (\d+) +│ (\d+) +│ (\d+) +│", arms)}
    partly = dict.fromkeys(["zeros", "glorot_uniform", "no_bias"], ("5", "3", "2"))
    assert counts == partly | {"ones": ("5", "0", "5")}
    assert "11 runs to train" in planned
    assert "Nothing to train" in show(["zeros"], *trained_study.overrides, **stored, seeds=(0, 1))


def test_the_plan_shows_what_is_drawn(show: Callable[..., str]) -> None:
    """Limits and standard deviations are those of the initializer at the shape of each bias."""
    planned = show(["glorot", "he_normal", "constant"])
    limit = np.sqrt(3 / 64)  # Keras takes both fans of a bias from its length
    row = rf"glorot_uniform +│ dense/bias +│ +│ \(64,\) │ uniform +│ 0 +│ {limit / np.sqrt(3):.3g} +│ -{limit:.3g} +│"
    assert re.search(row, planned)
    assert re.search(rf"output/bias +│ +│ \(10,\) │ truncated normal +│ 0 +│ {np.sqrt(2 / 10):.3g} +│", planned)
    assert re.search(r"constant +│ dense/bias +│ +│ \(64,\) │ constant +│ 0 +│ 0 +│ 0 +│ 0 +│", planned)


def test_the_plan_shows_names_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer's name in brackets is printed as it is, a long arm's name on several lines; a list of values is fine."""
    constant = "bias_initializer: {class_name: Constant, config: {value: [1, 2, 3]}}"
    first = f"{{class_name: Dense, config: {{units: 3, name: '[red]x', {constant}}}}}"
    last = f"{{class_name: Dense, config: {{name: {'y' * 30}}}}}"
    overrides = "data=iris", "model.name=m", f"results={tmp_path}"
    models = [f"model.layers=[{first}, {last}]", f"model.layers=[{last}]"]  # what all arms share is no part of a name
    plans = [plan_job(compose_config(*overrides, layers)) for layers in models]
    show_plan(plans, [plan.missing for plan in plans])
    planned = capsys.readouterr().out
    assert re.search(r"│ \[red\]x", planned)
    rows = [row.split("│")[1].strip() for row in planned.partition("runs to train")[0].splitlines() if row[:1] == "│"]
    assert re.match(r"zeros,model.layers=[^~]*~[0-9a-f]{8}", "".join(rows))


def test_the_plan_shows_gates(show: Callable[..., str]) -> None:
    """An LSTM's bias has a row per gate; the forget gate starts at Keras' ones."""
    gates = re.findall(r"│ ([ifco]) +│ \(16,\) │ constant +│ (\d)", show(["zeros"], "model=lstm"))
    assert gates == [("i", "0"), ("f", "1"), ("c", "0"), ("o", "0")]


def test_equal_arms_are_named_and_are_equal(show: Callable[..., str]) -> None:
    """Initializers with the same distribution are named as one, and end with the same bits."""
    planned = show(["glorot_uniform", "lecun_uniform", "he_uniform", "zeros"], *IRIS)
    assert "The same by construction, bit for bit: glorot_uniform; lecun_uniform.\n" in planned
    for ours, theirs in zip(trained("glorot_uniform", *IRIS), trained("lecun_uniform", *IRIS), strict=True):
        for a, b in zip(ours.variables, theirs.variables, strict=True):
            np.testing.assert_array_equal(a.value, b.value)


def test_arms_of_other_learning_rates_are_not_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Arms with equal initial values but other training settings are not named as one."""
    config = change_config(compose_config(*IRIS), results=str(tmp_path))
    plans = [plan_job(change_config(config, optimizer={"learning_rate": rate})) for rate in (0.1, 0.01)]
    show_plan(plans, [plan.missing for plan in plans])
    assert "The same" not in capsys.readouterr().out


def test_training_cannot_tell_a_bias_before_batch_normalization(show: Callable[..., str]) -> None:
    """Arms end with equal kernels; of the difference, momentum^steps is missing in the moving means of evaluation."""
    planned = one_line(show(["zeros", "ones", "glorot"], *NORMALISED))
    assert "Training cannot tell (zeros; ones; glorot_uniform): dense/bias, since batch_normalization " in planned
    assert "Evaluation can, until the moving mean has caught up: after T steps 0.99^T of the offset is left." in planned
    assert "The same" not in planned and "Equal except" not in planned
    steps = 2 * int(np.ceil(90 / 32))  # two epochs of iris
    for ours, theirs in zip(trained("zeros", *NORMALISED), trained("ones", *NORMALISED), strict=True):
        for layer in (0, 2):
            np.testing.assert_allclose(ours.layers[layer].kernel, theirs.layers[layer].kernel, atol=1e-5)
        caught_up = theirs.layers[1].moving_mean - ours.layers[1].moving_mean
        np.testing.assert_allclose(1 - np.array(caught_up), 0.99**steps, atol=1e-5)


def layers_of(*entries: str) -> tuple[str, ...]:
    """Overrides for a model of pictures with these layers before its output."""
    return ("model.name=m", "bias_layers=hidden", f"model.layers=[{', '.join(entries)}, {OUTPUT}]")


OUTPUT = "{class_name: Flatten}, {class_name: Dense, config: {name: output}}"
PICTURE = "{class_name: Reshape, config: {target_shape: [8, 8, 1]}}"
FIRST = "{class_name: Reshape, config: {target_shape: [1, 8, 8]}}"
CONV = "{class_name: Conv2D, config: {filters: 2, kernel_size: 3%s}}"
NORM = "{class_name: BatchNormalization, config: {axis: %d}}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("entries", "arm", "is_centred"),
    [
        ((PICTURE, CONV % "", NORM % -1), "ones", True),
        ((PICTURE, CONV % "", NORM % 1), "ones", False),
        ((PICTURE, CONV % "", NORM % -1), "constant(10)", True),
        ((PICTURE, CONV % "", NORM % -1), "constant(1000000)", False),
        ((PICTURE, CONV % ", dtype: mixed_float16", NORM % -1), "ones", False),
        ((PICTURE, CONV % ", activation: relu", NORM % -1), "ones", False),
        ((FIRST, CONV % ", data_format: channels_first", NORM % 1), "ones", True),
        ((FIRST, CONV % ", data_format: channels_first", NORM % -1), "ones", False),
    ],
    ids=["last axis", "other axis", "10", "a million", "half precision", "activation", "first axis", "not the first"],
)
def test_only_a_mean_along_the_axis_of_the_bias_takes_it_away(
    show: Callable[..., str], entries: tuple[str, ...], arm: str, is_centred: bool
) -> None:
    """Nor where the bias is so large that the outputs lose digits, or in half precision."""
    planned = show([arm], "data=digits", *layers_of(*entries))
    assert "runs to train" in planned and ("Training cannot tell" in planned) == is_centred


@pytest.mark.slow
def test_arms_that_start_alike_on_the_first_seed_alone_are_not_the_same(
    show: Callable[..., str], tmp_path: Path
) -> None:
    """`class_prior` is a constant where each class has as many training rows, which other seeds need not have."""
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.3f},{rng.normal():.3f},{'xyz'[i % 3]}" for i in range(19)]
    (tmp_path / "small.csv").write_text("\n".join(["a,b,label", *rows]))
    small = ("data=file", f"data.path={tmp_path / 'small.csv'}", "data.target=label", "model=linear",
             "data.test_fraction=0.1", "data.validation_fraction=0.1")  # fmt: skip
    config = compose_config(*small)
    dataset = load_dataset(config.data)
    counts = {seed: np.bincount(dataset.y[split_rows(dataset, config.data, seed).train]) for seed in range(300)}
    equal = [seed for seed, count in counts.items() if np.ptp(count) == 0]
    other = next(seed for seed, count in counts.items() if np.ptp(count))
    same, mixed = (
        show(["zeros", "class_prior"], *small, seeds=seeds) for seeds in ((equal[0], equal[1]), (equal[0], other))
    )
    assert "any difference is rounding: zeros; class_prior." in one_line(same)
    assert "Equal except" not in mixed and "Cannot matter (zeros): output/bias" in one_line(mixed)


def test_a_constant_on_all_logits_cannot_matter(show: Callable[..., str]) -> None:
    """`ones` before a softmax is the same as `zeros` but for rounding, and ends with equal kernels; not so without."""
    planned = one_line(show(["zeros", "ones", "glorot"], *IRIS))
    assert "Cannot matter (zeros; ones): output/bias, since a constant added to all logits" in planned
    assert "any difference is rounding: zeros; ones." in planned
    for ours, theirs in zip(trained("zeros", *IRIS), trained("ones", *IRIS), strict=True):
        np.testing.assert_allclose(ours.layers[-1].kernel, theirs.layers[-1].kernel, atol=1e-5)
    assert "Cannot matter" not in show(["zeros", "ones"], "data=diabetes", "model=linear")


@pytest.mark.parametrize(
    ("between", "bias_layers", "overrides"),
    [
        ("{class_name: BatchNormalization, config: {trainable: false}}", "hidden", ()),
        ("{class_name: Activation, config: {activation: tanh}}", "output", ("optimizer.class_name=Ftrl",)),
    ],
    ids=["frozen statistics", "optimizer with steps that depend on the weights"],
)
def test_biases_that_can_matter_are_not_dismissed(
    show: Callable[..., str], between: str, bias_layers: str, overrides: tuple[str, ...]
) -> None:
    """A frozen normalization subtracts no batch mean; Ftrl's steps depend on a constant added to all logits."""
    layers = (
        f"[{{class_name: Dense, config: {{units: 8}}}}, {between}, {{class_name: Dense, config: {{name: output}}}}]"
    )
    model = ("data=iris", "model.name=m", f"model.layers={layers}", f"bias_layers={bias_layers}")
    planned = show(["ones", "relu_small"], *model, *overrides)
    assert "runs to train" in planned and "dense/bias, " not in planned
    assert bias_layers == "hidden" or "Cannot matter" not in planned


def test_arms_that_start_alike_by_another_road_are_seen(show: Callable[..., str]) -> None:
    """Equal class frequencies make `class_prior` a constant; `forget_gate` is what Keras does with `zeros` anyway."""
    assert "any difference is rounding: zeros; class_prior." in show(["zeros", "class_prior"], *IRIS)
    assert "bit for bit: zeros; forget_gate." in show(["zeros", "forget_gate"], "model=lstm")


def test_the_plan_refuses_what_cannot_work(cli: Callable[..., CommandResult]) -> None:
    """An invalid job is refused with exit code 2, and no plan is printed."""
    refused = cli("-m", "--plan", "bias_initializer=zeros,orthogonal")
    assert (refused.code, refused.out) == (2, "")
    assert "it fills matrices" in refused.err


@pytest.mark.parametrize(
    "command", share([(("-m", "bias_initializer=ones", "--plan"),), (("--plan", "-m", "bias_initializer=zeros,ones"),)])
)
def test_the_flag_may_stand_anywhere(
    command: tuple[str, ...], small: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """`--plan` before, between or after the other arguments means the same."""
    monkeypatch.setattr("sys.argv", ["pipeline.train", *command, *small, *IRIS])
    assert cli_train.main() == 0
    assert "runs to train" in capfd.readouterr().out


def test_an_arm_that_is_tuned_is_named_once() -> None:
    """Where what is said holds at each value; where it holds at some, these are named."""
    plan: Any = SimpleNamespace(config=SimpleNamespace(tune={"optimizer.learning_rate": [0.1, 0.2]}))
    names = [f"{arm},optimizer.learning_rate={rate}" for arm in ("zeros", "ones") for rate in (0.1, 0.2)]
    tuned = TunedNames(names, [plan] * 4)
    assert tuned.listed([0, 1, 2, 3]) == "zeros; ones, at each optimizer.learning_rate"
    assert tuned.listed([0, 1, 2]) == f"{names[2]}; zeros, at each optimizer.learning_rate"
    pairs = [SameArms((0, 2), ""), SameArms((1, 3), "")]
    assert tuned.groups(pairs) == [("", "zeros; ones, at each optimizer.learning_rate")]
    assert tuned.groups(pairs[:1]) == [("", f"{names[0]}; {names[2]}")]
    plain = TunedNames(["zeros", "ones"], [SimpleNamespace(config=SimpleNamespace(tune=None))] * 2)  # pyright: ignore
    assert plain.listed([0, 1]) == "zeros; ones" and plain.groups([SameArms((0, 1), "")]) == [("", "zeros; ones")]

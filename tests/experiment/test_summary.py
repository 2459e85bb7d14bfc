"""What a sweep ends with: the table of its arms, and weights before and after training."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories import CommandResult, change_config, compose_config, put

from pipeline.config.schema import Config
from pipeline.experiment.ablation import ablate_studies
from pipeline.experiment.outcome import Outcome
from pipeline.experiment.plan import plan_job
from pipeline.experiment.run import run_arm
from pipeline.experiment.summary import print_next_steps, print_outcomes
from pipeline.store.runs import Run, RunStore

ARMS = ("zeros", "ones", "glorot_uniform")


def assert_shows_weights(printed: str) -> None:
    """A table per arm with the first seed's weights, kernels and biases told apart; two layers with a bias each."""
    for arm in (*ARMS, "no_bias"):
        assert re.search(rf"^{arm}, seed 0 *$", printed, re.MULTILINE)
    assert "seed 1" not in printed
    assert printed.count("biases ") == 2 * 3
    assert printed.count("weights: ") == printed.count("kernel ") == 2 * 4
    assert printed.count("No biases: the layers are built with use_bias=False.") == 1


def assert_shows_stored_bias(printed: str, run: Run) -> None:
    """The bias after training is printed as it is stored."""
    weights, biases = run.weights(), run.biases()
    np.testing.assert_array_equal(weights["before/dense/bias"], np.ones(4))
    np.testing.assert_array_equal(weights["after/dense/bias"], biases["after/dense/bias"])
    assert not np.array_equal(weights["before/dense/kernel"], weights["after/dense/kernel"])
    shown = np.array2string(weights["after/dense/bias"], precision=3, suppress_small=True, max_line_width=27)
    assert shown.splitlines()[0] in printed


@pytest.fixture
def lesson(tmp_path: Path) -> list[Config]:
    """The four arms of the lesson, for one epoch."""
    config = change_config(
        compose_config("experiment=lesson", "tracking=none"), results=str(tmp_path), seeds=(0, 1), overrides=(),
        training={"epochs": 1, "batch_size": 32, "xla": False},
    )  # fmt: skip
    initializers = [compose_config(f"bias_initializer={name}").bias_initializer for name in ARMS]
    arms = [change_config(config, bias_initializer=initializer) for initializer in initializers]
    return [*arms, change_config(config, use_bias=False)]


def test_weights_and_biases_are_printed_where_they_are_asked_for(
    lesson: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    """`show_weights=true` prints the stored weights of each arm's first seed; without it, none."""
    outcomes = [run_arm(config) for config in lesson]
    capsys.readouterr()
    print_outcomes(outcomes)
    printed = capsys.readouterr().out
    assert_shows_weights(printed)
    assert_shows_stored_bias(printed, outcomes[1].runs[0])
    print_outcomes([run_arm(change_config(config, show_weights=False)) for config in lesson])
    without = capsys.readouterr().out
    assert "what it is" in printed and "what it is" not in without


@pytest.mark.parametrize(
    ("asked", "measured", "columns"),
    [
        ("[f1]", {"test_loss": 0.4, "test_f1": 0.9}, ["test_f1", "test_loss"]),
        ("[top_2,f1]", {"test_loss": 0.4, "test_f1": 0.9, "test_top_2": 1.0}, ["test_top_2", "test_loss"]),
        ("auto", {"test_accuracy": 0.9, "test_loss": 0.4}, ["test_accuracy", "test_loss"]),
    ],
)
def test_the_table_has_the_metric_that_the_study_is_about(
    asked: str, measured: dict[str, float], columns: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of `training.metrics`, and the loss."""
    config = compose_config("data=iris", "model=linear", f"training.metrics={asked}", f"results={tmp_path}")
    plan = plan_job(config)
    run = put(tmp_path, plan.arm, 0, 0.5, study=config.study, metrics=measured)
    print_outcomes([Outcome(plan, [Run(run.path, run.meta | {"metrics": measured})], ())])
    heading = next(line for line in capsys.readouterr().out.splitlines() if "arm" in line)
    assert re.findall(r"test_\w+", heading) == columns


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("tracking.uri=http://me:secret@host", ["uri=http://me:***@host"]),
        ("seeds=1", []),
        ("tracking.detail=arms", ["detail=arms"]),
        ("tracking=none", []),
    ],
)
def test_the_next_command_names_the_store_that_was_given(
    setting: str, shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`compare` has to send the verdict where the runs are; it finds the default store by itself."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = compose_config("data=iris", "model=linear", f"results={tmp_path}", setting)
    print_next_steps([Outcome(plan_job(config), [], ())], all_uploaded=True)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("The answer: ")]
    assert shlex.split(line)[-2 - len(shown) :] == ["study=iris-linear", f"results={tmp_path}", *shown]


@pytest.mark.slow
def test_the_lesson_prints_weights_and_biases(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """`experiment=lesson` is a sweep over the four arms that shows their weights."""
    printed = cli("experiment=lesson", "seeds=2")
    assert (printed.code, printed.err) == (0, "")
    assert_shows_weights(printed.out)
    assert_shows_stored_bias(printed.out, RunStore(tmp_path / "results", "lesson").runs("ones")[0])


def test_tables_of_weights_and_problems_show_the_names_of_the_table(
    lesson: list[Config], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What all arms share is in no name, though it is in their folders'."""
    configs = [change_config(config, overrides=("training.epochs=1",)) for config in lesson[:2]]
    outcomes = [run_arm(config) for config in configs]
    capsys.readouterr()
    assert {outcome.plan.arm for outcome in outcomes} == {"zeros,training.epochs=1", "ones,training.epochs=1"}
    print_outcomes(outcomes)
    printed = capsys.readouterr().out
    assert re.search(r"^zeros, seed 0 *$", printed, re.MULTILINE) and "zeros,training" not in printed
    monkeypatch.setattr("pipeline.experiment.ablation.TOLERANCE", -1)
    (line,) = ablate_studies([outcome.plan for outcome in outcomes])
    assert re.search(r"missing: (zeros|ones), seed 0: does not reproduce", line)

"""What MLflow shows of a run: parameters, metrics, tags, dataset. Read back through MLflow's own client."""

import csv
from pathlib import Path

import numpy as np
import pytest
from factories import MLflowStore, TrainedStudy, change_config, compose_config, copy_runs
from scipy import stats

from pipeline.analysis.arms import load_arms
from pipeline.config.schema import Tracking
from pipeline.experiment.run import run_arm
from pipeline.store.replaced import write_run
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.runs import mirror_arm

STUDY, SEEDS = TrainedStudy.name, 3
GLOROT, NO_BIAS = "glorot_uniform,training.epochs=2", "no_bias,training.epochs=2"


def stored_runs(study: TrainedStudy, arm: str | None = None) -> list[Run]:
    return RunStore(study.results, STUDY).runs(arm)


def read_history(run: Run) -> dict[str, list[float]]:
    """The columns of history.csv, read without the project's reader."""
    with (run.path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def test_parameters_are_the_flat_settings_of_a_run(uploaded: MLflowStore) -> None:
    """Each setting that tells runs apart is a parameter of its own; an arm's run has no seed."""
    runs = uploaded.by_name(STUDY)
    expected = {
        "use_bias": "True", "bias_initializer": "GlorotUniform", "seed": "2", "data": "iris", "model": "linear",
        "optimizer": "Adam", "optimizer.learning_rate": "0.001", "training.epochs": "2", "training.batch_size": "32",
    }  # fmt: skip
    params = runs[f"{GLOROT}-s2"].data.params
    assert {name: params.get(name) for name in expected} == expected
    assert runs[f"{NO_BIAS}-s0"].data.params["use_bias"] == "False"
    assert runs[NO_BIAS].data.params["use_bias"] == "False"
    assert "seed" not in runs[GLOROT].data.params


def test_source_commit_and_user_are_where_mlflow_shows_them(
    uploaded: MLflowStore, trained_study_files: TrainedStudy
) -> None:
    """Of arms and seeds, as the run recorded them; beside them what it took."""
    runs = uploaded.by_name(STUDY)
    for stored in stored_runs(trained_study_files):
        machine, tags = stored.machine, runs[f"{stored.arm}-s{stored.seed}"].data.tags
        assert tags["seconds"] == str(machine["seconds"]) and tags["processor"] == machine["processor"]
        assert tags["parameters"] == str(stored.meta["parameters"])
        for of_run in (tags, runs[stored.arm].data.tags):
            assert (of_run["mlflow.source.name"], of_run["mlflow.source.type"]) == ("pipeline.train", "LOCAL")
            assert of_run.get("mlflow.user", "") == machine.get("user", "")
            assert of_run.get("mlflow.source.git.commit", "") == machine.get("git_commit", "").removesuffix("+changed")


@pytest.mark.parametrize("arm", [GLOROT, NO_BIAS])
def test_curves_equal_the_stored_history(uploaded: MLflowStore, trained_study_files: TrainedStudy, arm: str) -> None:
    """Every value of history.csv is in MLflow once, with every digit, at its epoch; test metrics are at step 0."""
    runs = uploaded.by_name(STUDY)
    for run in stored_runs(trained_study_files, arm):
        columns = read_history(run)
        steps = [int(epoch) for epoch in columns.pop("epoch")]
        assert steps == [0, 1, 2] and set(columns) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        mirrored = runs[f"{arm}-s{run.seed}"]
        for name, values in columns.items():
            assert uploaded.curve(mirrored, name) == list(zip(steps, values, strict=True))
        for name in ("test_loss", "test_accuracy"):
            assert uploaded.curve(mirrored, name) == [(0, run.meta["metrics"][name])]


def test_bias_curves_describe_the_stored_arrays(uploaded: MLflowStore, trained_study_files: TrainedStudy) -> None:
    """Mean, standard deviation, length and drift of each bias at every epoch; none for an arm without biases."""
    runs = uploaded.by_name(STUDY)
    for run in stored_runs(trained_study_files, GLOROT):
        with np.load(run.path / "biases.npz") as arrays:
            trajectory = np.float64(arrays["trajectory/output/bias"])
        expected = {
            "mean": trajectory.mean(1),
            "std": np.sqrt(((trajectory - trajectory.mean(1, keepdims=True)) ** 2).mean(1)),
            "l2": np.sqrt((trajectory**2).sum(1)),
            "drift": np.sqrt(((trajectory - trajectory[0]) ** 2).sum(1)),
        }
        assert expected["drift"][-1] > 0
        for statistic, values in expected.items():
            curve = uploaded.curve(runs[f"{GLOROT}-s{run.seed}"], f"bias/output/{statistic}")
            assert [step for step, _ in curve] == [0, 1, 2]
            assert [value for _, value in curve] == pytest.approx(values.tolist(), rel=1e-12, abs=1e-15)
    assert not [name for name in runs[f"{NO_BIAS}-s0"].data.metrics if name.startswith("bias/")]


@pytest.mark.parametrize("name", ["loss", "val_accuracy", "test_accuracy"])
def test_an_arm_shows_mean_spread_and_interval_over_its_seeds(
    uploaded: MLflowStore, trained_study_files: TrainedStudy, name: str
) -> None:
    """An arm's curve is the mean of its seeds' values; standard deviation and Student's t interval are beside it."""
    arm = uploaded.by_name(STUDY)[GLOROT]
    runs = stored_runs(trained_study_files, GLOROT)
    if name.startswith("test_"):
        steps, values = [0], np.array([[run.meta["metrics"][name]] for run in runs])
    else:
        steps, values = [0, 1, 2], np.array([read_history(run)[name] for run in runs])
    mean, error = values.mean(0), stats.sem(values, 0)
    half = stats.t.ppf(0.975, SEEDS - 1) * error
    expected = {"": mean, "_std": error * SEEDS**0.5, "_ci_low": mean - half, "_ci_high": mean + half}
    for suffix, per_step in expected.items():
        curve = uploaded.curve(arm, f"spread/{name}{suffix}" if suffix else name)
        assert [step for step, _ in curve] == steps
        assert [value for _, value in curve] == pytest.approx(per_step.tolist(), rel=1e-9, abs=1e-12)


def test_a_run_names_its_data_its_key_and_its_device(uploaded: MLflowStore, trained_study_files: TrainedStudy) -> None:
    """MLflow's dataset has the data's digest; tags hold the key of the stored run, its device and its status."""
    runs = uploaded.by_name(STUDY)
    for run in stored_runs(trained_study_files):
        mirrored = runs[f"{run.arm}-s{run.seed}"]
        (dataset,) = [dataset_input.dataset for dataset_input in mirrored.inputs.dataset_inputs]
        assert (dataset.name, dataset.digest) == ("iris", run.meta["data_digest"])
        assert mirrored.data.tags["key"] == run.key
        assert mirrored.data.tags["device"] == run.meta["environment"]["device"]
        assert mirrored.data.tags["status"] == "complete"
    assert runs[GLOROT].data.tags["device"]
    assert runs[GLOROT].inputs.dataset_inputs


def test_diverged_runs_are_labelled_and_in_no_mean(uploaded: MLflowStore, tmp_path: Path) -> None:
    """An arm whose seeds all diverged has no metrics and a tag that counts them; MLflow holds no inf or nan."""
    config = compose_config("data=iris", "model=linear", "optimizer=sgd", "study=wild")
    outcome = run_arm(
        change_config(
            config, results=str(tmp_path), seeds=(0, 1), tracking={"uri": uploaded.uri},
            optimizer={"learning_rate": 1e38}, training={"epochs": 2, "xla": False},
        )
    )  # fmt: skip
    assert [run.meta["status"] for run in outcome.runs] == ["diverged", "diverged"]
    assert outcome.upload_problem == ""
    arm, runs = outcome.plan.arm, uploaded.by_name("wild")
    assert {runs[f"{arm}-s{seed}"].data.tags["status"] for seed in range(2)} == {"diverged"}
    assert all(np.isfinite(value) for run in runs.values() for value in run.data.metrics.values())
    assert runs[arm].data.metrics == {}
    assert runs[arm].data.tags["diverged"] == "2 (seeds 0, 1)"


def test_an_arm_is_the_mean_of_the_seeds_that_did_not_diverge(
    uploaded: MLflowStore, trained_study_files: TrainedStudy, tmp_path: Path
) -> None:
    """One diverged seed among good ones is counted, and does not move the arm's mean."""
    *good, last = stored_runs(trained_study_files, GLOROT)
    store = copy_runs(trained_study_files.results, RunStore(tmp_path, "mixed"), GLOROT, [0, 1])
    columns = {name: np.array([1.0, 1e30, np.nan]) for name in read_history(last) if name != "epoch"}
    write_run(store, last.meta | {"status": "diverged"}, last.biases(), columns)
    assert mirror_arm(Tracking(True, uploaded.uri), store, GLOROT, store.runs(GLOROT)) == ""
    arm = uploaded.by_name("mixed")[GLOROT]
    means = np.mean([read_history(run)["loss"] for run in good], 0)
    assert uploaded.curve(arm, "loss") == [(step, pytest.approx(mean)) for step, mean in enumerate(means)]
    assert arm.data.tags["diverged"] == "1 (seeds 2)"


def test_an_arm_that_took_over_runs_shows_its_own_settings(uploaded: MLflowStore, tmp_path: Path) -> None:
    """Where two arms train the same model, the runs that the second takes over have its parameters and block."""
    for layers in ("all", "output"):  # the same layer in a model that has one
        config = compose_config("data=iris", "model=linear", f"bias_layers={layers}")
        outcome = run_arm(
            change_config(
                config, study="twins", results=str(tmp_path), seeds=(0, 1), tracking={"uri": uploaded.uri},
                training={"epochs": 2, "xla": False},
            )
        )  # fmt: skip
    assert outcome.trained == ()
    assert {run.meta["config"]["bias_layers"] for run in outcome.runs} == {"output"}
    child = uploaded.by_name("twins")[f"{outcome.plan.arm}-s0"]
    assert child.data.params["bias_layers"] == "output"
    blocks = [arm.block.split(",")[0] for arm in load_arms(RunStore(tmp_path, "twins"))[0]]
    assert blocks == ["bias_layers=all", "bias_layers=output"]

"""Stored runs are mirrored in MLflow once, whole, and in order. Read back through MLflow's own client."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from factories import MLflowStore, TrainedStudy, change_config, compose_config, copy_runs

from pipeline import sync
from pipeline.config.schema import Config, Tracking
from pipeline.experiment.run import run_arm
from pipeline.store.runs import RunStore
from pipeline.tracking.runs import mirror_arm, up_to_date

STUDY, SEEDS = TrainedStudy.name, 3
ARM = "glorot_uniform,training.epochs=2"


def mirror(store: RunStore, uri: str, arm: str = ARM) -> str:
    return mirror_arm(Tracking(True, uri), store, arm, store.runs(arm))


def glorot(results: Path) -> Config:
    """The config of an arm of the trained study."""
    config = compose_config(*TrainedStudy.overrides, TrainedStudy.arms[ARM])
    return change_config(config, results=str(results))


def test_arms_are_top_level_runs_and_seeds_their_children(uploaded: MLflowStore) -> None:
    """A study is an experiment, its arms are the top-level runs, and each seed is a child named `<arm>-s<seed>`."""
    runs = uploaded.by_name(STUDY)
    assert {name for name, run in runs.items() if uploaded.parent(run) is None} == set(TrainedStudy.arms)
    for arm in TrainedStudy.arms:
        children = {name for name, run in runs.items() if uploaded.parent(run) == runs[arm].info.run_id}
        assert children == {f"{arm}-s{seed}" for seed in range(SEEDS)}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_artifacts_are_the_stored_arrays_and_settings(
    uploaded: MLflowStore, trained_study_files: TrainedStudy, tmp_path: Path
) -> None:
    """The arrays before, after and at every epoch, and config.yaml, can be downloaded as they are on disk."""
    client, mirrored = uploaded.client, uploaded.by_name(STUDY)
    for run in RunStore(trained_study_files.results, STUDY).runs():
        folder = tmp_path / run.arm / str(run.seed)
        folder.mkdir(parents=True)
        for name in ("biases", "config.yaml"):
            client.download_artifacts(mirrored[f"{run.arm}-s{run.seed}"].info.run_id, name, str(folder))
        downloaded = {}
        for moment in ("before", "after", "trajectory"):
            with np.load(folder / "biases" / f"{moment}.npz") as file:
                downloaded |= {f"{moment}/{path}": array for path, array in file.items()}
        with np.load(run.path / "biases.npz") as file:
            stored = {name: array for name, array in file.items() if name != "epoch"}
        assert downloaded.keys() == stored.keys()
        assert all(np.array_equal(downloaded[name], array) for name, array in stored.items())
        assert yaml.safe_load((folder / "config.yaml").read_text()) == run.meta["config"]


def test_uploading_again_changes_nothing(
    uploaded: MLflowStore, trained_study_files: TrainedStudy, tmp_path: Path
) -> None:
    """Mirroring, `pipeline.sync` and training again make no second run of what MLflow has."""
    results = trained_study_files.results
    before = {name: run.info.run_id for name, run in uploaded.by_name(STUDY).items()}
    assert mirror(RunStore(results, STUDY), uploaded.uri) == ""
    places = [f"results={results}", f"reports={tmp_path}", f"study={STUDY}", f"uri={uploaded.uri}"]
    assert sync.main(places) == 0
    outcome = run_arm(change_config(glorot(results), tracking={"uri": uploaded.uri}))
    assert (outcome.trained, outcome.upload_problem) == ((), "")
    assert {name: run.info.run_id for name, run in uploaded.by_name(STUDY).items()} == before


def test_running_an_arm_uploads_it(trained_study: TrainedStudy, mlflow_store: str) -> None:
    """`run_arm` uploads stored runs that MLflow lacks, whether or not it trained them."""
    outcome = run_arm(change_config(glorot(trained_study.results), tracking={"uri": mlflow_store}))
    assert (outcome.plan.arm, outcome.trained, outcome.upload_problem) == (ARM, (), "")
    assert set(MLflowStore(mlflow_store).by_name(STUDY)) == {ARM, f"{ARM}-s0", f"{ARM}-s1", f"{ARM}-s2"}


def test_more_seeds_replace_the_summary_and_keep_the_children(
    uploaded: MLflowStore, trained_study_files: TrainedStudy, tmp_path: Path
) -> None:
    """An arm that gains a seed keeps the runs of the others; its summary is replaced, with one value per step."""
    store = copy_runs(trained_study_files.results, RunStore(tmp_path, "grows"), ARM, [0, 1])
    assert mirror(store, uploaded.uri) == ""
    before = uploaded.by_name("grows")
    copy_runs(trained_study_files.results, store, ARM, [2])
    assert mirror(store, uploaded.uri) == ""

    after = uploaded.by_name("grows")
    assert [name for name, run in after.items() if uploaded.parent(run) is None] == [ARM]
    assert {uploaded.parent(after[f"{ARM}-s{seed}"]) for seed in range(3)} == {after[ARM].info.run_id}
    for seed in range(2):
        assert after[f"{ARM}-s{seed}"].info.run_id == before[f"{ARM}-s{seed}"].info.run_id
    for run in after.values():
        for name in run.data.metrics:
            steps = [step for step, _ in uploaded.curve(run, name)]
            assert steps == sorted(set(steps)), f"{name} has more than one value at a step"
    final = [run.history()["val_loss"][-1] for run in store.runs()]
    assert uploaded.curve(after[ARM], "val_loss")[-1] == (2, pytest.approx(np.mean(final), rel=1e-12))
    assert after[ARM].data.tags["seeds"] == "3"


def test_an_outdated_summary_that_was_left_is_deleted(
    uploaded: MLflowStore, trained_study_files: TrainedStudy, tmp_path: Path
) -> None:
    """Where a process died before it deleted an arm's old summary, the next upload does, and keeps the new one."""
    store = copy_runs(trained_study_files.results, RunStore(tmp_path, "untidy"), ARM, [0, 1])
    assert mirror(store, uploaded.uri) == ""
    old = uploaded.by_name("untidy")[ARM].info.run_id
    copy_runs(trained_study_files.results, store, ARM, [2])
    assert mirror(store, uploaded.uri) == ""
    uploaded.client.restore_run(old)  # as it was the moment before it was deleted
    assert mirror(store, uploaded.uri) == ""
    assert [run.info.run_id == old for run in uploaded.active("untidy") if uploaded.parent(run) is None] == [False]


def test_runs_of_versions_that_named_no_sender_are_taken_over(
    uploaded: MLflowStore, trained_study_files: TrainedStudy, tmp_path: Path
) -> None:
    """An upload of such an arm names this folder as their sender and makes no run twice; it is replaced as ever."""
    store = copy_runs(trained_study_files.results, RunStore(tmp_path, "earlier"), ARM, [0, 1])
    assert mirror(store, uploaded.uri) == ""
    before = uploaded.by_name("earlier")
    for run in before.values():
        for tag in filter(lambda tag: tag.startswith("results_folder/"), run.data.tags):
            uploaded.client.delete_tag(run.info.run_id, tag)
    copy_runs(trained_study_files.results, store, ARM, [2])
    assert mirror(store, uploaded.uri) == ""
    after = uploaded.by_name("earlier")
    assert set(after) == {ARM, f"{ARM}-s0", f"{ARM}-s1", f"{ARM}-s2"}
    assert all(after[f"{ARM}-s{seed}"].info.run_id == before[f"{ARM}-s{seed}"].info.run_id for seed in range(2))
    assert all(any(tag.startswith("results_folder/") for tag in run.data.tags) for run in after.values())
    assert after[ARM].data.tags["seeds"] == "3"


def test_a_store_that_is_being_written_is_not_waited_for(
    trained_study: TrainedStudy, mlflow_store: str, tmp_path: Path
) -> None:
    """Training asks whether an arm is up to date: while another process writes to the store, that is unknown."""
    store, tracking = RunStore(trained_study.results, STUDY), Tracking(True, mlflow_store)
    assert mirror(store, mlflow_store) == ""
    assert up_to_date(tracking, store, ARM, store.runs(ARM))
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
        assert not up_to_date(tracking, store, ARM, store.runs(ARM))
        assert time.monotonic() - start < 2  # SQLite waits five seconds where nothing else is said


def test_a_database_that_refuses_says_why(trained_study: TrainedStudy, mlflow_store: str, tmp_path: Path) -> None:
    """Its reason in one line, without the statement and the parameters, which are longer than a line."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as writer:
        writer.execute("ALTER TABLE metrics RENAME COLUMN step TO stride")
    problem = mirror(RunStore(trained_study.results, STUDY), mlflow_store)
    assert problem.startswith(f"Could not upload to MLflow at {mlflow_store}: ")
    assert problem.endswith("(sqlite3.OperationalError) table metrics has no column named step")


def test_tracking_none_uploads_nothing(
    trained_study: TrainedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `tracking=none` no store is made, even where the environment names one."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    outcome = run_arm(change_config(glorot(trained_study.results), tracking={"enabled": False}))
    assert (outcome.trained, outcome.upload_problem, len(outcome.runs)) == ((), "", SEEDS)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]

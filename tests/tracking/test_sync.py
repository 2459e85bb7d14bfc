"""`python -m pipeline.sync` uploads what MLflow lacks."""

import io
import json
import os
import shutil
import time
from contextlib import redirect_stdout, suppress
from pathlib import Path

import numpy as np
import pytest
from factories import MLflowStore, TrainedStudy, change_config, change_meta, compose_config, copy_runs

from pipeline import sync
from pipeline.experiment.run import run_arm
from pipeline.store.meta import MODEL
from pipeline.store.runs import RunStore
from pipeline.tracking.create import UNLOGGED

ARM = "glorot_uniform,training.epochs=2"


@pytest.mark.slow
def test_an_unreachable_server_costs_no_result(
    uploaded: MLflowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_uri: str
) -> None:
    """Training succeeds within a minute and says in one line what is wrong; `sync` uploads the runs later."""
    config = change_config(
        compose_config("data=iris", "model=linear"), study="later", results=str(tmp_path), seeds=(0, 1),
        training={"epochs": 2, "xla": False}, tracking={"uri": closed_uri},
    )  # fmt: skip
    start = time.monotonic()
    outcome = run_arm(config)
    assert time.monotonic() - start < 60
    assert outcome.upload_problem.startswith(f"Could not upload to MLflow at {closed_uri}: ")
    assert "\n" not in outcome.upload_problem
    assert [run.meta["status"] for run in RunStore(tmp_path, "later").runs()] == ["complete", "complete"]

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # waiting once is enough
    assert sync.main([f"results={tmp_path}", f"uri={closed_uri}"]) == 1
    assert sync.main([f"results={tmp_path}", f"uri={uploaded.uri}"]) == 0
    assert len(uploaded.by_name("later")) == 3


def test_a_report_that_cannot_be_used_stops_no_other_study(
    trained_study: TrainedStudy, mlflow_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged comparison.json is named, with what to do; the runs of all studies arrive all the same."""
    results = tmp_path / "both"
    for study in ("a-study", "b-study"):
        copy_runs(trained_study.results, RunStore(results, study), ARM, [0])
    (tmp_path / "reports" / "a-study").mkdir(parents=True)
    (tmp_path / "reports" / "a-study" / "comparison.json").write_text("{")
    assert sync.main([f"results={results}", f"reports={tmp_path / 'reports'}", f"uri={mlflow_store}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "a-study/comparison.json is damaged" in line and "python -m pipeline.compare" in line
    assert set(MLflowStore(mlflow_store).by_name("b-study")) == {ARM, f"{ARM}-s0"}


def test_an_arm_that_mlflow_refuses_holds_up_no_other(
    trained_study: TrainedStudy, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The arms after it are sent; the problem and the one arm that is unsent are named, with exit code 1."""
    store = RunStore(trained_study.results, trained_study.name)
    refused, *others = sorted(trained_study.arms)
    refuse(store, refused)
    assert sync.main([f"results={trained_study.results}", f"uri={mlflow_store}"]) == 1
    problem, named = capsys.readouterr().err.splitlines()
    assert "test_#" in problem and named == f"1 arm is unsent: {trained_study.name}/{refused.partition(',')[0]}."
    sent = [run for run in MLflowStore(mlflow_store).active(trained_study.name) if run.info.status == "FINISHED"]
    assert sorted(run.data.tags["arm"] for run in sent if run.data.tags["role"] == "arm") == others


def refuse(store: RunStore, arm: str) -> None:
    """Make MLflow refuse an arm: no name that it takes."""
    for run in store.runs(arm):
        change_meta(run.path, lambda meta: meta["metrics"].update({"test_#": 1.0}))


@pytest.mark.slow
def test_refused_arms_hold_up_no_other_study(
    trained_study: TrainedStudy, mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """However many there are, of `sync` and of the process beside a sweep: a server that answers is not away."""
    results, arms = tmp_path / "both", sorted(trained_study.arms)
    for study in ("a-study", "b-study"):
        for arm in arms:
            copy_runs(trained_study.results, RunStore(results, study), arm, [0])
    for arm in arms:
        refuse(RunStore(results, "a-study"), arm)
    told = "".join(f'["{study}", "{arm}", "d"]\n' for study in ("a-study", "b-study") for arm in arms[:2])
    monkeypatch.setattr("sys.stdin", io.StringIO(told))
    assert sync.main(["follow=true", f"results={results}", f"uri={mlflow_store}"]) == 1
    replies = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(study, bool(problem)) for study, _, _, problem, _ in replies] == [
        ("a-study", True), ("a-study", True), ("b-study", False), ("b-study", False)]  # fmt: skip
    assert sync.main([f"results={results}", f"uri={mlflow_store}"]) == 1
    *_, named = capsys.readouterr().err.splitlines()
    names = [f"a-study/{arm.removesuffix(',training.epochs=2')}" for arm in arms]
    assert named == f"3 arms are unsent: {', '.join(names)}."
    assert set(arms) < set(MLflowStore(mlflow_store).by_name("b-study"))


@pytest.mark.slow
def test_a_model_that_cannot_be_logged_costs_no_run(
    trained_study: TrainedStudy, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The arm arrives without it, tagged with the reason, which is said once; other arms are not concerned."""
    store = RunStore(trained_study.results, trained_study.name)
    for run in store.runs(ARM):
        (run.path / MODEL).write_bytes(b"model")
        change_meta(run.path, lambda meta: meta["digests"].update({MODEL: "9372c470eeadd5ec"}))
    assert sync.main([f"results={trained_study.results}", f"uri={mlflow_store}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    reason = "BadZipFile: File is not a zip file"
    name = f"{trained_study.name}/glorot_uniform"
    assert line == f"MLflow has the runs of {name} without a model ({reason}); it is {MODEL} in the results folder."
    mirrored = MLflowStore(mlflow_store)
    assert {run.info.status for run in mirrored.active(trained_study.name)} == {"FINISHED"}
    assert [run.data.tags[UNLOGGED] for run in mirrored.active(trained_study.name) if UNLOGGED in run.data.tags] == [
        reason]  # fmt: skip
    experiment = mirrored.client.get_experiment_by_name(trained_study.name)
    assert mirrored.client.search_logged_models([experiment.experiment_id]) == []
    assert sync.main([f"results={trained_study.results}", f"uri={mlflow_store}"]) == 0


def test_following_ends_with_its_input(
    trained_study: TrainedStudy, mlflow_store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`follow=true` uploads the arms that its standard input names, says so, and ends with it, cut off or not."""
    named = f'["{trained_study.name}", "", ""]\n["{trained_study.name}", "{ARM}", "d"]\n["cut o'
    monkeypatch.setattr("sys.stdin", io.StringIO(named))
    assert sync.main(["follow=true", f"results={trained_study.results}", f"uri={mlflow_store}"]) == 0
    assert json.loads(capsys.readouterr().out) == [trained_study.name, ARM, "d", "", ""]
    runs = MLflowStore(mlflow_store).by_name(trained_study.name)
    assert set(runs) == {ARM, f"{ARM}-s0", f"{ARM}-s1", f"{ARM}-s2"}


def test_a_terminal_sees_each_arm_arrive(trained_study: TrainedStudy, mlflow_store: str) -> None:
    """On a terminal there is a line per arm that was missing; the last line is the one that a log has too."""
    reader, writer = os.openpty()
    with os.fdopen(writer, "w") as terminal, redirect_stdout(terminal):
        assert sync.main([f"results={trained_study.results}", f"uri={mlflow_store}"]) == 0
    printed = b""
    with suppress(OSError):  # Linux's way to say that the other end is closed
        while chunk := os.read(reader, 10_000):
            printed += chunk
    os.close(reader)
    lines = printed.decode().splitlines()
    arms = sorted(trained_study.arms)
    assert lines[:-1] == [f"{i + 1} of 3: {trained_study.name}/{arm.partition(',')[0]}" for i, arm in enumerate(arms)]
    assert lines[-1] == f"MLflow at {mlflow_store} has all of: {trained_study.name}"


def test_copied_folders_are_named_once(
    trained_study: TrainedStudy, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for an arm's folder under another name, and one for a study's; neither makes an experiment or a run."""
    results, study = trained_study.results, trained_study.name
    shutil.copytree(results / study, results / "copy")
    (results / study / ARM).rename(results / study / "renamed")
    assert sync.main([f"results={results}", f"uri={mlflow_store}"]) == 1
    advice = "MLflow keeps what it has; remove the folder, or give it the name that it says."
    assert capsys.readouterr().err.splitlines() == [
        f"copy/3 arms (9 seeds) are copies and not sent: run.json says study {study}. {advice}",
        f"{study}/renamed (3 seeds) is a copy and not sent: run.json says arm {ARM}. {advice}",
    ]
    store = MLflowStore(mlflow_store)
    assert store.client.get_experiment_by_name("copy") is None
    assert not [name for name in store.by_name(study) if ARM in name or "renamed" in name]


@pytest.mark.parametrize("wait", ["-1", "nan", "inf"])
def test_an_impossible_wait_is_refused(wait: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`wait=` takes seconds that a clock can count."""
    assert sync.main([f"wait={wait}"]) == 2
    assert capsys.readouterr().err == f"wait: {float(wait)} given; allowed: seconds from 0 to 86400\n"


@pytest.mark.slow
@pytest.mark.parametrize("named_by", ["uri=", "MLFLOW_TRACKING_URI"])
def test_a_server_receives_all_runs(
    trained_study_files: TrainedStudy, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str], named_by: str,
) -> None:  # fmt: skip
    """A study arrives on a server once, with its arrays; the command prints one line."""
    study = f"to {named_by.strip('=')}"
    store = copy_runs(trained_study_files.results, RunStore(tmp_path / "results", study), ARM, [0, 1])
    options = [f"results={store.results}"]
    if named_by == "uri=":
        options.append(f"uri={server}")
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for _ in range(2):
        capfd.readouterr()
        assert sync.main(options) == 0
        assert capfd.readouterr().out == f"MLflow at {server} has all of: {study}\n"
    mlflow = MLflowStore(server)
    runs = mlflow.by_name(study)
    assert set(runs) == {ARM, f"{ARM}-s0", f"{ARM}-s1"}
    mlflow.client.download_artifacts(runs[f"{ARM}-s1"].info.run_id, "biases", str(tmp_path))
    with np.load(tmp_path / "biases" / "after.npz") as downloaded:
        assert np.array_equal(downloaded["output/bias"], store.runs()[1].biases()["after/output/bias"])


def test_a_command_that_only_sends_removes_what_killed_processes_left(
    trained_study: TrainedStudy, mlflow_store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It sweeps `.aside`, and says which runs have no seal."""
    left = trained_study.results / ".aside" / "tmpleft"
    left.mkdir(parents=True, exist_ok=True)
    run = RunStore(trained_study.results, trained_study.name).runs(ARM)[0]
    change_meta(run.path, lambda meta: None)
    assert sync.main([f"results={trained_study.results}", f"uri={mlflow_store}"]) == 0
    assert not left.exists()
    assert f"{trained_study.name}: 1 run has no seal, so nothing shows" in capsys.readouterr().out

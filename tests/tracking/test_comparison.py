"""A study's answer in MLflow, read back through MLflow's own client from a real store."""

import base64
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zlib
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from factories import put

from pipeline import compare, sync
from pipeline.config.schema import PROJECT, Tracking
from pipeline.report.figures.theme import COLOURS
from pipeline.report.markdown import listed_sentences
from pipeline.store.folder_id import folder_id
from pipeline.store.runs import RunStore
from pipeline.tracking import arm_runs
from pipeline.tracking.arm_runs import find_arm_runs, read_arm_runs
from pipeline.tracking.client import client_class
from pipeline.tracking.comparison import prepare_upload, publish_comparison
from pipeline.tracking.runs import up_to_date

ACCURACIES = {"zeros": [0.8, 0.9, 0.7], "ones": [0.9, 0.8, 0.9], "no_bias": [0.8, 0.9, 0.7]}


class Study(NamedTuple):
    """Made-up runs of three arms, in a folder and a store of their own."""

    folder: Path
    target: Tracking

    def put(self, arm: str, seed: int, accuracy: float) -> None:
        put(self.folder / "results", arm, seed, accuracy, key=f"{arm}{seed}{accuracy}")

    def compare(self, *options: str) -> None:
        places = [f"results={self.folder / 'results'}", f"reports={self.folder / 'reports'}"]
        assert compare.main([*places, "mlflow=false", "figures=false", *options]) == 0

    def sync(self) -> int:
        places = [f"results={self.folder / 'results'}", f"reports={self.folder / 'reports'}"]
        return sync.main([*places, f"uri={self.target.uri}"])

    def publish(self) -> str:
        return publish_comparison(self.target, RunStore(self.folder / "results", "s"), self.folder / "reports" / "s")

    def client(self) -> Any:
        return client_class()(self.target.uri)

    def arms(self) -> dict[str, Any]:
        client = self.client()
        runs = client.search_runs([client.get_experiment_by_name("s").experiment_id], "tags.role = 'arm'")
        arms = {run.data.tags["arm"]: run for run in runs}
        assert len(arms) == len(runs)
        return arms

    def note(self) -> str:
        return self.client().get_experiment_by_name("s").tags["mlflow.note.content"]

    def row(self, arm: str, metric: str = "test_accuracy") -> pd.Series:
        return (
            pd.read_csv(self.folder / "reports" / "s" / "summary.csv").set_index(["arm", "metric"]).loc[(arm, metric)]
        )


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study, compared and sent."""
    tmp = tmp_path_factory.mktemp("published")
    study = Study(tmp, Tracking(True, f"sqlite:///{tmp / 'mlflow.db'}"))
    for arm, accuracies in ACCURACIES.items():
        for seed, accuracy in enumerate(accuracies):
            study.put(arm, seed, accuracy)
    study.compare("figures=true")
    assert study.sync() == 0
    return study


@pytest.fixture
def study(sent: Study, tmp_path: Path) -> Study:
    """A copy of it that a test may change, as if it had been moved; artifacts stay where the first one has them."""
    for name in ("results", "reports"):
        shutil.copytree(sent.folder / name, tmp_path / name)
    identity = tmp_path / "results" / ".aside" / "folder_id.json"
    identity.write_text(json.dumps({"id": folder_id(sent.folder / "results"), "inode": identity.stat().st_ino}))
    shutil.copy(sent.folder / "mlflow.db", tmp_path)
    return Study(tmp_path, Tracking(True, f"sqlite:///{tmp_path / 'mlflow.db'}"))


def rows_of(study: Study) -> list[tuple]:
    """Every value, tag and run that the store holds."""
    connection = sqlite3.connect(study.folder / "mlflow.db")
    tables = ("metrics", "latest_metrics", "tags", "experiment_tags", "runs")
    rows = [row for table in tables for row in sorted(map(str, connection.execute(f"SELECT * FROM {table}")))]
    connection.close()
    return rows


def test_an_arm_carries_its_differences_as_metrics_and_its_verdict_as_tag(sent: Study) -> None:
    """MLflow has every known number of the comparison, and no unknown one."""
    arms = sent.arms()
    for metric, section in (("test_accuracy", "difference"), ("test_loss", "exploratory")):
        row, prefix = sent.row("ones", metric), f"{section}/{metric}"
        names = {"": "difference", "_ci_low": "difference_ci_low", "_ci_high": "difference_ci_high",
                 "_p": "p", "_p_uncorrected": "p_uncorrected", "_p_holm": "p_holm"}  # fmt: skip
        held = {end: arms["ones"].data.metrics[f"{prefix}{end}"] for end in names}
        assert held == {end: pytest.approx(row[column], rel=1e-12) for end, column in names.items()}
    assert {arm: run.data.tags["verdict"] for arm, run in arms.items()} == {
        "zeros": "baseline", "ones": "undecided", "no_bias": "identical",
    }  # fmt: skip
    assert arms["ones"].data.tags["baseline"] == "zeros" and "baseline" not in arms["zeros"].data.tags
    colours = {arm: run.data.tags["mlflow.runColor"] for arm, run in arms.items()}
    assert colours == dict(zip(("no_bias", "zeros", "ones"), COLOURS, strict=False))  # those of the figures
    assert not [name for name in arms["zeros"].data.metrics if name.startswith(("difference/", "exploratory/"))]


def test_the_note_begins_with_the_verdict_and_names_no_file_that_mlflow_lacks(sent: Study) -> None:
    """The note holds the headline, every sentence and the tables, and no link to a file that MLflow lacks."""
    document = json.loads((sent.folder / "reports" / "s" / "comparison.json").read_text())
    headline, *sentences = document["sentences"]
    note = sent.note()
    assert note.splitlines()[0] == headline and all(line in note for line in listed_sentences(sentences))
    assert (
        "**test_accuracy (primary)**" in note
        and "**test_loss (exploratory)**" in note
        and "![" not in note
        and "(report.html)" not in note
    )
    assert "python -m pipeline.compare study=s" in note
    assert "ones: undecided" in sent.arms()["ones"].data.tags["mlflow.note.content"]


def test_every_arm_has_the_report_and_the_figures(sent: Study) -> None:
    """The report is among the artifacts of each arm."""
    for run in sent.arms().values():
        listed = [file.path for where in ("report", "report/figures") for file in
                  sent.client().list_artifacts(run.info.run_id, where) if not file.is_dir]  # fmt: skip
        assert {
            "report/answer.md",
            "report/comparison.json",
            "report/summary.csv",
            "report/figures/learning_curves.png",
        } <= set(listed)


def test_publishing_again_changes_nothing_and_does_not_import_mlflow(study: Study) -> None:
    """Publishing the same report again adds no value and no run, and does not wait for MLflow's import."""
    study.compare()  # the page says from where it was made, and this is a copy elsewhere
    assert study.publish() == ""
    before = rows_of(study)
    script = (
        "import sys; from pipeline import compare; code = compare.main(sys.argv[1:]);"
        "assert 'mlflow' not in sys.modules and not code"
    )
    options = [f"results={study.folder / 'results'}", f"reports={study.folder / 'reports'}", "figures=false"]
    done = subprocess.run(
        [sys.executable, "-c", script, *options], cwd=PROJECT, capture_output=True, text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": study.target.uri},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert rows_of(study) == before


def test_a_changed_answer_replaces_the_old_one(study: Study) -> None:
    """With another baseline every metric has one value, that of the new comparison, and each arm keeps its seeds."""
    study.compare("baseline=ones")
    assert study.publish() == ""
    arms, client = study.arms(), study.client()
    assert arms["ones"].data.tags["verdict"] == "baseline"
    assert not [name for name in arms["ones"].data.metrics if name.startswith(("difference/", "exploratory/"))]
    assert arms["zeros"].data.metrics["difference/test_accuracy"] == pytest.approx(-1 / 15)
    for arm, run in arms.items():
        for name in filter(lambda name: name.startswith("difference/"), run.data.metrics):
            assert len(client.get_metric_history(run.info.run_id, name)) == 1
        children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
        assert {child.info.run_name for child in children} == {f"{arm}-s{seed}" for seed in range(3)}
    assert "against ones" in study.note() or "Keep ones" in study.note() or "ones" in study.note().splitlines()[0]


def copy_study(study: Study) -> Study:
    """The same results in a folder that is another sender to the same store; both have sent."""
    folder = study.folder / "elsewhere"
    shutil.copytree(study.folder / "results", folder / "results")
    copy = Study(folder, study.target)
    assert copy.sync() == 0
    return copy


def test_each_folder_publishes_on_the_run_that_it_sent(study: Study) -> None:
    """Where two folders hold other seeds of an arm, each has a mean there, and its verdict on that one alone."""
    other = copy_study(study)
    other.put("ones", 3, 0.2)
    other.put("zeros", 3, 0.3)
    assert other.sync() == 0
    client = study.client()
    experiment = client.get_experiment_by_name("s").experiment_id
    before = {run.info.run_id: run.data for run in client.search_runs([experiment], "tags.role = 'arm'")}
    assert len(before) == 5
    other.compare()
    study.compare("baseline=ones")
    for one, baseline, seeds in ((other, "zeros", "4"), (study, "ones", "3"), (other, "zeros", "4")):
        assert one.publish() == ""
        now = client.search_runs([experiment], "tags.role = 'arm'")
        assert len(now) == 5
        (published,) = [run for run in now if run.data.tags["arm"] == "no_bias"]
        if one is study:  # three seeds in both folders: they share the run, and the last verdict is shown
            assert published.data.tags["baseline"] == "ones"
        (own,) = [run for run in now if run.data.tags["seeds"] == seeds and run.data.tags["arm"] == baseline]
        assert own.data.tags["verdict"] == "baseline"


def test_a_run_that_two_folders_share_keeps_both_senders(study: Study) -> None:
    """When one of them publishes another verdict, the run is made anew for both; neither sends anything again."""
    copy_study(study)
    client, arms = study.client(), study.arms()
    shared = {tag for tag in arms["ones"].data.tags if tag.startswith("results_folder/")}
    assert len(shared) == 2
    study.compare("baseline=ones")
    assert study.publish() == ""
    after = study.arms()["ones"]
    assert after.info.run_id != arms["ones"].info.run_id
    assert {tag for tag in after.data.tags if tag.startswith("results_folder/")} == shared
    children = client.search_runs([after.info.experiment_id], f"tags.mlflow.parentRunId = '{after.info.run_id}'")
    assert len(children) == 3
    for results in (study.folder / "results", study.folder / "elsewhere" / "results"):
        store = RunStore(results, "s")
        assert all(up_to_date(study.target, store, arm, store.runs(arm)) for arm in ACCURACIES)


def test_arms_are_found_however_many_there_are(sent: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow gives at most a thousand at once; all of them are asked for."""
    monkeypatch.setattr(arm_runs, "PAGE", 2)
    store, client = RunStore(sent.folder / "results", "s"), sent.client()
    found = find_arm_runs(client, client.get_experiment_by_name("s"), store, "test_accuracy")
    assert sorted(found) == sorted(read_arm_runs(sent.target.uri or "", store, "test_accuracy") or [])
    assert {run.arm for run in found} == set(ACCURACIES)


def test_compare_names_the_arms_of_which_mlflow_has_another_mean(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that sends them, after which the report is published."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", study.target.uri)
    study.put("ones", 3, 0.2)
    places = [f"results={study.folder / 'results'}", f"reports={study.folder / 'reports'}"]
    for options in ([], ["detail=arms"]):
        capsys.readouterr()
        assert compare.main([*places, "figures=false", *options]) == 0
        assert capsys.readouterr().err == (
            "The report of s is not at ones: MLflow has the mean of other runs. "
            f"To send it: {' '.join(['uv run python -m pipeline.sync', places[0], *options])}\n"
        )
    assert sync.main(places) == 0
    assert compare.main([*places, "figures=false"]) == 0
    assert capsys.readouterr().err == ""
    assert "verdict" in study.arms()["ones"].data.tags


def test_an_arm_that_gained_a_seed_waits_for_its_own_verdict(study: Study) -> None:
    """An arm that gained a seed has no verdict until it is compared again."""
    study.put("ones", 3, 0.2)
    study.put("zeros", 3, 0.3)
    assert study.sync() == 0
    assert "verdict" not in study.arms()["ones"].data.tags
    assert study.arms()["no_bias"].data.tags["verdict"] == "identical"
    study.compare()
    assert study.publish() == ""
    arms = study.arms()
    assert arms["ones"].data.metrics["difference/test_accuracy"] == pytest.approx(study.row("ones")["difference"])
    assert len({run.data.tags["published"] for run in arms.values()}) == 1


@pytest.mark.parametrize("missing", ["store", "study", "report"])
def test_where_there_is_no_store_study_or_report_nothing_is_made(study: Study, missing: str) -> None:
    """Comparing makes neither an MLflow store nor an experiment."""
    name = "s" if missing != "study" else "other"
    if missing == "store":
        (study.folder / "mlflow.db").unlink()
    folder = study.folder / "reports" / ("s" if missing != "report" else "none")
    before = rows_of(study) if missing != "store" else []
    assert publish_comparison(study.target, RunStore(study.folder / "results", name), folder) == ""
    assert (rows_of(study) if missing != "store" else []) == before
    assert (study.folder / "mlflow.db").exists() == (missing != "store")


def test_what_goes_wrong_with_mlflow_costs_one_line_and_not_the_answer(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken store is reported in one line, and the comparison succeeds."""
    other = sqlite3.connect(study.folder / "mlflow.db")
    with other:
        other.execute("UPDATE alembic_version SET version_num = 'of another MLflow'")
    other.close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", study.target.uri)
    places = [f"results={study.folder / 'results'}", f"reports={study.folder / 'reports'}", "figures=false"]
    assert compare.main([*places]) == 0
    texts = capsys.readouterr()
    assert "Report: " in texts.out
    assert [line for line in texts.err.splitlines() if "Could not upload the report" in line]
    assert "Traceback" not in texts.err
    assert compare.main([*places, "mlflow=false"]) == 0
    assert capsys.readouterr().err == ""


def test_the_saved_view_asks_for_what_the_arms_have(sent: Study) -> None:
    """Each column of the view is a metric or a tag that the arms have."""
    view = json.loads(sent.client().get_experiment_by_name("s").tags["mlflow.sharedViewState.verdict"])
    state = json.loads(zlib.decompress(base64.b64decode(view["state"].removeprefix("deflate;"))))
    data = sent.arms()["ones"].data
    known = {f"metrics.`{name}`" for name in data.metrics} | {f"tags.`{name}`" for name in data.tags}
    assert set(state["selectedColumns"]) <= known
    assert state["orderByKey"] in known and state["orderByAsc"] is False


def test_a_verdict_about_a_learning_curve_is_shown_too(study: Study) -> None:
    """A verdict about a metric derived from curves, of which MLflow has no mean, is uploaded all the same."""
    study.compare("metric=best_val_accuracy")
    assert study.publish() == ""
    assert "best_val_accuracy" in study.note()
    ones = study.arms()["ones"].data
    assert ones.metrics["difference/best_val_accuracy"] == pytest.approx(
        study.row("ones", "best_val_accuracy")["difference"]
    )
    assert "difference/area_under_val_loss" not in ones.metrics


def test_the_verdict_of_a_single_seed_is_of_the_metric_that_was_asked_for(tmp_path: Path) -> None:
    """With one seed, which has no p, the metric of the verdict is still the one asked for."""
    one = Study(tmp_path, Tracking(False))
    for arm, accuracies in ACCURACIES.items():
        one.put(arm, 0, accuracies[0])
    one.compare("metric=best_val_loss")
    upload = prepare_upload(tmp_path / "reports" / "s")
    assert upload is not None
    difference = upload.arms["ones"].metrics["difference/best_val_loss"]
    assert difference == pytest.approx(one.row("ones", "best_val_loss")["difference"])


def test_an_arm_without_the_metric_of_the_verdict_does_not_cost_the_others_theirs(tmp_path: Path) -> None:
    """Where runs of one block differ in length and have no best epoch, arms of other blocks get their verdict."""
    curve = np.linspace(0.3, 0.5, 9)
    history = {"loss": 1 - curve, "accuracy": curve, "val_loss": 1 - curve, "val_accuracy": curve}
    for arm, seed in product(("zeros", "ones"), range(2)):
        put(tmp_path / "results", arm, seed, 0.5 + seed / 10)
        put(tmp_path / "results", f"{arm},optimizer=sgd", seed, 0.5, setting=arm, history=history if seed else None)
    Study(tmp_path, Tracking(False)).compare("metric=best_val_accuracy")
    upload = prepare_upload(tmp_path / "reports" / "s")
    assert upload is not None
    arms = upload.arms
    assert arms["ones"].tags["verdict"] == "identical"
    assert arms["ones,optimizer=sgd"].tags["verdict"] == "not compared"

"""`mlflow=` sends what the commands send: the runs, the verdict and the report; the answer says where they are."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from factories import change_meta

from pipeline.api import Study, compare_initializers
from pipeline.config.schema import Tracking
from pipeline.tracking.client import open_client
from pipeline.tracking.comparison import publish_comparison

pytestmark = pytest.mark.slow
SETTINGS: dict[str, Any] = {"arms": ["zeros", "ones"], "seeds": 2, "epochs": 1, "progress": False, "ablation": False}


def compare(**settings: Any) -> Study:
    x = np.random.default_rng(0).normal(size=(40, 3))
    model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
    return compare_initializers(model, (x, (x[:, 0] > 0).astype(int)), study="mine", **SETTINGS | settings)


def test_the_verdict_is_sent_as_the_command_sends_it(
    mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With results in a relative folder: the commands that the report and MLflow name find them from anywhere."""
    monkeypatch.chdir(tmp_path)
    study = compare(mlflow=mlflow_store, results="a/res")
    client: Any = open_client(mlflow_store)
    (experiment,) = [one for one in client.search_experiments() if one.name == "mine"]
    assert "mlflow.sharedViewState.verdict" in experiment.tags
    assert study.headline.split(".")[0] in experiment.tags["mlflow.note.content"]
    assert f"results={tmp_path / 'a' / 'res'}" in experiment.tags["mlflow.note.content"]
    arms = client.search_runs([experiment.experiment_id], "tags.role = 'arm'")
    assert {run.data.tags["arm"]: run.data.tags["verdict"] for run in arms} == {
        "zeros": "baseline",
        "ones": "identical",
    }
    assert {run.data.tags["mlflow.source.name"] for run in arms} == {"pipeline.api.compare_initializers"}
    assert all(client.list_artifacts(run.info.run_id, "report") for run in arms)
    assert study.mlflow_link == (
        f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs"
        "?viewStateShareKey=verdict&workflowType=machine_learning"
    )
    assert study.mlflow_link in repr(study) and mlflow_store in repr(study)
    page = study.save(tmp_path / "report").read_text()
    assert "python -m pipeline.compare study=mine" in page and f"results={tmp_path / 'a' / 'res'}" in page
    assert "python -m pipeline.train" not in page  # no command line trains what was in memory
    others = list[str]()
    assert publish_comparison(Tracking(True, mlflow_store), study.store, tmp_path / "report", others) == ""
    assert others == []  # the report is about the runs that MLflow has


def test_temporary_results_are_named_by_no_command(mlflow_store: str) -> None:
    """They are gone after the program."""
    study = compare(mlflow=mlflow_store)
    client: Any = open_client(mlflow_store)
    (experiment,) = [one for one in client.search_experiments() if one.name == "mine"]
    assert "pipeline.compare" not in experiment.tags["mlflow.note.content"]
    assert study.command == "" and study.mlflow_link


def test_a_server_that_is_away_costs_no_answer(tmp_path: Path) -> None:
    """The answer says so in a line, once, and what sends it later."""
    study = compare(mlflow="http://127.0.0.1:9", results=tmp_path)
    (line,) = [note for note in study.notes if "MLflow" in note]
    assert line.startswith("Could not upload to MLflow at http://127.0.0.1:9") and line.endswith(
        "the same call sends it"
    )
    assert study.mlflow_link == "" and set(study.verdicts) == {"zeros", "ones"}


def test_an_arm_that_mlflow_refuses_holds_up_no_other(mlflow_store: str, tmp_path: Path) -> None:
    """The arms after it are sent; the answer names the arm and the reason; the verdict waits."""
    settings: dict[str, Any] = {"results": tmp_path, "arms": ["zeros", "ones", "constant(0.5)"]}
    store = compare(**settings).store
    for run in store.runs("zeros"):
        change_meta(run.path, lambda meta: meta["metrics"].update({"test_#": 1.0}))  # no name that MLflow takes
    study = compare(mlflow=mlflow_store, **settings)
    client: Any = open_client(mlflow_store)
    (experiment,) = [one for one in client.search_experiments() if one.name == "mine"]
    arms = client.search_runs([experiment.experiment_id], "tags.role = 'arm' AND attributes.status = 'FINISHED'")
    assert sorted(run.data.tags["arm"] for run in arms) == sorted(set(store.arm_names()) - {"zeros"})
    (line,) = [note for note in study.notes if "MLflow" in note]
    assert "test_#" in line and "1 arm is unsent: zeros, and so is the verdict; the same call sends it" in line
    assert study.mlflow_link == "" and set(study.verdicts) == set(store.arm_names())

"""`compare` says where MLflow shows the verdict."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from factories import put_all

from pipeline import compare
from pipeline.config.schema import Tracking
from pipeline.store.runs import RunStore
from pipeline.tracking.pages import verdict_page
from pipeline.tracking.runs import mirror_arm


def test_compare_prints_where_the_verdict_is(
    mlflow_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that shows an embedded store and the address there; nothing while MLflow has no verdict."""
    store = RunStore(tmp_path / "results", "s")
    for arm in ("zeros", "ones"):
        put_all(store.results, arm, [0.5, 0.6])
        assert mirror_arm(Tracking(True, mlflow_store), store, arm, store.runs(arm)) == ""
    assert verdict_page(mlflow_store, "s") == ""
    places = [f"results={store.results}", f"reports={tmp_path / 'reports'}"]
    assert compare.main(["study=s", *places, f"uri={mlflow_store}", "figures=false"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == verdict_page(mlflow_store, "s")
    assert f"mlflow ui --backend-store-uri {mlflow_store}, then http://127.0.0.1:5000/#/experiments/" in last
    assert last.endswith("/runs?viewStateShareKey=verdict&workflowType=machine_learning")


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """To ask for a page creates nothing."""
    assert verdict_page(f"sqlite:///{tmp_path / 'none.db'}", "s") == ""
    assert not list(tmp_path.iterdir())


def test_compare_says_what_it_did_not_send(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the store has no runs of the study, a line says so, and one with what they can be sent; nothing is made."""
    results, reports, uri = tmp_path / "results", tmp_path / "reports", f"sqlite:///{tmp_path / 'none.db'}"
    put_all(results, "zeros", [0.5, 0.6])
    assert compare.main([f"results={results}", f"reports={reports}", f"uri={uri}", "figures=false"]) == 0
    said, last = capsys.readouterr().out.splitlines()[-2:]
    assert said.startswith(f"Not sent to MLflow: {uri} has no runs of s. If another store has them, name it with uri=")
    assert last.endswith(f"pipeline.sync results={results} uri={uri}")
    assert not list(tmp_path.glob("*.db"))
    assert "none.db" not in (reports / "s" / "report.html").read_text()  # where it is sent changes no report


def test_a_store_that_is_busy_is_not_said_to_lack_the_study(mlflow_store: str) -> None:
    """Whether it has the study is then unknown."""
    with closing(sqlite3.connect(mlflow_store.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="cannot be read at present"):
            verdict_page(mlflow_store, "s")

"""`compare` says where MLflow shows the verdict."""

from pathlib import Path

import pytest
from factories import put_all

from pipeline import compare
from pipeline.config.schema import Tracking
from pipeline.store.runs import RunStore
from pipeline.tracking.pages import verdict_page
from pipeline.tracking.runs import mirror_arm


def test_compare_prints_where_the_verdict_is(
    mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that shows an embedded store and the address there; nothing while MLflow has no verdict."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    store = RunStore(tmp_path / "results", "s")
    for arm in ("zeros", "ones"):
        put_all(store.results, arm, [0.5, 0.6])
        assert mirror_arm(Tracking(), store, arm, store.runs(arm)) == ""
    assert verdict_page(mlflow_store, "s") == ""
    places = [f"results={store.results}", f"reports={tmp_path / 'reports'}"]
    assert compare.main(["study=s", *places, "figures=false"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == verdict_page(mlflow_store, "s")
    assert f"mlflow ui --backend-store-uri {mlflow_store}, then http://127.0.0.1:5000/#/experiments/" in last
    assert last.endswith("/runs?viewStateShareKey=verdict&workflowType=machine_learning")


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """To ask for a page creates nothing."""
    assert verdict_page(f"sqlite:///{tmp_path / 'none.db'}", "s") == ""
    assert not list(tmp_path.iterdir())

"""MLflow shows arms under the names that tell them apart."""

from pathlib import Path

from factories import MLflowStore, put

from pipeline.config.schema import Tracking
from pipeline.store.runs import RunStore
from pipeline.tracking.runs import mirror_arm


def test_runs_are_named_by_what_differs(mlflow_store: str, tmp_path: Path) -> None:
    """While all arms share a setting it is in no name; an arm that differs brings it back, for the seeds too."""
    store, tracking = RunStore(tmp_path, "s"), Tracking(uri=mlflow_store)

    def upload(arm: str) -> set[str]:
        put(tmp_path, arm, 0, 0.5)
        assert mirror_arm(tracking, store, arm, store.runs(arm)) == ""
        return {run.info.run_name for run in MLflowStore(mlflow_store).active("s")}

    assert upload("zeros,training.epochs=3") == {"zeros", "zeros-s0"}
    assert upload("ones,training.epochs=3") == {"zeros", "zeros-s0", "ones", "ones-s0"}
    assert upload("ones,training.epochs=4") == {
        f"{arm}{end}" for end in ("", "-s0")
        for arm in ("zeros,training.epochs=3", "ones,training.epochs=3", "ones,training.epochs=4")
    }  # fmt: skip
    assert all(run.data.tags["arm"].count(",") == 1 for run in MLflowStore(mlflow_store).active("s"))

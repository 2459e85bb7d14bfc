"""Find the runs of arms in MLflow, with what a comparison has to know of them."""

from typing import Any, NamedTuple

from pipeline.store.folder_id import read_folder_id
from pipeline.store.runs import RunStore
from pipeline.tracking.client import read_sqlite
from pipeline.tracking.steps import SENDER

DIGEST = "published"  # tag: digest of the report that the run has
PAGE = 1000  # runs that MLflow is asked for at once


class ArmRun(NamedTuple):
    """An arm's run in MLflow. mean: of the metric asked for. published: the tag. is_own: sent by this folder."""

    run_id: str
    arm: str
    mean: float | None
    published: str | None
    is_own: bool


def read_arm_runs(uri: str, store: RunStore, metric: str) -> list[ArmRun] | None:
    """The arms' runs in an SQLite store, none without the study. None: unknown."""
    query = """SELECT runs.run_uuid, arm.value, latest.value, published.value, sender.value IS NOT NULL
               FROM runs JOIN experiments USING (experiment_id)
               JOIN tags role ON role.run_uuid = runs.run_uuid AND role.key = 'role' AND role.value = 'arm'
               JOIN tags arm ON arm.run_uuid = runs.run_uuid AND arm.key = 'arm'
               LEFT JOIN latest_metrics latest ON latest.run_uuid = runs.run_uuid AND latest.key = ?
               LEFT JOIN tags published ON published.run_uuid = runs.run_uuid AND published.key = ?
               LEFT JOIN tags sender ON sender.run_uuid = runs.run_uuid AND sender.key = ?
               WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'
               AND runs.status = 'FINISHED' AND experiments.name = ?"""
    rows = read_sqlite(uri, query, [metric, DIGEST, _sender(store), store.study])
    return None if rows is None else [ArmRun(*row) for row in rows]


def find_arm_runs(client: Any, experiment: Any, store: RunStore, metric: str) -> list[ArmRun]:
    """The same from any store."""
    condition, sender = "tags.role = 'arm' AND attributes.status = 'FINISHED'", _sender(store)
    found, token, is_first = list[ArmRun](), None, True
    while token or is_first:
        page = client.search_runs([experiment.experiment_id], condition, max_results=PAGE, page_token=token)
        for run in page:
            tags, mean = run.data.tags, run.data.metrics.get(metric)
            found.append(ArmRun(run.info.run_id, tags["arm"], mean, tags.get(DIGEST), sender in tags))
        token, is_first = page.token, False
    return found


def _sender(store: RunStore) -> str:
    return f"{SENDER}{read_folder_id(store.results)}"

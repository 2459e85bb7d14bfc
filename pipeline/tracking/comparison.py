"""Show a study's comparison in MLflow, beside the arms it is about. Everything comes from comparison.json.

The answer becomes the experiment's note. Each arm's run gets its differences from the baseline as metrics, its verdict
as a tag and as its description, its colour in the figures, and the report as artifacts. (MLflow keeps no files with an
experiment, and a run for the report would be a row in the table of arms; so every arm has the report, about 1 MB.) A
saved view of the runs table, `Verdict`, shows these numbers with one row per arm.

An arm gets a verdict only if MLflow's mean of it is the one that the verdict is about. Its tag `published` holds a
digest of what it got, so that publishing twice changes nothing.
"""

import base64
import json
import shutil
import tempfile
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from pipeline.config.schema import Tracking
from pipeline.report.document import FILE, read_document
from pipeline.runtime.hashing import digest
from pipeline.store.runs import RunStore
from pipeline.tracking.client import client_class, database_file, hide_passwords, read_sqlite, store_lock, store_uri
from pipeline.tracking.runs import send_arm

FORM = 2  # raise it when other things are published: it is part of the digest
NOTE, DIGEST, VIEW = "mlflow.note.content", "published", "verdict"
ML_PAGES = "workflowType=machine_learning"  # in an address: MLflow's pages for training, not those for language models
DIFFERENCE = "difference/"  # prefix of the metrics against the baseline, which MLflow makes a section of charts
TEST = "test_"
LONGEST_NOTE = 5000  # characters that every MLflow 3 takes as the value of an experiment's tag
FILES = ("answer.md", FILE, "summary.csv", "report.html")
# Column of the summary -> ending of the metric's name.
AGAINST_BASELINE = {
    "difference": "", "difference_ci_low": "_ci_low", "difference_ci_high": "_ci_high", "p": "_p", "p_holm": "_p_holm",
}  # fmt: skip


@dataclass(frozen=True)
class ArmUpload:
    """What the run of one arm gets. mean: of `Upload.shown_metric`; None if every seed diverged."""

    mean: float | None
    metrics: dict[str, float]
    tags: dict[str, str]
    note: str


@dataclass(frozen=True)
class Upload:
    """A report folder, prepared for MLflow.

    shown_metric: the metric of the verdict; or the first test metric where that one is derived from learning curves, of
    which MLflow has no means. files: path among the artifacts -> file.
    """

    document: dict[str, Any]
    shown_metric: str
    arms: dict[str, ArmUpload]
    files: dict[str, Path]
    digest: str


def prepare_upload(folder: Path) -> Upload | None:
    """Read the report that `pipeline.compare` wrote into `folder`; None where there is none.

    Raises ValueError for a report of another version.
    """
    document = read_document(folder)
    if document is None:
        return None
    metric = document["metric"]
    rows: dict[str, dict[str, Any]] = {}
    for row in document["tables"]["summary"]:
        rows.setdefault(row["arm"], {})[row["metric"]] = row
    test_metrics = [row["metric"] for row in document["tables"]["summary"] if row["metric"].startswith(TEST)]
    shown_metric = metric if metric.startswith(TEST) else test_metrics[0]
    files = [path for name in FILES if (path := folder / name).is_file()] + sorted((folder / "figures").glob("*.png"))
    by_path = {f"report/{path.relative_to(folder).as_posix()}": path for path in files}
    return Upload(
        document,
        shown_metric,
        {v["arm"]: _arm_upload(document, v, rows.get(v["arm"], {}), shown_metric) for v in document["verdicts"]},
        by_path,
        digest([FORM, *([path, digest(file.read_bytes())] for path, file in by_path.items())]),
    )


def _arm_upload(
    document: Mapping[str, Any], verdict: Mapping[str, Any], rows: Mapping[str, Any], shown_metric: str
) -> ArmUpload:
    """rows: the arm's rows of the summary by metric."""
    metrics = {
        f"{DIFFERENCE}{metric}{ending}": row[column]
        for metric, row in rows.items()
        for column, ending in AGAINST_BASELINE.items()
        if row.get(column) is not None and (metric == document["metric"] or metric.startswith(TEST))
    }
    warnings = [warning for warning in document["warnings"] if warning["arm"] == verdict["arm"]]
    sentences = [verdict["sentence"], *(("Warning: " if w["serious"] else "") + w["sentence"] for w in warnings)]
    tags = {"verdict": verdict["verdict"]} | ({"baseline": verdict["baseline"]} if verdict["baseline"] else {})
    return ArmUpload(rows.get(shown_metric, {}).get("mean"), metrics, tags, "\n\n".join(sentences))


def publish_comparison(target: Tracking, store: RunStore, folder: Path) -> str:
    """Upload the report in `folder` to the study's experiment, if MLflow has one. Returns what went wrong, or "".

    MLflow is imported only when there is something to upload, or when only MLflow can tell (a server).
    """
    uri = store_uri(target)
    database = database_file(uri)
    if not target.enabled or (database is not None and not database.is_file()):
        return ""
    try:
        upload = prepare_upload(folder)
        if upload is None:
            return ""
        state = _published_state(uri, store.study, upload.shown_metric)
        if state is not None and all(_is_settled(upload, *arm_state) for arm_state in state):
            return ""
        with store_lock(uri, store.results):
            client = client_class()(uri)
            experiment = client.get_experiment_by_name(store.study)
            if experiment is not None and experiment.lifecycle_stage == "active":
                _send(client, experiment, upload, store)
    except Exception as error:  # MLflow, SQLAlchemy and requests share no base class; none may cost the answer
        return hide_passwords(f"Could not upload the report to MLflow at {uri}: {' '.join(str(error).split())[:300]}.")
    return ""


def _published_state(uri: str, study: str, metric: str) -> list[tuple[str, float | None, str | None]] | None:
    """(arm, mean, digest) of each arm's run in an SQLite store, empty without the study; None for another store."""
    query = """SELECT arm.value, latest.value, published.value FROM runs JOIN experiments USING (experiment_id)
               JOIN tags role ON role.run_uuid = runs.run_uuid AND role.key = 'role' AND role.value = 'arm'
               JOIN tags arm ON arm.run_uuid = runs.run_uuid AND arm.key = 'arm'
               LEFT JOIN latest_metrics latest ON latest.run_uuid = runs.run_uuid AND latest.key = ?
               LEFT JOIN tags published ON published.run_uuid = runs.run_uuid AND published.key = ?
               WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'
               AND experiments.name = ?"""
    return read_sqlite(uri, query, [metric, DIGEST, study])


def _is_settled(upload: Upload, arm: str, mean: float | None, published: str | None) -> bool:
    """Whether an arm's run needs nothing: it has this report, or the report is not about its numbers."""
    arm_upload = upload.arms.get(arm)
    if arm_upload is None or published == upload.digest:
        return True
    if mean is None or arm_upload.mean is None:
        return mean is not arm_upload.mean
    return not isclose(arm_upload.mean, mean, rel_tol=1e-9)


def _send(client: Any, experiment: Any, upload: Upload, store: RunStore) -> None:
    """Upload the report to each arm's run that it is about, then to the experiment."""
    address = f"#/experiments/{experiment.experiment_id}"
    page = max(upload.files, key=lambda path: path.endswith("report.html"))  # else another file
    run_ids: dict[str, str] = {}  # arm -> its run
    with tempfile.TemporaryDirectory() as folder:
        for path, file in upload.files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, Path(folder) / path)
        for run in _arm_runs(client, experiment):
            tags = run.data.tags
            if not _is_settled(upload, tags["arm"], run.data.metrics.get(upload.shown_metric), tags.get(DIGEST)):
                run_id = _send_arm_report(
                    client, experiment, run, upload, store, f"{address}/runs/{{}}/artifacts/{page}"
                )
                if run_id:
                    client.log_artifacts(run_id, folder)
                    run_ids[tags["arm"]] = run_id
    if run_ids:
        baselines = [run_id for arm, run_id in run_ids.items() if upload.arms[arm].tags["verdict"] == "baseline"]
        run_id = next(iter([*baselines, *run_ids.values()]))
        report = f"{address}/runs/{run_id}/artifacts/{page}?{ML_PAGES}"
        client.set_experiment_tag(experiment.experiment_id, NOTE, _note(upload.document, report, address))
        client.set_experiment_tag(experiment.experiment_id, f"mlflow.sharedViewState.{VIEW}", _view(upload, experiment))
    for run_id in run_ids.values():  # last: an upload that was interrupted is repeated
        client.set_tag(run_id, DIGEST, upload.digest)


def _send_arm_report(
    client: Any, experiment: Any, run: Any, upload: Upload, store: RunStore, report_address: str
) -> str | None:
    """Upload the metrics and tags of one arm; returns the id of its run, or None if it must stay as it is.

    report_address: with `{}` for the id of the run.
    """
    from mlflow.entities import Metric, RunTag

    from pipeline.report.figures.theme import COLOURS

    arm = run.data.tags["arm"]
    arm_upload = upload.arms[arm]
    earlier = {name: value for name, value in run.data.metrics.items() if name.startswith(DIFFERENCE)}
    if earlier and earlier != arm_upload.metrics:  # MLflow forgets no value of a metric: the run is made anew
        runs = store.runs(arm)
        if not runs:  # only MLflow still has the arm
            return None
        client.delete_run(run.info.run_id)
        send_arm(client, experiment.experiment_id, arm, runs)
        (run,) = _arm_runs(client, experiment, f" AND tags.arm = '{arm}'")
        earlier = {}
    run_id, now = run.info.run_id, int(time.time() * 1000)
    arms = [described["name"] for described in upload.document["arms"]]
    tags = arm_upload.tags | {
        NOTE: f"{arm_upload.note}\n\n[The whole report]({report_address.format(run_id)}?{ML_PAGES})",
        "mlflow.runColor": COLOURS[arms.index(arm) % len(COLOURS)],
    }
    metrics = [] if earlier else [Metric(name, value, now, 0) for name, value in arm_upload.metrics.items()]
    client.log_batch(run_id, metrics, [], [RunTag(name, value) for name, value in tags.items()])
    return run_id


def _arm_runs(client: Any, experiment: Any, condition: str = "") -> list[Any]:
    return list(client.search_runs([experiment.experiment_id], f"tags.role = 'arm'{condition}", max_results=1000))


def _note(document: Mapping[str, Any], report: str, address: str) -> str:
    """The headline, which alone is seen while the note is folded, links, all sentences, and the tables."""
    from pipeline.report.markdown import NOTE as TABLE_NOTE
    from pipeline.report.markdown import metric_tables

    headline, *sentences = document["sentences"]
    view = f"{address}/runs?viewStateShareKey={VIEW}&{ML_PAGES}"
    command = f"python -m pipeline.compare study={document['study']}"
    links = f"[The arms, a row each]({view}) · [The whole report]({report}) · `{command}`"
    # MLflow leaves no space between the columns of a note's table.
    tables = [
        line.replace(" |", "&emsp; |") if line.startswith("| ") and "---" not in line else line
        for line in metric_tables(document["tables"]["summary"])
    ]
    bullets = [f"- {sentence}" for sentence in sentences]
    text = "\n".join([headline, "", links, "", *bullets, "", *tables, TABLE_NOTE])
    if len(text) <= LONGEST_NOTE:
        return text
    ending = "\n\nThe rest is in the report."
    return text[: text.rindex("\n", 0, LONGEST_NOTE - len(ending))] + ending


def _view(upload: Upload, experiment: Any) -> str:
    """A saved view of MLflow's runs table, in the form in which its page saves one: a row per arm, the best first."""
    from pipeline.analysis.curves import higher_is_better  # with pandas, which an upload of runs need not wait for

    shown = upload.shown_metric
    spread, difference = f"spread/{shown}", f"{DIFFERENCE}{upload.document['metric']}"
    metrics = [shown, difference, f"{difference}_p_holm"]
    metrics += [f"{name}{end}" for name in (difference, spread) for end in ("_ci_low", "_ci_high")]
    widths = {f"metrics.`{name}`": 40 + 7 * len(name) for name in metrics}  # pixels: MLflow's own would cut the names
    widths = {"tags.`verdict`": 110} | widths | {"tags.`seeds`": 80}
    # MLflow makes charts for all metrics that have none here; these sections come first.
    sections = {"Model metrics": True, DIFFERENCE.rstrip("/"): True, "spread": False}
    state = {
        "searchFilter": "tags.role = 'arm'",
        "orderByKey": f"metrics.`{shown}`",
        "orderByAsc": not higher_is_better(shown),
        "selectedColumns": [*widths],
        "columnOrder": ["attributes.`Run Name`", *widths],
        "columnWidths": widths,
        "compareRunCharts": [],
        "compareRunSections": [
            {"uuid": name, "name": name, "display": open_, "isReordered": True, "deleted": False, "isGenerated": True}
            for name, open_ in sections.items()
        ],
        "isAccordionReordered": True,
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    created = experiment.creation_time
    return json.dumps({"name": "Verdict", "createdAt": created, "updatedAt": created, "state": f"deflate;{packed}"})

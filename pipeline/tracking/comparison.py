"""Show a study's comparison in MLflow, beside the arms it is about. Everything comes from comparison.json.

The answer becomes the experiment's note. Each arm's run gets its differences from the baseline as metrics, its verdict
as a tag and as its description, its colour in the figures, and the report as artifacts. (MLflow keeps no files with an
experiment, and a run for the report would be a row in the table of arms; so every arm has the report, about 1 MB.) A
saved view of the runs table, `Verdict`, shows these numbers with one row per arm.

Where several results folders sent an arm, only the run that this folder sent is considered; where it sent none, all.
An arm gets a verdict only if MLflow's mean of it is the one that the verdict is about. Its tag `published` holds a
digest of what it got, so that publishing twice changes nothing.
"""

import base64
import json
import shutil
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from pipeline.config.schema import Tracking
from pipeline.errors import one_line
from pipeline.report.document import FILE, read_document
from pipeline.runtime.hashing import digest
from pipeline.store.aside import temporary_folder
from pipeline.store.runs import RunStore
from pipeline.tracking.arm_runs import DIGEST, ArmRun, find_arm_runs, read_arm_runs
from pipeline.tracking.client import database_file, hide_passwords, open_client, store_lock, store_uri
from pipeline.tracking.names import rename_runs
from pipeline.tracking.note import render_note
from pipeline.tracking.pages import ML_PAGES, VIEW_TAG
from pipeline.tracking.runs import remake_arm_run
from pipeline.tracking.waiting import explain

FORM = 5  # raise it when other things are published: it is part of the digest
NOTE = "mlflow.note.content"
MEAN, DIFFERENCE_TEXT = "mean", "difference"  # tags: with their intervals, in the digits of the report
# Prefixes of metrics against the baseline, which MLflow makes sections of charts: the verdict's metric, all others.
DIFFERENCE, EXPLORATORY = "difference/", "exploratory/"
TEST = "test_"
FILES = ("answer.md", FILE, "summary.csv", "report.html")
# Column of the summary -> ending of the metric's name.
AGAINST_BASELINE = {
    "difference": "", "difference_ci_low": "_ci_low", "difference_ci_high": "_ci_high", "p": "_p", "p_holm": "_p_holm",
    "p_uncorrected": "_p_uncorrected", "p_stagewise": "_p_stagewise",
    "difference_unbiased": "_unbiased", "look": "_look",
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

    arms: by the arm's whole name. shown_metric: the metric of the verdict; or the first test metric where that one is
    derived from learning curves, of which MLflow has no means. files: path among the artifacts -> file.
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
    from pipeline.report.format import table_cells  # with pandas, which an upload of runs need not wait for

    metric = document["metric"]
    folders: dict[str, str] = {arm.get("judged_as") or arm["name"]: _folder(arm) for arm in document["arms"]}
    folders |= {arm["name"]: "" for arm in document["arms"] if arm.get("judged_as")}
    rows: dict[str, dict[str, Any]] = {}
    for row in document["tables"]["summary"]:
        rows.setdefault(row["arm"], {})[row["metric"]] = row
    cells = {
        row[0]: row for row in table_cells(row for row in document["tables"]["summary"] if row["metric"] == metric)
    }
    test_metrics = [row["metric"] for row in document["tables"]["summary"] if row["metric"].startswith(TEST)]
    shown_metric = metric if metric.startswith(TEST) else test_metrics[0]
    files = [path for name in FILES if (path := folder / name).is_file()] + sorted((folder / "figures").glob("*.png"))
    by_path = {f"report/{path.relative_to(folder).as_posix()}": path for path in files}
    stored = {_folder(arm): arm.get("stored_means", {}).get(shown_metric) for arm in document["arms"]}
    arms = {}
    for v in document["verdicts"]:
        if name := folders.get(v["arm"]):  # pooled and tuned arms have no run
            of_arm, mean = rows.get(v["arm"], {}), stored[name]
            mean = of_arm.get(shown_metric, {}).get("mean") if mean is None else mean
            arms[name] = _arm_upload(document, v, of_arm, mean, cells.get(v["arm"]))
    return Upload(
        document,
        shown_metric,
        arms,
        by_path,
        digest([FORM, *([path, digest(file.read_bytes())] for path, file in by_path.items())]),
    )


def _folder(arm: dict[str, Any]) -> str:
    """The whole name of an arm of a report; in reports of earlier versions it is the only one."""
    return arm.get("folder", arm["name"])


def _arm_upload(
    document: Mapping[str, Any],
    verdict: Mapping[str, Any],
    rows: Mapping[str, Any],
    mean: float | None,
    cells: list[str] | None,
) -> ArmUpload:
    """rows: the arm's rows of the summary by metric. mean: of all its stored seeds, as MLflow has it. cells: its row in
    the table of the verdict's metric.
    """
    metrics = {
        f"{DIFFERENCE if metric == document['metric'] else EXPLORATORY}{metric}{ending}": row[column]
        for metric, row in rows.items()
        for column, ending in AGAINST_BASELINE.items()
        if row.get(column) is not None and (metric == document["metric"] or metric.startswith(TEST))
    }
    warnings = [warning for warning in document["warnings"] if warning["arm"] == verdict["arm"]]
    sentences = [verdict["sentence"], *(("Warning: " if w["serious"] else "") + w["sentence"] for w in warnings)]
    tags = {"verdict": verdict["verdict"]} | ({"baseline": verdict["baseline"]} if verdict["baseline"] else {})
    if cells is not None:
        tags |= {MEAN: cells[2], DIFFERENCE_TEXT: cells[3]}
    return ArmUpload(mean, metrics, tags, "\n\n".join(sentences))


def publish_comparison(
    target: Tracking, store: RunStore, folder: Path, other_means: list[str] | None = None, is_kept: bool = True
) -> str:
    """Upload the report in `folder` to the study's experiment, if MLflow has one. Returns what went wrong, or "".

    other_means: the arms without the report, since MLflow's mean of them is another one, are put there. is_kept:
    whether the store stays, so that the note can name the command that compares it.
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
        arm_runs = read_arm_runs(uri, store, upload.shown_metric)
        if arm_runs is not None and not _unsettled(upload, arm_runs):
            arms = _with_other_means(upload, arm_runs)
            (other_means if other_means is not None else []).extend(arms)
            return ""
        with store_lock(uri, store.results):
            client = open_client(uri)
            experiment = client.get_experiment_by_name(store.study)
            if experiment is not None and experiment.lifecycle_stage == "active":
                arms = _send(client, experiment, upload, store, is_kept)
                (other_means if other_means is not None else []).extend(arms)
    except Exception as error:  # MLflow, SQLAlchemy and requests share no base class; none may cost the answer
        return one_line(hide_passwords(f"Could not upload the report to MLflow at {uri}: {explain(error)}."))
    return ""


def _unsettled(upload: Upload, runs: Sequence[ArmRun]) -> list[ArmRun]:
    """The runs that need the report: it is about their numbers, and they do not have it."""
    own_arms = {run.arm for run in runs if run.is_own}
    ours = [run for run in runs if run.is_own or run.arm not in own_arms]
    return [run for run in ours if not _is_settled(upload, run)]


def _with_other_means(upload: Upload, runs: Sequence[ArmRun]) -> list[str]:
    """The arms of which no run in MLflow is about the report's numbers."""
    about = {run.arm for run in runs if run.published == upload.digest or not _is_settled(upload, run)}
    return sorted({run.arm for run in runs if run.arm in upload.arms} - about)


def _is_settled(upload: Upload, run: ArmRun) -> bool:
    arm_upload = upload.arms.get(run.arm)
    if arm_upload is None or run.published == upload.digest:
        return True
    if run.mean is None or arm_upload.mean is None:
        return run.mean is not arm_upload.mean
    return not isclose(arm_upload.mean, run.mean, rel_tol=1e-9)


def _send(client: Any, experiment: Any, upload: Upload, store: RunStore, is_kept: bool) -> list[str]:
    """Upload the report to each arm's run that it is about, then to the experiment. Returns the other arms."""
    address = f"#/experiments/{experiment.experiment_id}"
    page = max(upload.files, key=lambda path: path.endswith("report.html"))  # else another file
    arms: dict[str, str] = {}  # id of a run that gets the report -> its arm
    with temporary_folder(store.results) as aside:
        folder = aside / "artifacts"  # not the folder itself, which holds a lock file
        for path, file in upload.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / path)
        found = find_arm_runs(client, experiment, store, upload.shown_metric)
        for run in _unsettled(upload, found):
            run_id = _send_arm_report(client, experiment, run, upload, store, f"{address}/runs/{{}}/artifacts/{page}")
            if run_id:
                client.log_artifacts(run_id, str(folder))
                arms[run_id] = run.arm
    if arms:
        baselines = [run_id for run_id, arm in arms.items() if upload.arms[arm].tags["verdict"] == "baseline"]
        run_id = next(iter([*baselines, *arms]))
        report = f"{address}/runs/{run_id}/artifacts/{page}?{ML_PAGES}"
        note = render_note(upload.document, report, experiment.experiment_id, store.results if is_kept else None)
        client.set_experiment_tag(experiment.experiment_id, NOTE, note)
        client.set_experiment_tag(experiment.experiment_id, VIEW_TAG, _view(upload, experiment))
        rename_runs(client, experiment.experiment_id, store)
    for run_id in arms:  # last: an upload that was interrupted is repeated
        client.set_tag(run_id, DIGEST, upload.digest)
    return _with_other_means(upload, found)


def _send_arm_report(
    client: Any, experiment: Any, run: ArmRun, upload: Upload, store: RunStore, report_address: str
) -> str | None:
    """Upload the metrics and tags of one arm; returns the id of its run, or None if it must stay as it is.

    report_address: with `{}` for the id of the run.
    """
    from mlflow.entities import Metric, RunTag

    from pipeline.report.figures.theme import COLOURS, colour_places

    run_id, arm, arm_upload = run.run_id, run.arm, upload.arms[run.arm]
    metrics_there = client.get_run(run_id).data.metrics
    earlier = {name: value for name, value in metrics_there.items() if name.startswith((DIFFERENCE, EXPLORATORY))}
    if earlier and earlier != arm_upload.metrics:  # MLflow forgets no value of a metric: the run is made anew
        run_id = remake_arm_run(client, experiment.experiment_id, store, run_id)
        if run_id is None:
            return None
        earlier = {}
    now = int(time.time() * 1000)
    settings = {_folder(described): described["setting"] for described in upload.document["arms"]}
    colours = {arm: COLOURS[place] for arm, place in zip(settings, colour_places(settings), strict=True)}
    tags = arm_upload.tags | {
        NOTE: f"{arm_upload.note}\n\n[The whole report]({report_address.format(run_id)}?{ML_PAGES})",
        "mlflow.runColor": colours[arm],
    }
    metrics = [] if earlier else [Metric(name, value, now, 0) for name, value in arm_upload.metrics.items()]
    client.log_batch(run_id, metrics, [], [RunTag(name, value) for name, value in tags.items()])
    return run_id


def _view(upload: Upload, experiment: Any) -> str:
    """A saved view of MLflow's runs table, in the form in which its page saves one: a row per arm, the best first."""
    from pipeline.analysis.curves import higher_is_better  # with pandas, which an upload of runs need not wait for

    shown = upload.shown_metric
    spread, difference = f"spread/{shown}", f"{DIFFERENCE}{upload.document['metric']}"
    metrics = [shown, difference, f"{difference}_p_holm"]
    if upload.document.get("correction", {}).get("declared"):
        metrics += [f"{difference}{ending}" for ending in ("_look", "_unbiased", "_p_stagewise")]
    metrics += [f"{name}{end}" for name in (difference, spread) for end in ("_ci_low", "_ci_high")]
    widths = {f"metrics.`{name}`": 40 + 7 * len(name) for name in metrics}  # pixels: MLflow's own would cut the names
    texts = {"verdict": 110, MEAN: 160, DIFFERENCE_TEXT: 230}  # the answer, before what is left and right of it
    widths = {f"tags.`{name}`": width for name, width in texts.items()} | widths | {"tags.`seeds`": 80}
    # MLflow makes charts for all metrics that have none here; these sections come first.
    sections = {"Model metrics": True, DIFFERENCE.rstrip("/"): True, "spread": False, EXPLORATORY.rstrip("/"): False}
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

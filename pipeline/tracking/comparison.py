"""A study's answer in MLflow: what `pipeline.compare` wrote, shown beside the arms that it speaks of.

The verdict is the experiment's note. Each arm's run gets its differences from the baseline as metrics, its verdict as a
tag and as its description, the colour that it has in the figures, and the report as artifacts. MLflow keeps no files
with an experiment, and a run of the report's own would be a row of the table that is no arm: so every arm has them
(about 1 MB), whichever is opened. A saved view of the runs table, `Verdict`, shows an arm a row with these numbers.

An arm takes a verdict only when its mean is the one that the verdict speaks of. Its tag `published` holds a digest of
what it was given, so that publishing twice changes nothing.
"""

import base64
import csv
import json
import shutil
import tempfile
import time
import zlib
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from pipeline.config.schema import Tracking
from pipeline.runtime.hashing import digest
from pipeline.store.runs import RunStore
from pipeline.tracking.client import client_class, database_file, read_sqlite, store_lock, store_uri
from pipeline.tracking.runs import send_arm

FORM = 1  # of what is published; in the digest, so that a change of form is sent too
NOTE, DIGEST, VIEW = "mlflow.note.content", "published", "verdict"
TRAINING = "workflowType=machine_learning"  # in an address: MLflow's pages for training, not those for chats
DIFFERENCE = "difference/"  # prefix of the metrics against the baseline: a section of charts of its own
TEST = "test_"
LONGEST = 5000  # characters that every MLflow 3 takes as the value of an experiment's tag
# Column of summary.csv -> end of the metric's name.
AGAINST = {
    "difference": "", "difference_ci_low": "_ci_low", "difference_ci_high": "_ci_high", "p": "_p", "p_holm": "_p_holm",
}  # fmt: skip


@dataclass(frozen=True)
class _Words:
    """What is said of one arm. mean: of the metric `tested`; None where every seed diverged."""

    mean: float | None
    metrics: dict[str, float]
    tags: dict[str, str]
    note: str


@dataclass(frozen=True)
class _Answer:
    """A report folder, read. metric: what the verdict is about; lines: answer.md's, without headings and pictures.

    tested: the same, or where that is derived from the learning curves, of which MLflow has no means, the test metric.
    """

    metric: str
    tested: str
    lines: list[str]
    arms: dict[str, _Words]
    files: dict[str, Path]  # by their path among the artifacts
    digest: str


def publish_comparison(target: Tracking, store: RunStore, folder: Path) -> str:
    """Send the report in `folder` to the study's experiment, if MLflow has one. What went wrong, or "".

    MLflow is imported only when there is something to send, or when only MLflow can tell (a server).
    """
    uri = store_uri(target)
    database = database_file(uri)
    is_there = (folder / "answer.md").is_file() and (database is None or database.is_file())
    if not target.enabled or not is_there:
        return ""
    try:
        answer = _read(folder)
        held = _held(uri, store.study, answer.tested)
        if held is not None and all(_is_settled(answer, *row) for row in held):
            return ""
        with store_lock(uri, store.results):
            client = client_class()(uri)
            experiment = client.get_experiment_by_name(store.study)
            if experiment is not None and experiment.lifecycle_stage == "active":
                _send(client, experiment, answer, store)
    except Exception as error:  # MLflow, SQLAlchemy and requests share no base class; none may cost the answer
        return f"MLflow at {uri} did not take the report: {' '.join(str(error).split())[:300]}."
    return ""


def _held(uri: str, study: str, metric: str) -> list[tuple[str, float | None, str | None]] | None:
    """Arm, mean and digest of each arm's run in an SQLite store; none without the study. None where that cannot be."""
    query = """SELECT arm.value, latest.value, given.value FROM runs JOIN experiments USING (experiment_id)
               JOIN tags role ON role.run_uuid = runs.run_uuid AND role.key = 'role' AND role.value = 'arm'
               JOIN tags arm ON arm.run_uuid = runs.run_uuid AND arm.key = 'arm'
               LEFT JOIN latest_metrics latest ON latest.run_uuid = runs.run_uuid AND latest.key = ?
               LEFT JOIN tags given ON given.run_uuid = runs.run_uuid AND given.key = ?
               WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'
               AND experiments.name = ?"""
    return read_sqlite(uri, query, [metric, DIGEST, study])


def _is_settled(answer: _Answer, arm: str, mean: float | None, given: str | None) -> bool:
    """Whether an arm's run needs nothing: it was given this answer, or the answer does not speak of its numbers."""
    words = answer.arms.get(arm)
    if words is None or given == answer.digest:
        return True
    if mean is None or words.mean is None:
        return mean is not words.mean
    return not isclose(words.mean, mean, rel_tol=1e-9)


def _read(folder: Path) -> _Answer:
    """The answer that `pipeline.compare` wrote."""
    files = [path for name in ("answer.md", "summary.csv", "report.html") if (path := folder / name).is_file()]
    files += sorted((folder / "figures").glob("*.png"))
    with (folder / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "plots" / "values.csv").open(newline="") as file:
        metric = next(csv.DictReader(file))["metric"]  # that of the verdict, and of no other
    tested = (
        metric if metric.startswith(TEST) else next(row["metric"] for row in rows if row["metric"].startswith(TEST))
    )
    lines = [line for line in (folder / "answer.md").read_text().splitlines() if not line.startswith(("# ", "!["))]
    by_path = {f"report/{path.relative_to(folder).as_posix()}": path for path in files}
    return _Answer(
        metric,
        tested,
        lines,
        {arm: _words(arm, metric, tested, rows, lines) for arm in dict.fromkeys(row["arm"] for row in rows)},
        by_path,
        digest([FORM, *([path, digest(file.read_bytes())] for path, file in by_path.items())]),
    )


def _words(arm: str, metric: str, tested: str, rows: list[dict[str, str]], lines: list[str]) -> _Words:
    own = {row["metric"]: row for row in rows if row["arm"] == arm}
    metrics = {
        f"{DIFFERENCE}{name}{end}": float(row[column])
        for name, row in own.items()
        for column, end in AGAINST.items()
        if row.get(column) and (name == metric or name.startswith(TEST))
    }
    row = own.get(metric, {"verdict": "not compared", "mean": ""})  # no run of it has that metric
    is_baseline = any(other.get("baseline") == arm for other in rows)
    verdict = row.get("verdict") or ("baseline" if is_baseline else "not compared" if row["mean"] else "diverged")
    said = [line.removeprefix("- ") for line in lines if line.startswith((f"- {arm}: ", f"- Warning: {arm}: "))]
    said = said or [f"{arm}: the baseline that other arms are compared with." if is_baseline else f"{arm}: {verdict}."]
    tags = {"verdict": verdict} | ({"baseline": row["baseline"]} if row.get("baseline") else {})
    mean = own[tested]["mean"] if tested in own else ""
    return _Words(float(mean) if mean else None, metrics, tags, "\n\n".join(said))


def _send(client: Any, experiment: Any, answer: _Answer, store: RunStore) -> None:
    """Give the answer to each arm's run that it speaks of, then to the experiment."""
    from mlflow.entities import Metric, RunTag

    from pipeline.report.figures.theme import COLOURS

    study, where = experiment.name, f"#/experiments/{experiment.experiment_id}"
    colours = {arm: COLOURS[place % len(COLOURS)] for place, arm in enumerate(answer.arms)}
    page = max(answer.files, key=lambda path: path.endswith("report.html"))  # else answer.md
    given: dict[str, str] = {}  # arm -> the id of its run
    with tempfile.TemporaryDirectory() as folder:
        for path, file in answer.files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, Path(folder) / path)
        for run in _arms(client, experiment):
            arm, metrics, tags = run.data.tags["arm"], run.data.metrics, run.data.tags
            if _is_settled(answer, arm, metrics.get(answer.tested), tags.get(DIGEST)):
                continue
            words = answer.arms[arm]
            earlier = {name: value for name, value in metrics.items() if name.startswith(DIFFERENCE)}
            if earlier and earlier != words.metrics:  # MLflow forgets no value of a metric: the run is made anew
                runs = store.runs(arm)
                if not runs:  # MLflow alone still has the arm
                    continue
                client.delete_run(run.info.run_id)
                send_arm(client, experiment.experiment_id, arm, runs)
                (run,) = _arms(client, experiment, f" AND tags.arm = '{arm}'")
                earlier = {}
            run_id, now = run.info.run_id, int(time.time() * 1000)
            note = f"{words.note}\n\n[The whole report]({where}/runs/{run_id}/artifacts/{page}?{TRAINING})"
            said = words.tags | {NOTE: note, "mlflow.runColor": colours[arm]}
            sent = [] if earlier else [Metric(name, value, now, 0) for name, value in words.metrics.items()]
            client.log_batch(run_id, sent, [], [RunTag(name, value) for name, value in said.items()])
            client.log_artifacts(run_id, folder)
            given[arm] = run_id
    if given:
        first = next(
            (given[arm] for arm in given if answer.arms[arm].tags["verdict"] == "baseline"), next(iter(given.values()))
        )
        report = f"{where}/runs/{first}/artifacts/{page}?{TRAINING}"
        client.set_experiment_tag(experiment.experiment_id, NOTE, _note(answer, study, report, where))
        client.set_experiment_tag(experiment.experiment_id, f"mlflow.sharedViewState.{VIEW}", _view(answer, experiment))
    for run_id in given.values():  # last: what was cut short is sent again
        client.set_tag(run_id, DIGEST, answer.digest)


def _arms(client: Any, experiment: Any, more: str = "") -> list[Any]:
    return list(client.search_runs([experiment.experiment_id], f"tags.role = 'arm'{more}", max_results=1000))


def _note(answer: _Answer, study: str, report: str, where: str) -> str:
    """The verdict, which alone is seen while the note is folded, where to look, the tables, and the sentences."""
    said = [line for line in answer.lines if line.strip()]
    sentences = [line for line in said if line.startswith("- ")]
    rest = [line for line in answer.lines if line not in (said[0], *sentences)]
    # MLflow leaves no space between the columns of a note's table.
    rest = [line.replace(" |", "&emsp; |") if line.startswith("| ") and "---" not in line else line for line in rest]
    view = f"{where}/runs?viewStateShareKey={VIEW}&{TRAINING}"
    links = (
        f"[The arms, a row each]({view}) · [The whole report]({report}) · `python -m pipeline.compare study={study}`"
    )
    text = "\n".join([said[0], "", links, "", *sentences, "", *rest])
    if len(text) <= LONGEST:
        return text
    end = "\n\nThe rest is in the report."
    return text[: text.rindex("\n", 0, LONGEST - len(end))] + end


def _view(answer: _Answer, experiment: Any) -> str:
    """A saved view of MLflow's runs table, as its page saves one: a row per arm, the best first."""
    spread, against = f"spread/{answer.tested}", f"{DIFFERENCE}{answer.metric}"
    metrics = [answer.tested, against, f"{against}_p_holm"]
    metrics += [f"{name}{end}" for name in (against, spread) for end in ("_ci_low", "_ci_high")]
    columns = {f"metrics.`{name}`": 40 + 7 * len(name) for name in metrics}  # in pixels: MLflow's own cut the names
    columns = {"tags.`verdict`": 110} | columns | {"tags.`seeds`": 80}
    # Charts are made for all metrics that have none here, in these sections first.
    sections = {"Model metrics": True, DIFFERENCE.rstrip("/"): True, "spread": False}
    state = {
        "searchFilter": "tags.role = 'arm'",
        "orderByKey": f"metrics.`{answer.tested}`",
        "orderByAsc": not answer.tested.endswith(("accuracy", "auc")),
        "selectedColumns": [*columns],
        "columnOrder": ["attributes.`Run Name`", *columns],
        "columnWidths": columns,
        "compareRunCharts": [],
        "compareRunSections": [
            {"uuid": name, "name": name, "display": shown, "isReordered": True, "deleted": False, "isGenerated": True}
            for name, shown in sections.items()
        ],
        "isAccordionReordered": True,
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    made = experiment.creation_time
    return json.dumps({"name": "Verdict", "createdAt": made, "updatedAt": made, "state": f"deflate;{packed}"})

"""Print what a sweep ends with: the table of its arms, weights of their first seeds, and what to do next."""

import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from pipeline.config.metrics import first_metric
from pipeline.config.schema import PROJECT, Tracking
from pipeline.experiment.ablation import ablate_studies
from pipeline.experiment.hydra_callback import Request, current_request
from pipeline.experiment.isolation import stop_trainer
from pipeline.experiment.outcome import Outcome, read_outcome
from pipeline.experiment.plan import shown_names
from pipeline.experiment.progress import passing_line
from pipeline.experiment.until import take_looks
from pipeline.installation import command_text
from pipeline.report.console import print_table, short_path
from pipeline.runtime.early import KEPT
from pipeline.runtime.gate import describe_with_log
from pipeline.runtime.logs import redirect_stderr
from pipeline.runtime.signals import Interrupted
from pipeline.runtime.wrapping import columns_or, print_sentences
from pipeline.stats.intervals import mean_interval
from pipeline.store.failures import read_beside_logs
from pipeline.tracking.background import finish_uploads, queue_arm, stop_uploads, uploads_go_on
from pipeline.tracking.client import hide_passwords, store_uri
from pipeline.tracking.pages import ui_command


def finish_look(request: Request) -> bool:
    """Judge the arms, where the request is one look of `until=decided` and is whole; whether another look follows."""
    request.view.stop()
    plans = [plan for plan in request.plans if plan.config.until is not None]
    if not plans:
        return False
    lines, goes_on = take_looks(plans)
    print_sentences(lines)
    return goes_on and bool(lines)


def finish_request(request: Request, error: Exception | None) -> int:
    """Report a request that has run: table, ablation, uploads, failures. Returns the exit code, 0 or 1.

    Everything is read from the store. error: what the launcher raised.
    """
    stop_trainer()
    request.view.stop()
    arms = zip(request.plans, request.failed_before, strict=True)
    trained = request.trained
    there = {key: runs for key, (runs, _) in (request.stored or {}).items()}
    outcomes = [
        read_outcome(plan, trained[plan.store, plan.arm], request.identity, failed, there.get((plan.store, plan.arm)))
        for plan, failed in arms
    ]
    outcomes = [_with_unrecorded(outcome, request) for outcome in outcomes]
    if any(outcome.runs for outcome in outcomes):
        print_outcomes(outcomes)
        plans = [outcome.plan for outcome in outcomes]
        said = "testing the trained models with other biases ..." if any(p.config.ablation for p in plans) else ""
        with passing_line(said), redirect_stderr(request.log):
            problems = ablate_studies(plans)
        print_sentences(problems, sys.stderr)
        for outcome in outcomes:  # those that a launcher's workers have trained
            plan = outcome.plan
            if plan.config.tracking.enabled:
                runs = there.get((plan.store, plan.arm)) or plan.store.runs(plan.arm)
                queue_arm(plan.config.tracking, plan.store, plan.arm, runs)
    upload_problems = finish_uploads(request.log)
    print_sentences(upload_problems, sys.stderr)
    if any(outcome.runs for outcome in outcomes):
        print_next_steps(outcomes, all_uploaded=not upload_problems)
    failures = [outcome.problem for outcome in outcomes if outcome.problem]
    if error is not None and not any(outcome.failure for outcome in outcomes):
        failures.append(describe_with_log(error, request.log))
    print_sentences([f"failed: {hide_passwords(line)}" for line in failures], sys.stderr)
    return 1 if failures else 0


def _with_unrecorded(outcome: Outcome, request: Request) -> Outcome:
    """The outcome with the failure that the job could not record in the results folder, if that is so."""
    store, arm = outcome.plan.store, outcome.plan.arm
    failure = request.unrecorded.get((store, arm)) or read_beside_logs(request.log.parent, store, arm)
    is_ours = failure is not None and failure.request == request.identity
    return replace(outcome, failure=failure) if is_ours else outcome


def finish_interrupted(interrupt: Interrupted) -> int:
    """End a command that a signal has interrupted: upload the runs that are stored. Returns the exit code."""
    print(f"{interrupt}{KEPT}", file=sys.stderr)
    request = current_request()
    if request is None:
        stop_uploads()
        return interrupt.exit_code
    request.view.stop()
    for plan in request.plans:
        queue_arm(plan.config.tracking, plan.store, plan.arm, plan.store.runs(plan.arm))
    if uploads_go_on():
        again = "Ctrl-C again" if interrupt.signal == signal.SIGINT else "a second signal"
        print(f"sending what is finished to MLflow; {again} to leave it", file=sys.stderr, flush=True)
    print_sentences(finish_uploads(request.log), sys.stderr)
    return interrupt.exit_code


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print a row per arm: seeds, how many are new since the command started, how many diverged, test metrics."""
    metrics = _shown_metrics(outcomes)
    several = len({outcome.plan.store for outcome in outcomes}) > 1
    headings = ["arm", "seeds", "new", "diverged", *(f"{name} (mean ± std)" for name in metrics)]
    rows, names = [], shown_names([outcome.plan for outcome in outcomes])
    for outcome, name in zip(outcomes, names, strict=True):
        complete = [run.meta["metrics"] for run in outcome.runs if run.complete]
        spreads = [mean_interval(np.array([m[name] for m in complete if name in m]))[:2] for name in metrics]
        cells = [_spread_text(mean, std) for mean, std in spreads]
        counts = (len(outcome.runs), len(outcome.trained), len(outcome.runs) - len(complete))
        name = f"{outcome.plan.config.study}/{name}" if several else name
        rows.append([name, *map(str, counts), *cells])
    print_table("", headings, rows, width=200)
    for outcome, name in zip(outcomes, names, strict=True):
        if outcome.plan.config.show_weights and outcome.runs:
            _print_weights(outcome, name)
    print(f"Results: {', '.join(sorted({short_path(outcome.plan.store.folder) for outcome in outcomes}))}")


def _shown_metrics(outcomes: Sequence[Outcome]) -> list[str]:
    """The first metric of `training.metrics` of each arm, and the loss, of the test rows."""
    names = dict[str, None]()
    for outcome in outcomes:
        measured = {name.removeprefix("test_") for run in outcome.runs for name in run.meta["metrics"]
                    if name.startswith("test_")}  # fmt: skip
        first = first_metric(outcome.plan.settings["training"]["metrics"], measured)
        names |= dict.fromkeys(name for name in (first, *({"loss"} & measured)) if name)
    return [f"test_{name}" for name in sorted(names, key=lambda name: name == "loss")]


def _spread_text(mean: float, std: float) -> str:
    if np.isnan(mean):
        return "–"
    return f"{mean:.4f}" if np.isnan(std) else f"{mean:.4f} ± {std:.4f}"


def _print_weights(outcome: Outcome, name: str) -> None:
    """Print weights and biases of an arm's first seed before and after training, each marked with what it is."""
    run = outcome.runs[0]
    values, biases = run.weights(), {name.partition("/")[2] for name in run.biases()}
    epochs = run.meta["config"]["training"]["epochs"]
    table = Table(Column("layer", overflow="fold"), "what it is", "shape", "before", f"after epoch {epochs}",
                  show_lines=True, title=f"{name}, seed {run.seed}", title_justify="left")  # fmt: skip
    for path in [name.removeprefix("before/") for name in values if name.startswith("before/")]:
        layer, _, variable = path.rpartition("/")
        moments = [_array_text(values[f"{moment}/{path}"]) for moment in ("before", "after")]
        kind = "biases" if path in biases else f"weights:\n{variable}"
        table.add_row(layer, kind, str(values[f"before/{path}"].shape), *moments)
    Console(width=columns_or(120), highlight=False).print(table)
    if not run.meta["config"]["use_bias"]:
        print("No biases: the layers are built with use_bias=False.")


def _array_text(values: np.ndarray) -> str:
    return np.array2string(values, precision=3, suppress_small=True, threshold=60, max_line_width=27)


def print_next_steps(outcomes: Sequence[Outcome], all_uploaded: bool) -> None:
    """Print where MLflow shows the runs, and the command that compares the arms."""
    tracking = outcomes[0].plan.config.tracking
    if tracking.enabled and all_uploaded:
        uri = store_uri(tracking)
        print(f"In MLflow: {hide_passwords(uri) if uri.startswith('http') else ui_command(uri)}")
    studies = ",".join(sorted({outcome.plan.config.study for outcome in outcomes}))
    results = outcomes[0].plan.store.results
    options = [f"study={studies}", *([] if results == PROJECT / "results" else [f"results={results}"])]
    if tuned := next((outcome.plan.config.tune for outcome in outcomes if outcome.plan.config.tune), None):
        options.append(f"tune={','.join(tuned)}")
    if tracking.enabled and (uri := store_uri(tracking)) != store_uri(Tracking()):
        options.append(f"uri={hide_passwords(uri)}")
    if tracking.enabled and tracking.detail != Tracking().detail:
        options.append(f"detail={tracking.detail}")
    print(f"The answer: {command_text('compare', uv=True)} {shlex.join(options)}")

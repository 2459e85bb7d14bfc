"""Compare the arms of a study, from stored results alone: `python -m pipeline.compare study=digits-mlp`.

Options, each `key=value`: study (one, or several with commas; default: the only one there is), baseline (zeros), metric
(what the verdict is about; test_accuracy, or test_mae; best_val_accuracy, ...: see summary.csv), margin (the largest
difference of that metric that does not matter; 0.005, of an error in the target's unit 0.5 % of it), threshold (the
level of epochs_to_val_accuracy; default: 95 % of the baseline's progress), tune (a setting such as
optimizer.learning_rate: compare each arm at its best value, which other seeds chose than judge it; see conf/README.md),
figures (false: draw none, for a quick look), uncorrected (true: print p without its correction too, as the reports have
it), pdf (true: draw them as PDF too, as wide as a column of print), results (results), reports (reports, beside the
results: of results=mine it is mine-reports), mlflow (false: do not upload the comparison to MLflow), uri (of the
MLflow store that has the study; default: MLFLOW_TRACKING_URI where it is set, else the embedded store), wait (most
seconds that the upload may take; 30), detail (arms: the command that is printed for sending sends no seed's run, as
with tracking.detail=arms). With -q, only what went wrong is printed. Exit code 1: a file cannot be read or written; 2:
nothing to compare.

Writes into `<reports>/<study>/`: report.html (one file, works offline), answer.md, comparison.json (for programs),
answer.tex, methods.md and references.bib (for a paper), figures/*.png and *.svg, summary.csv, differences.csv,
biases.parquet, and metrics.json and plots/ for DVC. Of several studies, `<reports>/studies.md` and studies.csv rank the
common arms.
"""

from pipeline.runtime.early import end_on_signal

if __name__ == "__main__":
    end_on_signal()  # before the imports, which take a second


import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from pipeline.config.options import QUIET, check_detail, check_wait, command_line, parse_options
from pipeline.config.schema import PROJECT, Tracking, expand_home
from pipeline.config.tuning import read_tune
from pipeline.errors import require
from pipeline.installation import help_text
from pipeline.report.render import rendering, stop_renderer
from pipeline.runtime.gate import guard
from pipeline.runtime.logs import silent_output
from pipeline.runtime.signals import run_command
from pipeline.store.places import reports_beside
from pipeline.store.studies import choose_studies
from pipeline.tracking.address import check_address


@dataclass(frozen=True)
class CompareOptions:
    """The options; an empty study, baseline, metric, reports or uri stands for the default."""

    study: str = ""
    baseline: str = ""
    metric: str = ""
    margin: float | None = None
    threshold: float | None = None
    tune: str = ""
    figures: bool = True
    uncorrected: bool = False
    pdf: bool = False
    results: str = "results"
    reports: str = ""
    mlflow: bool = True
    uri: str = ""
    wait: float = 30
    detail: str = "runs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return guard(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    """Compare, and print nothing about it with `-q`; the exit code."""
    with silent_output(any(argument in QUIET for argument in arguments)):
        return _compare([argument for argument in arguments if argument not in QUIET])


def _compare(arguments: Sequence[str]) -> int:
    """Compare the studies that the arguments ask for. Returns the exit code."""
    options = parse_options(arguments, CompareOptions)
    if options is None:
        print(help_text(__doc__ or ""))
        return 0
    require(options.margin is None or 0 < options.margin < math.inf, "margin", options.margin, "a positive number")
    check_wait("wait", options.wait)
    check_detail("detail", options.detail)
    tune = read_tune(options.tune) if options.tune else None
    results = PROJECT / expand_home(options.results)
    reports = PROJECT / expand_home(options.reports) if options.reports else reports_beside(results)
    stores = choose_studies(results, options.study)
    tracking = Tracking(options.mlflow, options.uri or None, wait=options.wait, detail=options.detail)
    check_address(tracking, "uri", is_made=False)
    with rendering(options.figures):
        from pipeline.report.write import report_studies

        question = {key: getattr(options, key) for key in ("baseline", "metric", "margin", "threshold")}
        question["tune"] = tune
        asked = replace(
            options, uncorrected=False, mlflow=True, uri="", wait=30, detail="runs"
        )  # these change no report
        command = partial(command_line, "compare", asked)
        written = list(
            report_studies(stores, reports, command, options.figures, options.pdf, options.uncorrected, **question)
        )
        if options.mlflow:
            from pipeline.tracking.studies import publish_reports

            if not publish_reports(written, results, reports, tracking):
                stop_renderer()  # the process ends without waiting for the upload, nor for anything else
    return 0


if __name__ == "__main__":
    run_command(main, finish_threads=True)  # those of the renderer, which is stopped

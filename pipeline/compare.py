"""The answer, from stored results alone: `python -m pipeline.compare study=digits-mlp`.

Options, each `key=value`: study (one, or several with commas; default: the only one there is), baseline (zeros), metric
(what the verdict is about; test_accuracy, or test_mae; best_val_accuracy, ...: see summary.csv), margin (a difference
of that metric which does not matter; 0.005), threshold (of epochs_to_val_accuracy; default: 95 % of the baseline's
way), results (results), reports (reports), mlflow (true: MLflow gets the answer, if it has the study). Writes, for each
study, `<reports>/<study>/`: report.html (one file, needs no network), answer.md, figures/*.png and *.svg, summary.csv,
differences.csv, biases.parquet, metrics.json and plots/ (for DVC); for several studies also `<reports>/studies.md` and
studies.csv, where the arms that all have are ranked. Exit code 2: nothing to compare, or an option that does not exist.
"""

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.options import parse_options
from pipeline.config.schema import PROJECT, Tracking
from pipeline.errors import ConfigError, require
from pipeline.report.console import print_comparison, print_table
from pipeline.report.render import start_renderer, stop_renderer
from pipeline.store.files import check_writable
from pipeline.store.runs import choose_studies

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class CompareOptions:
    """The options of the command; empty: the only study there is, and the usual metric of its task."""

    study: str = ""
    baseline: str = "zeros"
    metric: str = ""
    margin: float = 0.005
    threshold: float | None = None
    results: str = "results"
    reports: str = "reports"
    mlflow: bool = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare each study that is asked for; the exit code."""
    try:
        options = parse_options(sys.argv[1:] if arguments is None else arguments, CompareOptions)
        if options is None:
            print(__doc__)
            return 0
        results, reports = PROJECT / options.results, PROJECT / options.reports
        margin, threshold = options.margin, options.threshold
        require(0 < margin < math.inf, "margin", margin, "a positive number")
        require(threshold is None or math.isfinite(threshold), "threshold", threshold, "a number")
        stores = dict.fromkeys(choose_studies(results, options.study))
        start_renderer()  # it takes as long as the imports below, which wait for it here
        from pipeline.analysis.across_studies import rank_arms
        from pipeline.analysis.comparison import compare_study
        from pipeline.report.ranking import ranking_cells, ranking_headings, write_ranking
        from pipeline.report.write import write_report
        from pipeline.tracking.comparison import publish_comparison

        asked = (options.baseline, options.metric, margin, threshold)
        answers = [compare_study(store, *asked) for store in stores]
        ranking = rank_arms(answers) if len(answers) > 1 else None
        for found in answers:
            check_writable(reports / found.study, "reports")
        for found in answers:
            folder = reports / found.study
            write_report(found, folder, _commands(found.study, options))
            print_comparison(found)
            _say_where(folder / "report.html")
        if ranking is not None:
            print()
            if not ranking.table.empty:
                write_ranking(ranking, answers, reports)
                title = f"{', '.join(ranking.studies)}: mean (rank)"
                print_table(title, ranking_headings(ranking), ranking_cells(ranking, answers))
                _say_where(reports / "studies.md")
            print(*ranking.said, sep="\n")
        target = Tracking(enabled=options.mlflow)
        for store in stores:
            if problem := publish_comparison(target, store, reports / store.study):
                print(f"{problem} Run python -m pipeline.sync to retry.", file=sys.stderr)
    except ConfigError as error:
        stop_renderer()
        print(error, file=sys.stderr)
        return 2
    return 0


def _commands(study: str, options: CompareOptions) -> dict[str, str]:
    """How this study is compared again with these options: what the command does -> how it is typed."""
    changed = {f.name for f in fields(options) if getattr(options, f.name) != f.default} - {"mlflow"}  # changes no page
    values = asdict(options) | {"study": study}
    typed = [f"{key}={value}" for key, value in values.items() if key == "study" or key in changed]
    again = shlex.join(["uv", "run", "python", "-m", "pipeline.compare", *typed])
    return {"Compare the stored results again, which writes this page:": again}


def _say_where(path: Path) -> None:
    print(f"Report: {path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path}")


if __name__ == "__main__":
    sys.exit(main())

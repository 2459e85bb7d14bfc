"""The answer, from stored results alone: `python -m pipeline.compare study=digits-mlp`.

Options, each `key=value`: study (one, or several with commas; default: the only one there is), baseline (zeros), metric
(what the verdict is about; test_accuracy, or test_mae), margin (a difference of that metric which does not matter;
0.005), results (results), reports (reports). Writes, for each study, `<reports>/<study>/`: summary.csv,
differences.csv, metrics.json (for DVC), answer.md, report.html (one file, needs no network), figures/*.png and *.svg.
Exit code 2: nothing to compare, or an option that does not exist.
"""

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline import press, store
from pipeline.config import PROJECT, parse_options
from pipeline.errors import ConfigError, require

if TYPE_CHECKING:
    from pipeline.answer import Answer

OPTIONS = {
    "study": "",
    "baseline": "zeros",
    "metric": "",
    "margin": "0.005",
    "results": "results",
    "reports": "reports",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare each study that is asked for; the exit code."""
    try:
        options = parse_options(sys.argv[1:] if arguments is None else arguments, OPTIONS)
        if options is None:
            print(__doc__)
            return 0
        results, reports = PROJECT / options["results"], PROJECT / options["reports"]
        margin = _number(options["margin"])
        require(0 < margin < math.inf, "margin", options["margin"], "a positive number")
        studies = store.chosen(results, options["study"])
        press.start()  # it takes as long as the imports below, which wait for it here
        from pipeline import answer, report

        for study in studies:
            folder = reports / study
            found = answer.of_study(results, study, options["baseline"], options["metric"], margin)
            store.check_writable(folder, "reports")
            report.write(found, folder, _commands(study, options))
            _print(found)
            print(f"Report: {folder.relative_to(PROJECT) if folder.is_relative_to(PROJECT) else folder}/report.html")
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _number(text: str) -> float:
    """nan for what is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _commands(study: str, options: Mapping[str, str]) -> dict[str, str]:
    """How this study is compared again with these options: what the command does -> how it is typed."""
    given = {key: value for key, value in options.items() if value != OPTIONS[key]} | {"study": study}
    typed = [f"{key}={given[key]}" for key in OPTIONS if key in given]
    again = shlex.join(["uv", "run", "python", "-m", "pipeline.compare", *typed])
    return {"Compare the stored results again, which writes this page:": again}


def _print(found: "Answer") -> None:
    """The chosen metric's table, at most 100 columns wide, and what it says."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from pipeline import report

    title = f"{found.study}: {found.metric} against {found.baseline}, margin {found.margin:g}"
    table = Table(title=title, title_justify="left")
    for heading in report.HEADINGS:
        table.add_column(heading, no_wrap=heading != "arm", overflow="fold")
    for row in report.cells(found.chosen):
        table.add_row(*map(escape, row))
    Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(table)
    print(*found.said, sep="\n")


if __name__ == "__main__":
    sys.exit(main())

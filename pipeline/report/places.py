"""The files of a report, and whether a folder can take them: nothing but an earlier report is written over."""

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.report.document import FILE
from pipeline.store.files import check_writable
from pipeline.store.places import check_file

ENDINGS = ("svg", "png", "pdf")
FIGURES = ("intervals", "tuning", "paired_differences", "learning_curves", "difference_curves", "biases",
           "trajectories", "drift")  # fmt: skip
TRACKED = ("summary.csv", "differences.csv", "biases.parquet", "answer.md", "report.html")  # DVC has all, or none
FILES = (FILE, *TRACKED, "answer.tex", "methods.md", "references.bib", "metrics.json",
         *(f"plots/{name}.csv" for name in ("intervals", "values", "biases")),
         *(f"figures/{name}.{ending}" for name in FIGURES for ending in ENDINGS))  # fmt: skip
BEGINNING = '{"schema_version":'  # of comparison.json, without its spaces


def check_report_folder(folder: Path, key: str, only_of_reports: Sequence[str] = FILES) -> None:
    """Raise ConfigError, naming the setting `key` and the path, where something is in the way of a report.

    only_of_reports: the files that are taken for somebody else's in a folder without comparison.json.
    """
    for place in (folder, folder / "figures", folder / "plots"):
        check_writable(place, key)
    for name in FILES:
        check_file(folder / name, key)
    present = [name for name in only_of_reports if os.path.lexists(folder / name)]
    if present and not _is_report(folder):
        line = f"{key}: {folder / present[0]} is of no earlier report, which would have {FILE} beside it"
        raise ConfigError(f"{line}; allowed: another folder, or none of its name; move it away")


def _is_report(folder: Path) -> bool:
    try:
        with (folder / FILE).open(encoding="utf-8") as file:
            return "".join(file.read(100).split()).startswith(BEGINNING)
    except (OSError, ValueError):
        return False

"""Tables of a study, beside its runs."""

import csv
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.store.files import aside_folder, write_flushed

ABLATION, DEAD_UNITS = "ablation.csv", "dead_units.csv"


def read_table(results: Path, study: str, name: str) -> list[dict[str, str]]:
    """The rows of a study's table; none where there is no such file, or it cannot be read."""
    try:
        with (results / study / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return []


def write_table(results: Path, study: str, name: str, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """Put a study's table, of these columns alone, in place of the one there is; one without rows is no file."""
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    target = results / study / name
    if not rows:
        target.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(dir=aside_folder(results)) as aside:
        write_flushed(Path(aside) / name, buffer.getvalue().encode())
        (Path(aside) / name).replace(target)

"""Tables of a study that are made from its runs and lie beside them."""

import csv
import io
from collections.abc import Sequence

from pipeline.store.files import read_small, replace_file
from pipeline.store.runs import RunStore

ABLATION, DEAD_UNITS = "ablation.csv", "dead_units.csv"


def read_table(store: RunStore, name: str) -> list[dict[str, str]]:
    """The rows of a table; none where there is no such file, or it cannot be read."""
    try:
        text = read_small(store.folder / name).decode()
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, ValueError, csv.Error):
        return []


def write_table(store: RunStore, name: str, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """Replace a table by these rows; fields outside `columns` are dropped. Without rows, the file is removed."""
    if not rows:
        (store.folder / name).unlink(missing_ok=True)
        return
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    replace_file(store.results, store.folder / name, buffer.getvalue().encode())

"""Tables on the terminal."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from pipeline.analysis.comparison import Comparison


def print_comparison(found: "Comparison") -> None:
    """The chosen metric's table, at most 100 columns wide, and what it says."""
    from pipeline.report.format import HEADINGS, table_cells

    title = f"{found.study}: {found.metric} against {found.baseline}, margin {found.margin:g}"
    print_table(title, HEADINGS, table_cells(found.chosen), folded=HEADINGS[:1])
    print(*found.said, sep="\n")


def print_table(title: str, headings: list[str], rows: list[list[str]], folded: Sequence[str] = ()) -> None:
    """folded: the headings of the columns that may be broken; where there are none, all may."""
    table = Table(title=escape(title), title_justify="left")
    for heading in headings:
        table.add_column(escape(heading), no_wrap=bool(folded) and heading not in folded, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(table)


def short_path(path: Path) -> str:
    """The path, relative to the working directory where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

"""Tables on the terminal."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:  # training prints tables too, and must not wait for pandas
    from pipeline.analysis.across_studies import Ranking
    from pipeline.analysis.comparison import Comparison

WIDTH = 100  # columns, where the output is not a terminal


def print_comparison(comparison: "Comparison") -> None:
    """Print the table of the verdict's metric, at most `WIDTH` columns wide, and the sentences."""
    from pipeline.analysis.formatting import plain_rows
    from pipeline.report.format import HEADINGS, table_cells

    study = comparison.study
    title = f"{study.name}: {study.metric} against {study.baseline}, margin {study.margin:g}"
    print_table(title, HEADINGS, table_cells(plain_rows(comparison.chosen)), folded=HEADINGS[:1])
    print(*comparison.sentences, sep="\n")


def print_ranking(ranking: "Ranking", comparisons: Sequence["Comparison"]) -> None:
    """Print the table of the ranks."""
    from pipeline.report.ranking import ranking_cells, ranking_headings

    title = f"{', '.join(ranking.studies)}: mean (rank)"
    print_table(title, ranking_headings(ranking), ranking_cells(ranking, comparisons))


def print_table(title: str, headings: list[str], rows: list[list[str]], folded: Sequence[str] = ()) -> None:
    """Print a table. folded: headings of the columns that may be broken into lines; empty: all may."""
    table = Table(title=escape(title), title_justify="left")
    for heading in headings:
        table.add_column(escape(heading), no_wrap=bool(folded) and heading not in folded, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False).print(table)


def short_path(path: Path) -> str:
    """The path, relative to the working directory if it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

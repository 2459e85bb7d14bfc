"""Tables and sentences on the terminal, whatever its width."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import HEAVY_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.config.schema import PROJECT
from pipeline.report.figures.lines import longest_piece, title_lines
from pipeline.runtime.wrapping import columns_or, print_sentences

if TYPE_CHECKING:  # training prints tables too, and must not wait for pandas
    from pipeline.analysis.across_studies import Ranking
    from pipeline.analysis.comparison import Comparison

WIDTH = 100  # columns, where the output is not a terminal
NARROWEST = 14  # columns that the names in a table have at least, before it becomes a list
LONGEST_WORD = 24  # letters of a name that are kept in one line, if another form of the table has room for them

Rows = Sequence[Sequence[str]]


def print_comparison(comparison: "Comparison", uncorrected: bool = False) -> None:
    """Print the table of the verdict's metric and the sentences. uncorrected: with p of one arm at one look, too."""
    from pipeline.analysis.formatting import plain_rows
    from pipeline.report.format import headings, narrow_cells, table_cells

    study = comparison.study
    print_sentences(comparison.foremost)
    title = f"{study.name}: {study.metric} against {study.baseline}, margin {study.margin:g}"
    above = headings(study.alpha, uncorrected)
    rows = table_cells(plain_rows(comparison.main_rows), study.alpha, uncorrected)
    print_table(title, above, rows, narrow_cells(rows, above))
    print_sentences([text for text in comparison.sentences if text not in comparison.foremost])


def print_ranking(ranking: "Ranking", comparisons: Sequence["Comparison"]) -> None:
    """Print the table of the ranks."""
    from pipeline.report.ranking import ranking_cells, ranking_headings

    title = f"{', '.join(ranking.studies)}: mean (rank)"
    print_table(title, ranking_headings(ranking), ranking_cells(ranking, comparisons))


def print_table(title: str, headings: Sequence[str], rows: Rows, narrow: Rows = (), width: int | None = None) -> None:
    """Print a table whose first column holds names, in the form for which the terminal has room.

    With a frame; with two lines per heading; without the frame; with two lines per cell; as `narrow`, its headings
    first, which tells the same in fewer columns; or as a list with a paragraph per row. No number is ever broken.
    width: where the output is not a terminal; None: `WIDTH`.
    """
    columns = columns_or(width or WIDTH)
    console = Console(width=columns, height=25, highlight=False)  # without a height rich makes dumb terminals 80 wide
    broken, *broken_rows = [list(map(_broken, row)) for row in [headings, *rows]]
    forms = (([headings, *rows], True), ([broken, *rows], True), ([broken, *rows], False),
             ([broken, *broken_rows], False), (narrow, False))  # fmt: skip
    word = min(LONGEST_WORD, max((longest_piece(row[0]) for row in rows), default=0))
    for (cells, framed), narrowest in [(form, least) for least in (max(NARROWEST, word), NARROWEST) for form in forms]:
        widths = [max(len(line) for cell in column for line in cell.split("\n")) for column in zip(*cells, strict=True)]
        between = 3 * len(widths) + 1 if framed else 2 * (len(widths) - 1)
        room = columns - sum(widths[1:]) - between
        if widths and room >= min(widths[0], narrowest):
            cells = [["\n".join(_name_lines(first, room)), *others] for first, *others in cells]
            console.print(_table(title, cells, [min(widths[0], narrowest), *widths[1:]], framed))
            return
    print_sentences([title] if title else [])
    for first, *cells in rows:
        print(*_name_lines(first, columns), sep="\n")
        print_sentences([f"  {heading}: {cell}" for heading, cell in zip(headings[1:], cells, strict=True)])


def _table(title: str, cells: Rows, widths: Sequence[int], framed: bool) -> Table:
    """The table of these cells, the headings first. Names may be folded."""
    box, padding = (HEAVY_HEAD, (0, 1)) if framed else (None, (0, 2, 0, 0))
    table = Table(title=escape(title) or None, title_justify="left", box=box, padding=padding, pad_edge=framed)
    headings, *rows = cells
    for i, (heading, width) in enumerate(zip(headings, widths, strict=True)):
        table.add_column(escape(heading), no_wrap=i > 0, overflow="fold", min_width=width)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _name_lines(name: str, width: int) -> list[str]:
    """A name in lines of at most `width`, broken at its punctuation."""
    return [line.rstrip() for given in name.split("\n") for line in title_lines(given, width)]


def _broken(cell: str) -> str:
    """The cell in two lines or more: an interval, a spread or a rank in a line of its own."""
    return re.sub(r" (?=\[|\(|± )|(?<=:) ", "\n", cell)


def short_path(path: Path) -> str:
    """The path as it can be given back as `results=` or `reports=`, which are taken from the project: relative to it
    where the project is the working directory, else absolute.
    """
    is_here = Path.cwd() == PROJECT and path.is_relative_to(PROJECT)
    return str(path.relative_to(PROJECT)) if is_here else str(path)

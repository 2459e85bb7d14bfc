"""The comparison as Markdown."""

from collections.abc import Iterable, Mapping

from pipeline.analysis.comparison import Comparison
from pipeline.report.format import HEADINGS


def render_markdown(answer: Comparison, tables: Mapping[str, list[list[str]]], pictures: Iterable[str]) -> str:
    """The comparison as Markdown."""
    lines = []
    for metric, rows in tables.items():
        table = [HEADINGS, ["---"] * len(HEADINGS), *rows]
        lines += [f"**{metric}**", "", *map(markdown_row, table), ""]
    return "\n".join([
        f"# {answer.study}", "", answer.said[0], "", *(f"- {sentence}" for sentence in answer.said[1:]), "",
        "The same with figures that answer to the pointer, method and settings: [report.html](report.html).", "",
        *lines,
        "± is the half width of Student's 95 % interval. Differences are paired by seed, since a seed starts every arm",
        "from the same kernels, split and data order; their interval is a bootstrap (BCa), nowhere narrower than",
        "Student's; p is of sign flips, after Holm over the arms.", "",
        *(f"![{name}](figures/{name}.svg)\n" for name in pictures),
    ])  # fmt: skip


BAR = r"\|"  # as a cell of a table in Markdown holds it


def markdown_row(cells: list[str]) -> str:
    """A row of a table in Markdown; a name may hold the sign that parts the cells."""
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"

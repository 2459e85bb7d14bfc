"""The comparison as Markdown."""

from collections.abc import Iterable

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.correction import EXPLORATORY, PRIMARY
from pipeline.analysis.formatting import Row, plain_rows
from pipeline.report.format import headings, rows_by_metric, table_cells, with_role
from pipeline.stats.intervals import ALPHA

NOTE = """± is the half width of Student's 95 % interval. Differences are paired by seed, since a seed starts every arm
from the same kernels, split and data order; their interval is a bootstrap (BCa), nowhere narrower than
Student's; p is from sign flips, and p (Holm) after Holm's correction over the arms."""


def render_markdown(comparison: Comparison, figures: Iterable[str]) -> str:
    """Render answer.md. figures: names of the files in figures/, without their ending."""
    first, *others = comparison.sentences
    lines = [f"# {comparison.study.name}", "", first, "", *(f"- {sentence}" for sentence in others), ""]
    lines += ["With interactive figures, the method and all settings: [report.html](report.html).", ""]
    lines += [*metric_tables(plain_rows(comparison.summary), comparison.study.alpha), NOTE, ""]
    lines += [f"![{name}](figures/{name}.svg)\n" for name in figures]
    return "\n".join(lines)


def metric_tables(rows: Iterable[Row], alpha: float) -> list[str]:
    """The lines of a table per metric, each under the metric's name. rows: of the summary. alpha: of the verdicts."""
    return [line for lines in metric_table_lines(rows, alpha).values() for line in (*lines, "")]


def metric_table_lines(rows: Iterable[Row], alpha: float) -> dict[str, list[str]]:
    """Metric -> the lines of its table, under its name and role."""
    tables = {}
    for metric, of_metric in rows_by_metric(rows).items():
        role = of_metric[0].get("role", EXPLORATORY)  # an earlier report has none
        level = alpha if role == PRIMARY else ALPHA
        cells = table_cells(of_metric, level, uncorrected=True)
        tables[metric] = [f"**{with_role(metric, role)}**", "", *markdown_table(headings(level, True), cells)]
    return tables


def markdown_table(headings: list[str], rows: Iterable[list[str]]) -> list[str]:
    """The lines of a table; a vertical bar within a cell is escaped."""
    table = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(cell.replace('|', ESCAPED_BAR) for cell in cells)} |" for cells in table]


ESCAPED_BAR = r"\|"

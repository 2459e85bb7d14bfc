"""The comparison as Markdown."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.correction import EXPLORATORY, PRIMARY
from pipeline.analysis.formatting import Row, number_format, plain_rows
from pipeline.report.document import comparison_document
from pipeline.report.format import headings, rows_by_metric, table_cells, with_role
from pipeline.report.looks import OVERSTATED, looks_headings, looks_meanings, looks_rows
from pipeline.runtime.wrapping import split_command
from pipeline.stats.intervals import ALPHA

NOTE = """± is the half width of Student's 95 % interval. Differences are paired by seed, since a seed starts every arm
from the same kernels, split and data order; their interval is a bootstrap (BCa), nowhere narrower than
Student's; p is from sign flips, and p (Holm) after Holm's correction over the arms."""
DESIGN_NOTE = """Of the primary metric the interval is the repeated one and p (Holm) allows for all declared looks;
p is that of the arm's last look alone."""


def render_markdown(comparison: Comparison, figures: Iterable[str]) -> str:
    """Render answer.md. figures: names of the files in figures/, without their ending."""
    study, foremost = comparison.study, comparison.foremost
    first, *others = comparison.sentences
    lines = [f"# {study.name}", "", *(line for text in foremost for line in (f"**{text}**", "")), first, ""]
    lines += [*listed_sentences(text for text in others if text not in foremost), ""]
    lines += ["With interactive figures, the method and all settings: [report.html](report.html).", ""]
    tables = metric_table_lines(plain_rows(comparison.summary), study.alpha)
    lines += [*tables.pop(study.metric), ""]
    if comparison.correction.declared:
        lines += [*looks_table(comparison_document(comparison)), ""]
    lines += [line for table in tables.values() for line in (*table, "")]
    lines += [table_note(comparison.correction.declared), ""]
    lines += [f"![{name}](figures/{name}.svg)\n" for name in figures]
    return "\n".join(lines)


def listed_sentences(sentences: Iterable[str]) -> list[str]:
    """Sentences as the lines of a list; the command that one ends in is code, so that it can be copied."""
    parts = map(split_command, sentences)
    return [f"- {text}`{command}`" if command else f"- {text}" for text, command in parts]


def table_note(declared: bool) -> str:
    """What explains the columns of the tables. declared: whether a design declared looks."""
    return f"{NOTE} {DESIGN_NOTE}" if declared else NOTE


def looks_table(document: Mapping[str, Any]) -> list[str]:
    """The lines of the table of a design's looks, with what its columns mean. document: see `document`."""
    rows = [row for row in document["tables"]["summary"] if row["metric"] == document["metric"]]
    correction = document["correction"]
    headings = looks_headings()
    n_looks = len(correction["looks"].split(", "))
    cells = looks_rows(document["verdicts"], number_format(rows), n_looks)
    title = f"**The declared looks: {document['metric']}**"
    return [
        title,
        "",
        *markdown_table([heading for heading, _ in headings], cells),
        "",
        f"{OVERSTATED} {looks_meanings(headings)}",
    ]


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

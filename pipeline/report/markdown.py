"""The comparison as Markdown."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.correction import EXPLORATORY, PRIMARY, covers
from pipeline.analysis.formatting import Row, number_format, plain_rows
from pipeline.report.document import comparison_document
from pipeline.report.format import headings, rows_by_metric, table_cells, with_role
from pipeline.report.looks import about_looks, looks_headings, looks_meanings, looks_rows
from pipeline.runtime.wrapping import split_command
from pipeline.stats.intervals import ALPHA

NOTE = """± is the half width of Student's 95 % interval. Differences are paired by seed, since a seed starts every arm
from the same kernels, split and data order; their interval is a bootstrap (BCa), nowhere narrower than
Student's; p is from sign flips, and p (Holm) after Holm's correction over the arms."""


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
    lines += [table_note(asdict(comparison.correction)), ""]
    lines += [f"![{name}](figures/{name}.svg)\n" for name in figures]
    return "\n".join(lines)


def listed_sentences(sentences: Iterable[str]) -> list[str]:
    """Sentences as the lines of a list; the command that one ends in is code, so that it can be copied."""
    parts = map(split_command, sentences)
    return [f"- {text}`{command}`" if command else f"- {text}" for text, command in parts]


def table_note(correction: Mapping[str, Any]) -> str:
    """What explains the columns of the tables. correction: see `document`; empty in a report of an earlier version."""
    declared, looks = correction.get("declared", False), correction.get("looks")
    if not declared and "," not in (looks or ""):
        return NOTE
    repeated = "the interval is the repeated one, p that of the arm's last look alone, and " if declared else ""
    too = "" if declared else ", and the interval allows for them too"
    return f"{NOTE}\nOf the primary metric {repeated}p (Holm) is corrected over {covers(declared, looks)}{too}."


def looks_table(document: Mapping[str, Any]) -> list[str]:
    """The lines of the table of a design's looks, with what its columns mean. document: see `document`."""
    rows = [row for row in document["tables"]["summary"] if row["metric"] == document["metric"]]
    correction = document["correction"]
    headings = looks_headings()
    chose = any(tuning.get("by_first_look") for tuning in document.get("tunings", ()))
    n_looks = len(correction["looks"].split(", ")) + chose
    cells = looks_rows(document["verdicts"], number_format(rows), n_looks)
    title = f"**The declared looks: {document['metric']}**"
    return [
        title,
        "",
        *markdown_table([heading for heading, _ in headings], cells),
        "",
        f"{about_looks(document['verdicts'])} {looks_meanings(headings)}",
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

"""The comparison as a LaTeX table in the style of booktabs, for a paper: answer.tex."""

import re

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.formatting import Row, plain_rows
from pipeline.report.figures.lines import title_lines
from pipeline.report.format import headings, rows_by_metric, table_cells
from pipeline.stats.intervals import ALPHA

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--", "<": "$<$", ">": "$>$", "|": "$|$",
    "≈": r"$\approx$", "≤": r"$\leq$", "−": "$-$",
}  # fmt: skip
HEAD = "% The preamble needs \\usepackage{booktabs,graphicx}. A table is scaled if it is still wider than its place."
COLUMN_LETTERS = 66  # of the widest cells that a column of print holds; a wider table takes the width of the page
NAME_LETTERS = {"table": 24, "table*": 40}  # of a line of an arm's name
BLOCK_LETTERS = {"table": 60, "table*": 90}  # of a line of what heads a block

PLACE = "% In a document of another folder, say where figures/ is: \\graphicspath{{path/to/this/report/}}"
WITHOUT_PDF = (
    "% With `pdf=true`, `compare` draws figures/intervals.pdf, as wide as a column, and puts this figure here:"
)


def render_latex(comparison: Comparison, pdf: bool = False) -> str:
    """Render answer.tex: a table of the verdict's metric, then one of every other test metric, and the forest plot.

    pdf: whether figures/intervals.pdf is there; else the figure is a comment.
    """
    study = comparison.study
    by_metric = rows_by_metric(plain_rows(comparison.summary))
    shown = [study.metric, *(name for name in by_metric if name.startswith("test_") and name != study.metric)]
    tables = [_table(comparison, metric, by_metric[metric]) for metric in shown if metric in by_metric]
    figure = [_figure(comparison, pdf)] if comparison.compared else []
    return "\n".join([HEAD, *tables, *figure])


def _table(comparison: Comparison, metric: str, of_metric: list[Row]) -> str:
    study = comparison.study
    alpha = study.alpha if metric == study.metric else ALPHA
    corrected = comparison.correction.arms > 1
    above, rows = headings(alpha), table_cells(of_metric, alpha)
    above = above if corrected else [heading.replace(" (Holm)", "") for heading in above]
    seeds = sorted({row[1] for row in rows}, key=len)
    same = len(seeds) == 1  # then the caption says it, and a column is saved
    kept = [i for i, heading in enumerate(above) if not (same and heading == "seeds")]
    explored = "" if metric == study.primary else "Exploratory: "
    caption = f"{explored}Bias initializers by {_spell(metric)}, compared with {_escape(study.baseline)}"
    caption += f" over {seeds[0]} seeds" * same + ". Means with Student's 95\\,\\% interval; paired differences with "
    if study.progress and metric == study.metric:
        caption += "repeated intervals; $p$ from sign flips over the declared looks, up to each arm's last"
    else:
        caption += "bootstrap intervals (BCa); $p$ from sign flips"
        looks = comparison.correction.looks if metric == study.metric and not comparison.correction.declared else None
        caption += f", corrected over the looks at {looks} seeds" if looks else ""
    caption += ", with Holm's correction for the arms." if corrected else "."
    if metric == study.metric:
        caption += f" Equivalence margin {study.margin:g}. {_escape(comparison.correction.sentence)}".rstrip()
    else:
        caption += f" Not corrected over metrics; the primary one is {_spell(study.primary)}."
    groups = _groups(comparison, [[row[i] for i in kept] for row in rows])
    cells = [[above[i] for i in kept], *(row for _, of_group in groups for row in of_group)]
    place = "table" if sum(max(map(len, column)) for column in zip(*cells, strict=True)) <= COLUMN_LETTERS else "table*"
    return "\n".join([
        rf"\begin{{{place}}}", r"\centering", r"\footnotesize", r"\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{caption}}}", rf"\label{{tab:{_label(study.name, metric)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'c' * (len(kept) - 2)}l}}", r"\toprule",
        " & ".join(_heading(above[i]) for i in kept) + r" \\", r"\midrule",
        *_body(groups, place, len(kept)), r"\bottomrule",
        r"\end{tabular}}", rf"\end{{{place}}}", "",
    ])  # fmt: skip


def _groups(comparison: Comparison, rows: list[list[str]]) -> list[tuple[str, list[list[str]]]]:
    """The rows of each block, under what heads them: empty where there is one block. Names are those of settings."""
    arms = {arm.name: arm for arm in comparison.study.compared_arms}
    pooled = {arm.name for arm in comparison.study.pooled_arms}
    groups: dict[str, list[list[str]]] = {}
    for name, *others in rows:
        arm = arms[name]
        heading = f"mean over {arm.block}" if name in pooled else arm.block or "defaults"
        groups.setdefault(heading, []).append([arm.setting, *others])
    return list(groups.items()) if len(groups) > 1 else [("", of_group) for of_group in groups.values()]


def _body(groups: list[tuple[str, list[list[str]]]], place: str, columns: int) -> list[str]:
    """The lines of the rows, those of a block below its heading; a long name takes several lines of its cell."""
    lines = []
    for heading, rows in groups:
        if heading:
            emphasized = _stacked(heading, BLOCK_LETTERS[place], r"\emph{{{}}}")
            space = [r"\addlinespace"] if lines else []
            lines += [*space, rf"\multicolumn{{{columns}}}{{l}}{{{emphasized}}} \\"]
        for name, *others in rows:
            lines.append(" & ".join([_stacked(name, NAME_LETTERS[place]), *map(_cell, others)]) + r" \\")
    return lines


def _stacked(text: str, letters: int, form: str = "{}") -> str:
    """A text in lines of at most so many letters, the first beside the other cells of its row."""
    lines = [form.format(_escape(line.strip())) for line in title_lines(text, letters)]
    stacked = r"\\ ".join(lines)
    return stacked if len(lines) == 1 else rf"\begin{{tabular}}[t]{{@{{}}l@{{}}}}{stacked}\end{{tabular}}"


def _figure(comparison: Comparison, pdf: bool) -> str:
    """The forest plot, in a column of print."""
    study = comparison.study
    caption = f"Differences from {_escape(study.baseline)} in {_spell(study.metric)}, means over seeds with "
    caption += f"{100 * (1 - study.alpha):g}\\,\\% "
    caption += "repeated intervals" if study.progress else "bootstrap intervals (BCa)"
    caption += f". Shaded: the margin of {study.margin:g}, within which a difference does not "
    lines = [
        r"\begin{figure}", r"\centering", r"\includegraphics[width=\columnwidth]{figures/intervals.pdf}",
        rf"\caption{{{caption}matter.}}", rf"\label{{fig:{_label(study.name, study.metric)}}}", r"\end{figure}",
    ]  # fmt: skip
    if pdf:
        return "\n".join([PLACE, *lines, ""])
    return "\n".join([WITHOUT_PDF, *(f"% {line}" for line in lines), ""])


def _label(*names: str) -> str:
    return re.sub("[^a-z0-9]+", "-", "-".join(names).lower())


def _heading(text: str) -> str:
    return re.sub(r"\bp\b", "$p$", re.sub(r"(\d+) \\%", r"\1\\,\\%", _escape(text)))


def _cell(text: str) -> str:
    """A cell, its negative numbers with a minus sign."""
    return re.sub(r"(?<![\w)])([+-])(?=[\d.])", r"$\1$", _escape(text))


def _spell(metric: str) -> str:
    return _escape(metric.replace("_", " "))


def _escape(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in text)

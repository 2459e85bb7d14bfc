"""Render the comparison as one HTML page that works offline."""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from pipeline.analysis.arms import seed_spans
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.formatting import Row, number_format, percent, plain_rows
from pipeline.analysis.study import Study
from pipeline.report.figures.lines import line_pattern
from pipeline.report.figures.theme import theme
from pipeline.report.format import (
    UNKNOWN,
    column_format,
    headings,
    interval_texts,
    rows_by_metric,
    sorted_by,
    table_cells,
    with_role,
)
from pipeline.report.looks import about_looks, looks_headings, looks_rows
from pipeline.report.plain import plain_answer
from pipeline.report.reviewer import STATISTICS, reviewer_facts, statistics_cells
from pipeline.report.settings import (
    describe_arms,
    describe_differences,
    describe_environments,
    describe_settings,
    first_config,
)
from pipeline.report.training import describe_training
from pipeline.runtime.wrapping import split_command
from pipeline.stats.intervals import ALPHA
from pipeline.stats.power import fewest_seeds

TEMPLATES = Path(__file__).parent / "templates"
# A verdict has a sign besides its colour, for readers who cannot tell colours apart.
SIGNS = {
    "better": "▲", "worse": "▼", "equivalent": "≈", "identical": "=", "undecided": "?", "baseline": "◆",
    "diverged": "✕",
}  # fmt: skip
# Columns of the tables about biases: name in the frame -> heading, explanation.
LAYER = {"arm": ("arm", ""), "layer": ("layer", "")}
DYNAMICS = LAYER | {
    "seeds": ("seeds", ""),
    "drift": ("drift", "distance between the biases before and after training"),
    "cosine": ("cosine", "of the angle between before and after; 1: the direction did not change"),
    "sign_flips": ("sign flips", "share of units whose bias changed its sign"),
    "half_life": ("half way at epoch", "the first epoch by which half the final distance was covered"),
}
DISTANCES = {
    "arm": ("arm", ""),
    "other": ("other arm", ""),
    "layer": ("layer", ""),
    "before": ("apart before", "distance between the two arms' biases before training"),
    "after": ("apart after", "the same after training"),
}
ABLATION = {
    "arm": ("arm", ""),
    "biases": ("tested with", "the biases put into the trained model"),
    "seeds": ("seeds", ""),
    "mean": ("mean", "of the metric, over seeds"),
    "change": ("change [95 %]", "from the model with its own biases, with its interval"),
}
DEAD = LAYER | {
    "units": ("ReLU units", ""),
    "before": ("dead before", "share of units that are 0 for every row, before training"),
    "after": ("dead after", "the same after training"),
}
MOST_LEADS = 3  # paragraphs above the first figure, so that a phone shows some of it without much scrolling
NARROW_LETTERS = 21  # of a line of a label beside an axis, on a phone
DIGITS = {"mean": 4}  # significant ones; of other columns three


class Cell(NamedTuple):
    """A cell of a table: its text, and what it is sorted by."""

    text: str
    key: float | str


class Sheet(NamedTuple):
    """A table of the page. headings: (heading, explanation)."""

    caption: str
    headings: list[tuple[str, str]]
    rows: list[list[Cell]]


def render_page(comparison: Comparison, figures: Mapping[str, dict[str, Any]], script: str, command: str = "") -> str:
    """Render report.html. It loads nothing, and is the same, byte for byte, for the same comparison.

    figures: Vega-Lite specifications by name. script: JavaScript that defines `vegaEmbed`; may be empty without
    figures. command: the command line that writes the page again.
    """
    study, (headline, leads) = comparison.study, plain_answer(comparison)
    by_metric = rows_by_metric(plain_rows(comparison.summary))
    shown = set(comparison.main_rows["arm"])
    main = [row for row in by_metric.get(study.metric, ()) if row["arm"] in shown]
    others = [row for row in by_metric.pop(study.metric, ()) if row["arm"] not in shown]
    metrics = {metric: _metric_sheet(study, metric, rows) for metric, rows in by_metric.items()}
    ablated_metric = next(iter(comparison.ablation["metric"]), study.metric)  # not always the study's
    return _environment().get_template("report.html.jinja").render(
        study=study,
        comparison=comparison,
        headline=headline,
        leads=leads[:MOST_LEADS],
        more=leads[MOST_LEADS:],
        facts_table=reviewer_facts(comparison),
        statistics=_statistics(comparison),
        signs=SIGNS,
        looks=_looks(comparison),
        about_looks=about_looks(map(asdict, comparison.compared)),
        main=_metric_sheet(study, study.metric, main) if main else None,
        others=_metric_sheet(study, study.metric, others) if others else None,
        shown=shown,
        warnings=[warning for warning in comparison.warnings if not warning.foremost],
        metrics=metrics,
        dynamics=_sheet("What training did to the biases, means over seeds", comparison.dynamics, DYNAMICS),
        distances=_sheet("How far apart the biases of two arms are", comparison.distances, DISTANCES),
        ablation=_sheet(f"Trained models tested with other biases: {ablated_metric}", comparison.ablation, ABLATION),
        dead=_sheet("Dead ReLU units, means over seeds", comparison.dead_units, DEAD, shares=("before", "after")),
        figures={name: _figure(spec) for name, spec in figures.items()},
        island={
            "figures": {name: {k: v for k, v in spec.items() if k != "title"} for name, spec in figures.items()},
            "themes": {"light": theme() | {"background": None}, "dark": theme(dark=True)},
            "longest": max(map(len, study.arm_names)),
            "narrow": line_pattern(NARROW_LETTERS),
        },
        script=script.replace("</script", r"<\/script"),
        facts=_facts(comparison),
        arms=describe_arms(study.arms),
        settings=describe_settings(study.arms),
        differing=describe_differences(study.arms),
        config=first_config(study.arms),
        environment=describe_environments(study.arms),
        command=command,
    )  # fmt: skip


@functools.cache
def _environment() -> Any:
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"wrap": _wrap, "wrap_cell": wrap_cell, "wrap_command": _wrap_command}
    return environment


def _wrap(text: str) -> Any:
    """Let long names of arms break after their punctuation, and keep `p = 0.07` and `95 %` on one line."""
    from markupsafe import Markup, escape

    html = re.sub(r"([,/:+](?![\s\d]|$)|=(?=\S)|\.(?=[a-z])|&gt;(?=\w))", r"\1<wbr>", str(escape(text)))
    return Markup(re.sub(r" (?=%)|(?<=\bp) (?=[=<≤&])|(?<=[=<≤]) (?=[\d.])|(?<=&lt;) (?=[\d.])", "\u00a0", html))


def _wrap_command(text: str) -> Any:
    """The same for a sentence that may end in a command, which is copied as it was written."""
    from markupsafe import Markup, escape

    said, command = split_command(text)
    return Markup(f"{_wrap(said)}<code>{escape(command)}</code>" if command else _wrap(said))


def wrap_cell(text: str) -> Any:
    """The same for a cell of a table, in which a name may break after an underscore, and before a capital, too."""
    from markupsafe import Markup

    return Markup(re.sub(r"_(?=\w)|[a-z](?=[A-Z])", r"\g<0><wbr>", str(_wrap(text))))


def _metric_sheet(study: Study, metric: str, rows: Sequence[Row]) -> Sheet:
    """The table of one metric: the text of `table_cells`, sorted by the numbers behind it."""
    sheet_rows, role = [], rows[0]["role"]
    alpha = study.alpha if metric == study.metric else ALPHA
    for texts, row in zip(table_cells(rows, alpha, uncorrected=True), rows, strict=True):
        keys = ["" if row.get(column) is None else row[column] for column in sorted_by(uncorrected=True)]
        verdict = texts[-1]
        texts[-1], keys[-1] = f"{SIGNS.get(verdict, '')}\u00a0{verdict}".strip(), verdict
        sheet_rows.append([Cell(text, key) for text, key in zip(texts, keys, strict=True)])
    return Sheet(with_role(metric, role), [(heading, "") for heading in headings(alpha, uncorrected=True)], sheet_rows)


def _sheet(
    caption: str, frame: pd.DataFrame, columns: Mapping[str, tuple[str, str]], shares: Sequence[str] = ("sign_flips",)
) -> Sheet | None:
    """A frame as a table, without columns that have no value; None for a frame without a row. shares: in percent."""
    frame_rows = plain_rows(frame)
    shown = [name for name in columns if any(row.get(name) is not None for row in frame_rows)]
    if not shown:
        return None
    cells = [_column(name, frame_rows, shares) for name in shown]
    return Sheet(caption, [columns[name] for name in shown], [list(row) for row in zip(*cells, strict=True)])


def _column(name: str, rows: Sequence[Row], shares: Sequence[str]) -> list[Cell]:
    """The cells of a column; its numbers have the same digits in every row."""
    values = [row[name] for row in rows]
    write = percent if name in shares else column_format(values, DIGITS.get(name, 3))
    if name == "change":
        texts = interval_texts([(row[name], row.get("low"), row.get("high")) for row in rows])
    else:
        texts = [value or UNKNOWN if isinstance(value, str | None) else write(value) for value in values]
    return [
        Cell(UNKNOWN, "") if value is None else Cell(text, value if isinstance(value, str) else float(value))
        for text, value in zip(texts, values, strict=True)
    ]


def _statistics(comparison: Comparison) -> Sheet | None:
    """The table of the tests behind the verdicts; None where nothing is compared."""
    rows = statistics_cells(comparison, table_cells(plain_rows(comparison.chosen)))
    differences = {row["arm"]: row.get("difference") for row in plain_rows(comparison.chosen)}
    place = STATISTICS.index("difference [95 %]")
    meanings = {"p": "of one arm at one look", "p (Holm)": f"corrected over {comparison.correction.covers}",
                "effect size": "mean of the differences over their standard deviation"}  # fmt: skip
    headings = [(heading, meanings.get(heading, "")) for heading in STATISTICS]
    sheet_rows = [[Cell(text, text) for text in row] for row in rows]
    for row in sheet_rows:  # a number is sorted as one, and stays in one line
        key = differences.get(row[0].text)
        row[place] = Cell(row[place].text, "" if key is None else key)
    return Sheet(f"The tests behind the verdicts: {comparison.study.metric}", headings, sheet_rows) if rows else None


def _looks(comparison: Comparison) -> Sheet | None:
    """The table of what the looks of a declared design say of each arm; None without one."""
    study = comparison.study
    if study.progress is None:
        return None
    number = number_format(plain_rows(comparison.chosen))
    verdicts = [asdict(verdict) for verdict in comparison.compared]
    rows = looks_rows(verdicts, number, len(study.progress.design.looks))
    sheet_rows = [[Cell(text, text) for text in row] for row in rows]
    return Sheet(f"What the looks say: {study.metric}", looks_headings(), sheet_rows) if rows else None


def _figure(spec: dict[str, Any]) -> dict[str, str]:
    """Heading and caption of a figure, which the page writes beside it."""
    subtitle = spec["title"]["subtitle"]
    return {"heading": spec["title"]["text"], "caption": subtitle if isinstance(subtitle, str) else " ".join(subtitle)}


def _facts(comparison: Comparison) -> dict[str, Any]:
    """The numbers and names in the page's sentences; None for what the runs do not record."""
    arms, compared = comparison.study.arms, comparison.compared
    config = arms[0].runs[0].meta["config"]
    data, training = config.get("data", {}), describe_training(arms)
    seeds = sorted({run.seed for arm in arms for run in arm.runs})
    family = max((verdict.family or 0 for verdict in compared), default=0)
    return {
        "seeds": seed_spans(seeds),
        "one_seed": len(seeds) == 1,
        "runs": sum(len(arm.runs) for arm in arms),
        "pairs": sorted({verdict.pairs for verdict in compared if verdict.pairs is not None}),
        "unpaired": any(verdict.pairs == 0 for verdict in compared),
        "alpha": f"{comparison.study.alpha:g}",
        "level": f"{100 * (1 - comparison.study.alpha):g} %",
        "fewest": fewest_seeds(comparison.study.alpha / family) if family else None,
        "family": family,
        "test": _fraction(data.get("test_fraction")),
        "validation": _fraction(data.get("validation_fraction")),
        "training": training,
        "data": data.get("name") if training.datasets == 1 else None,
        "model": config.get("model", {}).get("name") if training.models == 1 else None,
    }


def _fraction(fraction: float | None) -> str | None:
    return None if fraction is None else f"{100 * fraction:g} %"

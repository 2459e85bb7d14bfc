"""The note of an experiment in MLflow: the answer, links, and as many tables as MLflow takes."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.metrics import is_in_unit
from pipeline.config.schema import PROJECT
from pipeline.installation import command_text
from pipeline.stats.intervals import ALPHA
from pipeline.tracking.pages import view_path

LONGEST_NOTE = 5000  # characters that every MLflow 3 takes as the value of an experiment's tag


def render_note(document: Mapping[str, Any], report: str, experiment_id: str, results: Path | None) -> str:
    """The headline, which alone is seen while the note is folded, links, the verdict's table, all sentences, and the
    other tables. results: the folder that `compare` finds the study in; None for one that is removed.
    """
    from pipeline.report.markdown import listed_sentences, looks_table, metric_table_lines, table_note

    headline, *sentences = document["sentences"]
    view = view_path(experiment_id)
    links = f"[The arms, a row each]({view}) · [The whole report]({report})"
    if results is not None:
        links += f" · `{_compare_command(document, results)}`"
    tables = dict[str, str]()
    correction = document.get("correction", {})  # a report of an earlier version has none
    alpha, declared = correction.get("alpha", ALPHA), correction.get("declared", False)
    for metric, (title, space, *lines) in metric_table_lines(document["tables"]["summary"], alpha).items():
        tables[metric] = "\n".join(["", title, space, *map(_spaced, lines)])
    verdict = tables.pop(document["metric"])
    listed = listed_sentences(sentences)
    looks = ["\n".join(["", *map(_spaced, looks_table(document)), ""])] if declared else []
    return _joined(
        [f"{headline}\n\n{links}", verdict, f"\n{table_note(correction)}\n", *listed, *looks, *tables.values()]
    )


def _spaced(line: str) -> str:
    """A line of a table with space between its columns, where MLflow leaves none in a note."""
    return line.replace(" |", "&emsp; |") if line.startswith("|") and "---" not in line else line


def _compare_command(document: Mapping[str, Any], results: Path) -> str:
    """What to type for the same question; what is the default of every study is left out."""
    from pipeline.config.metrics import MARGIN

    metric, margin = document["metric"], document["margin"]
    options = [f"study={document['study']}"]
    if document["baseline"] != "zeros":
        options.append(f"baseline={document['baseline']}")
    if metric != document["tables"]["summary"][0]["metric"]:  # else the model's first, which is the default
        options.append(f"metric={metric}")
    if margin != MARGIN or is_in_unit(metric):
        options.append(f"margin={margin!r}")
    if results != PROJECT / "results":
        options.append(f"results={results.relative_to(PROJECT) if results.is_relative_to(PROJECT) else results}")
    return f"{command_text('compare')} {shlex.join(options)}"


def _joined(blocks: Sequence[str]) -> str:
    """The blocks as one note. Those that are too much are left out whole: a table without its rows says nothing."""
    text, ending = "\n".join(blocks), "\n\nThe rest is in the report."
    if len(text) <= LONGEST_NOTE:
        return text
    kept = list[str]()
    for block in blocks:
        if len("\n".join([*kept, block])) <= LONGEST_NOTE - len(ending):
            kept.append(block)
    return ("\n".join(kept) or blocks[0][: LONGEST_NOTE - len(ending)]) + ending

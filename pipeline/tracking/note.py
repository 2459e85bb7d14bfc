"""The note of an experiment in MLflow: the answer, links, and as many tables as MLflow takes."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.installation import command_text
from pipeline.tracking.pages import view_path

LONGEST_NOTE = 5000  # characters that every MLflow 3 takes as the value of an experiment's tag


def render_note(document: Mapping[str, Any], report: str, experiment_id: str) -> str:
    """The headline, which alone is seen while the note is folded, links, all sentences, and the tables."""
    from pipeline.report.format import HEADINGS, rows_by_metric, table_cells
    from pipeline.report.markdown import NOTE as TABLE_NOTE
    from pipeline.report.markdown import markdown_table

    headline, *sentences = document["sentences"]
    view = view_path(experiment_id)
    command = f"{command_text('compare')} study={document['study']}"
    links = f"[The arms, a row each]({view}) · [The whole report]({report}) · `{command}`"
    blocks = [f"{headline}\n\n{links}\n", *(f"- {sentence}" for sentence in sentences)]
    for metric, rows in rows_by_metric(document["tables"]["summary"]).items():
        lines = markdown_table(HEADINGS, table_cells(rows))
        # MLflow leaves no space between the columns of a note's table.
        spaced = [line.replace(" |", "&emsp; |") if "---" not in line else line for line in lines]
        blocks.append("\n".join(["", f"**{metric}**", "", *spaced]))
    blocks.append(f"\n{TABLE_NOTE}")
    return _joined(blocks)


def _joined(blocks: Sequence[str]) -> str:
    """The blocks as one note; of those that are too much none is cut in two, as a table without its rows would be."""
    text, ending = "\n".join(blocks), "\n\nThe rest is in the report."
    if len(text) <= LONGEST_NOTE:
        return text
    kept = list[str]()
    for block in blocks:
        if len("\n".join([*kept, block])) > LONGEST_NOTE - len(ending):
            break
        kept.append(block)
    return ("\n".join(kept) or blocks[0][: LONGEST_NOTE - len(ending)]) + ending

"""The note of an experiment: whole tables, as many as MLflow takes."""

from pathlib import Path

from factories import put_all

from pipeline.analysis.comparison import compare_study
from pipeline.report.document import comparison_document
from pipeline.store.runs import RunStore
from pipeline.tracking.note import LONGEST_NOTE, render_note


def test_a_note_that_is_too_long_has_no_table_without_rows(tmp_path: Path) -> None:
    """What does not fit is left out whole, and the note says where the rest is."""
    for i in range(14):
        put_all(tmp_path, f"constant({i})" if i else "zeros", [0.5, 0.6 + i / 100])
    document = comparison_document(compare_study(RunStore(tmp_path, "s"), "zeros"))
    document["sentences"] = document["sentences"][:3]
    note = render_note(document, "#/report", "7")
    assert len(note) <= LONGEST_NOTE and note.endswith("The rest is in the report.")
    assert "(#/experiments/7/runs?viewStateShareKey=verdict&workflowType=machine_learning)" in note
    tables = note.split("**")[2::2]
    assert tables and all(table.count("\n| ") == 16 for table in tables)  # headings, a rule, 14 arms

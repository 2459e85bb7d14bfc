"""The note of an experiment: whole tables, as many as MLflow takes."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from factories import put, put_all

from pipeline.analysis.comparison import compare_study
from pipeline.config.schema import PROJECT
from pipeline.report.document import comparison_document
from pipeline.report.markdown import NOTE as TABLE_NOTE
from pipeline.store.runs import RunStore
from pipeline.tracking.note import LONGEST_NOTE, render_note


def test_a_note_that_is_too_long_has_no_table_without_rows(tmp_path: Path) -> None:
    """What does not fit is left out whole, and the note says where the rest is."""
    for i in range(14):
        put_all(tmp_path, f"constant({i})" if i else "zeros", [0.5, 0.6 + i / 100])
    document = comparison_document(compare_study(RunStore(tmp_path, "s"), "zeros"))
    document["sentences"] = document["sentences"][:3]
    note = render_note(document, "#/report", "7", tmp_path)
    assert len(note) <= LONGEST_NOTE and note.endswith("The rest is in the report.")
    assert "(#/experiments/7/runs?viewStateShareKey=verdict&workflowType=machine_learning)" in note
    tables = note.split("**")[2::2]
    assert tables and all(table.count("\n| ") == 16 for table in tables)  # headings, a rule, 14 arms


@pytest.mark.parametrize("metric", ["", "test_m6"])
def test_the_table_of_the_verdict_comes_first(tmp_path: Path, metric: str) -> None:
    """It is the one that is kept where there are many metrics, or sentences; the note explains its columns."""
    more = {f"test_m{i}": 0.5 for i in range(7)}
    for i in range(6):
        for seed in range(2):
            put(tmp_path, f"constant({i})" if i else "zeros", seed, 0.5 + i / 100 + seed / 10, metrics=more)
    document = comparison_document(compare_study(RunStore(tmp_path, "s"), "zeros", metric))
    for sentences in (document["sentences"], [*document["sentences"], *["A long sentence." * 20] * 20]):
        note = render_note(document | {"sentences": sentences}, "#/report", "7", tmp_path)
        assert note.splitlines()[0] == sentences[0] and len(note) <= LONGEST_NOTE
        tables = note.split("**")
        assert (
            tables[1] == f"{document['metric']} (primary)" and tables[2].count("\n| ") == 8
        )  # headings, a rule, 6 arms
        assert TABLE_NOTE in note and note.endswith("The rest is in the report.")


def test_the_command_asks_the_same_question(tmp_path: Path) -> None:
    """What is no default of the study is in the note's command: baseline, metric, margin and results folder."""
    results = tmp_path / "my results"
    for arm in ("zeros", "ones"):
        put_all(results, arm, [0.5, 0.6])

    def command(folder: Path, *question: Any) -> list[str]:
        document = comparison_document(compare_study(RunStore(results, "s"), *question))
        typed = re.search("`(.*)`", render_note(document, "#/report", "7", folder))
        assert typed is not None
        return shlex.split(typed[1].partition("pipeline.compare ")[2])

    assert command(PROJECT / "results", "zeros") == ["study=s"]
    assert command(PROJECT / "mine", "zeros") == ["study=s", "results=mine"]
    assert command(results, "ones", "test_loss", 0.01) == [
        "study=s", "baseline=ones", "metric=test_loss", "margin=0.01", f"results={results}",
    ]  # fmt: skip

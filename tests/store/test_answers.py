"""answers.json: what earlier answers rested on; a comparison works without it."""

import json
from pathlib import Path

import pytest

from pipeline.store.answers import read_answers, record_answer
from pipeline.store.runs import RunStore


def test_answers_are_kept_in_order_and_once(tmp_path: Path) -> None:
    """An answer on the same seeds as one before is no new one, nor one on some of its arms."""
    store = RunStore(tmp_path, "s")
    store.folder.mkdir()
    assert read_answers(store) == []
    ten, twelve = {"zeros": list(range(10)), "ones": [0, 2, 3]}, {"zeros": list(range(12)), "ones": [0, 2, 3]}
    for answer in (ten, ten, {"zeros": ten["zeros"]}, twelve, ten, {}):
        record_answer(store, answer)
    assert read_answers(store) == [ten, twelve]
    assert json.loads((store.folder / "answers.json").read_text())["answers"][0]["ones"] == [[0, 0], [2, 3]]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"answers": 3}', '{"answers": [{"zeros": [[0]]}]}'])
def test_an_odd_file_counts_as_none(tmp_path: Path, content: str) -> None:
    """Nothing rests on it but the correction for looks."""
    store = RunStore(tmp_path, "s")
    store.folder.mkdir()
    (store.folder / "answers.json").write_text(content)
    assert read_answers(store) == []


def test_results_that_cannot_be_written_are_compared_all_the_same(tmp_path: Path) -> None:
    """A folder in the file's place stands for what no user may write to; a root user may write anywhere."""
    store = RunStore(tmp_path, "s")
    (store.folder / "answers.json" / "x").mkdir(parents=True)
    record_answer(store, {"zeros": [0]})
    assert read_answers(store) == []

"""comparison.json: what its schema says, strict JSON, the same bytes every time."""

import json
import re
from itertools import product
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
from factories import APART, EIGHT, put, put_all

from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.config.schema import PROJECT
from pipeline.report.document import SCHEMA_VERSION, comparison_document, read_document, render_document
from pipeline.store.runs import RunStore

SCHEMA = json.loads((PROJECT / "pipeline" / "report" / "comparison.schema.json").read_text())


def compared(results: Path) -> Comparison:
    return compare_study(RunStore(results, "s"), "zeros")


def blocks(results: Path) -> None:
    """Two blocks that disagree, with a diverged, a damaged and an unpaired run, and a block without the baseline."""
    for arm, block in product(("zeros", "ones"), ("", ",optimizer=sgd")):
        sign = {"": 1, ",optimizer=sgd": -1}[block] * (arm == "ones")
        put_all(results, f"{arm}{block}", [*(EIGHT + sign * APART)])
    put(results, "ones", 8, 0.1, status="diverged")
    put(results, "ones", 9, 0.1, metrics={"test_accuracy": None})
    put_all(results, "he_normal", [*EIGHT], kernels="other")
    put_all(results, "ones,optimizer=rmsprop", [*EIGHT])
    put(results, "zeros", 8, 0.5)
    (results / "s" / "zeros" / "seed=8" / "history.csv").write_text("")


def one_seed(results: Path) -> None:
    put(results, "zeros", 0, 0.5)
    put(results, "ones", 0, 0.6)


def one_arm(results: Path) -> None:
    put_all(results, "zeros", [0.5, 0.7], biased=False)


def all_diverged(results: Path) -> None:
    put_all(results, "zeros", [0.5, 0.7])
    put_all(results, "ones", [0.5, 0.7], status="diverged")


@pytest.mark.parametrize("make", [blocks, one_seed, one_arm, all_diverged], ids=lambda make: make.__name__)
def test_the_file_fulfils_its_schema(tmp_path: Path, make) -> None:
    """The file is strict JSON without NaN, and every entry is one that the schema describes."""
    make(tmp_path)
    (tmp_path / "comparison.json").write_text(render_document(compared(tmp_path)), encoding="utf-8")
    text = (tmp_path / "comparison.json").read_text()
    document = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document, SCHEMA, jsonschema.Draft202012Validator)
    assert read_document(tmp_path) == document


def test_the_readme_names_every_entry() -> None:
    """The table in pipeline/README.md has the entries of the schema."""
    section = (PROJECT / "pipeline" / "README.md").read_text().partition("## comparison.json")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == set(SCHEMA["properties"])


def test_the_file_holds_the_whole_answer(tmp_path: Path) -> None:
    """Verdicts, dependences on the block, warnings and excluded runs are entries of their own."""
    blocks(tmp_path)
    document = json.loads(json.dumps(comparison_document(compared(tmp_path))))
    verdicts = {verdict["arm"]: verdict for verdict in document["verdicts"]}
    assert {arm: verdict["verdict"] for arm, verdict in verdicts.items()} == {
        "zeros over both blocks": "baseline", "ones over both blocks": "undecided", "zeros": "baseline",
        "ones": "better", "he_normal": "undecided", "ones,optimizer=rmsprop": "not compared",
        "zeros,optimizer=sgd": "baseline", "ones,optimizer=sgd": "worse",
    }  # fmt: skip
    assert [headline["decision"] for headline in document["headlines"]] == ["undecided", "take", "keep"]
    (dependence,) = document["block_dependences"]
    assert dependence["shown"] and dependence["factors"] == ["optimizer"] and dependence["p"] < 0.05
    assert {warning["kind"] for warning in document["warnings"]} == {
        "no baseline", "diverged", "lacks the metric", "unpaired", "damaged",
    }  # fmt: skip
    assert document["excluded_runs"] == [
        {"arm": "ones", "seed": 8, "reason": "diverged"},
        {"arm": "ones", "seed": 9, "reason": "lacks the metric"},
        {"arm": "zeros", "seed": 8, "reason": "damaged"},
    ]
    assert document["sentences"][1] == dependence["sentence"]


def test_the_tables_are_those_of_the_report(tmp_path: Path) -> None:
    """The rows of `summary` hold the numbers of summary.csv, to the last digit."""
    one_seed(tmp_path)
    comparison = compared(tmp_path)
    rows = comparison_document(comparison)["tables"]["summary"]
    expected = comparison.summary.astype(object).where(comparison.summary.notna(), None)
    pd.testing.assert_frame_equal(pd.DataFrame(rows, dtype=object), expected, check_dtype=False)


def test_comparing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """The file depends on the results alone."""
    blocks(tmp_path / "results")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "comparison.json").write_text(render_document(compared(tmp_path / "results")))
    first, second = ((tmp_path / name / "comparison.json").read_bytes() for name in ("first", "second"))
    assert first == second


def test_a_file_of_another_version_is_not_read(tmp_path: Path) -> None:
    """Another schema version is refused, and a missing file is None."""
    assert read_document(tmp_path) is None
    (tmp_path / "comparison.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(ValueError, match="of another version; write it again"):
        read_document(tmp_path)

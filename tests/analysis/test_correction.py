"""What p is corrected for, and what not, is said wherever p stands; every other metric is exploratory."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from factories import APART, EIGHT, put_all

from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.report.console import print_comparison
from pipeline.report.document import comparison_document
from pipeline.report.write import write_report
from pipeline.store.answers import record_answer
from pipeline.store.designs import DeclaredArm, DeclaredDesign, Look, declare_design, write_looks
from pipeline.store.runs import RunStore

ARMS = tuple(DeclaredArm(name, name, "") for name in ("zeros", "ones", "glorot_uniform"))


def three_arms(results: Path) -> Comparison:
    put_all(results, "zeros", [*EIGHT])
    put_all(results, "ones", [*(EIGHT + APART)])
    put_all(results, "glorot_uniform", [*(EIGHT + APART[::-1] * [1, -1, 1, -1, 1, -1, 1, -1])])
    return compare_study(RunStore(results, "s"), "")


def test_the_answer_says_what_p_is_corrected_for(tmp_path: Path) -> None:
    """The method, the number of arms, and that metrics are not; of one arm that there is nothing to correct."""
    comparison = three_arms(tmp_path)
    n = len(comparison.study.metrics) - 1
    assert comparison.correction.sentence == (
        "p of test_accuracy is corrected over the 2 arms compared with one baseline (Holm); it is not corrected over "
        f"metrics: test_accuracy is primary, the {n} other metrics are exploratory."
    )
    assert comparison.correction.sentence in comparison.sentences
    put_all(tmp_path / "one", "zeros", [*EIGHT])
    put_all(tmp_path / "one", "ones", [*(EIGHT + APART)])
    one = compare_study(RunStore(tmp_path / "one", "s"), "").correction
    assert one.sentence.startswith("p of test_accuracy is that of one arm at one look, which needs no correction; it")
    put_all(tmp_path / "none", "zeros", [*EIGHT])
    assert compare_study(RunStore(tmp_path / "none", "s"), "").correction.sentence == ""


def test_looks_are_part_of_what_is_corrected(tmp_path: Path) -> None:
    """Those of a design, and those that nobody declared, are named."""
    store = RunStore(tmp_path, "s")
    three_arms(tmp_path)
    record_answer(store, {arm.arm: range(5) for arm in ARMS})
    said = compare_study(store, "").correction
    assert "(Holm) and over the looks at 5, 8 seeds; it is not" in said.sentence and said.looks == "5, 8"
    write_report(compare_study(store, ""), tmp_path / "report", figures=False)
    for name in ("report.html", "answer.md"):
        text = (tmp_path / "report" / name).read_text()
        assert "corrected over the arms and the looks at 5, 8 seeds" in text, name
    said = "$p$ from sign flips, corrected over the looks at 5, 8 seeds, with Holm's correction for the arms."
    assert said in (tmp_path / "report" / "answer.tex").read_text()
    assert "looks at 5, 8 seeds" in (tmp_path / "report" / "methods.md").read_text()
    design = DeclaredDesign("test_accuracy", "zeros", 0.005, (4, 8), "pocock", 0.05, ARMS)
    declare_design(store, design)
    write_looks(store, design, [Look(4, {})])
    said = compare_study(store, "").correction
    assert "(Holm) and for ending at the first of the looks declared at 4, 8 seeds; it is not" in said.sentence
    write_looks(store, design, [Look(4, {}), Look(8, {})])
    said = compare_study(store, "").correction
    assert "(Holm) and over the declared looks at 4, 8 seeds; it is not" in said.sentence and said.alpha == 0.05


def test_every_table_names_the_role_of_its_metric(tmp_path: Path) -> None:
    """Page, Markdown, LaTeX, CSV and comparison.json; p without its correction stands beside the corrected one."""
    comparison = three_arms(tmp_path)
    folder = tmp_path / "report"
    write_report(comparison, folder, figures=False)
    page, markdown, latex = ((folder / name).read_text() for name in ("report.html", "answer.md", "answer.tex"))
    assert '<p class="caption">test_accuracy (primary)</p>' in page
    assert page.count(" (exploratory)</p>") == len(comparison.study.metrics) - 1
    assert "**test_accuracy (primary)**" in markdown and "**test_loss (exploratory)**" in markdown
    assert latex.count("caption{Exploratory: ") == latex.count(r"\begin{table") - 1 > 0
    for text in (page, markdown, latex.replace("\\_", "_")):
        assert comparison.correction.sentence in text.replace("<wbr>", "").replace("\u00a0", " ")
    assert "| arm | seeds | mean ± 95 % | difference [95 %] | p | p (Holm) | verdict |" in markdown
    summary, pairs = (pd.read_csv(folder / f"{name}.csv") for name in ("summary", "differences"))
    for table in (summary, pairs):
        assert set(table.loc[table["role"] == "primary", "metric"]) == {"test_accuracy"}
        assert set(table["role"]) == {"primary", "exploratory"}
    assert summary["p_uncorrected"].equals(summary["p"])
    document = comparison_document(comparison)
    assert list(document["correction"]["exploratory"]) == comparison.study.metrics[1:]
    assert json.dumps(document["correction"]["method"]) == '"Holm"'


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_terminal_shows_the_uncorrected_p_where_it_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """2 / 2^8 of one arm, twice that of two, in one row of a table that fits."""
    monkeypatch.setenv("COLUMNS", columns)
    comparison = three_arms(tmp_path)
    print_comparison(comparison)
    without = capsys.readouterr().out
    print_comparison(comparison, uncorrected=True)
    both = capsys.readouterr().out
    assert "0.0078" not in without.partition("ones: ")[0] and "0.016" in without
    (row,) = [line for line in both.splitlines() if "0.0078" in line and "0.016" in line]
    assert len(row) <= int(columns)


def test_the_level_of_a_design_is_that_of_its_words(tmp_path: Path) -> None:
    """p = 2 / 2^8 = 0.0078 decides at 0.05, not at 0.001: nothing is said to differ, and intervals have their level."""
    store, arms = RunStore(tmp_path, "s"), ARMS[:2]
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + APART / 10)])
    design = DeclaredDesign("test_accuracy", "zeros", 0.005, (8,), "pocock", 0.001, arms)
    declare_design(store, design)
    write_looks(store, design, [Look(8, {})])
    comparison = compare_study(store, "")
    (ones,) = comparison.compared
    assert ones.alpha == 0.001 and 0.001 < ones.p_equivalent < 0.05 and not ones.may_fail
    assert "8 seeds are too few" in comparison.headlines[0].sentence  # 2 / 2^8 is above 0.001
    write_report(comparison, tmp_path / "report", figures=False)
    first, other = (tmp_path / "report" / "answer.md").read_text().split("**test_loss (exploratory)**")
    assert "difference [99.9 %]" in first and "difference [95 %]" in other
    assert np.isclose(comparison.correction.alpha, 0.001)

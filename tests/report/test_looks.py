"""A design's looks are shown per arm, wherever the answer is: what each decided, with which seeds, and how surely."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from factories import put_all

from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.report.document import comparison_document
from pipeline.report.markdown import looks_table
from pipeline.report.write import make_charts, write_report
from pipeline.store.designs import DeclaredArm, DeclaredDesign, Look, declare_design, write_looks
from pipeline.store.runs import RunStore
from pipeline.tracking.note import LONGEST_NOTE, render_note

ARMS = tuple(DeclaredArm(name, name, "") for name in ("zeros", "ones", "he_normal"))


def looked(results: Path, alpha: float = 0.05) -> Comparison:
    """One arm is worse at the first of two looks, one is open after both."""
    rng, store = np.random.default_rng(0), RunStore(results, "s")
    design = DeclaredDesign("test_accuracy", "zeros", 0.005, (10, 20, 40), "pocock", alpha, ARMS)
    declare_design(store, design)
    base = 0.9 + rng.normal(0, 0.02, 20)
    put_all(results, "zeros", [*base])
    put_all(results, "ones", [*(base[:10] - 0.05 + rng.normal(0, 0.02, 10))])
    put_all(results, "he_normal", [*(base + rng.normal(0, 0.02, 20))])
    write_looks(store, design, [Look(10, {"ones": "worse"}), Look(20, {})])
    return compare_study(store, "")


def test_each_arm_has_a_row_with_what_its_looks_say(tmp_path: Path) -> None:
    """Verdict, look, seeds, repeated interval, corrected difference, and every p that the design has."""
    comparison = looked(tmp_path)
    worse, still = comparison.compared
    assert (worse.verdict, worse.look, still.verdict, still.look) == ("worse", 1, "undecided", 2)
    write_report(comparison, tmp_path / "report", figures=False)
    text = (tmp_path / "report" / "answer.md").read_text()
    table = text.partition("**The declared looks: test_accuracy**\n\n")[2].partition("\n\n")[0]
    headings, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    cells = {row[0]: dict(zip(headings, row, strict=True)) for row in rows}
    assert list(cells) == ["ones", "he_normal"]
    assert (cells["ones"]["look"], cells["ones"]["seeds"], cells["he_normal"]["seeds"]) == ("1/3", "10", "20")
    assert cells["he_normal"]["corrected"] == "–"
    corrected = float(cells["ones"]["corrected"])
    assert (
        corrected == pytest.approx(worse.difference_unbiased, abs=5e-3)
        and worse.difference <= worse.difference_unbiased
    )
    for heading, value in (("p (stage-wise)", still.p_stagewise), ("p (looks)", still.p), ("p (Holm)", still.p_holm)):
        assert float(cells["he_normal"][heading].removeprefix("≤ ")) == pytest.approx(value, rel=0.05)
    assert cells["he_normal"]["p (looks)"].startswith("≤ ") and cells["he_normal"]["p (stage-wise)"][0] == "0"
    page, methods = ((tmp_path / "report" / name).read_text() for name in ("report.html", "methods.md"))
    for shown in (text, page):
        assert "the plain difference overstates it, here that of ones; the corrected one is right on average" in shown
        assert "the arms and the declared looks, up to each arm&#39;s last".replace("&#39;", "'") in unescape(shown)
    assert "overstates a difference, here that of ones; an estimate" in methods and "by its plain mean (ones)" in page


def test_only_what_ended_before_the_last_look_is_overstated(tmp_path: Path) -> None:
    """An arm that is worse at the last look has no corrected difference, and an identical one no p of equivalence."""
    store, rng = RunStore(tmp_path, "s"), np.random.default_rng(0)
    design = DeclaredDesign("test_accuracy", "zeros", 0.005, (4, 10), "obrien_fleming", 0.05, ARMS)
    declare_design(store, design)
    base = 0.9 + rng.normal(0, 0.02, 10)
    put_all(tmp_path, "zeros", [*base])
    put_all(tmp_path, "he_normal", [*base])
    put_all(tmp_path, "ones", [*(base - 0.05 + rng.normal(0, 0.02, 10))])
    write_looks(store, design, [Look(4, {"he_normal": "identical"}), Look(10, {"ones": "worse"})])
    comparison = compare_study(store, "")
    verdicts = {verdict.arm: verdict for verdict in comparison.compared}
    assert (verdicts["ones"].verdict, verdicts["ones"].look) == ("worse", 2)
    assert verdicts["ones"].difference_unbiased is None and comparison.ended_early == []
    write_report(comparison, tmp_path / "report", figures=False)
    for path in ("answer.md", "report.html", "methods.md"):
        assert "overstate" not in (tmp_path / "report" / path).read_text()
    (line,) = [one for one in looks_table(comparison_document(comparison)) if one.startswith("| he_normal")]
    assert line.split("|")[2].strip() == "identical" and line.split("|")[-2].strip() == "–"


def test_intervals_and_tests_are_called_what_they_are(tmp_path: Path) -> None:
    """No text of the verdict's metric speaks of one look's bootstrap, or of another level than the design's."""
    comparison = looked(tmp_path, alpha=0.1)
    write_report(comparison, tmp_path / "report", figures=False)
    page, methods, latex = ((tmp_path / "report" / name).read_text()
                            for name in ("report.html", "methods.md", "answer.tex"))  # fmt: skip
    assert "p (Holm) is at most 0.1." in page and "90 % intervals are those of the same design" in page
    assert "repeated 90 % intervals" in methods and "level of 0.1 was spent" in methods and "BCa" not in methods
    assert "[@lan1983]" in methods and "2 of 3 looks, with 10, 20, 40 seeds" in methods
    caption = latex.partition(r"\caption{")[2].partition("\n")[0]
    assert "repeated intervals" in caption and "BCa" not in caption and "[90" in latex.partition("Exploratory")[0]
    title = dict(make_charts(comparison))["intervals"].title.subtitle
    assert "its repeated 90 % interval, which holds at every look" in " ".join(re.split(r"\s+", str(title)))


def test_the_note_of_mlflow_has_the_looks(tmp_path: Path) -> None:
    """After the verdict's table and the sentences, before what only explores."""
    note = render_note(comparison_document(looked(tmp_path)), "#/report", "7", tmp_path)
    places = [note.index(text) for text in ("test_accuracy (primary)", "The declared looks", "test_loss (exploratory)")]
    assert places == sorted(places) and len(note) <= LONGEST_NOTE


def test_the_margin_of_a_design_is_that_of_its_metric_alone(tmp_path: Path) -> None:
    """Another metric has its own default; a margin that is given with it is the user's own choice."""
    store, design = (
        RunStore(tmp_path, "s"),
        DeclaredDesign("test_accuracy", "zeros", 0.02, (3, 9), "pocock", 0.05, ARMS),
    )
    declare_design(store, design)
    for name in ("zeros", "ones", "he_normal"):
        put_all(tmp_path, name, [0.5, 0.6, 0.7])
    write_looks(store, design, [Look(3, {})])
    assert compare_study(store, "").study.margin == 0.02
    other, own = (compare_study(store, "", metric="test_loss", margin=margin) for margin in (None, 0.3))
    assert (other.study.margin, own.study.margin) == (0.005, 0.3)
    for comparison in (other, own):
        assert comparison.foremost[0].startswith("Warning: s declared another question before its first run")


def test_a_study_without_a_design_has_no_looks(tmp_path: Path) -> None:
    """Neither the table nor its words."""
    put_all(tmp_path, "zeros", [0.5, 0.6, 0.7])
    put_all(tmp_path, "ones", [0.5, 0.7, 0.8])
    write_report(compare_study(RunStore(tmp_path, "s"), ""), tmp_path / "report", figures=False)
    for name in ("report.html", "answer.md", "methods.md"):
        text = (tmp_path / "report" / name).read_text()
        assert "declared looks" not in text.lower() and "repeated interval" not in text

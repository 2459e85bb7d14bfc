"""Answers that were looked at before seeds were added make later p stricter, and are named."""

from html import unescape
from pathlib import Path

import numpy as np
import pytest
from factories import APART, EIGHT, put_all

from pipeline.analysis.comparison import compare_study
from pipeline.analysis.earlier import looks_at
from pipeline.analysis.study import load_study
from pipeline.report.console import print_comparison
from pipeline.report.write import write_report
from pipeline.store.answers import record_answer
from pipeline.store.runs import RunStore


def test_seeds_stand_in_the_order_of_the_looks() -> None:
    """An answer counts that had some of the seeds, not one that had all or none of them."""
    assert looks_at([0, 1, 2, 3], []) == ([0, 1, 2, 3], [4])
    assert looks_at([0, 1, 2, 3], [[0, 1]]) == ([0, 1, 2, 3], [2, 4])
    assert looks_at([0, 1, 2, 3, 4], [[3, 4], [3, 4], [0, 3], [7], range(9)]) == ([3, 4, 0, 1, 2], [2, 3, 5])


def compared(results: Path, looks: list[int]):
    """Eight seeds, after answers that rested on the first few of them."""
    put_all(results, "zeros", list(EIGHT))
    put_all(results, "ones", list(EIGHT + APART))
    store = RunStore(results, "s")
    for n in looks:
        record_answer(store, {"zeros": range(n), "ones": range(n)})
    return compare_study(store, "zeros")


def test_earlier_answers_make_p_and_the_interval_stricter(tmp_path: Path) -> None:
    """p of one look stays beside; with each further look p is larger and the interval wider."""
    once, twice, often = (
        compared(tmp_path / str(i), looks).compared[0] for i, looks in enumerate(([], [6], [5, 6, 7]))
    )
    assert once.p == pytest.approx(2 / 2**8) and once.looks is None
    assert twice.p_uncorrected == often.p_uncorrected == once.p
    assert once.p == twice.p <= often.p  # no six seeds can have a p as small as that of eight with the same sign
    assert (twice.looks, often.looks) == ("6, 8", "5, 6, 7, 8")
    widths = [one.difference_ci_high - one.difference_ci_low for one in (once, twice, often)]
    assert widths[0] <= widths[1] <= widths[2]


def test_the_reader_is_told_of_earlier_answers(tmp_path: Path) -> None:
    """A serious warning names the seeds of each look; the same seeds again are no look."""
    warnings = compared(tmp_path / "a", [5, 6]).warnings
    (warning,) = [one for one in warnings if one.kind == "looked before"]
    assert warning.serious and "looked at with 5, 6 and 8 seeds" in warning.sentence
    for looks in ([], [8]):
        assert not [one for one in compared(tmp_path / str(looks), looks).warnings if one.kind == "looked before"]


def test_the_warning_stands_above_every_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the terminal, in answer.md and on the page, before the headline and the table; and once."""
    comparison = compared(tmp_path / "results", [5, 6])
    (warning,) = comparison.foremost
    assert warning.startswith("Warning: the answer was looked at with 5, 6 and 8 seeds")
    assert comparison.sentences[1] == warning and comparison.sentences.count(warning) == 1
    monkeypatch.setenv("COLUMNS", "1000")
    print_comparison(comparison)
    out = capsys.readouterr().out
    assert out.startswith(warning) and out.count(warning) == 1
    write_report(comparison, tmp_path / "report", figures=False)
    text, page = ((tmp_path / "report" / name).read_text() for name in ("answer.md", "report.html"))
    assert text.index(warning) < text.index(comparison.answer[0]) and text.count(warning) == 1
    begin = "Warning: the answer was looked at"
    assert page.index(begin) < page.index("<h1>") and page.count(begin) == 1


def test_the_advice_is_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """It names the study and its arms, is not broken on a narrow terminal, and a page has it as it is typed."""
    comparison = compared(tmp_path / "results", [5, 6])
    command = "uv run python -m pipeline.train -m study=s 'bias_initializer=zeros,ones' until=decided"
    assert comparison.advice.endswith(f": {command}") and comparison.advice in comparison.sentences
    monkeypatch.setenv("COLUMNS", "60")
    print_comparison(comparison)
    assert command in capsys.readouterr().out.splitlines()
    write_report(comparison, tmp_path / "report", figures=False)
    assert f"`{command}`" in (tmp_path / "report" / "answer.md").read_text()
    assert f"<code>{command}</code>" in unescape((tmp_path / "report" / "report.html").read_text())
    assert not compared(tmp_path / "once", []).advice


def test_a_p_that_many_looks_would_show_by_chance_decides_nothing(tmp_path: Path) -> None:
    """Differences that a single look finds are undecided where the answer was looked at after each seed."""
    rng = np.random.default_rng(16)
    base = 0.5 + rng.normal(0, 0.01, 14)
    put_all(tmp_path, "zeros", list(base))
    put_all(tmp_path, "ones", list(base + rng.normal(0.013, 0.02, 14)))
    store = RunStore(tmp_path, "s")
    alone = compare_study(store, "zeros").compared[0]
    for n in range(5, 14):
        record_answer(store, {"zeros": range(n), "ones": range(n)})
    often = compare_study(store, "zeros").compared[0]
    assert alone.verdict == "better" and alone.p_holm <= 0.05 < often.p_holm and often.verdict == "undecided"
    assert load_study(store, "zeros").seeds == {"zeros": list(range(14)), "ones": list(range(14))}

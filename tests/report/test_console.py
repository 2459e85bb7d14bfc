"""What the terminal shows at any width: names are folded, numbers never broken, sentences broken between words."""

import io
import re
import sys
from functools import partial
from pathlib import Path

import pytest
from factories import FAR, MANY, put_all

from pipeline.analysis.comparison import compare_study
from pipeline.config.schema import PROJECT
from pipeline.report.console import print_comparison, print_table, short_path
from pipeline.report.format import HEADINGS, narrow_cells
from pipeline.runtime.wrapping import columns_or
from pipeline.store.runs import RunStore


class Terminal(io.StringIO):
    """A standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, show) -> list[str]:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "dumb")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        show()
    return terminal.getvalue().splitlines()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for name, values in {"zeros": MANY, "ones": MANY + FAR, "glorot_uniform": MANY + FAR / 10}.items():
        put_all(folder, name, [*values])
    return folder


@pytest.mark.parametrize("columns", [200, 97, 88, 80, 72, 60, 50, 40, 30])
def test_a_comparison_is_readable_at_any_width(results: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line fits; every arm, interval and verdict is there in one piece, and no sentence breaks within a word."""
    comparison = compare_study(RunStore(results, "s"), "zeros")
    lines = on_terminal(monkeypatch, columns, lambda: print_comparison(comparison))
    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    for word in ("zeros", "ones", "glorot_uniform", "better", "equivalent", "[+0.017,", "+0.023]"):
        assert word in text
    assert "…" not in text
    if columns >= 50:
        assert "[+0.017, +0.023]" in text
    words = {word for sentence in comparison.sentences for word in sentence.split()}
    start = next(i for i, line in enumerate(lines) if line.startswith("Take ones"))
    assert {word for line in lines[start:] for word in line.split()} == words


def test_a_long_name_is_folded_and_a_narrow_terminal_gets_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name takes several lines before a number loses a digit; where nothing else fits, each row is a paragraph."""
    name = "truncated_normal(mean=0.1,stddev=0.2),optimizer.learning_rate=0.001"
    row = [name, "10", "0.9736 ± 0.0025"]
    lines = on_terminal(monkeypatch, 60, lambda: print_table("t", ["arm", "seeds", "mean (std)"], [row]))
    assert "".join(line.strip("│ ").split(" ")[0] for line in lines if "━" not in line and "─" not in line)
    assert any("0.9736 ± 0.0025" in line for line in lines) and max(map(len, lines)) <= 60
    lines = on_terminal(monkeypatch, 24, lambda: print_table("t", ["arm", "seeds", "mean (std)"], [row]))
    assert "  seeds: 10" in lines and max(map(len, lines)) <= 24


@pytest.mark.parametrize("columns", [110, 100, 80, 72, 60, 40])
def test_a_name_is_broken_at_its_punctuation(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No word and no number of it is broken while there is another way; the name is all there."""
    name = "zeros,kernel_initializer=glorot_uniform,optimizer.learning_rate=0.001,data.path=rates/a.csv"
    row = [name, "10", "0.9736 ± 0.0025", "-0.0042 [-0.0081, -0.0009]", "0.07", "undecided"]
    show = partial(print_table, "", HEADINGS, [row], narrow_cells([row]))
    cells = [re.split(r" {2,}| ?│ ?", line.strip("│ "))[0] for line in on_terminal(monkeypatch, columns, show)]
    lines = [cell.strip() for cell in cells if re.search(r"[a-z0]", cell)]
    lines = lines[next(i for i, line in enumerate(lines) if line.startswith("zeros")) :]
    lines = lines[: next(i for i, line in enumerate(lines) if line.endswith("csv")) + 1]
    assert "".join(lines) == name
    assert all(line[-1] in ",=./" for line in lines[:-1])


def test_a_pipe_gets_a_sentence_per_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the output is no terminal, every sentence is one line, for `grep`."""
    comparison = compare_study(RunStore(results, "s"), "zeros")
    print_comparison(comparison)
    assert set(comparison.sentences) <= set(capsys.readouterr().out.splitlines())


def test_a_printed_path_can_be_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken from the project: relative in the project itself, absolute from any other working directory."""
    inside = PROJECT / "results" / "s"
    monkeypatch.chdir(PROJECT)
    assert [short_path(inside), short_path(tmp_path)] == ["results/s", str(tmp_path)]
    for elsewhere in (tmp_path, PROJECT / "tests"):
        monkeypatch.chdir(elsewhere)
        for path in (inside, elsewhere / "res"):
            assert short_path(path) == str(path)


def test_columns_count_without_a_terminal(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`COLUMNS=60 ... | less` has the width that the user set; what is no width is no setting."""
    comparison = compare_study(RunStore(results, "s"), "zeros")
    monkeypatch.setenv("COLUMNS", "60")
    print_comparison(comparison)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60
    for none in ("", "0", "wide"):
        monkeypatch.setenv("COLUMNS", none)
        assert columns_or(100) == 100

"""The files of a report: figures, tables, Markdown, metrics for DVC."""

import json
import os
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factories import APART, EIGHT, put, put_all
from PIL import Image

from pipeline.analysis.across_studies import rank_arms
from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.analysis.formatting import plain_rows
from pipeline.errors import ConfigError
from pipeline.report.console import print_comparison
from pipeline.report.format import table_cells
from pipeline.report.html import render_page
from pipeline.report.places import FILES, check_report_folder
from pipeline.report.ranking import write_ranking
from pipeline.report.write import report_studies, write_report
from pipeline.store.runs import RunStore


def compared(results: Path, study: str = "s", baseline: str = "zeros", **options: Any) -> Comparison:
    return compare_study(RunStore(results, study), baseline, **options)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on three arms, with figures."""
    tmp = tmp_path_factory.mktemp("report")
    put_all(tmp / "results", "zeros", [0.8, 0.9, 0.7])
    put_all(tmp / "results", "ones", [0.9, 0.8, 0.9])
    put_all(tmp / "results", "no_bias", [0.8, 0.9, 0.7], biased=False)
    write_report(compared(tmp / "results"), tmp / "s")
    return tmp / "s"


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ("learning_curves", ["zeros", "ones", "no_bias"]),
        ("biases", ["zeros", "ones"]),
        ("intervals", ["ones", "no_bias", "undecided", "identical"]),
        ("paired_differences", ["ones", "no_bias", "baseline"]),
    ],
)
def test_each_figure_is_drawn_as_png_and_svg(report: Path, figure: str, words: list[str]) -> None:
    """Each figure can be decoded, is not blank, and shows every arm."""
    with Image.open(report / "figures" / f"{figure}.png") as image:
        colours = {colour: pixels for pixels, colour in image.convert("RGB").getcolors(2**24)}
    assert len(colours) > 40
    assert 1 - colours[255, 255, 255] / sum(colours.values()) > 0.02
    svg = (report / "figures" / f"{figure}.svg").read_text()
    assert svg.startswith("<svg") and svg.count("<path") > 10
    assert all(word in svg for word in words)


def test_every_picture_that_the_answer_shows_exists(report: Path) -> None:
    """answer.md links only to figures that were drawn."""
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (report / "answer.md").read_text())
    assert len(links) == 7 and all((report / link).is_file() for link in links)


def test_a_report_without_figures_keeps_none_of_an_earlier_one(tmp_path: Path) -> None:
    """Figures of an earlier report are deleted, other files in the folder are not, and nothing links to a figure."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    figures = tmp_path / "s" / "figures"
    figures.mkdir(parents=True)
    for name in ("drift.svg", "drift.png", "mine.png"):
        (figures / name).write_text("earlier")
    write_report(compared(tmp_path / "results"), tmp_path / "s", figures=False)
    assert [path.name for path in figures.iterdir()] == ["mine.png"]
    assert "![" not in (tmp_path / "s" / "answer.md").read_text()


def test_the_metrics_for_dvc_say_what_the_table_says(report: Path) -> None:
    """metrics.json is arm -> name -> number, strict JSON, short, and leaves out what is not known."""
    text = (report / "metrics.json").read_text()
    metrics = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert set(metrics) == {"zeros", "ones", "no_bias"}
    assert metrics["ones"]["test_accuracy"] == pytest.approx(2.6 / 3, rel=1e-5)
    assert metrics["ones"]["difference"] == pytest.approx(1 / 15, rel=1e-5)
    assert metrics["ones"]["seeds"] == 3
    assert "difference" not in metrics["zeros"]
    assert all(len(numbers) <= 12 and all(len(str(n)) <= 12 for n in numbers.values()) for numbers in metrics.values())


def test_the_metrics_of_one_seed_have_no_interval(tmp_path: Path) -> None:
    """Statistics that one seed cannot give are absent."""
    put(tmp_path / "results", "zeros", 0, 0.5)
    put(tmp_path / "results", "ones", 0, 0.6)
    write_report(compared(tmp_path / "results"), tmp_path / "s", figures=False)
    ones = json.loads((tmp_path / "s" / "metrics.json").read_text())["ones"]
    assert ones["test_accuracy"] == 0.6 and ones["difference"] == pytest.approx(0.1)
    assert not {"test_accuracy_std", "difference_ci_low", "difference_ci_high"} & set(ones)


def test_a_name_with_a_bar_keeps_the_columns_of_the_table(tmp_path: Path) -> None:
    """The bar in an arm's name is escaped in answer.md and in studies.md."""
    for study, arm in product(("first", "second"), ("zeros", "a|b")):
        put_all(tmp_path / "results", arm, [0.5, 0.7], study=study)
    comparisons = [compared(tmp_path / "results", study) for study in ("first", "second")]
    write_report(comparisons[0], tmp_path / "first", figures=False)
    write_ranking(rank_arms(comparisons), comparisons, tmp_path)
    for file in ("first/answer.md", "studies.md"):
        rows = [line for line in (tmp_path / file).read_text().splitlines() if line.startswith("|")]
        assert any(r"a\|b" in row for row in rows)
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_the_cells_count_the_seeds(tmp_path: Path) -> None:
    """A cell says how many seeds diverged, and `diverged` stands where all did."""
    put_all(tmp_path, "zeros", [0.5, 0.7, 0.6])
    put_all(tmp_path, "ones", [0.6, 0.8])
    put(tmp_path, "ones", 2, 0.1, status="diverged")
    put_all(tmp_path, "he_normal", [0.1, 0.1], status="diverged")
    cells = {row[0]: row for row in table_cells(plain_rows(compared(tmp_path).chosen))}
    assert cells["zeros"][1:3] == ["3", "0.60 ± 0.25"]  # 4.303 * 0.1 / 3^0.5 = 0.248
    assert cells["zeros"][5] == "baseline" and cells["ones"][1] == "2 of 3"
    assert cells["he_normal"] == ["he_normal", "0 of 2", "–", "–", "–", "diverged"]


def test_the_table_fits_100_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Long names are folded, and intervals of small and large numbers stay in one piece."""
    long = "constant(value=0.1),optimizer.learning_rate=0.001,training.batch_size=64"
    rng = np.random.default_rng(0)
    for name in ("zeros", "ones", long, long.replace("constant(value=0.1)", "zeros")):
        for seed in range(5):
            tiny = {"test_tiny": rng.normal(1, 2) * 1e-9, "test_huge": rng.normal(1, 2) * 1e9}
            put(tmp_path, name, seed, rng.normal(0.7, 0.02), setting=name.split(",")[0], metrics=tiny)
    put(tmp_path, "ones", 5, 0.1, status="diverged")
    for metric in ("test_accuracy", "test_tiny", "test_huge"):
        print_comparison(compared(tmp_path, metric=metric))
        table = re.split(r"\n(?=[A-Z])", capsys.readouterr().out)[0].splitlines()  # the sentences follow
        assert table and max(map(len, table)) <= 100
        assert len(re.findall(r" \S*\d \[\S+, \S+\] ", "\n".join(table))) == 2
        assert "5 of 6" in "\n".join(table)
        folded = "".join(line.lstrip("│ ").split(" ")[0] for line in table[1:])
        assert long in folded


def test_the_tables_behind_dvc_plots_are_those_of_the_verdict(report: Path) -> None:
    """plots/ holds the chosen metric: intervals of the compared arms, and the value of every seed."""
    intervals = pd.read_csv(report / "plots" / "intervals.csv").set_index("arm")
    assert set(intervals.index) == {"ones", "no_bias"} and set(intervals["metric"]) == {"test_accuracy"}
    assert intervals.loc["ones", "low"] < 1 / 15 < intervals.loc["ones", "high"]
    values = pd.read_csv(report / "plots" / "values.csv")
    assert values.query("arm == 'ones'")["value"].tolist() == [0.9, 0.8, 0.9]


def test_names_may_break_and_numbers_stay_together(tmp_path: Path) -> None:
    """Long names break after their punctuation; `p = 0.07` and `95 %` do not break."""
    put_all(tmp_path, "zeros,optimizer=sgd", [*EIGHT])
    put_all(tmp_path, "ones,optimizer=sgd", [*(EIGHT + APART)])
    put_all(tmp_path, "zeros", [*EIGHT])
    html = render_page(compared(tmp_path), {}, script="")
    assert "<span>ones,<wbr>optimizer=<wbr>sgd: better than zeros,<wbr>optimizer=<wbr>sgd: " in html
    assert "95\u00a0% interval" in html and "p\u00a0=\u00a0" in html


@pytest.mark.parametrize("name", [*FILES, "", "figures", "plots", "../studies.md", "../studies.csv"])
def test_a_taken_place_is_refused_before_anything_is_computed(name: str, tmp_path: Path) -> None:
    """A folder where a file belongs, or a file where a folder does: one line with the path, and nothing is written."""
    path = Path(os.path.normpath(tmp_path / "reports" / "first" / name))
    path.parent.mkdir(parents=True, exist_ok=True)
    (Path.mkdir if path.suffix else Path.touch)(path)
    before = sorted(tmp_path.rglob("*"))
    stores = [RunStore(tmp_path / "results", study) for study in ("first", "second")]  # computing would find no run
    with pytest.raises(ConfigError, match=rf"^reports: {path}") as refusal:
        report_studies(stores, tmp_path / "reports", str)
    assert "\n" not in str(refusal.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["summary.csv", "references.bib", "figures/intervals.png"])
def test_files_of_others_are_not_written_over(name: str, tmp_path: Path) -> None:
    """Only where a report lies does the next one take its place; other files may lie beside it."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError) as refusal:
        check_report_folder(tmp_path, "folder")
    assert str(refusal.value).startswith(f"folder: {tmp_path / name} is of no earlier report, which would have ")
    (tmp_path / "comparison.json").write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match=r"^folder: "):
        check_report_folder(tmp_path, "folder")
    for begun in ('{\n  "schema_version": 1,\n', json.dumps({"schema_version": 1, "study": "s"})):
        (tmp_path / "comparison.json").write_text(begun)
        check_report_folder(tmp_path, "folder")


@pytest.mark.parametrize("name", ["studies.csv", "studies.md"])
def test_a_ranking_replaces_nothing_but_a_ranking(name: str, tmp_path: Path) -> None:
    """A file of the user's with its name is named before anything is written."""
    for study, arm in product(("first", "second"), ("zeros", "ones")):
        put_all(tmp_path / "results", arm, [0.5, 0.7], study=study)
    stores = [RunStore(tmp_path / "results", study) for study in ("first", "second")]
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / name).write_text("study,year\nmine,2020\n")
    with pytest.raises(ConfigError, match=rf"^reports: {folder / name} is no earlier ranking of studies, which"):
        report_studies(stores, folder, lambda _: "", figures=False, baseline="zeros")
    assert [path.name for path in folder.iterdir()] == [name]
    (folder / name).unlink()
    for _ in range(2):
        report_studies(stores, folder, lambda _: "", figures=False, baseline="zeros")
    assert "zeros" in (folder / name).read_text()


def test_reports_of_studies_keep_files_of_others(tmp_path: Path) -> None:
    """What git and DVC leave of an earlier report is in nobody's way."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    folder = tmp_path / "reports" / "s"
    (folder / "figures").mkdir(parents=True)
    for name in ("metrics.json", "methods.md", "figures/drift.svg", "answer.md"):
        (folder / name).write_text("{}")
    stores = [RunStore(tmp_path / "results", "s")]
    with pytest.raises(ConfigError, match=r"^reports: .*answer.md is of no earlier report"):
        report_studies(stores, tmp_path / "reports", lambda _: "", figures=False, baseline="zeros")
    (folder / "answer.md").unlink()
    report_studies(stores, tmp_path / "reports", lambda _: "", figures=False, baseline="zeros")
    report_studies(stores, tmp_path / "reports", lambda _: "", figures=False, baseline="zeros")

"""What a paper takes from a report: a table in LaTeX, figures as wide as a column, methods with their sources."""

import dataclasses
import json
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from factories import APART, EIGHT, drift, found, put_all, quantiles, trajectories

from pipeline.analysis.commands import training_commands
from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.report.figures.biases import bias_distributions, bias_trajectories
from pipeline.report.figures.column import COLUMN_WIDTH, PAGE_HEIGHT, column_pages
from pipeline.report.figures.performance import forest, learning_curves
from pipeline.report.figures.theme import for_print
from pipeline.report.latex import render_latex
from pipeline.report.methods import REFERENCES, render_methods, render_references
from pipeline.report.reviewer import reviewer_facts
from pipeline.report.write import write_report
from pipeline.store.runs import Run, RunStore

DOCUMENT = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{r/answer}\end{document}"
PLACED = DOCUMENT.replace(r"\begin{doc", r"\graphicspath{{r/}}\begin{doc")


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    put_all(tmp_path, "zeros", [*EIGHT])
    put_all(tmp_path, "ones", [*(EIGHT + APART)])
    put_all(tmp_path, "he_normal,optimizer.x_y=5~a", [*(EIGHT - APART)])
    return compare_study(RunStore(tmp_path, "s"), "zeros")


def write_machine(run: Run, machine: dict) -> None:
    """Have a run be trained where this says."""
    (run.path / "machine.json").write_text(json.dumps(machine))
    vars(run).pop("machine", None)  # a run reads it once


def test_the_table_is_one_of_booktabs(comparison: Comparison) -> None:
    """A row per arm below the heading of its block, as many cells as columns, three rules, and nothing that LaTeX would
    take for a command."""
    text = render_latex(comparison)
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    headings = [line for line in body.splitlines() if "multicolumn" in line]
    rows = [line for line in body.strip().splitlines() if line.endswith(r"\\") and line not in headings]
    columns = re.findall(r"begin{tabular}{(\w+)}", text)[0]
    assert len(rows) == 3 and {line.count("&") for line in rows} == {len(columns) - 1}
    assert len(headings) == 2 and r"\emph{optimizer.x\_y=5\textasciitilde{}a}" in headings[1]
    assert rows[2].startswith(r"he\_normal & ") and "$+$0.020 [$+$0.014, $+$0.026]" in body
    assert not re.search(r"(?<!\\)[_#%~^]", body)
    assert text.isascii() and r"\begin{table}" in text


LONG = "branch_a=constant(0.1)+branch_b=mine>MyInitializer(0.3)+output=class_prior"


@pytest.fixture
def of_blocks(tmp_path: Path) -> Comparison:
    """Two blocks with a long name each, of the block and of an arm."""
    for i, kernels in enumerate(("glorot_uniform", "he_normal")):
        for name, values in (("zeros", EIGHT), (LONG, EIGHT + APART)):
            put_all(tmp_path / "long", f"{name},kernel_initializer={kernels}", [*(values + i / 50)])
    return compare_study(RunStore(tmp_path / "long", "s"), "zeros")


def test_a_long_name_takes_several_lines_and_a_block_is_named_once(of_blocks: Comparison) -> None:
    """The rows of a block stand below its heading by their settings, and the table takes the width of the page."""
    text = render_latex(of_blocks).partition(r"\bottomrule")[0]
    assert r"\begin{table*}" in text
    assert [text.count(name) for name in ("over both blocks", r"kernel\_initializer=he\_normal")] == [1, 1]
    lines = re.findall(r"tabular}\[t\]{@{}l@{}}(.*?)\\end", text)
    assert len(lines) == 3 and len(set(lines)) == 1
    assert [len(line) <= 45 for line in lines[0].split(r"\\")] == [True] * 3
    assert text.count("\nzeros & ") == 3


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
@pytest.mark.parametrize("document", ["[twocolumn]{article}", "{article}"])
def test_letters_of_a_table_are_not_shrunk(
    comparison: Comparison, of_blocks: Comparison, document: str, tmp_path: Path
) -> None:
    """The tables are less than a third wider than their place in either layout: eight points stay above six."""
    measure = r"\renewcommand{\resizebox}[3]{\sbox0{#3}\typeout{wide \the\wd0 of \the\linewidth;}}"
    text = rf"\documentclass{document}\usepackage{{booktabs,graphicx}}{measure}\begin{{document}}\input{{answer}}"
    for one in (comparison, of_blocks):
        (tmp_path / "answer.tex").write_text(render_latex(one))
        (tmp_path / "paper.tex").write_text(text + r"\end{document}")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        widths = re.findall(r"wide ([\d.]+)pt ?of ([\d.]+)pt", done.stdout)
        assert done.returncode == 0 and len(widths) == 2
        assert all(float(wide) < 4 / 3 * float(place) for wide, place in widths), widths


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
def test_latex_sets_the_table(comparison: Comparison, tmp_path: Path) -> None:
    """pdflatex makes pages of it, with and without the figure, without an error or an overfull line."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for pdf, document in ((False, DOCUMENT), (True, PLACED)):
        write_report(comparison, tmp_path / "r", pdf=pdf)
        (tmp_path / "paper.tex").write_text(document)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "Overfull" not in done.stdout
        assert ("intervals.pdf" in done.stdout) == pdf


def test_the_figure_is_in_the_text_where_it_was_drawn(comparison: Comparison) -> None:
    """With `pdf` answer.tex includes it; else the same lines are comments that say how to have it."""
    include = r"\includegraphics[width=\columnwidth]{figures/intervals.pdf}"
    drawn, not_drawn = (render_latex(comparison, pdf).splitlines() for pdf in (True, False))
    assert include in drawn and r"\begin{figure}" in drawn and r"\end{figure}" in drawn
    assert f"% {include}" in not_drawn and include not in not_drawn
    assert any("pdf=true" in line for line in not_drawn)


def test_the_methods_cite_what_the_list_has(comparison: Comparison) -> None:
    """Every source that the text names is an entry of references.bib."""
    text, entries = render_methods(comparison), re.findall(r"^@\w+{(\w+),", render_references(), re.MULTILINE)
    assert set(re.findall(r"@(\w+)", text)) <= set(entries) == set(REFERENCES)
    assert "not corrected across metrics" in text and "3 ways to initialize" in text
    assert "Over several blocks" not in text and "standardized" not in text


def test_one_comparison_is_not_said_to_be_corrected(comparison: Comparison, tmp_path: Path) -> None:
    """With one arm beside the baseline no text for a paper names Holm; with two in one family both do."""
    for name, values in (("zeros", EIGHT), ("ones", EIGHT + APART)):
        put_all(tmp_path / "two", name, [*values])
    comparison = compare_study(RunStore(tmp_path / "two", "s"), "zeros")
    assert "for one comparison, not corrected across metrics" in render_methods(comparison)
    assert "Holm" not in render_methods(comparison) + render_latex(comparison)
    put_all(tmp_path / "two", "he_normal", [*(EIGHT - APART)])
    comparison = compare_study(RunStore(tmp_path / "two", "s"), "zeros")
    assert "corrected by Holm's method [@holm1979] for the arms" in render_methods(comparison)
    assert "with Holm's correction for the arms." in render_latex(comparison) and "(Holm)" in render_latex(comparison)


def test_a_model_from_python_is_said_to_be_one(comparison: Comparison) -> None:
    """Its name alone, such as `sequential`, would read as a property."""
    for arm in comparison.study.arms:
        for run in arm.runs:
            write_machine(run, {"program": "compare_initializers"})
    name = comparison.study.arms[0].runs[0].meta["config"]["model"]["name"]
    assert f"The model was given from Python and called {name}." in render_methods(comparison)


def test_the_methods_say_what_is_pooled_standardized_and_stopped_by(of_blocks: Comparison) -> None:
    """How blocks are averaged, that features are standardized, and where early stopping is not as by default."""
    for run in (run for arm in of_blocks.study.arms for run in arm.runs):
        run.meta["config"].setdefault("data", {})["standardize"] = True
        stop = {"patience": 2, "monitor": "val_f1", "mode": "max", "min_delta": 0.01}
        run.meta["config"].setdefault("training", {})["stop"] = stop
    text = render_methods(of_blocks)
    assert "the value of a seed is its mean over the blocks" in text and "Features were standardized" in text
    assert "patience 2, by val_f1, mode max, min_delta 0.01" in text


@pytest.mark.parametrize(
    ("training", "metrics", "loss"),
    [
        ({"loss": "auto"}, {}, "The loss was the cross-entropy."),
        ({"loss": "auto"}, {"test_mae": 1.0}, "The loss was the mean squared error."),
        ({"loss": {"class_name": "Huber", "config": {"delta": 0.5}}}, {}, "The loss was Huber(delta=0.5)."),
        ({"loss": "mine>Mine", "class_weight": {"0": 2}}, {}, "The loss was mine>Mine, with class weights (0: 2)."),
        ({"loss": "auto", "class_weight": "balanced"}, {}, "the cross-entropy, with class weights (balanced: inv"),
        ({"loss": "auto", "class_weight": [1, 0.5]}, {}, "class weights (1, 0.5, in the order of the classes)."),
    ],
)
def test_the_methods_name_model_loss_coding_and_commit(
    training: dict, metrics: dict, loss: str, comparison: Comparison
) -> None:
    """What a reader needs to do it again; whatever is not recorded is not named."""
    runs = [run for arm in comparison.study.arms for run in arm.runs]
    before = render_methods(comparison)
    assert "coded" not in before and "commit" not in before and "parameters" not in before
    for run in runs:
        run.meta["config"]["training"] = training
        run.meta["metrics"].update(metrics)
        run.meta.update(
            {
                "parameters": 2410,
                "data_columns": ["age", "age is missing", "city=Rome", "city=Bern", "b=x", "b=y"],
            }
        )
        write_machine(run, {"git_commit": "abc123"})
    text = render_methods(comparison)
    name = runs[0].meta["config"]["model"]["name"]
    assert f"The model, called {name}, had 2,410 parameters. " in text and loss in text
    assert "for each of its values, as many as in brackets: city (2), b (2)." in text
    assert "Code: commit abc123." in text


def test_a_reviewer_finds_the_command_that_trained(comparison: Comparison) -> None:
    """A command per block, with its bias settings and seeds; what is not recorded is said not to be."""
    lines = training_commands(comparison.study.arms, "s")
    assert any("'bias_initializer=zeros,ones'" in line and line.endswith("seeds=8") for line in lines)
    assert any("optimizer.x_y=5~a" in line for line in lines)
    facts = dict(reviewer_facts(comparison))
    assert facts["training time"] == facts["rows"] == "not recorded"
    assert facts["seeds"].startswith("8 (0 to 7)")


def test_a_reviewer_finds_how_gaps_were_filled_and_whose_code_ran(tmp_path: Path) -> None:
    """`data.missing` in words, the remarks on how the file was read, and files of code with who used them."""
    code = {"file": "mine.py", "digest": "abc", "used": ["mine>Mine"]}
    for arm, more in (("zeros", {}), ("mine.mine", {"code": [code]})):
        put_all(tmp_path, arm, [*EIGHT], **more)
    comparison = compare_study(RunStore(tmp_path, "s"), "zeros")
    facts = dict(reviewer_facts(comparison))
    assert facts["code of the user"] == "mine.py (digest abc), mine>Mine: in mine.mine"
    assert facts["missing values"] == "not recorded" and "Missing values" not in render_methods(comparison)
    for run in (run for arm in comparison.study.arms for run in arm.runs):
        run.meta["config"]["data"]["missing"] = "impute"
        run.meta["data_remarks"] = ["mine.csv: separator ;", "b: 27 missing values become the median"]
    facts = dict(reviewer_facts(comparison))
    assert facts["data"].endswith("mine.csv: separator ; | b: 27 missing values become the median")
    assert "median" in facts["missing values"] and "data.missing=impute" in facts["missing values"]
    assert "Missing values: filled for each seed" in render_methods(comparison)


def test_a_reviewer_finds_time_and_commit_unless_the_report_is_portable(comparison: Comparison) -> None:
    """machine.json tells them; the report of portable runs is the same whatever it says, as DVC's lock holds."""
    runs = [run for arm in comparison.study.arms for run in arm.runs]

    def facts(seconds: float) -> dict[str, str]:
        machine = {
            "seconds": seconds,
            "git_commit": "abc123",
            "processor": "x86",
            "overrides": ["study=s", "data=iris"],
        }
        for run in runs:
            write_machine(run, machine)
        return dict(reviewer_facts(comparison))

    told = facts(2.0)
    assert told["training time"].startswith("48 s for 24 runs") and told["commit of the code"] == "abc123"
    assert "data=iris" in told["trained with"]
    for run in runs:
        run.meta["environment"]["portable"] = True
    told = facts(2.0)
    assert told == facts(3.0) and "machine.json" in told["training time"]
    assert "runtime.portable=true" in told["trained with"]


@pytest.mark.slow
def test_figures_for_a_column_are_as_wide_as_one(comparison: Comparison, tmp_path: Path) -> None:
    """Each PDF is 8.5 cm wide, high ones have several pages, and a report without `pdf` deletes all of them."""
    arms = [f"hidden=constant({i}.5)+output=random_normal" for i in range(9)]
    many = dataclasses.replace(
        comparison, drawn_trajectories=trajectories(arms, 3), drift=drift(arms, 3), quantiles=quantiles(arms),
        study=dataclasses.replace(
            comparison.study,
            arms=[*comparison.study.arms, *(dataclasses.replace(comparison.study.arms[0], name=arm) for arm in arms)],
        ),
    )  # fmt: skip
    write_report(many, tmp_path / "r", pdf=True)
    pages = {path.stem: path.read_bytes() for path in (tmp_path / "r" / "figures").glob("*.pdf")}
    figures = {path.stem for path in (tmp_path / "r" / "figures").glob("*.svg")}
    assert {name.partition("-")[0] for name in pages} == figures
    assert "trajectories-2" in pages
    for name, page in pages.items():
        box = re.search(rb"/MediaBox ?\[([\d. ]+)\]", page)
        assert box is not None, name
        width, height = map(float, box[1].split()[2:])
        assert abs(width - COLUMN_WIDTH) <= 2 and height <= PAGE_HEIGHT + 1, (name, width, height)
    write_report(comparison, tmp_path / "r")
    assert not list((tmp_path / "r" / "figures").glob("*.pdf"))


@pytest.mark.slow
def test_letters_of_a_column_can_be_read() -> None:
    """No text of a printed figure is smaller than six points once it has the width of a column, nor cut."""
    arms = [f"hidden=constant({i}.5)+output=random_normal" for i in range(4)]
    for chart in (bias_distributions(quantiles(arms), arms), bias_trajectories(trajectories(arms, 3), arms)):
        for svg in column_pages(for_print(chart.to_dict(validate=False))):
            width, drawn = re.findall(r'width="([\d.]+)".*?viewBox="0 0 ([\d.]+)', svg)[0]
            sizes = {float(size) for size in re.findall(r'font-size="([\d.]+)px"', svg)}
            assert min(sizes) * float(width) / float(drawn) >= 6
            assert "…" not in svg


def curves(metrics: int) -> pd.DataFrame:
    """Learning curves of two arms over two epochs, of so many metrics."""
    rows = product(("zeros", "ones"), [f"m{i}" for i in range(metrics)], (0, 1))
    return pd.DataFrame([
        {"arm": arm, "metric": metric, "epoch": epoch, "mean": 0.5, "low": 0.4, "high": 0.6}
        for arm, metric, epoch in rows
    ])  # fmt: skip


def test_nothing_printed_waits_for_a_pointer() -> None:
    """An image has no selection, and is drawn as where nothing is selected: a panel needs no other on its page."""
    spec = learning_curves(curves(2), ["zeros", "ones"]).to_dict(validate=False)
    assert found(spec, "select") and found(spec, "condition")
    printed = for_print(spec)
    assert not found(printed, "select") and not found(printed, "condition")
    values = [layer["encoding"] for panel in printed["concat"] for layer in panel["layer"]]
    assert [value["fillOpacity"] for value in values if "fillOpacity" in value] == [{"value": 0.18}] * 2
    assert [value["opacity"] for value in values if "opacity" in value] == [{"value": 1.0}] * 2


@pytest.mark.slow
def test_curves_of_many_metrics_take_several_pages() -> None:
    """Ten panels are on two pages, each with the legend of the arms."""
    pages = column_pages(for_print(learning_curves(curves(10), ["zeros", "ones"]).to_dict(validate=False)))
    assert len(pages) == 2 and all(">ones<" in page for page in pages)
    assert [page.count(">m") for page in pages] == [6, 4]


@pytest.mark.slow
def test_many_arms_of_one_panel_take_several_pages() -> None:
    """In order, none higher than a page."""
    arms = [f"hidden=constant({i}.5)+output=random_normal" for i in range(40)]
    table = pd.DataFrame({
        "arm": arms, "metric": "test_accuracy", "mean": 0.9, "ci_low": 0.89, "ci_high": 0.91, "baseline": "zeros",
        "pairs": 5, "difference": 0.02, "difference_ci_low": 0.01, "difference_ci_high": 0.04, "verdict": "better",
    })  # fmt: skip
    charts = (forest(table, ["zeros", *arms], 0.005, more_is_better=True), bias_distributions(quantiles(arms), arms))
    for chart in charts:
        pages = column_pages(for_print(chart.to_dict(validate=False)))
        assert len(pages) > 2
        for page in pages:
            height = float(re.findall(r'height="([\d.]+)"', page)[0])
            assert 100 < height <= PAGE_HEIGHT
        drawn = [frozenset(map(int, re.findall(r"constant\((\d+)\.5", page))) for page in pages]
        groups = list(dict.fromkeys(drawn))  # each layer has a page of the same arms
        assert sorted(i for group in groups for i in group) == list(range(40)) and len(groups) > 2
        assert [max(group) for group in groups] == sorted(max(group) for group in groups)


@pytest.mark.slow
def test_a_figure_that_cannot_be_drawn_leaves_the_earlier_report(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a file of the report's folder is written, changed or deleted."""
    old = {tmp_path / "r" / name: name for name in ("report.html", "figures/drift.png", "figures/drift-2.pdf")}
    for path, text in old.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr("pipeline.report.write.for_print", lambda spec: spec | {"params": [{"name": 3}]})
    with pytest.raises(ValueError, match="figure r/figures/intervals cannot be drawn"):
        write_report(comparison, tmp_path / "r")
    assert {path: path.read_text() for path in (tmp_path / "r").rglob("*.*")} == old

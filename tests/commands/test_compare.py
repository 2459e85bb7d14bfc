"""The command `compare`: options, refusals, what it prints and which files it writes."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from factories import CommandResult, put, put_all

from pipeline import compare
from pipeline.compare import CompareOptions
from pipeline.config.metrics import MARGIN
from pipeline.config.options import command_line
from pipeline.config.schema import PROJECT
from pipeline.report.places import FILES


class Answer(NamedTuple):
    folder: Path
    out: str
    imported: set[str]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """`compare` over three arms in an interpreter of its own, which then names the packages that it imported."""
    tmp = tmp_path_factory.mktemp("answer")
    put_all(tmp / "results", "zeros", [0.8, 0.9, 0.7])
    put_all(tmp / "results", "ones", [0.9, 0.8, 0.9])
    put_all(tmp / "results", "no_bias", [0.8, 0.9, 0.7], biased=False)
    script = (
        "import json, sys; from pipeline import compare; code = compare.main(sys.argv[1:]);"
        "print(json.dumps([name.split('.')[0] for name in sys.modules]), file=sys.stderr); sys.exit(code)"
    )
    options = [f"results={tmp / 'results'}", f"reports={tmp / 'reports'}"]
    done = subprocess.run([sys.executable, "-c", script, *options], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Answer(tmp / "reports" / "s", done.stdout, set(json.loads(done.stderr.splitlines()[-1])))


@pytest.fixture
def comparing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """`compare` in this process, without figures, on this test's own results."""

    def run(*options: str) -> CommandResult:
        capsys.readouterr()
        places = [f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}"]
        code = compare.main([*places, "figures=false", "mlflow=false", *options])
        return CommandResult(code, *capsys.readouterr())

    return run


def test_comparing_needs_neither_tensorflow_nor_mlflow(answer: Answer) -> None:
    """Only libraries that draw and compute are imported."""
    assert "altair" in answer.imported
    assert not {"tensorflow", "keras", "mlflow", "sklearn", "statsmodels"} & answer.imported


def test_terminal_and_markdown_say_the_same(answer: Answer) -> None:
    """Every sentence of comparison.json is printed and in answer.md; none holds a nan."""
    sentences = json.loads((answer.folder / "comparison.json").read_text())["sentences"]
    assert "no_bias: identical to zeros: on all 3 seeds the same learning curves, bit for bit." in sentences
    ones = next(sentence for sentence in sentences if sentence.startswith("ones: "))
    assert ones.startswith("ones: undecided against zeros: +0.07 test_accuracy, 95 % interval -0.31 to +0.45, p = 1 ")
    assert "so few seeds can never show a difference, 7 are the fewest" in ones
    for text in (answer.out, (answer.folder / "answer.md").read_text()):
        plain = text.replace("`", "")  # answer.md marks commands
        assert [sentence for sentence in sentences if sentence not in plain] == []
        assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_quiet(tmp_path: Path, comparing: Callable[..., CommandResult]) -> None:
    """With `-q` the report is written, and nothing is printed; a refusal is."""
    put_all(tmp_path / "results", "zeros", [0.8, 0.9, 0.7])
    put_all(tmp_path / "results", "ones", [0.9, 0.8, 0.9])
    assert comparing("-q") == (0, "", "")
    assert (tmp_path / "reports" / "s" / "report.html").is_file()
    refused = comparing("--quiet", "baseline=nix")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)


def test_the_report_has_all_its_files(answer: Answer) -> None:
    """The files that --help names are there."""
    names = {path.relative_to(answer.folder).as_posix() for path in answer.folder.rglob("*") if path.is_file()}
    figures = {
        "learning_curves",
        "difference_curves",
        "biases",
        "intervals",
        "paired_differences",
        "trajectories",
        "drift",
    }
    assert names == {
        "report.html", "answer.md", "answer.tex", "methods.md", "references.bib", "comparison.json",
        "summary.csv", "differences.csv", "biases.parquet",
        "metrics.json", "plots/intervals.csv", "plots/values.csv", "plots/biases.csv",
        *(f"figures/{figure}.{ending}" for figure in figures for ending in ("png", "svg")),
    }  # fmt: skip
    assert names == {name for name in FILES if not name.endswith(".pdf") and "tuning" not in name}, (
        "in the place of each, something else is found before anything is computed"
    )
    assert f"Report: {answer.folder / 'report.html'}" in answer.out


def test_help_comes_without_waiting() -> None:
    """`compare --help` does not import pandas, SciPy, Altair or TensorFlow."""
    code = "import sys; from pipeline import compare; compare.main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert not {"pandas", "scipy", "altair", "tensorflow"} & set(done.stderr.split())
    assert "comparison.json" in done.stdout


def test_metric_margin_and_baseline_reach_the_verdict(tmp_path: Path, comparing: Callable) -> None:
    """The options of the command are those of the comparison."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    put_all(tmp_path / "results", "ones", [0.5, 0.6])
    assert comparing("metric=test_loss", "margin=0.1", "baseline=ones", "threshold=1.6").code == 0
    document = json.loads((tmp_path / "reports" / "s" / "comparison.json").read_text())
    assert [document[key] for key in ("metric", "margin", "baseline")] == ["test_loss", 0.1, "ones"]
    assert "epochs_to_val_loss_1.6" in {row["metric"] for row in document["tables"]["summary"]}


@pytest.mark.parametrize(("metric", "expected"), [("test_accuracy", MARGIN), ("test_loss", MARGIN), ("test_mae", 0.2)])
def test_the_default_margin_is_in_the_unit_of_the_metric(
    metric: str, expected: float, tmp_path: Path, comparing: Callable[..., CommandResult]
) -> None:
    """Without `margin=`: 0.005 of a share or a loss; of an error in the target's unit, 0.5 % of the baseline's mean."""
    for arm in ("zeros", "ones"):
        for seed, error in enumerate((39.0, 41.0)):
            put(tmp_path / "results", arm, seed, 0.5, metrics={"test_mae": error})
    assert comparing(f"metric={metric}").code == 0
    assert json.loads((tmp_path / "reports" / "s" / "comparison.json").read_text())["margin"] == expected


def test_the_page_gives_the_command_that_writes_it(tmp_path: Path, comparing: Callable) -> None:
    """The command on the page has every option that is not a default, quoted for a shell."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    put_all(tmp_path / "results", "ones", [0.5, 0.6])
    assert comparing("margin=0.01", "metric=test_loss", "baseline=ones").code == 0
    page = (tmp_path / "reports" / "s" / "report.html").read_text()
    typed = re.search(r'id="rebuild".*?<code>(.*?)</code>', page, re.DOTALL)
    assert typed is not None
    assert shlex.split(typed[1])[:5] == ["uv", "run", "python", "-m", "pipeline.compare"]
    assert set(shlex.split(typed[1])[5:]) == {
        "study=s", "margin=0.01", "metric=test_loss", "baseline=ones", "figures=false",
        f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}",
    }  # fmt: skip
    line = command_line("pipeline.compare", CompareOptions(results="my results"), "a b")
    assert shlex.split(line)[5:] == ["study=a b", "results=my results"]


def test_reports_of_other_results_go_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `reports=`, results of another folder never overwrite the reports of the project; the path is printed
    so that it holds from any working directory.
    """
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(compare, "PROJECT", tmp_path)  # for the clone, whose own reports must stay as they are
    (tmp_path / "reports" / "s").mkdir(parents=True)
    for name in ("kills", "other/results"):
        put_all(tmp_path / name, "zeros", [0.5, 0.7])
        put_all(tmp_path / name, "ones", [0.5, 0.6])
        assert compare.main([f"results={name}", "figures=false", "mlflow=false"]) == 0
    assert (tmp_path / "kills-reports" / "s" / "report.html").is_file()
    assert (tmp_path / "other" / "reports" / "s" / "report.html").is_file()
    assert list((tmp_path / "reports" / "s").iterdir()) == []
    assert f"Report: {tmp_path}/kills-reports/s/report.html\n" in capsys.readouterr().out


def test_several_studies_are_answered_one_by_one(tmp_path: Path, comparing: Callable) -> None:
    """`study=first,second` writes a report for each."""
    for study in ("first", "second"):
        put_all(tmp_path / "results", "zeros", [0.5, 0.7], study=study)
    assert comparing("study=first,second").code == 0
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["first", "second"]


def test_a_study_can_be_named_with_commas(tmp_path: Path, comparing: Callable) -> None:
    """A study `a,b`, which training allows, is one study."""
    for study in ("a,b", "c"):
        put_all(tmp_path / "results", "zeros", [0.5, 0.7], study=study)
    assert comparing("study=a,b").code == 0
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["a,b"]


@pytest.mark.parametrize(
    ("option", "key", "listed"),
    [
        ("baseline=nosuch", "baseline", ["ones", "zeros"]),
        ("study=nosuch", "study", ["first", "second"]),
        ("", "study", ["first", "second"]),
        ("metric=test_auc", "metric", ["test_accuracy", "test_loss"]),
        ("margin=some", "margin", ["a number"]),
        ("margin=0", "margin", ["positive number"]),
        ("wait=-1", "wait", ["seconds from 0 to 86400"]),
        ("wait=nan", "wait", ["seconds from 0 to 86400"]),
        ("margin=nan", "margin", ["positive number"]),
        ("margin=inf", "margin", ["positive number"]),
        ("threshold=nan", "threshold", ["a number"]),
        ("figures=some", "figures", ["true or false"]),
        ("colour=red", "colour", ["study", "baseline", "results", "reports"]),
        ("results=nowhere", "results", ["pipeline.train"]),
    ],
)
def test_a_wrong_request_is_refused_with_what_is_allowed(
    tmp_path: Path, comparing: Callable, option: str, key: str, listed: list[str]
) -> None:
    """The refusal is one line that names the option and what there is; nothing is written."""
    for study in ("first", "second"):
        for arm in ("zeros", "ones"):
            put(tmp_path / "results", arm, 0, 0.5, study=study)
    options = [option] if option else []
    options += ["study=first"] if key in ("baseline", "metric", "threshold") else []
    options = [f"results={tmp_path / 'nowhere'}"] if key == "results" else options
    refusal = comparing(*options)
    assert (refusal.code, refusal.out) == (2, "")
    assert len(refusal.err.splitlines()) == 1 and refusal.err.startswith(key)
    assert all(name in refusal.err for name in listed)
    assert not (tmp_path / "reports").exists()


def test_reports_that_cannot_be_written_are_refused_in_one_line(tmp_path: Path, comparing: Callable) -> None:
    """A file in the place of the folder for reports is named in one line."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    (tmp_path / "taken").write_text("a file")
    refusal = comparing(f"reports={tmp_path / 'taken'}")
    assert refusal.code == 2
    assert len(refusal.err.splitlines()) == 1 and refusal.err.startswith("reports")


def test_a_file_that_cannot_be_written_is_named(comparing: Callable[..., CommandResult], tmp_path: Path) -> None:
    """A folder in the place of a report file is refused, in one line, before anything is computed."""
    put_all(tmp_path / "results", "zeros", [0.8, 0.9])
    put_all(tmp_path / "results", "ones", [0.7, 0.8])
    (tmp_path / "reports" / "s" / "summary.csv").mkdir(parents=True)
    result = comparing()
    assert result.code == 2
    (line,) = result.err.splitlines()
    assert line.startswith("reports: ") and "summary.csv is a folder" in line


@pytest.mark.slow
def test_a_silent_server_leaves_no_warning_behind(tmp_path: Path) -> None:
    """`compare` with figures gives the upload up, says so in one line, and ends: Python warns of nothing left open."""
    put_all(tmp_path / "results", "zeros", [0.5, 0.7])
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections and never answers
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.compare", f"results={tmp_path / 'results'}",
             f"reports={tmp_path / 'reports'}", "wait=1"],
            cwd=PROJECT, env=os.environ | {"MLFLOW_TRACKING_URI": uri}, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Could not upload to MLflow at {uri} within 1 s (wait): the report of s is unsent.")

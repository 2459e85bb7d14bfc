"""report.html: one file that asks for nothing, tells the verdict first, and is the same for the same results."""

import dataclasses
import itertools
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factories import drift, found, put, put_all, quantiles, trajectories

from pipeline import compare
from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.analysis.summary import MARGIN
from pipeline.compare import CompareOptions, _commands
from pipeline.config.schema import PROJECT
from pipeline.report.html import _parts
from pipeline.report.write import write_report
from pipeline.store.runs import RunStore

VOID = {"meta", "link", "img", "br", "hr", "input", "wbr"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
ACCURACIES = {
    "zeros": [0.50, 0.52, 0.47, 0.55, 0.49, 0.51, 0.53, 0.46],
    "ones": [0.51, 0.54, 0.50, 0.57, 0.50, 0.54, 0.55, 0.48],
    "glorot_uniform": [0.50, 0.53, 0.46, 0.56, 0.50, 0.50, 0.53, 0.47],
}


class Page(HTMLParser):
    """What of a page matters here: its tags, the text that is read, its scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.code: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.code.append(data)
        elif data.strip():
            self.texts.append((self.open[-1] if self.open else "", " ".join(data.split())))

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.texts)

    @property
    def island(self) -> dict[str, Any]:
        return json.loads(next(code for code in self.code if code.startswith("{")))

    @property
    def figures(self) -> list[str]:
        return [attrs["data-figure"] or "" for _, attrs in self.tags if "data-figure" in attrs]

    def headings(self, tag: str) -> list[str]:
        return [text for inside, text in self.texts if inside == tag]


def full(results: Path, study: str = "s") -> Comparison:
    """An answer with everything that a page can show."""
    arms = ["zeros", "ones", "glorot_uniform"]
    dynamics = pd.DataFrame({
        "arm": arms, "layer": "dense/bias", "drift": [0.1234, 0.2, 0.3], "cosine": [np.nan, 0.9, 1],
        "sign_flips": [np.nan, 0.25, 0], "half_life": [2, 3, 4.5],
    })  # fmt: skip
    distances = pd.DataFrame(
        {"arm": ["zeros"], "other": ["ones"], "layer": ["dense/bias"], "before": [8.0], "after": 7.5}
    )
    ablation = pd.DataFrame({
        "arm": ["ones"] * 2, "biases": ["own", "zeroed"], "seeds": 8, "mean": [0.5, 0.4321],
        "change": [np.nan, -0.0679], "low": [np.nan, -0.1], "high": [np.nan, -0.01],
    })  # fmt: skip
    dead = pd.DataFrame({"arm": ["ones"], "layer": ["dense"], "units": [64], "before": [0.125], "after": [0.25]})
    return dataclasses.replace(
        compare_study(RunStore(results, study), "zeros"), quantiles=quantiles(), trajectories=trajectories(),
        drift=drift(),
        dynamics=dynamics, distances=distances, ablation=ablation, dead_units=dead,
        of_biases=["ones: its biases began 8 away."],
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study with all its parts."""
    tmp = tmp_path_factory.mktemp("page")
    for arm, accuracies in ACCURACIES.items():
        put_all(tmp / "results", arm, accuracies)
    put(tmp / "results", "ones", 8, 0.1, status="diverged")
    write_report(full(tmp / "results"), tmp / "s", {"Again:": "uv run python -m pipeline.compare study=s"})
    return tmp / "s"


@pytest.fixture
def comparing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Page]:
    """The page that `compare` writes of this test's own results."""

    def run(*options: str) -> Page:
        assert compare.main([f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}", *options]) == 0
        return Page(tmp_path / "reports" / "s" / "report.html")

    return run


def test_the_page_asks_for_nothing(written: Path) -> None:
    """The page refers to another file or host, lets itself be asked to, or one of its figures loads data."""
    shown = Page(written / "report.html")
    assert not [(tag, attrs) for tag, attrs in shown.tags if {"src", "href", "action", "srcset", "data"} & set(attrs)]
    assert not {tag for tag, _ in shown.tags} & {"link", "img", "iframe", "object", "base", "form"}
    assert not found(shown.island, "url")
    style = next(code for code in shown.code if "prefers-color-scheme" in code and "{ box-sizing" in code)
    assert "url(" not in style and "@import" not in style
    policy = next(a["content"] for _, a in shown.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none';") and "connect-src" not in policy
    assert "http" not in policy


def test_the_verdict_comes_first_and_every_part_is_there(written: Path) -> None:
    """A reader has to look for the answer, or a part of the report is missing."""
    shown = Page(written / "report.html")
    assert [tag for tag, _ in shown.tags if tag in ("h1", "h2", "table")][:3] == ["h1", "h2", "table"]
    assert shown.text.index("Take ones: it is better than zeros by test_accuracy") < shown.text.index("Verdict per arm")
    assert shown.headings("h2") == [
        "Verdict per arm", "How the arms differ", "How training went", "What the biases did",
        "Do the trained biases do anything?", "All other metrics", "Method, and what to be careful about", "Settings",
        "How to make this page again",
    ]  # fmt: skip
    assert shown.figures == ["intervals", "paired_differences", "learning_curves", "biases", "trajectories", "drift"]
    assert set(shown.island["figures"]) == set(shown.figures)
    for words in (
        "ones: diverged, and in no mean: seed 8.", "0.4321", "-0.0679", "12 %", "began 8 away", "25 %",
        "7.5", "One learning rate for all.",
        "fewer than 7", "uv run python -m pipeline.compare study=s", "CPU",
    ):  # fmt: skip
        assert words in shown.text
    assert shown.text.count("▲ better") >= 1
    for name in shown.figures:
        assert (written / "figures" / f"{name}.png").is_file() and (written / "figures" / f"{name}.svg").is_file()
        assert f"figures/{name}.svg" in (written / "answer.md").read_text()
    assert "(report.html)" in (written / "answer.md").read_text()


def test_the_page_can_be_read_by_everyone(written: Path) -> None:
    """The page does not say its language, is not scaled to a phone, jumps in its headings, or has a figure unnamed."""
    shown = Page(written / "report.html")
    tags = shown.tags
    assert ("html", {"lang": "en"}) in tags
    assert any(
        attrs.get("name") == "viewport" and "width=device-width" in (attrs["content"] or "") for _, attrs in tags
    )
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(attrs.get("aria-label") for _, attrs in tags if "data-figure" in attrs)
    headings = [i for i, (tag, attrs) in enumerate(tags) if tag == "th" and attrs.get("scope") == "col"]
    sortable = [i for i in headings if tags[i + 1][0] == "button"]
    assert len(sortable) >= 12


def test_what_a_table_is_sorted_by_are_its_numbers(written: Path) -> None:
    """`10 of 11` or `-0.004 [...]` is sorted as a word."""
    shown = Page(written / "report.html")
    table = pd.read_csv(written / "summary.csv").query("metric == 'test_accuracy'")
    keys = [attrs["data-key"] for tag, attrs in shown.tags if tag == "td" and "data-key" in attrs][:18]
    rows = [keys[i : i + 6] for i in range(0, 18, 6)]
    assert [row[0] for row in rows] == table["arm"].tolist()
    assert [float(row[2] or 0) for row in rows] == pytest.approx(table["mean"].tolist())
    differences = table["difference"].tolist()
    assert [float(row[3]) if row[3] else np.nan for row in rows] == pytest.approx(differences, nan_ok=True)


def test_the_same_results_give_the_same_files(written: Path, tmp_path: Path) -> None:
    """A report differs from one writing to the next, as by a date or a counted name."""
    again = full(written.parent / "results")
    write_report(again, tmp_path, {"Again:": "uv run python -m pipeline.compare study=s"})
    names = {path.relative_to(written) for path in written.rglob("*") if path.is_file()}
    assert len(names) == 9 + 2 * 6  # six files, three tables of plots/, each figure twice
    for name in names:
        assert (written / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_hostile_names_stay_text(written: Path, tmp_path: Path) -> None:
    """A study or an arm can put a tag or a script into the page, or break it."""
    told = full(written.parent / "results")
    frames = {
        field.name: getattr(told, field.name).replace("ones", HOSTILE)
        for field in dataclasses.fields(told)
        if isinstance(getattr(told, field.name), pd.DataFrame)
    }
    hostile = dataclasses.replace(
        told, study=HOSTILE, said=[sentence.replace("ones", HOSTILE) for sentence in told.said], **frames,
        arms=[dataclasses.replace(arm, name=arm.name.replace("ones", HOSTILE)) for arm in told.arms],
    )  # fmt: skip
    write_report(hostile, tmp_path, {"Again:": HOSTILE})
    shown = Page(tmp_path / "report.html")
    assert [tag for tag, _ in shown.tags].count("script") == 3
    assert not any(tag == "img" or any(name.startswith("on") for name in attrs) for tag, attrs in shown.tags)
    assert shown.text.count(HOSTILE) > 10
    assert HOSTILE in json.dumps(shown.island["figures"], ensure_ascii=False)


def test_the_page_of_a_large_study_is_below_5_mb(written: Path, tmp_path: Path) -> None:
    """Twelve arms, six layers of 64 units and 100 epochs make a page that a phone cannot load."""
    arms = [f"arm {i}" for i in range(12)]
    told, layers = full(written.parent / "results"), {f"layer_{i}/bias": 64 for i in range(6)}
    told = dataclasses.replace(
        told, trajectories=trajectories(arms, 100, layers), drift=drift(arms, 100), quantiles=quantiles(arms),
        arms=[dataclasses.replace(told.arms[0], name=arm) for arm in arms],
    )  # fmt: skip
    write_report(told, tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 2_500_000
    assert (written / "report.html").stat().st_size < 1_500_000


def one_seed(results: Path) -> None:
    put(results, "zeros", 0, 0.5)
    put(results, "ones", 0, 0.6)


def one_arm(results: Path) -> None:
    put_all(results, "zeros", [0.5, 0.7, 0.6])


def no_biases(results: Path) -> None:
    put_all(results, "zeros", [0.5, 0.7], biased=False)
    put_all(results, "no_bias", [0.5, 0.6], biased=False)


def all_equal(results: Path) -> None:
    for arm in ("zeros", "ones"):
        put_all(results, arm, [0.5] * 6)


def diverged(results: Path) -> None:
    put_all(results, "zeros", [0.5, 0.7])
    put_all(results, "ones", [0.1, 0.1], status="diverged")


def no_baseline(results: Path) -> None:
    put_all(results, "zeros", [0.5, 0.7], status="diverged")
    put_all(results, "ones", [0.5, 0.7])


def unpaired(results: Path) -> None:
    put_all(results, "zeros", [0.5, 0.7])
    put_all(results, "ones", [0.5, 0.7], kernels="other")


@pytest.mark.parametrize(
    ("make", "says", "without"),
    [
        (one_seed, ["with fewer than 6 seeds no arm", "2 arms, seed 0."], []),
        (one_arm, ["No arm can be compared with zeros."], ["intervals", "paired_differences"]),
        (no_biases, ["No arm of this study has a bias."], ["biases", "trajectories", "drift"]),
        (all_equal, ["= identical", "Keep zeros"], []),
        (diverged, ["✕ diverged", "ones: diverged, and in no mean"], ["intervals"]),
        (unpaired, ["but for arms that are named above as unpaired", "have Welch's interval"], ["paired_differences"]),
        (no_baseline, ["no complete run has test_accuracy", "There is no arm to compare with zeros"], ["intervals"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_study_with_little_to_say_says_that(
    tmp_path: Path, comparing: Callable, make: Callable, says: list[str], without: list[str]
) -> None:
    """A degenerate study breaks the page, leaves an empty figure, or prints nan or None."""
    make(tmp_path / "results")
    shown = comparing()
    assert all(words in shown.text for words in says)
    assert not set(without) & set(shown.figures) and "learning_curves" in shown.figures
    assert not re.search(r"\b(nan|None|undefined|Infinity)\b", shown.text.replace("nothing", ""))
    assert all(spec.get("concat", spec.get("layer")) for spec in shown.island["figures"].values())
    assert not re.search(r"\bNaN\b|Infinity", json.dumps(shown.island))


def test_the_settings_are_told_in_words(written: Path, tmp_path: Path) -> None:
    """A setting, a layer or a version is missing, or what differs between arms is told as if they shared it."""
    told = full(written.parent / "results")
    arms = []
    for rate, arm in zip((0.01, 0.01, 0.02), told.arms, strict=True):
        config = {
            "bias_setting": arm.setting, "use_bias": True, "bias_layers": ["dense"],
            "bias_initializer": {"class_name": "Ones", "config": {"gain": 2}},
            "optimizer": {"class_name": "Adam", "learning_rate": rate},
            "data": {"name": "digits", "test_fraction": 0.25, "validation_fraction": 0.1, "standardize": True},
            "model": {"name": "mlp", "layers": [
                {"class_name": "Bidirectional", "config": {"layer": {"class_name": "GRU", "config": {"units": 4}}}},
            ]}, "training": {"epochs": 7, "class_weight": None},
        }  # fmt: skip
        environment = {"packages": {"keras": f"3.{rate}"}, "device": "CPU"}
        runs = [dataclasses.replace(r, meta=r.meta | {"config": config, "environment": environment}) for r in arm.runs]
        arms.append(dataclasses.replace(arm, runs=tuple(runs)))
    write_report(dataclasses.replace(told, arms=arms), tmp_path)
    shown = Page(tmp_path / "report.html")
    for words in (
        "Ones(gain=2) in dense", "optimizer.learning_rate by arm: 0.01 | 0.02", "data.standardize yes",
        "model.layers 1 Bidirectional(layer=GRU(units=4))", "training.class_weight none", "keras 3.0.01 | 3.0.02",
        "Each seed holds back 25 % of the rows for the test, and 10 % of the rest for validation",
        "Every arm trained with Adam for 7 epochs.",
    ):  # fmt: skip
        assert words in shown.text


def test_the_command_that_rebuilds_the_page_is_given_whole(tmp_path: Path, comparing: Callable) -> None:
    """Typed again, the command of the page compares something else, or fails for a space in a name."""
    one_seed(tmp_path / "results")
    shown = comparing("margin=0.01", "metric=test_loss", "baseline=ones")
    typed = next(text for tag, text in shown.texts if tag == "code")
    assert shlex.split(typed)[:5] == ["uv", "run", "python", "-m", "pipeline.compare"]
    assert set(shlex.split(typed)[5:]) == {
        "study=s", "margin=0.01", "metric=test_loss", "baseline=ones", f"results={tmp_path / 'results'}",
        f"reports={tmp_path / 'reports'}",
    }  # fmt: skip
    assert shlex.split(_commands("a b", CompareOptions(results="my results")).popitem()[1])[5:] == [
        "study=a b",
        "results=my results",
    ]


def test_the_margin_of_the_command_is_that_of_the_table() -> None:
    """Without a `margin`, the command line and the library judge by different ones."""
    assert CompareOptions().margin == MARGIN


def test_the_answer_of_what_is_not_there_comes_without_waiting() -> None:
    """`compare --help` imports pandas, SciPy or Altair first."""
    code = "import sys; from pipeline import compare; compare.main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert not {"pandas", "scipy", "altair", "tensorflow"} & set(done.stderr.split())


def test_each_sentence_stands_where_it_belongs() -> None:
    """With several blocks, or a remark between, an arm's sentence is told under another arm's verdict."""
    said = ["Take ones.", "Keep zeros,b.", "The answer depends.", "ones: better.", "ones,b: worse.", "ones: diverged."]
    assert _parts(said, ["ones", "ones,b"]) == (said[:3], said[3:5], said[5:])
    assert _parts(["No arm can be compared.", "ones: diverged."], []) == (
        ["No arm can be compared."], [], ["ones: diverged."],
    )  # fmt: skip

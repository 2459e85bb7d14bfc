"""report.html: one file that loads nothing, gives the verdict first, and is the same for the same results."""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factories import drift, found, put, put_all, quantiles, trajectories

from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.report.html import _wrap, render_page, wrap_cell
from pipeline.report.write import make_charts, write_report
from pipeline.store.runs import RunStore

VOID = {"meta", "link", "img", "br", "hr", "input", "wbr"}
COMMAND = "uv run python -m pipeline.compare study=s"
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
        elif self.get_starttag_text() == "<wbr>" and self.texts:  # where a line may end
            self.texts[-1] = (self.texts[-1][0], self.texts[-1][1] + " ".join(data.split()))
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
        "arm": ["ones"] * 2, "biases": ["own", "zeroed"], "metric": "test_accuracy", "seeds": 8, "mean": [0.5, 0.4321],
        "change": [np.nan, -0.0679], "low": [np.nan, -0.1], "high": [np.nan, -0.01],
    })  # fmt: skip
    dead = pd.DataFrame({"arm": ["ones"], "layer": ["dense"], "units": [64], "before": [0.125], "after": [0.25]})
    return dataclasses.replace(
        compare_study(RunStore(results, study), "zeros"), quantiles=quantiles(),
        drawn_trajectories=trajectories(), drift=drift(),
        dynamics=dynamics, distances=distances, ablation=ablation, dead_units=dead,
        bias_sentences=["ones: its biases began 8 away."],
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study with all its parts."""
    tmp = tmp_path_factory.mktemp("page")
    for arm, accuracies in ACCURACIES.items():
        put_all(tmp / "results", arm, accuracies)
    put(tmp / "results", "ones", 8, 0.1, status="diverged")
    write_report(full(tmp / "results"), tmp / "s", COMMAND)
    return tmp / "s"


@pytest.fixture(scope="module")
def shown(written: Path) -> Page:
    """The page of that report."""
    return Page(written / "report.html")


def test_the_page_loads_nothing(shown: Page) -> None:
    """Neither the page nor its figures refer to another file or host, and its policy forbids it."""
    assert not [(tag, attrs) for tag, attrs in shown.tags if {"src", "href", "action", "srcset", "data"} & set(attrs)]
    assert not {tag for tag, _ in shown.tags} & {"link", "img", "iframe", "object", "base", "form"}
    assert not found(shown.island, "url")
    style = next(code for code in shown.code if "prefers-color-scheme" in code and "{ box-sizing" in code)
    assert "url(" not in style and "@import" not in style
    policy = next(a["content"] for _, a in shown.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none';") and "connect-src" not in policy
    assert "http" not in policy


def test_the_verdict_comes_first_and_every_part_is_there(shown: Page, written: Path) -> None:
    """The answer is the heading, and every part of the report follows."""
    assert [tag for tag, _ in shown.tags if tag in ("h1", "h2", "table")][:3] == ["h1", "h2", "table"]
    assert shown.headings("h2")[0] == "Difference from zeros in test_accuracy"  # the figure, in the first screen
    assert shown.text.index("Take ones: it is better than zeros in test accuracy, but ones") < shown.text.index(
        "Verdict per arm"
    )
    assert shown.headings("h2")[1:] == [
        "Verdict per arm", "Seed by seed", "How training went", "What the biases did",
        "Do the trained biases do anything?", "All other metrics", "What a reviewer asks", "Method and limits",
        "Settings",
        "How to write this page again",
    ]  # fmt: skip
    assert shown.figures == [
        "intervals", "paired_differences", "learning_curves", "difference_curves", "biases", "trajectories", "drift",
    ]  # fmt: skip
    assert set(shown.island["figures"]) == set(shown.figures)
    for words in (
        "ones: diverged, left out of all means: seed 8.", "0.4321", "-0.068 [-0.100, -0.010]", "12 %", "began 8 away",
        "25 %", "7.5", "One learning rate for all.",
        "fewer than 7", "uv run python -m pipeline.compare study=s", "CPU",
    ):  # fmt: skip
        assert words in shown.text
    assert shown.text.count("▲ better") >= 1
    for name in shown.figures:
        assert (written / "figures" / f"{name}.png").is_file() and (written / "figures" / f"{name}.svg").is_file()
        assert f"figures/{name}.svg" in (written / "answer.md").read_text()
    assert "(report.html)" in (written / "answer.md").read_text()


def test_the_page_can_be_read_by_everyone(shown: Page) -> None:
    """The page has a language, a viewport for phones, nested headings, and a label for every figure."""
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


def test_what_a_table_is_sorted_by_are_its_numbers(shown: Page, written: Path) -> None:
    """Cells such as `10 of 11` and `-0.004 [...]` are sorted by their number."""
    table = pd.read_csv(written / "summary.csv").query("metric == 'test_accuracy'")
    keys = [attrs["data-key"] for tag, attrs in shown.tags if tag == "td" and "data-key" in attrs][:21]
    rows = [keys[i : i + 7] for i in range(0, 21, 7)]
    assert [row[0] for row in rows] == table["arm"].tolist()
    assert [float(row[2] or 0) for row in rows] == pytest.approx(table["mean"].tolist())
    differences = table["difference"].tolist()
    assert [float(row[3]) if row[3] else np.nan for row in rows] == pytest.approx(differences, nan_ok=True)


def test_no_interval_breaks_within_its_cell(shown: Page, written: Path) -> None:
    """Cells of numbers are never wrapped, in the table of the tests neither, which is sorted by them."""
    names = [attrs.get("aria-label") for tag, attrs in shown.tags if tag == "div"]
    assert "The tests behind the verdicts: test_accuracy" in names
    cells = re.findall(r'<td data-key="[^"]*"( class="number")?>([^<]*)</td>', (written / "report.html").read_text())
    intervals = [is_number for is_number, text in cells if re.search(r"\d \[.*\]$", text)]
    assert len(intervals) >= 5 and all(intervals)


def test_what_differs_by_arm_is_not_among_what_all_share(tmp_path: Path) -> None:
    """A setting of a block has a table of its own, with a row per value."""
    for rate in (0.1, 0.2):
        for name in ("zeros", "ones"):
            optimizer = {"class_name": "SGD", "learning_rate": rate, "config": {}}
            arm = f"{name},optimizer.learning_rate={rate}"
            put_all(tmp_path, arm, [0.5, 0.7], block=f"optimizer.learning_rate={rate}", optimizer=optimizer)
    comparison = compare_study(RunStore(tmp_path, "s"), "zeros")
    (tmp_path / "report.html").write_text(render_page(comparison, {}, script=""))
    text = Page(tmp_path / "report.html").text
    shared, differing = text.split("What all arms share")[1].split("What differs by arm")
    assert "optimizer.class_name SGD" in shared and "optimizer.learning_rate" not in shared and "by arm:" not in text
    assert "optimizer.learning_rate 0.1 optimizer.learning_rate=0.1 optimizer.learning_rate 0.2" in differing


def test_the_same_results_give_the_same_files(written: Path, tmp_path: Path) -> None:
    """Writing a report twice gives the same bytes."""
    again = full(written.parent / "results")
    write_report(again, tmp_path, COMMAND)
    names = {path.relative_to(written) for path in written.rglob("*") if path.is_file()}
    assert len(names) == 13 + 2 * 7  # ten files, three tables of plots/, each figure twice
    for name in names:
        assert (written / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_hostile_names_stay_text(written: Path, tmp_path: Path) -> None:
    """Names of studies and arms cannot put a tag or a script into the page."""
    complete = full(written.parent / "results")
    frames = {
        field.name: getattr(complete, field.name).replace("ones", HOSTILE)
        for field in dataclasses.fields(complete)
        if isinstance(getattr(complete, field.name), pd.DataFrame)
    }
    hostile = dataclasses.replace(
        complete,
        study=dataclasses.replace(
            complete.study, name=HOSTILE,
            arms=[dataclasses.replace(arm, name=arm.name.replace("ones", HOSTILE)) for arm in complete.study.arms],
        ),
        headlines=[dataclasses.replace(h, sentence=h.sentence.replace("ones", HOSTILE)) for h in complete.headlines],
        verdicts=[dataclasses.replace(v, sentence=v.sentence.replace("ones", HOSTILE)) for v in complete.verdicts],
        warnings=[dataclasses.replace(w, sentence=w.sentence.replace("ones", HOSTILE)) for w in complete.warnings],
        **frames,
    )  # fmt: skip
    write_report(hostile, tmp_path, HOSTILE)
    shown = Page(tmp_path / "report.html")
    assert [tag for tag, _ in shown.tags].count("script") == 3
    assert not any(tag == "img" or any(name.startswith("on") for name in attrs) for tag, attrs in shown.tags)
    assert shown.text.count(HOSTILE) > 10
    assert HOSTILE in json.dumps(shown.island["figures"], ensure_ascii=False)


def test_names_break_in_tables_and_numbers_do_not() -> None:
    """After punctuation, in cells after underscores too; not within a number, and the text stays what it is."""
    name = "mine.my_class(0.1)+output=b_c,rate=1e-05,a>B & <b>"
    assert str(_wrap(name)) == (
        "mine.<wbr>my_class(0.1)+<wbr>output=<wbr>b_c,<wbr>rate=<wbr>1e-05,<wbr>a&gt;<wbr>B &amp; &lt;b&gt;"
    )
    assert str(wrap_cell("a_b, MyClass, 5 %")) == "a_<wbr>b, My<wbr>Class, 5\u00a0%"


@pytest.mark.slow
def test_the_page_of_a_large_study_is_small(written: Path) -> None:
    """Twelve arms, six layers of 64 units and 100 epochs make a page that a phone can load."""
    arms = [f"arm {i}" for i in range(12)]
    complete, layers = full(written.parent / "results"), {f"layer_{i}/bias": 64 for i in range(6)}
    complete = dataclasses.replace(
        complete, drawn_trajectories=trajectories(arms, 100, layers), drift=drift(arms, 100), quantiles=quantiles(arms),
        study=dataclasses.replace(
            complete.study, arms=[dataclasses.replace(complete.study.arms[0], name=arm) for arm in arms]
        ),
    )  # fmt: skip
    specs = {name: chart.to_dict(validate=False) for name, chart in make_charts(complete)}
    without_script = len(render_page(complete, specs, script="").encode())
    assert without_script < 1_500_000
    assert (written / "report.html").stat().st_size < 1_500_000  # of which the script that draws is a megabyte


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
        (
            one_seed,
            [
                "Undecided: one seed is too little to call any choice better or worse than zeros",
                "trained with seed 0 (2 runs in all)",
            ],
            [],
        ),
        (one_arm, ["No arm can be compared with zeros."], ["intervals", "paired_differences"]),
        (no_biases, ["No arm of this study has a bias."], ["biases", "trajectories", "drift"]),
        (all_equal, ["= identical", "Keep zeros"], []),
        (diverged, ["✕ diverged", "ones: diverged, left out of all means"], ["intervals"]),
        (unpaired, ["except for the arms named below as unpaired", "have Welch's interval"], ["paired_differences"]),
        (no_baseline, ["no complete run has test_accuracy", "There is no arm to compare with zeros"], ["intervals"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_study_with_little_to_say_says_that(
    tmp_path: Path, make: Callable, says: list[str], without: list[str]
) -> None:
    """A study with few runs has no empty figure and no nan, None or Infinity on its page."""
    make(tmp_path / "results")
    comparison = compare_study(RunStore(tmp_path / "results", "s"), "zeros")
    specs = {name: chart.to_dict(validate=False) for name, chart in make_charts(comparison)}
    (tmp_path / "report.html").write_text(render_page(comparison, specs, script=""))
    shown = Page(tmp_path / "report.html")
    assert all(words in shown.text for words in says)
    assert not set(without) & set(shown.figures) and "learning_curves" in shown.figures
    assert not re.search(r"\b(nan|None|undefined|Infinity)\b", shown.text.replace("nothing", ""))
    assert all(spec.get("concat", spec.get("layer")) for spec in shown.island["figures"].values())
    assert not re.search(r"\bNaN\b|Infinity", json.dumps(shown.island))


def test_a_page_without_figures_says_so(written: Path, tmp_path: Path) -> None:
    """With figures=False the page has its tables, no script that draws, and a line that says why."""
    write_report(full(written.parent / "results"), tmp_path, figures=False)
    shown = Page(tmp_path / "report.html")
    assert "This report was written without figures." in shown.text and "began 8 away" in shown.text
    assert not shown.figures and "How training went" not in shown.headings("h2")
    assert (tmp_path / "report.html").stat().st_size < 100_000

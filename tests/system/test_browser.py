"""What a person sees in MLflow's pages and in the report, in a real Chromium on a real server.

The browser is the system's own (`apt-get install chromium`), driven by Playwright; without it these tests are skipped.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from factories import APART, EIGHT, TrainedStudy, put_all
from servers import MLflowServer

from pipeline import compare, sync
from pipeline.analysis.comparison import compare_study
from pipeline.api.study import Study
from pipeline.report.html import NARROW_LETTERS
from pipeline.report.write import write_report
from pipeline.store.runs import RunStore

STUDY, ARMS = TrainedStudy.name, [*TrainedStudy.arms]
SHOWN = [arm.partition(",")[0] for arm in ARMS]  # without the setting that all arms share
GLOROT = ARMS[-1]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 60_000  # milliseconds; the browser and the server share a slow machine with other tests
ML = "workflowType=machine_learning"

playwright_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: uv sync")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no browser: apt-get install chromium"),
]


class Served(NamedTuple):
    """A compared study on a server. `runs` maps each arm to the id of its run; `report` is the report's folder."""

    uri: str
    experiment: str
    runs: dict[str, str]
    report: Path

    def page(self, path: str) -> str:
        return f"{self.uri}/#/experiments/{self.experiment}{path}"

    def artifact(self, arm: str, name: str) -> str:
        """The artifact viewer's page for a file of the report."""
        return self.page(f"/runs/{self.runs[arm]}/artifacts/report/{name}")


@pytest.fixture(scope="module")
def compared(
    starting_server: MLflowServer, trained_study_files: TrainedStudy, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with results and reports of the trained study, made while the server starts."""
    tmp = tmp_path_factory.mktemp("browser")
    shutil.copytree(trained_study_files.results, tmp / "results")
    assert compare.main([f"results={tmp}/results", f"reports={tmp}/reports", "mlflow=false"]) == 0
    return tmp


@pytest.fixture(scope="module")
def served(compared: Path, server: str) -> Served:
    """The same on the server, sent over HTTP."""
    from mlflow import MlflowClient

    assert sync.main([f"results={compared}/results", f"reports={compared}/reports", f"uri={server}"]) == 0
    client = MlflowClient(server)
    study = client.get_experiment_by_name(STUDY).experiment_id
    runs = client.search_runs([study], "tags.role = 'arm'")
    ids = {run.data.tags["arm"]: run.info.run_id for run in runs}
    return Served(server, study, ids, compared / "reports" / STUDY)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=BROWSER, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty tab; BROWSER_SHOTS=<folder> keeps a picture of how each test left it."""
    page = browser.new_page(viewport={"width": 1500, "height": 1300})
    page.set_default_timeout(PATIENCE)
    page.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
    yield page
    if folder := os.environ.get("BROWSER_SHOTS"):
        page.screenshot(path=Path(folder) / f"{request.node.name}.png")
    page.close()


def rows(page: Any) -> list[str]:
    """The names in the runs table; waits for the table."""
    names = page.locator("[role=row] a[href*='/runs/']")
    names.first.wait_for()
    return names.all_inner_texts()


def column(page: Any, key: str) -> Any:
    return page.locator(f".ag-header-cell[col-id='{key}']")


def test_the_runs_table_has_one_row_per_arm(served: Served, page: Any) -> None:
    """The runs table shows the arms alone, and the study's verdict stands above it."""
    page.goto(served.page(f"?{ML}"))
    assert sorted(rows(page)) == sorted(SHOWN)
    first = (served.report / "answer.md").read_text().splitlines()[2]
    assert first.endswith(".")
    page.get_by_text(first).first.wait_for()


def test_the_view_sorts_the_arms_by_their_mean_and_shows_their_verdicts(served: Served, page: Any) -> None:
    """The saved view has columns for verdict, mean, difference, interval and p, and puts the best arm first."""
    from mlflow import MlflowClient

    runs = {arm: MlflowClient(served.uri).get_run(run_id).data for arm, run_id in served.runs.items()}
    page.set_viewport_size({"width": 2600, "height": 900})
    page.goto(served.page(f"/runs?viewStateShareKey=verdict&{ML}"))
    column(page, "tags.`verdict`").wait_for()
    mean = {run.tags["arm"].partition(",")[0]: run.metrics["test_accuracy"] for run in runs.values()}
    assert len(set(mean.values())) > 1
    shown = rows(page)
    assert sorted(shown) == sorted(SHOWN)
    assert [mean[arm] for arm in shown] == sorted(mean.values(), reverse=True)
    for name in ("mean", "difference"):
        column(page, f"tags.`{name}`").wait_for()
    for name in ("test_accuracy", "difference/test_accuracy", "difference/test_accuracy_ci_low",
                 "difference/test_accuracy_p_holm", "spread/test_accuracy_ci_high"):  # fmt: skip
        column(page, f"metrics.`{name}`").wait_for()
    for run in runs.values():
        page.get_by_role("gridcell", name=run.tags["verdict"]).first.wait_for()


def test_the_note_unfolds_to_the_whole_answer(served: Served, page: Any) -> None:
    """The experiment's note is rendered as Markdown with a table of the arms, without pictures, and its link works."""
    page.goto(served.page(f"?{ML}"))
    rows(page)
    page.get_by_test_id("experiment-metadata-editor-edit-button").wait_for()
    page.locator("[data-testid=experiment-metadata-editor-edit-button] + button").click()
    table = page.get_by_role("table").filter(has_text="p (Holm)").first
    table.wait_for()
    assert all(arm in table.inner_text() for arm in SHOWN)
    assert page.locator("img[src*=figures]").count() == 0
    with page.expect_popup() as opened:
        page.get_by_role("link", name="The arms, a row each").click()
    column(opened.value, "tags.`verdict`").wait_for()


def test_the_chart_view_draws_a_curve_per_arm(served: Served, page: Any) -> None:
    """Each metric's chart shows one curve per arm, and the learning curves come first."""
    page.goto(served.page(f"/runs?compareRunsMode=CHART&viewStateShareKey=verdict&{ML}"))
    for metric in ("loss", "val_accuracy"):
        card = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=page.get_by_text(metric, exact=True))
        lines = card.locator(".scatterlayer path.js-line")
        lines.nth(len(ARMS) - 1).wait_for(state="attached")
        assert len(set(lines.evaluate_all("lines => lines.map(line => line.style.stroke)"))) == len(ARMS)
    sections = page.get_by_test_id("experiment-view-compare-runs-section-header").all_inner_texts()
    assert [text.split("\n")[0] for text in sections][:3] == ["Model metrics", "difference", "spread"]


def test_two_arms_compare(served: Served, page: Any) -> None:
    """MLflow's comparison of two arms shows both names, their initializers and their metrics."""
    arms = {arm: served.runs[arm] for arm in ARMS if not arm.startswith("no_bias")}
    ids = ",".join(f'"{run_id}"' for run_id in arms.values())
    page.goto(f'{served.uri}/#/compare-runs?runs=[{ids}]&experiments=["{served.experiment}"]&{ML}')
    page.get_by_text("Comparing 2 Runs from 1 Experiment").first.wait_for()
    for text in (*arms, "Zeros", "GlorotUniform"):
        page.get_by_text(text, exact=True).first.wait_for()
    page.get_by_role("link", name="difference/test_accuracy", exact=True).wait_for()


def test_an_arm_shows_its_verdict_and_links_to_the_report(served: Served, page: Any) -> None:
    """An arm's page shows its verdict in a sentence, with a link that opens the report."""
    page.goto(served.page(f"/runs/{served.runs[GLOROT]}?{ML}"))
    (sentence,) = re.findall(r"^- (glorot_uniform:.*)$", (served.report / "answer.md").read_text(), re.MULTILINE)
    page.get_by_text(sentence).first.wait_for()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="The whole report").click()
    opened.value.get_by_text(re.compile(r"^report/(report\.html|answer\.md)$")).first.wait_for()


def test_a_figure_shows_in_the_artifact_viewer(served: Served, page: Any) -> None:
    """A figure is among an arm's artifacts and can be decoded."""
    page.goto(served.artifact(GLOROT, "figures/learning_curves.png"))
    picture = page.locator("img[src^=blob]").first
    picture.wait_for()
    assert picture.evaluate("picture => picture.naturalWidth") > 600


def test_the_report_opens_inside_the_artifact_viewer(served: Served, page: Any) -> None:
    """The viewer renders the report, and its charts are drawn there."""
    page.goto(served.artifact(GLOROT, "report.html"))
    inside = page.frame_locator("iframe")
    inside.get_by_text(re.compile("no_bias")).first.wait_for()
    inside.locator("svg, canvas").first.wait_for()


def test_the_report_works_offline_and_without_errors(served: Served, page: Any) -> None:
    """The report makes no network request and writes no error to the console."""
    errors, requests = [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    address = (served.report / "report.html").as_uri()
    page.goto(address)
    for chart in page.locator("figure").all():
        chart.locator("svg, canvas").first.wait_for()
    assert page.locator("figure").count() >= 6
    assert errors == []
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [address]


LONG_NAMES = [
    "hidden=zeros+output=class_prior",
    "hidden=constant(0.01)+output=random_normal",
    "mine_initializers.my_long_uniform_initializer(0.2)",
]
UNMARKED = """boxes => boxes.filter((box) => box.scrollWidth > box.clientWidth + 1 && !box.matches(".scrolls"))
    .map((box) => box.ariaLabel)"""
CUT = """texts => {
  const right = document.documentElement.clientWidth;
  return texts.filter((text) => text.textContent.includes("…") || text.getBoundingClientRect().right > right
    || text.getBoundingClientRect().left < 0).map((text) => text.textContent);
}"""


@pytest.fixture(scope="module")
def long_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results, in which the arms of study `s` have long names."""
    tmp = tmp_path_factory.mktemp("names")
    put_all(tmp, "zeros", [*EIGHT])
    for number, name in enumerate(LONG_NAMES):
        put_all(tmp, name, [*(EIGHT + APART * number)])
    return tmp


def test_long_names_leave_the_verdict_in_sight(long_names: Path, page: Any) -> None:
    """On a laptop no table scrolls; on a phone the first one does and says so, and no label of its figure is cut."""
    tables = "boxes => boxes.filter((box) => box.scrollWidth > box.clientWidth + 1).map((box) => box.ariaLabel)"
    write_report(compare_study(RunStore(long_names, "s"), "zeros"), long_names / "report")
    address = (long_names / "report" / "report.html").as_uri()
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(address)
    page.locator("figure svg").first.wait_for()
    assert page.locator(".wide:not(.chart)").evaluate_all(tables) == []
    assert page.locator(".scrolls").count() == 0
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address)
    page.locator("[data-figure=intervals] svg").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert "test_accuracy (primary)" in page.locator(".wide:not(.chart)").evaluate_all(tables)
    assert "scrolls" in page.locator("#answer .wide:not(.chart)").get_attribute("class")
    figures = page.locator("[data-figure] svg")
    figures.last.wait_for()
    assert page.locator(".wide").evaluate_all(UNMARKED) == []
    assert all(box["x"] + box["width"] <= 391 for box in [page.locator("[data-figure=intervals] svg").bounding_box()])
    assert page.locator("[data-figure=intervals] svg text").evaluate_all(CUT) == []
    lines = page.locator("[data-figure=intervals] svg .role-axis-label tspan").all_text_contents()
    assert "my_long_uniform_" in lines and max(map(len, lines)) <= NARROW_LETTERS  # which leaves most to the picture


@pytest.mark.parametrize("width", [900, 500])
def test_a_notebook_cell_is_no_wider_than_the_notebook(long_names: Path, page: Any, width: int) -> None:
    """What a cell shows of a study stays within it: long names and the figure shrink, the table scrolls in itself."""
    comparison = compare_study(RunStore(long_names, "s"), "zeros")
    shown = Study(comparison, RunStore(long_names, "s"), {})._repr_html_()
    page.set_viewport_size({"width": width, "height": 900})
    page.set_content(f"<div style='display: flex'><b>Out[1]:</b><div style='min-width: 0'>{shown}</div></div>")
    page.wait_for_function("document.querySelector('img').complete")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    shade = page.evaluate("getComputedStyle(document.querySelector('table').parentElement).background")
    assert shade.count("linear-gradient") == 4 and shade.count("local") == 2  # it shows where there is more to see
    scrolls = page.evaluate("(box => box.scrollWidth > box.clientWidth)(document.querySelector('table').parentElement)")
    assert scrolls == (width == 500)

"""What a person sees in MLflow and in the report: real pages of a real server, in a real Chromium.

The browser is the system's own (`apt-get install chromium`), driven by Playwright; without it these tests are skipped.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from factories import compose_config

from pipeline import compare, sync
from pipeline.experiment.run import run_arm

STUDY = "iris-mlp"
ARMS = {"no_bias": "use_bias=false", "zeros": "bias_initializer=zeros", "ones": "bias_initializer=ones"}
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 60_000  # milliseconds; MLflow's pages ask a server that shares this machine
ML = "workflowType=machine_learning"

playwright_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: uv sync")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no browser: apt-get install chromium"),
]


class Shown(NamedTuple):
    """A study whose answer a server shows. runs: arm -> id of its run."""

    uri: str
    experiment: str
    runs: dict[str, str]
    report: Path

    def page(self, path: str) -> str:
        return f"{self.uri}/#/experiments/{self.experiment}{path}"

    def file(self, arm: str, name: str) -> str:
        """Where the artifact viewer shows a file of the report."""
        return self.page(f"/runs/{self.runs[arm]}/artifacts/report/{name}")


@pytest.fixture(scope="module")
def answered(starting_server: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results and reports of three arms, three seeds each; trained while the server starts."""
    tmp = tmp_path_factory.mktemp("browser")
    settings = ("data=iris", "model=mlp", "training.epochs=3", "seeds=3", "tracking=none", f"results={tmp}/results")
    for setting in ARMS.values():
        assert run_arm(compose_config(*settings, "study=" + STUDY, setting)).trained == (0, 1, 2)
    assert compare.main([f"results={tmp}/results", f"reports={tmp}/reports", "mlflow=false"]) == 0
    return tmp


@pytest.fixture(scope="module")
def shown(answered: Path, server: str) -> Shown:
    """The same on the server, sent over HTTP."""
    from mlflow import MlflowClient

    assert sync.main([f"results={answered}/results", f"reports={answered}/reports", f"uri={server}"]) == 0
    client = MlflowClient(server)
    study = client.get_experiment_by_name(STUDY).experiment_id
    runs = client.search_runs([study], "tags.role = 'arm'")
    arms = {run.data.tags["arm"].split(",")[0]: run.info.run_id for run in runs}
    return Shown(server, study, arms, answered / "reports" / STUDY)


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
    """The names in the runs table, once it is there."""
    names = page.locator("[role=row] a[href*='/runs/']")
    names.first.wait_for()
    return names.all_inner_texts()


def column(page: Any, key: str) -> Any:
    return page.locator(f".ag-header-cell[col-id='{key}']")


def named(arms: list[str]) -> list[str]:
    return [f"{arm},training.epochs=3" for arm in arms]


def test_the_runs_table_has_one_row_per_arm(shown: Shown, page: Any) -> None:
    """Seeds, or a run that is no arm, stand between the arms, or the verdict is not what one reads first."""
    page.goto(shown.page(f"?{ML}"))
    assert sorted(rows(page)) == sorted(named(["no_bias", "zeros", "ones"]))
    first = (shown.report / "answer.md").read_text().splitlines()[2]
    assert first.endswith(".")
    page.get_by_text(first).first.wait_for()


def test_the_view_sorts_the_arms_by_their_mean_and_shows_their_verdicts(shown: Shown, page: Any) -> None:
    """The saved view is not taken, or lacks the verdict, the difference, its interval or p."""
    from mlflow import MlflowClient

    runs = {arm: MlflowClient(shown.uri).get_run(run_id).data for arm, run_id in shown.runs.items()}
    page.set_viewport_size({"width": 2600, "height": 900})
    page.goto(shown.page(f"/runs?viewStateShareKey=verdict&{ML}"))
    column(page, "tags.`verdict`").wait_for()
    best_first = sorted(runs.values(), key=lambda run: -run.metrics["test_accuracy"])
    assert [run.tags["arm"] for run in best_first] == rows(page)
    for name in ("test_accuracy", "difference/test_accuracy", "difference/test_accuracy_ci_low",
                 "difference/test_accuracy_p_holm", "spread/test_accuracy_ci_high"):  # fmt: skip
        column(page, f"metrics.`{name}`").wait_for()
    for run in best_first:
        page.get_by_role("gridcell", name=run.tags["verdict"]).first.wait_for()


def test_the_note_unfolds_to_the_whole_answer(shown: Shown, page: Any) -> None:
    """The experiment's note is not Markdown, shows a broken picture, or its links lead nowhere."""
    page.goto(shown.page(f"?{ML}"))
    rows(page)
    page.get_by_test_id("experiment-metadata-editor-edit-button").wait_for()
    page.locator("[data-testid=experiment-metadata-editor-edit-button] + button").click()
    table = page.get_by_role("table").filter(has_text="p (Holm)").first
    table.wait_for()
    assert all(arm in table.inner_text() for arm in named([*ARMS]))
    assert page.locator("img[src*=figures]").count() == 0
    with page.expect_popup() as opened:
        page.get_by_role("link", name="The arms, a row each").click()
    column(opened.value, "tags.`verdict`").wait_for()


def test_the_chart_view_draws_a_curve_per_arm(shown: Shown, page: Any) -> None:
    """A metric's chart lacks an arm's curve, or shows another one besides; or its section is not the first."""
    page.goto(shown.page(f"/runs?compareRunsMode=CHART&viewStateShareKey=verdict&{ML}"))
    for metric in ("loss", "val_accuracy"):
        card = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=page.get_by_text(metric, exact=True))
        lines = card.locator(".scatterlayer path.js-line")
        lines.nth(len(ARMS) - 1).wait_for(state="attached")
        assert len(set(lines.evaluate_all("lines => lines.map(line => line.style.stroke)"))) == len(ARMS)
    sections = page.get_by_test_id("experiment-view-compare-runs-section-header").all_inner_texts()
    assert [text.split("\n")[0] for text in sections][:3] == ["Model metrics", "difference", "spread"]


def test_two_arms_compare(shown: Shown, page: Any) -> None:
    """The comparison of two arms does not show both, or not what tells them apart."""
    ids = ",".join(f'"{shown.runs[arm]}"' for arm in ("zeros", "ones"))
    page.goto(f'{shown.uri}/#/compare-runs?runs=[{ids}]&experiments=["{shown.experiment}"]&{ML}')
    page.get_by_text("Comparing 2 Runs from 1 Experiment").first.wait_for()
    for text in named(["zeros", "ones"]):
        page.get_by_text(text, exact=True).first.wait_for()
    for text in ("Zeros", "Ones"):
        page.get_by_text(text, exact=True).first.wait_for()
    page.get_by_role("link", name="difference/test_accuracy", exact=True).wait_for()


def test_an_arm_says_its_verdict_and_leads_to_the_report(shown: Shown, page: Any) -> None:
    """An arm's page lacks its sentence, or the link in it does not open the report."""
    page.goto(shown.page(f"/runs/{shown.runs['ones']}?{ML}"))
    (sentence,) = re.findall(r"^- (ones,.*)$", (shown.report / "answer.md").read_text(), re.MULTILINE)
    page.get_by_text(sentence).first.wait_for()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="The whole report").click()
    opened.value.get_by_text(re.compile(r"^report/(report\.html|answer\.md)$")).first.wait_for()


def test_a_figure_shows_in_the_artifact_viewer(shown: Shown, page: Any) -> None:
    """A figure is not among an arm's artifacts, or cannot be decoded."""
    page.goto(shown.file("zeros", "figures/learning_curves.png"))
    picture = page.locator("img[src^=blob]").first
    picture.wait_for()
    assert picture.evaluate("picture => picture.naturalWidth") > 600


def test_the_report_opens_inside_the_artifact_viewer(shown: Shown, page: Any) -> None:
    """The viewer shows the report as text, shows nothing, or its charts are not drawn there."""
    page.goto(shown.file("zeros", "report.html"))
    inside = page.frame_locator("iframe")
    inside.get_by_text(re.compile("no_bias")).first.wait_for()
    inside.locator("svg, canvas").first.wait_for()


def test_the_report_alone_asks_nobody_and_complains_of_nothing(shown: Shown, page: Any) -> None:
    """The report needs the network, or writes an error to the console."""
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    address = (shown.report / "report.html").as_uri()
    page.goto(address)
    for chart in page.locator("figure").all():
        chart.locator("svg, canvas").first.wait_for()
    assert page.locator("figure").count() >= 6
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [address]

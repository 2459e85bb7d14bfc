"""DVC as a user runs it, in a small copy of the project with its own git history, and in clones of that."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest
import vl_convert
import yaml

from pipeline.config.schema import PROJECT

pytestmark = pytest.mark.slow

ARMS = ("no_bias", "zeros")
STUDY = "digits-mlp"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
METRICS = f"reports/{STUDY}/metrics.json"
PLOTS = {"intervals": "difference", "values": "value", "biases": "q50"}  # each table and the column it draws


class Project(NamedTuple):
    """A copy of the project, small enough to be trained in a test."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """Standard output of a command, which must succeed."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def stored_runs(self) -> dict[str, tuple[int, int, bytes]]:
        """Modification time, inode and content of every run.json, by `<arm>/seed=<n>`."""
        paths = (self.folder / "results" / STUDY).glob("*/*/run.json")
        return {f"{p.parts[-3]}/{p.parts[-2]}": (p.stat().st_mtime_ns, p.stat().st_ino, p.read_bytes()) for p in paths}


class Reproduced(NamedTuple):
    """The project after `dvc repro`, and what this and a second `dvc repro` printed."""

    project: Project
    first: str
    second: str
    stored: dict[str, tuple[int, int, bytes]]


class Experiment(NamedTuple):
    """The project after `dvc exp run` with a third seed, and what that printed."""

    project: Project
    printed: str


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{pattern} occurs {count} times in {path.name}"
    path.write_text(text)


def shrink(conf: Path) -> None:
    """Leave two arms of a linear model, two seeds and two epochs."""
    edit(conf / "config.yaml", r"^seeds: \d+", "seeds: 2")
    edit(conf / "config.yaml", r"^ablation: true", "ablation: false")
    edit(conf / "config.yaml", r"bias_initializer: zeros,ones,glorot$", "bias_initializer: zeros")
    edit(conf / "training" / "default.yaml", r"^epochs: \d+", "epochs: 2")
    shutil.copy(conf / "model" / "linear.yaml", conf / "model" / "mlp.yaml")
    edit(conf / "model" / "mlp.yaml", r"^name: linear", "name: mlp")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A git repository of the files that git tracks or would add, with a small study as its default."""
    tmp = tmp_path_factory.mktemp("dvc")
    folder = tmp / "project"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
    shrink(folder / "conf")

    from_outside = ("MLFLOW_", "DVC_", "GIT_", "PYTHONPATH", "PYTEST_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(from_outside)} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(tmp / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(tmp / "global"),
        "DVC_NO_ANALYTICS": "true",
        **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
           for what, value in (("NAME", "A Tester"), ("EMAIL", "tester@example.org"))},
    }  # fmt: skip
    project = Project(folder, environment)
    project.run("git", "init", "-q")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "A small study")
    return project


@pytest.fixture(scope="module")
def reproduced(project: Project) -> Reproduced:
    """`dvc repro`, `dvc push` to a folder, a commit, and `dvc repro` again."""
    first = project.run("dvc", "repro")
    stored = project.stored_runs()
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "The answer")
    project.run("dvc", "remote", "add", "--local", "-d", "backup", str(project.folder.parent / "backup"))
    project.run("dvc", "push")
    return Reproduced(project, first, project.run("dvc", "repro"), stored)


@pytest.fixture(scope="module")
def experiment(reproduced: Reproduced) -> Experiment:
    """`dvc exp run` with one seed more, after the small study was reproduced and committed."""
    project = reproduced.project
    return Experiment(project, project.run("dvc", "exp", "run", "-n", "third", "-S", "conf/config.yaml:seeds=3"))


def test_repro_trains_the_default_study_and_answers_it(reproduced: Reproduced) -> None:
    """From the files in git, `dvc repro` makes the results, the report and the MLflow store."""
    assert set(reproduced.stored) == {f"{arm}/seed={seed}" for arm in ARMS for seed in (0, 1)}
    answer = reproduced.project.folder / "reports" / STUDY
    assert {"answer.md", "report.html", "figures", "metrics.json", "summary.csv"} <= {
        path.name for path in answer.iterdir()
    }
    assert (reproduced.project.folder / "mlflow.db").is_file()


def test_repro_again_does_nothing(reproduced: Reproduced) -> None:
    """A second `dvc repro` skips both stages."""
    assert reproduced.first.count("Running stage") == 2
    assert "Running stage" not in reproduced.second
    for stage in ("sweep", "compare"):
        assert f"Stage '{stage}' didn't change, skipping" in reproduced.second


def test_git_has_the_lock_and_what_dvc_shows(reproduced: Reproduced) -> None:
    """Of what the stages write, git ignores all but metrics and the tables of plots."""
    changed = set(reproduced.project.run("git", "show", "--name-only", "--format=", "HEAD").split())
    assert changed == {"dvc.lock", METRICS, *(f"reports/{STUDY}/plots/{table}.csv" for table in PLOTS)}


def test_one_seed_more_trains_one_run_in_each_arm(reproduced: Reproduced, experiment: Experiment) -> None:
    """`dvc exp run -S conf/config.yaml:seeds=3` trains seed 2 only and leaves the other runs untouched."""
    stored = experiment.project.stored_runs()
    assert set(stored) - set(reproduced.stored) == {f"{arm}/seed=2" for arm in ARMS}
    assert {key: stored[key] for key in reproduced.stored} == reproduced.stored
    for arm in ARMS:  # columns: arm, seeds, trained
        assert re.search(rf"^\W*{arm}\W+3\W+1\W", experiment.printed, re.MULTILINE)


def test_an_experiment_changes_one_setting_and_names_it(experiment: Experiment) -> None:
    """`dvc exp run -S` edits the value that was asked for, and `dvc params diff` lists that change alone."""
    project = experiment.project
    before = yaml.safe_load(project.run("git", "show", "HEAD:conf/config.yaml"))
    after = yaml.safe_load((project.folder / "conf" / "config.yaml").read_text())
    assert after == before | {"seeds": 3}
    changes = json.loads(project.run("dvc", "params", "diff", "--json"))
    assert changes == {"conf/config.yaml": {"seeds": {"old": 2, "new": 3, "diff": 1}}}


def test_metrics_are_named_by_arm(experiment: Experiment) -> None:
    """`dvc metrics show` prints each arm's mean over its stored runs, and `dvc metrics diff` the change since HEAD."""
    (files,) = [
        entry["data"] for entry in json.loads(experiment.project.run("dvc", "metrics", "show", "--json")).values()
    ]
    (metrics,) = [entry["data"] for entry in files.values()]
    assert set(metrics) == set(ARMS)
    stored = experiment.project.stored_runs()
    for arm in ARMS:
        runs = [json.loads(content) for key, (_, _, content) in stored.items() if key.startswith(arm)]
        values = [run["metrics"]["test_accuracy"] for run in runs]
        assert metrics[arm]["test_accuracy"] == pytest.approx(sum(values) / 3, rel=1e-5)
        assert metrics[arm]["seeds"] == 3
    (changes,) = json.loads(experiment.project.run("dvc", "metrics", "diff", "--json")).values()
    assert changes["zeros.seeds"] == {"old": 2, "new": 3, "diff": 1}


def test_plots_of_two_revisions_are_drawn(experiment: Experiment) -> None:
    """`dvc plots diff` shows finite numbers of both revisions, in templates that Vega-Lite can draw."""
    targets = {f"reports/{STUDY}/plots/{table}.csv": column for table, column in PLOTS.items()}
    printed = experiment.project.run("dvc", "plots", "diff", "HEAD", "--json", "--targets", *targets)
    plots = json.loads(printed)["data"]
    assert plots.keys() == targets.keys()
    for target, column in targets.items():
        (spec,) = [plot["content"] for plot in plots[target]]
        assert {row["rev"] for row in spec["data"]["values"]} == {"HEAD", "workspace"}
        assert all(np.isfinite(float(row[column])) for row in spec["data"]["values"])
        picture = ElementTree.fromstring(vl_convert.vegalite_to_svg(spec))
        words = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
        assert {"HEAD", "workspace", "no_bias" if "intervals" in target else "zeros"} <= words
        assert any(path.get("d") for path in picture.iter("{http://www.w3.org/2000/svg}path"))


@pytest.fixture(scope="module")
def fresh_clone(reproduced: Reproduced, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone made after the answer was committed, as another person gets it: without cache, results and remote."""
    project = reproduced.project
    folder = tmp_path_factory.mktemp("clone") / "project"
    project.run("git", "clone", "-q", str(project.folder), str(folder))
    return Project(folder, project.environment | {"DVC_SITE_CACHE_DIR": str(folder.parent / "site")})


@pytest.mark.parametrize("command", [
    ("metrics", "show"), ("metrics", "diff"), ("plots", "show"), ("plots", "diff", "HEAD"), ("exp", "show"),
    ("params", "diff"),
], ids=" ".join)  # fmt: skip
def test_dvc_works_right_after_git_clone(command: tuple[str, ...], fresh_clone: Project) -> None:
    """What DVC shows is in git: no command misses a file, and no line is too long to read."""
    done = subprocess.run(
        ["dvc", *command], cwd=fresh_clone.folder, env=fresh_clone.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and "!" not in done.stdout
    if command == ("metrics", "show"):
        assert METRICS in done.stdout and max(map(len, done.stdout.splitlines())) < 1000


def test_the_page_of_plots_has_every_figure_once_and_needs_no_network(fresh_clone: Project) -> None:
    """The page shows each table once; the script that draws it is a file, written by one command."""
    fresh_clone.run("dvc", "plots", "show")
    page = (fresh_clone.folder / "dvc_plots" / "index.html").read_text()
    assert page.count("vegaEmbed('#") == len(PLOTS)
    assert "<img" not in page
    assert page.index('src="../.dvc/vega.js"') < page.index("https://") < page.index("vegaEmbed('#")
    fresh_clone.run("python", "-m", "pipeline.report.vega")
    assert "vegaEmbed" in (fresh_clone.folder / ".dvc" / "vega.js").read_text()
    assert fresh_clone.run("git", "status", "--porcelain") == ""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no browser: apt-get install chromium")
def test_the_page_of_plots_is_drawn_offline(fresh_clone: Project) -> None:
    """A browser without a network draws every table of numbers."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: uv sync")
    fresh_clone.run("python", "-m", "pipeline.report.vega")
    fresh_clone.run("dvc", "plots", "show")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        page = browser.new_page()
        asked: list[str] = []
        page.route("http*://**", lambda route: (asked.append(route.request.url), route.abort()))
        page.goto((fresh_clone.folder / "dvc_plots" / "index.html").as_uri())
        drawn = page.locator("canvas, svg.marks")
        drawn.nth(len(PLOTS) - 1).wait_for(timeout=60_000)
        assert (drawn.count(), asked) == (len(PLOTS), [])
        assert all(drawn.nth(i).bounding_box()["width"] > 300 for i in range(len(PLOTS)))
        browser.close()


def test_another_person_pulls_what_was_pushed(reproduced: Reproduced, fresh_clone: Project) -> None:
    """`dvc pull` brings all results that `dvc push` left in a folder; nothing is trained again, git sees no change."""
    remote = reproduced.project.folder.parent / "backup"
    fresh_clone.run("dvc", "remote", "add", "--local", "-d", "backup", str(remote))
    fresh_clone.run("dvc", "pull")
    pulled = {key: content for key, (_, _, content) in fresh_clone.stored_runs().items()}
    assert pulled == {key: content for key, (_, _, content) in reproduced.stored.items()}
    assert not list((fresh_clone.folder / "results").rglob("machine.json"))
    assert "up to date" in fresh_clone.run("dvc", "status")
    assert "Running stage" not in fresh_clone.run("dvc", "repro")
    assert fresh_clone.run("git", "status", "--porcelain") == ""
    fresh_clone.run("python", "-m", "pipeline.compare", "figures=false", "mlflow=false")
    assert "up to date" in fresh_clone.run("dvc", "status", "sweep")


def test_the_lock_holds_on_another_machine(reproduced: Reproduced, tmp_path: Path) -> None:
    """`dvc repro` in a clone without a cache trains everything, with other flags in force, and git sees no change."""
    project = reproduced.project
    folder = tmp_path / "project"
    project.run("git", "clone", "-q", str(project.folder), str(folder))
    other = {"DVC_SITE_CACHE_DIR": str(tmp_path / "site"), "ONEDNN_MAX_CPU_ISA": "AVX", "OMP_NUM_THREADS": "1",
             "XLA_FLAGS": "--xla_cpu_max_isa=AVX", "TF_NUM_INTRAOP_THREADS": "1"}  # fmt: skip
    machine = Project(folder, project.environment | other)
    assert machine.run("dvc", "repro").count("Running stage") == 2
    assert machine.run("git", "status", "--porcelain") == "", machine.run("git", "diff")

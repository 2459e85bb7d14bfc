"""`dvc repro` and `dvc exp run` as a user runs them, in a small copy of the project with its own git history."""

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
    """Leave two arms of a linear model, two seeds and two epochs, without XLA: nothing here is about the numbers."""
    edit(conf / "config.yaml", r"^seeds: \d+", "seeds: 2")
    edit(conf / "config.yaml", r"^ablation: true", "ablation: false")
    edit(conf / "config.yaml", r"bias_initializer: zeros,ones,glorot$", "bias_initializer: zeros")
    edit(conf / "training" / "default.yaml", r"^epochs: \d+", "xla: false\nepochs: 2")
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
    """`dvc repro`, a commit, and `dvc repro` again."""
    first = project.run("dvc", "repro")
    stored = project.stored_runs()
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "The answer")
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


def test_repro_changes_no_tracked_file_but_its_lock(reproduced: Reproduced) -> None:
    """Git ignores what the stages write; only dvc.lock changes."""
    assert reproduced.project.run("git", "show", "--name-only", "--format=", "HEAD").split() == ["dvc.lock"]


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


def test_metrics_are_named_by_arm_metric_and_statistic(experiment: Experiment) -> None:
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
        assert metrics[arm]["test_accuracy"]["mean"] == pytest.approx(sum(values) / 3)
        assert metrics[arm]["test_accuracy"]["seeds"] == 3
    (changes,) = json.loads(experiment.project.run("dvc", "metrics", "diff", "--json")).values()
    assert changes["zeros.test_accuracy.seeds"] == {"old": 2, "new": 3, "diff": 1}


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

"""`dvc repro` and `dvc exp run` as a user gives them, in a small copy of the project with a git history of its own."""

import ast
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

# Modules that a stage's command imports although they cannot change what the stage leaves behind.
NO_DEPENDENCY = {
    "sweep": {
        "train",
        "sweep",
        "preview",
        "tracking",
        "sender",
        "stats",
        "permutations",
    },  # the command line, the MLflow mirror, what both say of the seeds
    "compare": {"published", "tracking"},  # the MLflow mirror
}


class Copy(NamedTuple):
    """A copy of the project, small enough to be trained in a test."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def say(self, *command: str) -> str:
        """What a command that must succeed writes to standard output."""
        done = self.run(*command)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def stored(self) -> dict[str, tuple[int, int, bytes]]:
        """Every run.json by `<arm>/seed=<n>`: when it was written, its inode, its bytes."""
        paths = (self.folder / "results" / STUDY).glob("*/*/run.json")
        return {f"{p.parts[-3]}/{p.parts[-2]}": (p.stat().st_mtime_ns, p.stat().st_ino, p.read_bytes()) for p in paths}


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{pattern} occurs {count} times in {path.name}"
    path.write_text(text)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The files git knows or would add, with two arms of a linear model, two seeds and two epochs."""
    tmp = tmp_path_factory.mktemp("dvc")
    folder = tmp / "project"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
    edit(folder / "conf" / "config.yaml", r"^seeds: \d+", "seeds: 2")
    edit(folder / "conf" / "config.yaml", r"bias_initializer: zeros,ones,glorot$", "bias_initializer: zeros")
    edit(folder / "conf" / "training" / "default.yaml", r"^epochs: \d+", "epochs: 2")
    shutil.copy(folder / "conf" / "model" / "linear.yaml", folder / "conf" / "model" / "mlp.yaml")
    edit(folder / "conf" / "model" / "mlp.yaml", r"^name: linear", "name: mlp")

    outside = ("MLFLOW_", "DVC_", "GIT_", "PYTHONPATH", "PYTEST_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(outside)} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(tmp / "site"),
        "DVC_GLOBAL_CONFIG_DIR": str(tmp / "global"),
        "DVC_NO_ANALYTICS": "true",
        **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
           for what, value in (("NAME", "A Tester"), ("EMAIL", "tester@example.org"))},
    }  # fmt: skip
    project = Copy(folder, environment)
    project.say("git", "init", "-q")
    project.say("git", "add", "-A")
    project.say("git", "commit", "-qm", "A small study")
    return project


class Repro(NamedTuple):
    first: str
    second: str
    stored: dict[str, tuple[int, int, bytes]]


@pytest.fixture(scope="module")
def repro(copy: Copy) -> Repro:
    """`dvc repro`, a commit, and `dvc repro` again."""
    first = copy.say("dvc", "repro")
    stored = copy.stored()
    copy.say("git", "add", "-A")
    copy.say("git", "commit", "-qm", "The answer")
    return Repro(first, copy.say("dvc", "repro"), stored)


@pytest.fixture(scope="module")
def third_seed(copy: Copy, repro: Repro) -> str:
    """`dvc exp run` with one seed more: what it says."""
    return copy.say("dvc", "exp", "run", "-n", "third", "-S", "conf/config.yaml:seeds=3")


def test_repro_trains_the_default_study_and_answers_it(copy: Copy, repro: Repro) -> None:
    """From the files in git, `dvc repro` does not come to the results, the report and the MLflow store."""
    assert set(repro.stored) == {f"{arm}/seed={seed}" for arm in ARMS for seed in (0, 1)}
    answer = copy.folder / "reports" / STUDY
    assert {"answer.md", "report.html", "figures", "metrics.json", "summary.csv"} <= {
        path.name for path in answer.iterdir()
    }
    assert (copy.folder / "mlflow.db").is_file()


def test_repro_again_does_nothing(repro: Repro) -> None:
    """A second `dvc repro` runs a stage again."""
    assert repro.first.count("Running stage") == 2
    assert "Running stage" not in repro.second
    for stage in ("sweep", "compare"):
        assert f"Stage '{stage}' didn't change, skipping" in repro.second


def test_repro_leaves_nothing_for_git_but_its_lock(copy: Copy, repro: Repro) -> None:
    """What the stages write is not ignored by git, or the lock file is not what was committed."""
    changed = copy.say("git", "show", "--name-only", "--format=", "HEAD").split()
    assert changed == ["dvc.lock"]


def test_metrics_speak_of_arms_and_their_metrics(copy: Copy, repro: Repro) -> None:
    """`dvc metrics show` does not name arm, metric and statistic."""
    (files,) = [entry["data"] for entry in json.loads(copy.say("dvc", "metrics", "show", "--json")).values()]
    (metrics,) = [entry["data"] for entry in files.values()]
    assert set(metrics) == set(ARMS)
    for arm in ARMS:
        stored = [json.loads(content) for key, (_, _, content) in repro.stored.items() if key.startswith(arm)]
        values = [run["metrics"]["test_accuracy"] for run in stored]
        assert metrics[arm]["test_accuracy"]["mean"] == pytest.approx(sum(values) / 2)
        assert metrics[arm]["test_accuracy"]["seeds"] == 2


def test_one_seed_more_trains_one_run_in_each_arm(copy: Copy, repro: Repro, third_seed: str) -> None:
    """`dvc exp run -S conf/config.yaml:seeds=3` fails, or trains again what it has."""
    stored = copy.stored()
    assert set(stored) - set(repro.stored) == {f"{arm}/seed=2" for arm in ARMS}
    assert {key: stored[key] for key in repro.stored} == repro.stored
    for arm in ARMS:  # columns: arm, seeds, trained
        assert re.search(rf"^\W*{arm}\W+3\W+1\W", third_seed, re.MULTILINE)


def test_the_change_of_settings_is_named(copy: Copy, third_seed: str) -> None:
    """`dvc params diff` does not say which setting an experiment changed, or calls others changed."""
    changes = json.loads(copy.say("dvc", "params", "diff", "--json"))
    assert changes == {"conf/config.yaml": {"seeds": {"old": 2, "new": 3, "diff": 1}}}


def test_an_experiment_leaves_the_rest_of_the_settings_alone(copy: Copy, third_seed: str) -> None:
    """`dvc exp run -S` writes other values than the one that was asked for into the file."""
    before, after = (
        yaml.safe_load(text)
        for text in (copy.say("git", "show", "HEAD:conf/config.yaml"), (copy.folder / "conf/config.yaml").read_text())
    )
    assert after == before | {"seeds": 3}


def test_metrics_of_two_revisions_can_be_compared(copy: Copy, third_seed: str) -> None:
    """`dvc metrics diff` knows nothing of the committed state."""
    (changes,) = json.loads(copy.say("dvc", "metrics", "diff", "--json")).values()
    assert changes["zeros.test_accuracy.seeds"] == {"old": 2, "new": 3, "diff": 1}


@pytest.mark.parametrize("table, column", [("intervals", "difference"), ("values", "value"), ("biases", "q50")])
def test_plots_of_two_revisions_are_drawn(copy: Copy, third_seed: str, table: str, column: str) -> None:
    """`dvc plots diff` shows one revision only, no numbers, or a template that Vega-Lite cannot draw."""
    target = f"reports/{STUDY}/plots/{table}.csv"
    spec = json.loads(copy.say("dvc", "plots", "diff", "HEAD", "--targets", target, "--show-vega"))
    assert {row["rev"] for row in spec["data"]["values"]} == {"HEAD", "workspace"}
    assert all(np.isfinite(float(row[column])) for row in spec["data"]["values"])
    picture = ElementTree.fromstring(vl_convert.vegalite_to_svg(spec))
    words = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"HEAD", "workspace", "zeros" if table != "intervals" else "no_bias"} <= words
    assert any(path.get("d") for path in picture.iter("{http://www.w3.org/2000/svg}path"))


def stage_imports(command: str) -> set[str]:
    """The modules of the package that `python -m pipeline.<module>` imports, sooner or later."""
    found: set[str] = set()
    waiting = re.findall(r"python -m pipeline\.(\w+)", command)
    assert waiting
    while waiting:
        module = waiting.pop()
        if module in found or not (PROJECT / "pipeline" / f"{module}.py").is_file():
            continue  # a name from the package that is no module
        found.add(module)
        for node in ast.walk(ast.parse((PROJECT / "pipeline" / f"{module}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "pipeline":
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline."):
                waiting.append(node.module.split(".")[1])
            elif isinstance(node, ast.Import):
                waiting += [a.name.split(".")[1] for a in node.names if a.name.startswith("pipeline.")]
    return found


@pytest.mark.parametrize("stage", ["sweep", "compare"])
def test_a_stage_depends_on_every_module_it_uses(stage: str) -> None:
    """A change in a module that a stage uses would leave `dvc repro` at the old answer."""
    described = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"][stage]
    listed = {Path(path).stem for path in described["deps"] if path.endswith(".py")}
    used = stage_imports(described["cmd"])
    assert used - listed == NO_DEPENDENCY[stage]
    assert listed <= used
    assert ("pipeline/template" in described["deps"]) == ("page" in used)

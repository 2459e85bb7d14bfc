"""An initializer and a metric, added to a copy of the project as CONTRIBUTING.md says, work everywhere."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.schema import PROJECT

pytestmark = pytest.mark.slow

INITIALIZER = '''

@keras.saving.register_keras_serializable("pipeline")
class Half(CustomInitializer):
    """One half for every unit."""

    def __init__(self, value: float = 0.5) -> None:
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """A bias of any shape."""
        return keras.ops.full(shape, self.value, dtype or keras.config.floatx())

    def expected(self, shape: tuple[int, ...]) -> ExpectedDistribution:
        """The constant."""
        return constant(self.value)
'''
STUDY = (
    "data=diabetes", "model=linear", "training.epochs=2", "training.xla=false", "seeds=2", "tracking=none",
    "ablation=false", "use_bias=true", "bias_initializer=zeros,half", "training.metrics=[mae,log_cosh]",
)  # fmt: skip


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{old} occurs {text.count(old)} times in {path}"
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the initializer `half` and the metric `log_cosh`: modules, a YAML, test rows."""
    project = tmp_path_factory.mktemp("extended")
    for folder in ("pipeline", "conf", "tests"):
        shutil.copytree(PROJECT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", project)
    tests = project / "tests"
    replace_once(
        tests / "models" / "test_custom_initializers.py",
        "CUSTOM = {",
        'CUSTOM = {"Half": Row("half", "model=mlp", {}),',
    )
    replace_once(tests / "training" / "test_parity.py", "metrics=[mse,mae]", "metrics=[mse,mae,log_cosh]")
    with (project / "pipeline" / "models" / "initializers" / "custom.py").open("a") as file:
        file.write(INITIALIZER)
    (project / "conf" / "bias_initializer" / "half.yaml").write_text("# One half.\nclass_name: Half\nconfig: {}\n")
    table, functions = project / "pipeline" / "config" / "metrics.py", project / "pipeline" / "training" / "metrics.py"
    row = '        Metric("log_cosh", ("regression",), False, "logarithm of the hyperbolic cosine of the error"),\n'
    last = "    )\n}\n"
    replace_once(table, last, row + last)
    replace_once(functions, "functions = {", 'functions = {"log_cosh": "log_cosh", ')
    return project


def run(project: Path, *command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_added_initializer_and_metric_are_trained_and_compared(extended: Path) -> None:
    """The plan knows what the initializer draws, runs start from it, and the metric is stored and compared."""
    plan = run(extended, "pipeline.train", "-m", "--plan", *STUDY)
    assert any("half" in line and "0.5" in line for line in plan.splitlines())
    run(extended, "pipeline.train", "-m", *STUDY)
    metas = [json.loads(path.read_text()) for path in extended.glob("results/diabetes-linear/*/*/run.json")]
    assert len(metas) == 4
    assert all(meta["metrics"]["test_log_cosh"] > 0 for meta in metas)
    run(extended, "pipeline.compare", "metric=test_log_cosh", "mlflow=false")
    with (extended / "reports" / "diabetes-linear" / "summary.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "test_log_cosh"]
    assert [row["seeds"] for row in rows] == ["2", "2"]


def test_their_test_rows_pass(extended: Path) -> None:
    """The new rows in CUSTOM and among the equalities with `model.fit` pass."""
    files = ["tests/models/test_custom_initializers.py", "tests/training/test_parity.py"]
    printed = run(extended, "pytest", "-n0", "-m", "not gpu", *files, "-k", "Half or has_its_row or (huber and auto)")
    assert "4 passed" in printed

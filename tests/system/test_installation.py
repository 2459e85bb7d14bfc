"""The package is installed from its wheel, and its commands work in any folder."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import installation
from pipeline.config.schema import CONF, PROJECT
from pipeline.installation import command_text, command_words, install_text

SWEEP = ("-m", "data=iris", "model=linear", "training.epochs=2", "seeds=2", "use_bias=true",
         "bias_initializer=zeros,ones", "runtime.isolate=true")  # fmt: skip

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_clone_names_commands_as_they_are_typed_there() -> None:
    """In a clone, settings lie beside the code, and commands are run by uv."""
    assert (PROJECT / "conf") == CONF
    assert command_words("compare") == ["uv", "run", "python", "-m", "pipeline.compare"]
    assert command_text("train") == "python -m pipeline.train"
    assert install_text("joblib", "hydra-joblib-launcher") == "uv sync --extra joblib"


def test_an_installed_package_names_its_scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where they can be found, or one of them has been run; otherwise Python runs the module."""
    monkeypatch.setattr(installation, "IS_CLONE", False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command_text("compare") == "python -m pipeline.compare"
    (tmp_path / "bias-compare").touch(mode=0o755)
    assert command_text("compare") == "bias-compare"
    monkeypatch.setattr(sys, "argv", ["/somewhere/bias-train", "-m"])
    assert command_text("sync") == "bias-sync"
    assert install_text("joblib", "hydra-joblib-launcher") == "pip install 'hydra-joblib-launcher'"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a program of an environment that has the wheel, and takes all other packages from this one."""
    place = tmp_path_factory.mktemp("installed")
    environment, wheels = place / "environment", place / "wheels"
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    purelib = sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)})
    (Path(purelib) / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = wheels.glob("*.whl")
    uv = os.environ.get("UV", "uv")
    python = environment / "bin" / "python"
    install = [uv, "pip", "install", "--offline", "--no-deps", "--python", str(python), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [environment / "bin" / program, *arguments],
            cwd=cwd, env=clean | {"PATH": path}, text=True, capture_output=True,
        )  # fmt: skip

    return run


@pytest.mark.slow
def test_the_commands_work_in_any_folder(run: Run, tmp_path: Path) -> None:
    """Train, compare, extract and sync: all that they write is in the working directory, whatever else is there."""
    (tmp_path / "pipeline.py").write_text("raise RuntimeError('not the package')\n")
    trained = run("bias-train", *SWEEP, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "The answer: bias-compare study=iris-linear\n" in trained.stdout
    assert "In MLflow: mlflow ui\n" in trained.stdout
    compared = run("bias-compare", "figures=false", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "bias-compare study=iris-linear" in (tmp_path / "reports" / "iris-linear" / "report.html").read_text()
    extracted = run("bias-extract", "results/iris-linear/ones,training.epochs=2/seed=1", cwd=tmp_path)
    assert (extracted.returncode, extracted.stderr) == (0, "")
    assert "output/bias" in extracted.stdout
    sent = run("bias-sync", cwd=tmp_path)
    assert (sent.returncode, sent.stderr) == (0, "")
    assert f"sqlite:///{tmp_path}/mlflow.db has all of: iris-linear" in sent.stdout
    written = {path.name for path in tmp_path.iterdir()}
    assert written <= {"pipeline.py", "results", "reports", "multirun", "mlartifacts", "mlflow.db", "mlflow.db.lock"}


@pytest.mark.slow
def test_modules_run_too_and_help_names_the_scripts(run: Run, tmp_path: Path) -> None:
    """`python -m pipeline.train` is the same command; `--help` shows what can be typed, a refusal too."""
    shown = run("python", "-m", "pipeline.train", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "bias-train -m data=iris" in shown.stdout and "python -m" not in shown.stdout
    (guide,) = [line.strip() for line in shown.stdout.splitlines() if line.endswith("conf/README.md")]
    assert Path(guide).is_absolute() and Path(guide).is_file()
    assert 'eval "$(bias-complete bash)"' in run("bias-complete", "--help", cwd=tmp_path).stdout
    assert "python -m pipeline.complete" in run("python", "-m", "pipeline.complete", "--help", cwd=tmp_path).stdout
    refused = run("bias-compare", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr == f"results: no study in {tmp_path}/results; train one first: bias-train -m\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_wheel_holds_the_settings_and_no_more(run: Run, tmp_path: Path) -> None:
    """conf/ is inside the package as it is in the clone, README included."""
    code = "from pipeline.installation import CONF; print(CONF)"
    conf = Path(run("python", "-c", code, cwd=tmp_path).stdout.strip())
    assert conf.parts[-3:] == ("site-packages", "pipeline", "conf")
    files = {path.relative_to(CONF): path.read_bytes() for path in CONF.rglob("*") if path.is_file()}
    assert {path.relative_to(conf): path.read_bytes() for path in conf.rglob("*") if path.is_file()} == files

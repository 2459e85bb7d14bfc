"""What the Tab key offers."""

import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
from factories import compose_config

from pipeline.biases.command_line import FORMATS, KINDS
from pipeline.compare import CompareOptions
from pipeline.config.completion import OPTION_VALUES, VALUES, complete_line, option_keys
from pipeline.config.schema import CONF, PROJECT, key_types
from pipeline.config.shells import shell_code
from pipeline.errors import ConfigError
from pipeline.sync import SyncOptions

TRAIN = "python -m pipeline.train "


def test_all_keys() -> None:
    """Every group, option and key can be reached."""
    first = complete_line(TRAIN)
    assert {f"{folder.name}=" for folder in CONF.iterdir() if folder.is_dir()} - {"hydra="} < set(first)
    for key in key_types():
        words = complete_line(f"{TRAIN}{key.rpartition('.')[0]}." if "." in key else TRAIN)
        assert f"{key}=" in words or (f"{key}." in words and key not in ("seeds", "study"))
    for path in CONF.glob("*/*.yaml"):
        assert f"{path.parent.name}={path.stem}" in complete_line(f"{TRAIN}{path.parent.name}=")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("uv run python -m pipeline.train optimizer=s", ["optimizer=sgd"]),
        ("bias-train optimizer=sgd,a", ["optimizer=sgd,adam"]),
        ("/opt/venv/bin/bias-train -m +training=d", ["+training=default"]),
        (f"{TRAIN}use_bias=", ["use_bias=false", "use_bias=true"]),
        (f"{TRAIN}--cfg ", ["all", "hydra", "job"]),
        (f"{TRAIN}seeds=3 see", ["seeds_per_job="]),  # is given already
        (f"{TRAIN}'data=ir", ["data=iris"]),  # an open quote
        (f'{TRAIN}"data=ir', ["data=iris"]),
        (f"{TRAIN}data='ir", ["iris"]),
        (f"{TRAIN}'seeds=3' 'data=ir", ["data=iris"]),
        ("ls 'data=ir", []),
        (f"{TRAIN}data=ir\\", []),
        ("python -m pipeline.train", []),
        ("python -m other.train data=", []),
        ("ls data=", []),
        ("python -m pipeline.sync fol", ["follow="]),
        ("python -m pipeline.extract --kind ", ["absent", "beta", "bias", "unknown"]),
    ],
)
def test_lines(line: str, words: list[str]) -> None:
    """What fits the last word of a line, and nothing for lines of others."""
    assert complete_line(line) == words


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that name files complete them, quoted for the shell; folders go on; hidden ones wait for their dot."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "deep.yaml").touch()
    for name in ("a b.csv", "größe#2.csv", ".hidden.csv"):
        (tmp_path / name).touch()
    assert complete_line(f"{TRAIN}data.path=") == [r"data.path=a\ b.csv", r"data.path=größe\#2.csv", "data.path=own/"]
    assert complete_line(rf"{TRAIN}data.path=a\ ") == [r"data.path=a\ b.csv"]
    assert complete_line(f"{TRAIN}data.path=.h") == ["data.path=.hidden.csv"]
    assert complete_line(f"{TRAIN}--config-dir own model=d") == ["model=deep"]
    assert complete_line(f"{TRAIN}--config-dir=own model=d") == ["model=deep"]


def test_studies_and_arms(tmp_path: Path) -> None:
    """`compare` completes the studies and arms that are stored."""
    (tmp_path / "iris-mlp" / "zeros" / "seed=0").mkdir(parents=True)
    (tmp_path / "iris-mlp" / "no_bias").mkdir()
    compare = f"python -m pipeline.compare results={tmp_path} "
    assert complete_line(f"{compare}study=") == ["study=iris-mlp"]
    assert complete_line(f"{compare}ir") == ["iris-mlp"] and complete_line(f"{compare}iris-mlp ir") == []
    assert complete_line(f"{compare}study=iris-mlp baseline=n") == ["baseline=no_bias"]


def test_agrees_with_the_commands() -> None:
    """What is listed here is what the commands take."""
    assert option_keys("compare") == [field.name for field in fields(CompareOptions)]
    assert option_keys("sync") == [field.name for field in fields(SyncOptions)]
    assert OPTION_VALUES["--format"] == FORMATS
    assert OPTION_VALUES["--kind"] == KINDS
    assert VALUES.keys() <= key_types().keys()


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in VALUES for value in VALUES[key]])
def test_values_are_taken(key: str, value: str) -> None:
    """Each value that is offered is one that the key takes."""
    try:
        compose_config(f"{key}={value}")
    except ConfigError as error:
        assert not str(error).startswith(f"{key}: {value} given; allowed"), error  # alone; with others it fits


def test_imports_little() -> None:
    """A Tab waits for neither Hydra nor NumPy."""
    code = "import sys, pipeline.complete; print({'hydra', 'numpy', 'tensorflow', 'pandas'} & set(sys.modules))"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()" and time.monotonic() - started < 5


def test_code_fits_the_shell() -> None:
    """The code names this Python and this project, and nothing is left to be filled in."""
    for shell in ("bash", "zsh"):
        assert sys.executable in shell_code(shell) and str(PROJECT) in shell_code(shell)
        assert not [word for word in ("@PYTHON@", "@PLACE@", "@COMMANDS@", "@PROGRAMS@") if word in shell_code(shell)]

"""What the tests share: composing the real configuration, and the command line run in this process."""

import functools
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import hydra
import pytest
from absl import logging as absl_logging
from hydra.core.global_hydra import GlobalHydra

from pipeline import train
from pipeline.config import CONF, Config, load, register_schema

# Hydra closes all log handlers, and absl's (TensorFlow's) then closes its stream: it must not be one of pytest's.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

# Layers whose randomness is hard to keep apart: dropout, a recurrent layer, and two directions of it.
DROPOUT_GRU = (
    "model.name=dropout_gru",
    "model.layers=[{class_name:Reshape,config:{target_shape:[8,8]}},{class_name:Dropout,config:{rate:0.5}},"
    "{class_name:Bidirectional,config:{layer:{class_name:GRU,config:{units:4,dropout:0.5}}}},"
    "{class_name:Dropout,config:{rate:0.5}},{class_name:Dense,config:{name:output}}]",
)


# The files that take longest, started first so that no worker waits for another at the end.
LONGEST = ("test_dvc.py", "test_layers.py", "test_training.py", "test_tracking.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


class Said(NamedTuple):
    """What a command left behind: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


@functools.cache
def compose_config(*overrides: str) -> Config:
    """The checked config of a command line, composed from conf/ (half a second, hence the cache)."""
    register_schema()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        composed = hydra.compose("config", list(overrides))
    return load(composed, list(overrides))


@pytest.fixture(autouse=True)
def _no_hydra_left_over() -> Iterator[None]:
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    """Overrides that keep everything a command writes in this test's own folder."""
    return [
        f"results={tmp_path / 'results'}",
        f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}",
        f"hydra.run.dir={tmp_path / 'outputs'}",
        f"hydra.sweep.dir={tmp_path / 'multirun'}",
    ]


def _print_warning(message: Warning, category: type, filename: str, lineno: int, *_: object) -> None:
    """To standard error, as outside of pytest, which would take it away."""
    print(warnings.formatwarning(message, category, filename, lineno), file=sys.stderr)


@pytest.fixture
def cli(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Said]]:
    """`cli("-m", "seeds=2")` is `python -m pipeline.train -m seeds=2`, in this process and this test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # main sets it; this gives it back
    monkeypatch.setattr(warnings, "showwarning", _print_warning)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*args: str) -> Said:
        options = [arg for arg in args if arg.startswith("-")]  # argparse wants them in front of the overrides
        overrides = [arg for arg in args if not arg.startswith("-")]
        monkeypatch.setattr("sys.argv", ["pipeline.train", *options, *small, *overrides])
        GlobalHydra.instance().clear()
        capfd.readouterr()
        try:
            code = train.main()
        except SystemExit as stop:
            code = stop.code
        return Said(code, *capfd.readouterr())

    yield run
    root.handlers[:], root.level = handlers, level  # Hydra's write to this test's captured output

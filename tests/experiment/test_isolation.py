"""Which jobs train in a process of their own, and how the end of such a process is described."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from factories import compose_config
from reference import stack

from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.experiment.hydra_callback import Request
from pipeline.experiment.isolation import describe_death
from pipeline.experiment.job import is_isolated
from pipeline.training.memory import memory_is_short, stack_bytes, stack_width


@pytest.mark.parametrize("needed", [True, False])
def test_auto_isolates_where_it_matters(needed: bool) -> None:
    """In a launcher's worker, which has no request, and where the request's check found that memory is short."""
    request = Request([], [], Path("sweep.log"), isolate=needed)
    assert is_isolated("auto", request) == needed
    assert is_isolated("auto", None)
    assert [is_isolated(setting, request) for setting in (True, False)] == [True, False]


@pytest.mark.parametrize(("stacks", "short"), [(1.9, True), (2.1, False)])
def test_memory_is_short_where_training_takes_half_of_it(
    monkeypatch: pytest.MonkeyPatch, stacks: float, short: bool
) -> None:
    """One stack of at most one fits into free memory for so many stacks."""
    config = compose_config("data=iris", "model=linear", "seeds=1", "training.seeds_at_once=1")
    _, (model,), _ = stack(config)
    needed = stack_bytes(model, stack_width(model, 32), 32)
    monkeypatch.setattr("pipeline.training.memory.free_memory", lambda: int(stacks * needed))
    assert memory_is_short(model, config.training) == short


@pytest.mark.parametrize(("code", "text"), [
    (-9, "killed by SIGKILL, perhaps for memory"), (-11, "killed by SIGSEGV"), (143, "killed by SIGTERM"),
    (3, "its process ended with exit code 3")])  # fmt: skip
def test_the_end_of_a_process_is_described(code: int, text: str) -> None:
    """By its signal's name, and with the usual reason for SIGKILL."""
    assert describe_death(code) == text


@pytest.mark.parametrize("sent", [b"", pickle.dumps(list(range(1000)))[:100]], ids=["nothing", "half a job"])
def test_the_process_ends_with_its_input(sent: bytes) -> None:
    """Also where its parent was killed in the midst of a job."""
    command = [sys.executable, "-m", "pipeline.experiment.isolation"]
    done = subprocess.run(command, cwd=PROJECT, input=sent, capture_output=True, timeout=60)
    assert done.returncode == 0


def test_other_values_are_refused() -> None:
    """In one line that names what is allowed."""
    with pytest.raises(ConfigError, match=r"^runtime.isolate: sometimes given; allowed: auto, true or false$"):
        compose_config("runtime.isolate=sometimes")

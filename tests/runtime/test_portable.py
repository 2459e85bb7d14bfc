"""`runtime.portable`: the same bytes whatever the processor lets numerical libraries choose."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories import compose_config

from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.experiment.plan import plan_job
from pipeline.runtime import portable
from pipeline.runtime.portable import VARIABLES, XLA_FLAGS, can_be_portable, is_portable, set_portable
from pipeline.store.runs import RunStore

needs_avx2 = pytest.mark.skipif(not can_be_portable(), reason="no x86-64 processor with AVX2")
# As large as portable trainings may be.
LARGE = (
    "model.layers=[{class_name:Flatten},{class_name:Dense,config:{units:256,activation:tanh}},"
    "{class_name:Dense,config:{units:256,activation:softplus}},{class_name:Dense,config:{name:output}}]",
    "training.batch_size=256",
    "optimizer=sgd",
)
# Another machine: one core, and what an older processor would have libraries choose.
MACHINES = {
    "this": {},
    "other": {"ONEDNN_MAX_CPU_ISA": "AVX", "XLA_FLAGS": "--xla_cpu_max_isa=AVX", "ONE_CORE": "true"},
}
TRAIN = """
import os, runpy, sys
if "ONE_CORE" in os.environ:
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
sys.argv[0] = "pipeline.train"
runpy.run_module("pipeline.train", run_name="__main__", alter_sys=True)
"""


def trained_files(results: Path, machine: str, *overrides: str) -> dict[str, bytes]:
    """Train, in a process on a simulated machine; the content of the study's files, machine.json excepted."""
    command = [sys.executable, "-c", TRAIN, *overrides, "model.name=m", "data=digits", "seeds=1", "training.epochs=2"]
    command += [f"results={results}", f"hydra.run.dir={results.parent / 'outputs'}", "tracking=none", "study=s"]
    done = subprocess.run(command, cwd=PROJECT, env=os.environ | MACHINES[machine], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    files = [path for path in sorted((results / "s").rglob("*")) if path.is_file() and path.name != "machine.json"]
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


@needs_avx2
@pytest.mark.slow
@pytest.mark.parametrize("model", [(), LARGE], ids=["default", "large"])
def test_portable_runs_have_the_same_bytes_on_simulated_machines(model: tuple[str, ...], tmp_path: Path) -> None:
    """What an environment asks for and the number of cores change no byte of a study, machine.json excepted."""
    studies = [trained_files(tmp_path / name, name, *model, "runtime.portable=true") for name in MACHINES]
    assert {"run.json", "history.csv", "biases.npz", "weights.npz", "ablation.csv"} <= {
        Path(p).name for p in studies[0]
    }
    for other in studies[1:]:
        assert [path for path in studies[0] if other.get(path) != studies[0][path]] == []
        assert other.keys() == studies[0].keys()


def test_the_machine_stands_apart_from_the_run(tmp_path: Path) -> None:
    """run.json names versions and the device; what else describes the machine is in machine.json, and may be gone."""
    from pipeline.experiment.run import run_arm

    config = compose_config("data=iris", "model=linear", "training.epochs=1", "seeds=1", "tracking=none",
                            "training.xla=false", "ablation=false", f"results={tmp_path}")  # fmt: skip
    (run,) = run_arm(config).runs
    assert set(json.loads((run.path / "run.json").read_text())["environment"]) == {"packages", "device"}
    machine = json.loads((run.path / "machine.json").read_text())
    stays = {name: machine.pop(name) for name in ("python", "platform", "instruction_sets", "threads", "processor")}
    assert run.environment == run.meta["environment"] | stays
    assert set(machine) - {"git_commit", "user"} == {"overrides", "seconds", "peak_memory_bytes"}
    assert 0 < machine["seconds"] < 60 and 10**8 < machine["peak_memory_bytes"] < 10**11
    assert run.machine == stays | machine
    assert run.meta["parameters"] == 4 * 3 + 3
    for content in (None, b"{", b"[1]", b"\xff"):
        (run.path / "machine.json").unlink(missing_ok=True)
        if content is not None:
            (run.path / "machine.json").write_bytes(content)
        (again,) = RunStore(tmp_path, config.study).runs()
        assert again.environment == run.meta["environment"]


def test_portable_flags_win_over_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's flags stay, in front of those that decide; setting them twice changes nothing."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "other")
    monkeypatch.setenv("XLA_FLAGS", f"--xla_cpu_max_isa=AVX512 --xla_dump_to=here {XLA_FLAGS[1]}")
    set_portable()
    set_portable()
    assert os.environ["XLA_FLAGS"].split() == ["--xla_cpu_max_isa=AVX512", "--xla_dump_to=here", *XLA_FLAGS]
    assert {name: os.environ[name] for name in VARIABLES} == VARIABLES


@pytest.mark.parametrize(("machine", "cpuinfo", "can"), [
    ("x86_64", "flags\t\t: fpu sse4_2 avx avx2 fma\n", True),
    ("AMD64", None, True),
    ("x86_64", "flags\t\t: fpu sse4_2 avx\n", False),
    ("arm64", None, False),
    ("aarch64", "Features\t: fp asimd\n", False),
])  # fmt: skip
def test_portable_needs_x86_64_with_avx2(
    machine: str, cpuinfo: str | None, can: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` follows the processor, and `true` is refused where it cannot hold; both leave a GPU alone."""
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(portable, "CPUINFO", tmp_path / "cpuinfo")
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert is_portable("auto", "cpu") == is_portable("auto", "auto") == can
    assert not is_portable("auto", "gpu")
    assert not is_portable(False, "auto")
    if can:
        assert is_portable(True, "auto")
    else:
        with pytest.raises(
            ConfigError, match=r"^runtime.portable: true given, but this is no x86-64 .*; allowed: auto,"
        ):
            plan_job(compose_config("runtime.portable=true"))


@pytest.mark.parametrize(("overrides", "message"), [
    (["runtime.portable=maybe"], "runtime.portable: maybe given; allowed: auto, true or false"),
    (["runtime=gpu", "runtime.portable=true"],
     "runtime.portable: true given, but numbers of a GPU are not portable; allowed: auto, false"),
])  # fmt: skip
def test_what_cannot_be_portable_is_refused(overrides: list[str], message: str) -> None:
    """The refusal names the key, the value and what is allowed."""
    with pytest.raises(ConfigError) as error:
        compose_config(*overrides)
    assert str(error.value) == message


@needs_avx2
@pytest.mark.slow
def test_one_sweep_is_portable_or_not(tmp_path: Path) -> None:
    """The processor's code is chosen once per process: both in one sweep are refused before anything is trained."""
    command = [sys.executable, "-m", "pipeline.train", "-m", "runtime.portable=false,true",
               "study=s-${runtime.portable}", "data=iris", "model=linear",
               "bias_initializer=zeros", "use_bias=true", "seeds=1", "training.epochs=1", "tracking=none",
               f"results={tmp_path / 'results'}", f"hydra.sweep.dir={tmp_path}"]  # fmt: skip
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "runtime" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "results").glob("*/*/seed=*"))

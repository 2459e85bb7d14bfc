"""What a worker looks at before it trains, and how jobs share a machine and an arm."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from factories import compose_config
from filelock import FileLock

from pipeline.config.schema import PROJECT, Config
from pipeline.errors import ConfigError
from pipeline.experiment.job import Job
from pipeline.experiment.plan import describe_job
from pipeline.experiment.seed_blocks import seed_blocks
from pipeline.launchers.base import record_lost
from pipeline.launchers.dask import DaskLauncher
from pipeline.launchers.jobs import WorkerJob, check_worker, shared_token, token_file, work, worker_versions
from pipeline.launchers.shares import keep_to_gpu
from pipeline.launchers.slurm import SlurmLauncher
from pipeline.launchers.slurm_queue import describe_end, last_line, waiting_jobs
from pipeline.runtime.device import visible_gpus
from pipeline.store.failures import clear_failure, read_failure
from pipeline.store.runs import RunStore


def worker_job(tmp_path: Path, token: str, **changes: object) -> WorkerJob:
    config: Config = compose_config("data=iris", "model=linear", "seeds=1", f"results={tmp_path / 'results'}")
    job, recipe = Job(config, tmp_path / "train.log", tmp_path, "a request"), describe_job(config).recipe.current
    store = RunStore(config.results_dir, config.study)
    return replace(WorkerJob(0, job, store, "zeros", tmp_path, worker_versions(), recipe, token), **changes)


def test_a_worker_with_another_results_folder_is_refused(tmp_path: Path) -> None:
    """The token must be the one that the launching process has put there; it is gone afterwards."""
    job = worker_job(tmp_path, "")
    with shared_token([job.job.config], "a request") as token:
        check_worker(replace(job, token=token))
        token_file(tmp_path / "results", "a request").write_text("of another")
        with pytest.raises(
            ConfigError, match=r"^results: .*, which on .* is not that of the launching process; allowed: "
        ):
            check_worker(replace(job, token=token))
    assert not token_file(tmp_path / "results", "a request").exists()
    line = work(replace(job, token=token))
    assert "is not that of the launching process" in line and not (tmp_path / "train.log").exists()


def test_a_worker_with_other_packages_is_refused(tmp_path: Path) -> None:
    """Its runs would be of another recipe."""
    for changed, told in (
        ({"versions": worker_versions() | {"keras": "2.0"}}, r"has keras .*, not 2\.0; allowed: the same packages "),
        ({"versions": worker_versions() | {"NUMERICS_VERSION": "0"}}, "has NUMERICS_VERSION .*, not 0; "),
        ({"recipe": "another"}, "has other code, data or processors; allowed: the same project"),
    ):
        job = worker_job(tmp_path, "", **changed)
        with shared_token([job.job.config], "a request") as token:
            with pytest.raises(ConfigError, match=f"^the worker on .* {told}"):
                check_worker(replace(job, token=token))
            assert (
                told.split()[1] in work(replace(job, token=token)) and not (tmp_path / "results/iris-linear").exists()
            )


@pytest.mark.parametrize(("launcher", "options", "line"), [
    (SlurmLauncher, {"memory": "4GB"}, "hydra.launcher.memory: 4GB given; allowed: a number of GB above 0, or null"),
    (SlurmLauncher, {"memory": 0}, "hydra.launcher.memory: 0 given; "),
    (SlurmLauncher, {"setup": [1]}, r"hydra.launcher.setup: \[1\] given; allowed: shell lines"),
    (SlurmLauncher, {"setup": 5}, "hydra.launcher.setup: 5 given; allowed: shell lines"),
    (SlurmLauncher, {"setup": {"a": 1}}, "hydra.launcher.setup: {'a': 1} given; allowed: shell lines"),
    (SlurmLauncher, {"sbatch": "qos"}, "hydra.launcher.sbatch: qos given; allowed: options of sbatch by name"),
    (SlurmLauncher, {"sbatch": {"array": "1-3"}}, "hydra.launcher.sbatch: array given; allowed: options that the laun"),
    (SlurmLauncher, {"sbatch": {"job-name": "x"}}, "hydra.launcher.sbatch: job-name given; allowed: options that the"),
    (DaskLauncher, {"tries": 1.5}, "hydra.launcher.tries: 1.5 given; allowed: a whole number from 1 up"),
    (DaskLauncher, {"workers": 1.5}, "hydra.launcher.workers: 1.5 given; allowed: a whole number from 1 up"),
    (DaskLauncher, {"cluster": "a.B", "options": 5}, "hydra.launcher.options: 5 given; allowed: arguments by name"),
    (DaskLauncher, {"options": {"a": 1}}, "hydra.launcher.options: .* given; allowed: with hydra.launcher.cluster"),
])  # fmt: skip
def test_odd_options_are_refused(launcher: type, options: dict[str, object], line: str) -> None:
    """In one line, before anything is planned."""
    with pytest.raises(ConfigError, match=f"^{line}"):
        launcher(**options)


def test_setup_may_be_one_line() -> None:
    """And not one line per letter."""
    assert SlurmLauncher(setup="module load python").setup_lines == ["module load python"]
    assert SlurmLauncher(setup=["a", "b"]).setup_lines == ["a", "b"] and SlurmLauncher().setup_lines == []


def test_flags_of_sbatch_have_no_value() -> None:
    """What is false is left out; memory is never rounded to 0, which Slurm takes for all of a node."""
    launcher = SlurmLauncher(sbatch={"requeue": True, "exclusive": False, "qos": "long"}, memory=0.0001)
    assert launcher.more == {"requeue": True, "qos": "long"} and launcher.options["mem"] == "1M"


def test_the_reason_is_found_in_what_submitit_says() -> None:
    """Not the paths below it."""
    trace, dashes = "Traceback:\n  File x\nModuleNotFoundError: No module named 'pipeline'", "-" * 22
    said = f"Job (task=0) failed with trace:\n{dashes}\n{trace}\n\n{dashes}\nYou can check\n  - /a.out"
    assert last_line(said) == "ModuleNotFoundError: No module named 'pipeline'"
    assert last_line("a\nb\n") == "b"


@pytest.mark.parametrize("content", ["x", "{}"])
def test_a_file_of_no_scheduler_is_refused(content: str, tmp_path: Path) -> None:
    """By its name, whatever Dask raises when it reads it."""
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"^hydra.launcher.scheduler_file: .* given, where no scheduler answers"):
        DaskLauncher(scheduler_file=str(file)).check()


def test_a_scheduler_file_that_is_not_there_is_not_waited_for(tmp_path: Path) -> None:
    """A client of Dask's would wait for it, without a limit."""
    pytest.importorskip("distributed")
    with pytest.raises(ConfigError, match=r"^hydra.launcher.scheduler_file: .*nope.json given, where there is no file"):
        DaskLauncher(scheduler_file=str(tmp_path / "nope.json")).check()


def test_what_the_engine_lost_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For `--status`, with a log that is there; but not where the runs are stored all the same."""
    job = worker_job(tmp_path, "")
    record_lost(job, "its node died", "a request")
    failure = read_failure(job.store, job.arm)
    assert failure is not None and (failure.error, failure.missing) == ("its node died", (0,))
    assert Path(failure.log).read_text() == "its node died\n"
    clear_failure(job.store, job.arm)
    monkeypatch.setattr(WorkerJob, "missing", ())
    assert record_lost(job, "cancelled", "a request") is None and read_failure(job.store, job.arm) is None


def test_seeds_are_split_in_order() -> None:
    """Whole where nothing is asked for; `auto` shares them among the jobs that run at once, but not into crumbs."""
    assert seed_blocks(range(5), None, 4) == [(0, 1, 2, 3, 4)]
    assert seed_blocks([1, 3, 5], 2, 4) == [(1, 3), (5,)]
    assert [len(block) for block in seed_blocks(range(100), "auto", 4)] == [25] * 4
    assert [len(block) for block in seed_blocks(range(12), "auto", 8)] == [10, 2]


def test_a_silent_controller_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A job that squeue does not know has ended; where squeue fails otherwise, nothing is known."""
    squeue = tmp_path / "squeue"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for script, expected in (
        ("echo '12_0|R|None'; echo '12_3|PD|Nodes are DOWN'", {"12_0": "", "12_3": "Nodes are DOWN"}),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", {}),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", None),
    ):
        squeue.write_text(f"#!/bin/sh\n{script}\n")
        squeue.chmod(0o755)
        assert waiting_jobs({"12"}) == expected
    control = tmp_path / "scontrol"
    control.write_text("#!/bin/sh\necho 'JobId=12 JobState=NODE_FAIL Reason=NodeDown ExitCode=0:9'\n")
    control.chmod(0o755)
    assert describe_end("12") == "ended without a result: NODE_FAIL (exit code:signal 0:9)"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core cannot be shared")
def test_workers_keep_to_cores_of_their_own(tmp_path: Path) -> None:
    """Two processes that are given a core each have different ones; one that dies frees its core."""
    script = (
        "import os, sys; from pathlib import Path; from pipeline.launchers.shares import keep_to_cores; "
        f"keep_to_cores(1, Path({str(tmp_path)!r})); print(*os.sched_getaffinity(0), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script]

    def launch() -> "subprocess.Popen[str]":
        return subprocess.Popen(command, cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    with launch() as one, launch() as other:
        first, second = (process.stdout.readline() for process in (one, other) if process.stdout)
        one.kill()
        one.wait()
        third = subprocess.run(command, cwd=PROJECT, text=True, input="", capture_output=True).stdout
        other.communicate("")
    assert first != second and third == first


def test_workers_take_a_gpu_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is free, as `CUDA_VISIBLE_DEVICES` names it; one GPU alone, or none, is left as it is."""
    for number in (0, 1):
        (tmp_path / f"nvidia{number}").touch()
    monkeypatch.setattr("pipeline.runtime.device.DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5a,GPU-7b")
    with FileLock(tmp_path / "gpu-GPU-5a.lock"):
        keep_to_gpu(tmp_path)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-7b"
    keep_to_gpu(tmp_path)
    assert visible_gpus() == ["GPU-7b"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []

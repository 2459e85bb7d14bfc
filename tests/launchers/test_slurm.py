"""Under hydra/launcher=slurm a sweep on a real cluster gives the bytes of a local one, and names what was lost."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from slurm_cluster import has_slurm, launch_slurm
from sweeps import run_files, start, train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not has_slurm(), reason="Slurm is not installed, or this is not root: apt-get install slurm-wlm"
    ),
]
pytest.importorskip("submitit", reason="submitit is not installed: uv sync --extra slurm")
LAUNCHER = "hydra/launcher=slurm"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A cluster of one node with two processors, without accounting."""
    with launch_slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def queue(environment: dict[str, str], *words: str) -> list[str]:
    """The tasks that wait or run."""
    command = ["squeue", "-h", "-r", "-o", "%i", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.split()


def trains(folder: Path) -> bool:
    """Whether a job of the sweep in this folder has a process that trains."""
    for process in psutil.process_iter(["cmdline"]):
        if "pipeline.experiment.isolation" in (process.info["cmdline"] or ()):
            with suppress(psutil.NoSuchProcess):
                above = process.parent()
                if above is not None and str(folder) in above.cmdline()[-1]:
                    return True
    return False


def test_the_bytes_are_those_of_a_local_sweep(serial, cluster, tmp_path: Path) -> None:
    """An arm's seeds in several tasks; a finished sweep submits nothing."""
    done = train(tmp_path, LAUNCHER, "seeds_per_job=2", environment=cluster)
    assert done.returncode == 0, done.stderr
    assert run_files(tmp_path) == serial
    assert (tmp_path / "results/iris-linear/ablation.csv").is_file() and "The answer: " in done.stdout
    submitted = len(list((tmp_path / "multirun/.submitit").iterdir()))
    assert train(tmp_path, LAUNCHER, environment=cluster).returncode == 0
    assert len(list((tmp_path / "multirun/.submitit").iterdir())) == submitted


def test_lost_jobs_are_named_and_trained_again(serial, cluster, tmp_path: Path) -> None:
    """One killed, one cancelled while it waits, the node drained meanwhile: exit code 1, and both are named."""
    process = start(tmp_path, LAUNCHER, "hydra.launcher.cpus=2", environment=cluster)
    task = None
    while task is None and process.poll() is None:
        words = {one: one.info["cmdline"] or [""] for one in psutil.process_iter(["cmdline"])}
        task = next((one for one, given in words.items() if "submitit.core._submit" in given and "srun" not in given[0]
                     and str(tmp_path) in given[-1]), None)  # fmt: skip
        time.sleep(0.1)
    assert task is not None
    subprocess.run(["scontrol", "update", "nodename=n1", "state=drain", "reason=test"], env=cluster, check=True)
    task.kill()
    waiting = queue(cluster, "-t", "PD")
    subprocess.run(["scancel", waiting[-1]], env=cluster, check=True)
    subprocess.run(["scontrol", "update", "nodename=n1", "state=resume"], env=cluster, check=True)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1, err
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2 and all("Slurm's job " in line and " without a result" in line for line in failed)
    assert len(run_files(tmp_path)) == len(serial) / 3
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").glob("*/*/seed=*/run.json")}
    again = train(tmp_path, LAUNCHER, environment=cluster)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before  # only the lost ones were trained
    assert run_files(tmp_path).keys() == serial.keys()


def test_what_kept_a_job_from_beginning_is_named(cluster, tmp_path: Path) -> None:
    """With submitit's log, which has what the shell said: the job itself wrote none."""
    one = ["bias_initializer=zeros", "use_bias=true", "hydra.launcher.setup=[echo no such module,exit 3]"]
    done = train(tmp_path, LAUNCHER, *one, environment=cluster)
    assert done.returncode == 1 and done.stderr.count("failed: ") == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    log = Path(line.rpartition("(log: ")[2].rstrip(")"))
    assert "ended without a result: FAILED (exit code:signal 3:0)" in line and "no such module" in log.read_text()


def test_why_jobs_wait_is_told(cluster, tmp_path: Path) -> None:
    """A drained node may come back: its jobs are waited for, and the reason is told once."""
    process = start(tmp_path, LAUNCHER, "hydra.launcher.cpus=2", environment=cluster)
    while not queue(cluster, "-t", "R") and process.poll() is None:
        time.sleep(0.1)
    subprocess.run(["scontrol", "update", "nodename=n1", "state=drain", "reason=test"], env=cluster, check=True)
    while queue(cluster, "-t", "R") and process.poll() is None:
        time.sleep(0.1)
    time.sleep(10)
    subprocess.run(["scontrol", "update", "nodename=n1", "state=resume"], env=cluster, check=True)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert err.count("jobs wait in Slurm's queue: ") == 1, err


def test_a_command_that_was_killed_is_typed_again(serial, cluster, tmp_path: Path) -> None:
    """Its jobs go on; the second command waits for those that train, and makes the end of the sweep."""
    process = start(tmp_path, LAUNCHER, environment=cluster)
    while not queue(cluster, "-t", "R") and process.poll() is None:
        time.sleep(0.1)
    process.kill()
    process.communicate()
    again = train(tmp_path, LAUNCHER, environment=cluster)
    assert again.returncode == 0, again.stderr
    assert run_files(tmp_path) == serial and "The answer: " in again.stdout


def test_a_signal_cancels_the_jobs(cluster, tmp_path: Path) -> None:
    """Nothing goes on in the cluster that nobody waits for, and no arm has failed: it was cancelled."""
    words = (LAUNCHER, "training.epochs=200000")
    process = start(tmp_path, *words, environment=cluster)
    while not trains(tmp_path) and process.poll() is None:
        time.sleep(0.1)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    deadline = time.monotonic() + 30
    while queue(cluster) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert queue(cluster) == []
    while trains(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    status = train(tmp_path, *words, "--status", environment=cluster)
    assert "3 arms: 3 missing; 0 of 12 runs" in status.stdout, status.stdout


@pytest.mark.parametrize(("option", "reason"), [
    ("hydra.launcher.partition=nope", "Invalid partition name specified"),
    ("hydra.launcher.cpus=3", "Requested node configuration is not available"),
])  # fmt: skip
def test_what_the_cluster_lacks_is_refused(cluster, tmp_path: Path, option: str, reason: str) -> None:
    """By Slurm itself, before anything is submitted."""
    done = train(tmp_path, LAUNCHER, option, environment=cluster)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("hydra.launcher: ") and reason in done.stderr

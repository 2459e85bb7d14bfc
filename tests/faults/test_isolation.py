"""With `runtime.isolate`, a job that is killed or runs out of memory ends alone; nothing outlives its parent."""

import resource
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from faults.forks import Command, Forks, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

STUDY = "iris-linear"
SWEEP = ("-m", "data=iris", "model=linear", "seeds=60", "training.epochs=60", "training.batch_size=1",
         "training.seeds_at_once=1", "training.xla=false", "tracking=none", "ablation=false")  # fmt: skip
BASIC, JOBLIB = ("runtime.isolate=true",), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def start(forks: Forks, folder: Path, *more: str) -> Command:
    where = (f"results={folder / 'results'}", f"hydra.sweep.dir={folder / 'sweep'}")
    return forks.start(folder / "log", *SWEEP, *where, *more)


def trainers(command: Command) -> list[psutil.Process]:
    """The processes that train for a command or for its launcher's workers."""
    found = []
    for process in psutil.Process(command.pid).children(recursive=True):
        try:
            if "pipeline.experiment.isolation" in process.cmdline():
                found.append(process)
        except psutil.Error:  # it has just ended
            pass
    return found


def runs(folder: Path, arm: str = "*") -> dict[str, bytes]:
    """The files of the runs of an arm, by path from the study, but those that say how long a run took."""
    study = folder / "results" / STUDY
    files = [path for path in sorted(study.glob(f"{arm},*/seed=*/*")) if path.name != "machine.json"]
    return {str(path.relative_to(study)): path.read_bytes() for path in files}


def test_jobs_that_die_end_alone(forks: Forks, tmp_path: Path, figure: Callable[[str], None]) -> None:
    """One is killed while it trains, one gets no more memory: both are named, and the others have the same bytes."""
    beside = start(forks, tmp_path / "beside", "runtime.isolate=false", "bias_initializer=glorot")
    command = start(forks, tmp_path, *BASIC, "bias_initializer=zeros,ones,glorot")
    wait_until(lambda: runs(tmp_path, "zeros"))
    (trainer,) = trainers(command)
    trainer.kill()
    seconds = wait_until(lambda: [t for t in trainers(command) if t.pid != trainer.pid], 60)
    wait_until(lambda: runs(tmp_path, "ones"))
    (trainer,) = trainers(command)
    resource.prlimit(trainer.pid, resource.RLIMIT_AS, (2**20, 2**20))
    assert command.wait() == 1
    failed = [line for line in command.lines if line.startswith("failed: ")]
    assert len(failed) == 2, command.lines
    assert "bias_initializer=zeros" in failed[0] and "killed by SIGKILL, perhaps for memory (" in failed[0]
    assert "bias_initializer=ones" in failed[1], failed
    for arm in ("zeros", "ones"):  # what they had stored
        assert 0 < len(runs(tmp_path, arm)) < 300 and len(runs(tmp_path, arm)) % 5 == 0
    assert beside.wait() == 0
    assert runs(tmp_path, "glorot_uniform") == runs(tmp_path / "beside", "glorot_uniform")
    assert len(runs(tmp_path, "glorot_uniform")) == 300
    figure(f"a job killed, one out of memory ({failed[1].partition(': ')[2].partition(' (')[0][-60:]}), one done; "
           f"the next one's process after {seconds:.1f} s")  # fmt: skip


def test_a_job_that_dies_does_not_break_joblib(forks: Forks, tmp_path: Path) -> None:
    """`auto` isolates there, since joblib gives up all jobs when one of its workers dies."""
    command = start(forks, tmp_path, *JOBLIB, "bias_initializer=zeros,ones,glorot")
    wait_until(lambda: runs(tmp_path))
    trainers(command)[0].kill()
    assert command.wait() == 1
    failed = [line for line in command.lines if line.startswith("failed: ")]
    assert len(failed) == 1 and "killed by SIGKILL, perhaps for memory (" in failed[0], command.lines
    complete = [arm for arm in ("zeros", "ones", "glorot_uniform") if len(runs(tmp_path, arm)) == 300]
    assert len(complete) == 2


@pytest.mark.parametrize("launcher", [BASIC, JOBLIB], ids=["basic", "joblib"])
def test_no_process_outlives_a_command(
    forks: Forks, tmp_path: Path, launcher: tuple[str, ...], figure: Callable[[str], None]
) -> None:
    """When a command is killed, the processes that train for it end, and those of its launcher."""
    command = start(forks, tmp_path, *launcher, "bias_initializer=zeros,ones")
    wait_until(lambda: trainers(command))
    children = psutil.Process(command.pid).children(recursive=True)
    command.send(signal.SIGKILL)
    seconds = wait_until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in children), 30)
    assert seconds < 4  # without that, not before they have imported TensorFlow
    figure(f"a killed command under {launcher[0]}: its {len(children)} processes were gone after {seconds:.1f} s")

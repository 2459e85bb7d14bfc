"""A real Slurm cluster on this machine, for tests: munged, slurmctld and slurmd of one node, on loopback."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "srun")
CONFIG = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin={task_plugin}
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
InactiveLimit=0
KillWait=2
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={node} CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def has_slurm() -> bool:
    """Whether Slurm's programs are installed and may run: its daemons want root here."""
    return os.getuid() == 0 and all(shutil.which(name, path=_path()) for name in PROGRAMS)


@contextmanager
def launch_slurm(folder: Path, cpus: int = 2, task_plugin: str = "task/affinity") -> Iterator[dict[str, str]]:
    """Start the cluster, and end it by process id. Yields the environment in which its commands reach it."""
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        controller, node = first.getsockname()[1], second.getsockname()[1]
    folder.chmod(0o755)
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(folder=folder, controller=controller, node=node, cpus=cpus, user=getpass.getuser(),
                                    task_plugin=task_plugin))  # fmt: skip
    environment = os.environ | {"SLURM_CONF": str(config), "PATH": _path()}
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
             f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log",
             f"--seed-file={folder}/munge.seed"]  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(_daemon(munge, environment, folder))
        _wait(lambda: (folder / "munge.socket").exists(), "munged", folder)
        stack.enter_context(_daemon(["slurmctld", "-D", "-c"], environment, folder))
        stack.enter_context(_daemon(["slurmd", "-D", "-N", "n1"], environment, folder))
        idle = ["sinfo", "-h", "-o", "%D", "-t", "idle"]
        _wait(lambda: subprocess.run(idle, env=environment, capture_output=True, text=True).stdout.strip() == "1",
              "an idle node", folder)  # fmt: skip
        yield environment


def _path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


@contextmanager
def _daemon(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    with (folder / f"{command[0]}.out").open("w") as out:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(is_there: Callable[[], bool], what: str, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not is_there():
        if time.monotonic() > deadline:
            said = "".join(path.read_text()[-500:] for path in folder.glob("*.out"))
            raise TimeoutError(f"{what} did not come: {said}")
        time.sleep(0.1)

"""Where a run was trained: the machine, what it took there, and whose code it was. No part of a run's identity."""

import contextlib
import getpass
import platform
import subprocess
import sys
from functools import cache
from typing import Any

from pipeline.installation import SOURCE
from pipeline.runtime.device import n_cores
from pipeline.runtime.portable import CPUINFO, processor_features

# Numerical libraries choose their code by these: two machines that agree here compute the same bits.
INSTRUCTION_SETS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")
GIT_SECONDS = 5  # that git may take to name a commit


def describe_machine() -> dict[str, Any]:
    """Describe the machine, free of the clock and of paths. It is kept apart from the run, as it decides no more than
    the last bits of its numbers, and none of a portable run's.

    git_commit, user: left out where there is none. A GPU is named in `describe_environment`, as the device.
    """
    described = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in processor_features()],
        "threads": n_cores(),
        "processor": _processor(),
    }
    more = {"git_commit": git_commit(), "user": user()}
    return described | {name: value for name, value in more.items() if value}


def peak_memory() -> dict[str, int]:
    """The most bytes that this process has held, and on a GPU TensorFlow; by the name that a run records them under."""
    found = {}
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found["peak_memory_bytes"] = peak if sys.platform == "darwin" else peak * 1024
    tensorflow: Any = sys.modules.get("tensorflow")
    if tensorflow is not None and tensorflow.config.get_visible_devices("GPU"):
        found["peak_gpu_memory_bytes"] = int(tensorflow.config.experimental.get_memory_info("GPU:0")["peak"])
    return found


def user() -> str:
    """The name of who runs this process; "" where the system knows none, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


@cache
def git_commit() -> str:
    """The commit of the clone that this code lies in, with `+changed` where files differ from it; "" in none."""
    commit = _git("rev-parse", "HEAD") if (SOURCE / ".git").exists() else ""
    changed = commit and _git("status", "--porcelain", "--untracked-files=no", "--", "pipeline", "conf")
    return f"{commit}+changed" if changed else commit


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(SOURCE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    """The processor's name, as its maker calls it."""
    with contextlib.suppress(OSError):
        for line in CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()

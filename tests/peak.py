"""The peak memory of a process itself."""

import re
from pathlib import Path


def peak_bytes() -> int:
    """The most memory that this process has held, in bytes; on Linux only, from /proc.

    `ru_maxrss` is another number: a child begins with the peak of the process that started it.
    """
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) * 1024

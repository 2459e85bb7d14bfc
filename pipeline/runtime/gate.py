"""The outermost gate of every command: whatever happens, one line for the user, and the exit code that fits.

Exit code 0: all done; 1: something failed; 2: the request was refused, and nothing was started. No traceback reaches
the terminal: that of an error which no one foresaw goes to a file that the line names.
"""

import contextlib
import errno
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from pipeline.errors import ConfigError, describe_error
from pipeline.runtime.signals import raise_swallowed


def guard(command: Callable[[], int]) -> int:
    """Run a command. Returns its exit code, or the one for what it raised, which is printed in one line.

    A signal passes, see `signals.run_command`.
    """
    outputs = _protect_outputs()
    try:
        _check_working_directory()
        code = command()
    except Exception as error:
        raise_swallowed()
        code = report_error(error)
    for text, _ in outputs:
        with contextlib.suppress(ValueError):  # closed by someone else
            text.flush()
    return code or max((output.exit_code for _, output in outputs), default=0)


def _check_working_directory() -> None:
    """Raise ConfigError where the working directory was removed: what is relative to it would fail without its path."""
    try:
        Path.cwd()
    except OSError as error:
        gone = "no longer exists" if isinstance(error, FileNotFoundError) else f"cannot be used ({error.strerror})"
        path = os.environ.get("PWD", "unknown")  # as the shell had it
        with contextlib.suppress(OSError):  # as Linux had it
            path = str(Path("/proc/self/cwd").readlink()).removesuffix(" (deleted)")
        raise ConfigError(f"the working directory {gone}: {path}; change to another one (cd)") from error


def report_error(error: Exception, log: Path | None = None, code: int = 1) -> int:
    """Print an error in one line; the exit code: 2 for a ConfigError, else `code`.

    The traceback of any other error is appended to `log`, or written to a file in the temporary folder.
    """
    if isinstance(error, ConfigError):
        print(error, file=sys.stderr)
        return 2
    print(describe_with_log(error, log), file=sys.stderr)
    return code


def describe_with_log(error: Exception, log: Path | None) -> str:
    """An error in one line that names a file with its traceback: `log`, else one in the temporary folder."""
    place = ""
    with contextlib.suppress(OSError):  # a full disk may be what failed: the line alone must do then
        if log is None:
            handle, name = tempfile.mkstemp(prefix="pipeline-", suffix=".log")
            os.close(handle)
            log = Path(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exception(error, file=file)
        place = f" (log: {log})"
    return f"{describe_error(error)}{place}"


class _Output(io.FileIO):
    """Standard output or error that never raises: what it cannot write is dropped, and `exit_code` tells of it.

    A reader that has left (`| head -1`) is no failure; a full disk behind `> file` is.
    """

    exit_code = 0

    def write(self, data: object) -> int:
        """Write bytes; their number, whether or not they could be written."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno != errno.EPIPE and not self.exit_code:
                self.exit_code = 1
                if self.fileno() != 2:
                    print(f"output: it cannot be written: {error.strerror}", file=sys.stderr)
            return memoryview(data).nbytes  # type: ignore[arg-type]


def _protect_outputs() -> list[tuple[TextIO, _Output]]:
    """Make standard output and error take any character, and outlive whoever reads them. Returns those replaced.

    A descriptor that the shell closed (`>&-`) is opened on the null device, so that no other file gets its number.
    Outputs that a caller has put in place of the process's own, as tests do, are left alone.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
    outputs = []
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        current: TextIO | None = getattr(sys, name)
        if current is getattr(sys, f"__{name}__"):
            output = _Output(descriptor, "w", closefd=False)
            encoding = current.encoding if current else "utf-8"
            text = io.TextIOWrapper(io.BufferedWriter(output), encoding, "replace", line_buffering=True)
            if current is not None:
                current.flush()
            setattr(sys, name, text)
            outputs.append((text, output))
    return outputs

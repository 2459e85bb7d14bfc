"""The outermost gate: one line and an exit code, whatever a command raises and wherever its output goes."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.runtime.gate import guard, report_error

SCRIPT = "import sys; from pipeline.runtime.gate import guard; sys.exit(guard(lambda: {}))"


def run(body: str, redirection: str, **environment: str) -> tuple[int, str, str]:
    """Run a guarded expression in a process of its own, under a shell's redirection: (exit code, output, error)."""
    command = ["bash", "-o", "pipefail", "-c", f'"$0" -c "$1" {redirection}', sys.executable, SCRIPT.format(body)]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(PROJECT)} | environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def raise_(error: Exception) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("seeds", "\x1b[2J", "a count"), 2, r"seeds: \x1b[2J given; allowed: a count"),
        (KeyError("a\nb"), 1, "KeyError: a b (log: "),
        (RecursionError("deep"), 1, "RecursionError: deep (log: "),
        (MemoryError(), 1, "MemoryError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_raised_ends_in_one_line(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal is its own line; what no one foresaw also names the file that holds its traceback."""
    assert guard(lambda: raise_(error)) == code
    printed = capsys.readouterr().err
    assert printed.startswith(line) and printed.count("\n") == 1
    if "(log: " in printed:
        log = Path(printed.split("(log: ")[1].strip().removesuffix(")"))
        assert "Traceback" in log.read_text()
        log.unlink()


def test_traceback_goes_to_the_log_that_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log that exists is continued; one that cannot be written is not named, and costs nothing else."""
    log = tmp_path / "new" / "sweep.log"
    for _ in range(2):
        assert report_error(ValueError("x"), log) == 1
    assert log.read_text().count("ValueError: x") == 2
    assert report_error(ValueError("x"), log / "below", code=2) == 2
    assert capsys.readouterr().err == f"ValueError: x (log: {log})\n" * 2 + "ValueError: x\n"


@pytest.mark.parametrize("redirection", ["| head -1", ">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_output_that_no_one_takes_stops_nothing(redirection: str, tmp_path: Path) -> None:
    """A reader that leaves, or a descriptor that the shell closed, changes neither what is done nor the exit code."""
    done = tmp_path / "done"
    body = f"[print('a' * 100, flush=True) for _ in range(2000)] and open('{done}', 'w').close() or 0"
    assert run(body, redirection)[0] == 0
    assert done.read_bytes() == b""


def test_a_closed_descriptor_is_given_to_no_file(tmp_path: Path) -> None:
    """What native code prints to a closed standard output ends up in no result."""
    done = tmp_path / "done"
    body = f"open('{done}', 'w') and __import__('os').write(1, b'noise') * 0"
    assert run(body, ">&-")[0] == 0
    assert done.read_bytes() == b""


def test_a_full_disk_behind_the_output_is_a_failure() -> None:
    """Output that is lost to anything but a reader's leaving is said, with exit code 1."""
    assert run("print('a' * 10000)", "> /dev/full") == (
        1,
        "",
        "output: it cannot be written: No space left on device\n",
    )


def test_letters_that_the_output_lacks_are_replaced() -> None:
    """A terminal of ASCII alone gets question marks, not an error after training."""
    code, out, err = run("print('± 1') or print('–', file=sys.stderr) or 0", "", PYTHONIOENCODING="ascii")
    assert (code, out, err) == (0, "? 1\n", "?\n")

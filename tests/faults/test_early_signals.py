"""A signal at any moment, from a command's first import to its end: one line, its exit code, no traceback."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from pipeline.config.schema import PROJECT
from pipeline.runtime.early import KEPT

pytestmark = [pytest.mark.slow, pytest.mark.faults]

# Earlier, Python itself is starting: it has read none of our code yet.
DELAYS = (0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.5, 0.8, 1.2)
COMMANDS = {
    "pipeline.train": ["-m", "--plan"],
    "pipeline.compare": ["results=FOLDER", "mlflow=false"],
    "pipeline.extract": ["FOLDER/nothing.keras"],
    "pipeline.sync": ["results=FOLDER", "uri=sqlite:///FOLDER/mlflow.db"],
}
BEGUN = b"\x00"


def run_until(module: str, options: list[str], delay: float, number: int) -> tuple[int, str]:
    """Start a command, send it a signal so long after its first line of code, and return its exit code and errors."""
    # As `python -m` does, and says when Python's own start is over: that takes from 15 to 100 ms.
    code = f"import os, runpy, sys; sys.argv[1:] = {options}; os.write(1, {BEGUN}); "
    code += f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    command = subprocess.Popen(
        [sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # whatever pytest was started with
    )  # fmt: skip
    assert command.stdout is not None and command.stdout.read(1) == BEGUN
    time.sleep(delay)
    command.send_signal(number)
    _, errors = command.communicate(timeout=60)
    return command.returncode, errors.decode()


def is_of_python(code: int, errors: str, number: int) -> bool:
    """Whether a command ended as Python ends without our code: of SIGINT with a traceback."""
    said_nothing = not errors or (number == signal.SIGINT and errors.endswith("KeyboardInterrupt\n"))
    return code == -number and said_nothing


@pytest.mark.parametrize("module", COMMANDS)
def test_a_signal_at_any_moment_ends_a_command_in_one_line(
    module: str, tmp_path, figure: Callable[[str], None]
) -> None:
    """The line and the exit code are those of a later signal; a command that was done keeps its own."""
    options = [option.replace("FOLDER", str(tmp_path)) for option in COMMANDS[module]]
    done = subprocess.run([sys.executable, "-m", module, *options], cwd=PROJECT, capture_output=True, text=True)
    interrupted = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        line = f"interrupted ({number.name}){KEPT if module == 'pipeline.train' else ''}\n"
        for delay in DELAYS:
            code, errors = run_until(module, options, delay, number)
            if delay < 0.05 and is_of_python(code, errors, number):
                continue  # on a busy machine: the module's first line has not run yet
            expected = [(128 + number, line), (done.returncode, done.stderr)]
            assert (code, errors) in expected, f"after {delay} s"
            interrupted += code == 128 + number
    assert interrupted >= 8
    figure(f"{module}: {interrupted} of {2 * len(DELAYS)} signals came in time, each with one line")

"""Keep native libraries' messages off the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_terminals: list[int] = []  # descriptors of what standard error was before each redirection, the outermost first


@contextmanager
def redirect_stderr(path: Path) -> Iterator[None]:
    """Within the context, append standard error to a file, that of native code included."""
    sys.stderr.flush()
    _terminals.append(os.dup(2))
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(_terminals[-1], 2)
        os.close(_terminals.pop())


def tell_user(line: str) -> None:
    """Print a line to standard error as it was before any redirection: to the terminal, not to a job's log."""
    if not _terminals:
        print(line, file=sys.stderr, flush=True)
    else:
        os.write(_terminals[0], f"{line}\n".encode(errors="replace"))

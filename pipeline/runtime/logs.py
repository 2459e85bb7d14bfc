"""Keep native libraries' messages off the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def redirect_stderr(path: Path) -> Iterator[None]:
    """Send what is written to standard error, by native code too, to the end of a file."""
    sys.stderr.flush()
    screen = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(screen, 2)
        os.close(screen)

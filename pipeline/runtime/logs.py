"""Keep native libraries' messages off the terminal."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path

from pipeline.runtime.wrapping import columns_or, print_sentences, wrapped

_terminals: list[int] = []  # descriptors of what standard error was before each redirection, the outermost first
_told: set[str] = set()  # what `tell_once` has told since the command began
_receivers: list[Callable[[str], None]] = []  # at most one: what takes lines for the user in the place of a terminal


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


@contextmanager
def silent_output(quiet: bool) -> Iterator[None]:
    """Within the context, drop what is printed to standard output (`-q`): standard error has what went wrong."""
    with ExitStack() as stack:
        if quiet:
            stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))))
        yield


def tell_user(line: str) -> None:
    """Print a line to standard error as it was before any redirection: to the terminal, not to a job's log."""
    if _receivers:
        _receivers[-1](line)
    elif not _terminals:
        print_sentences([line], sys.stderr)
    else:
        os.write(_terminals[0], f"{wrapped(line, columns_or(0, _terminals[0]))}\n".encode(errors="replace"))


def tell_once(line: str) -> None:
    """`tell_user` a line that this command has not told yet: that something differs from what was asked for."""
    if line not in _told:
        _told.add(line)
        tell_user(line)


def forget_told() -> None:
    """Begin another command, which tells everything again."""
    _told.clear()


@contextmanager
def kept_logging() -> Iterator[None]:
    """Put handlers and levels of all loggers back at the end, and close what logging was set up with meanwhile."""
    loggers = [logging.root, *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger))]
    before = [(x, x.handlers[:], x.level, x.propagate, x.disabled) for x in loggers]
    try:
        yield
    finally:
        made = {h for x in loggers for h in x.handlers} - {h for _, handlers, *_ in before for h in handlers}
        for logger, handlers, level, propagate, disabled in before:
            logger.handlers[:], logger.propagate, logger.disabled = handlers, propagate, disabled
            logger.setLevel(level)
        for handler in made:
            handler.close()


@contextmanager
def told_to(receive: Callable[[str], None]) -> Iterator[None]:
    """Within the context, hand the lines for the user to a function."""
    _receivers.append(receive)
    try:
        yield
    finally:
        _receivers.remove(receive)


def pass_on(receive: Callable[[str], None]) -> None:
    """From now on hand the lines for the user to a function: this process has no terminal, another one has."""
    _receivers.append(receive)

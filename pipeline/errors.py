"""Errors for requests that cannot be carried out. Each message is one line: the key, what was given, what is allowed.

The commands print that line to standard error and exit with code 2 (`pipeline.runtime.gate`).
"""

import math
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeGuard

LONGEST = 300  # characters of a message
_HEAD = 120  # of them before the ellipsis: the key and where the value begins; what is allowed stands at the end
# What SQLAlchemy puts around a database's reason.
_STATEMENT = re.compile(
    r"\(raised as a result of Query-invoked autoflush[^()]*\)\n|\s*\n\[SQL: .*?\n\(Background on this error at: \S+?\)",
    re.DOTALL,
)
_ABSENT: Any = object()  # the default of `given`, since None is a value that a user can give


class PipelineError(Exception):
    """What this library raises: one line that says what is wrong, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the line alone. The places in this library that it came through say nothing to it."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(PipelineError, ValueError):
    """A request that cannot be carried out.

    `ConfigError("seeds", 0, "a count from 1 up")` reads "seeds: 0 given; allowed: a count from 1 up". `allowed` is a
    phrase, or a sequence of valid words, of which the message names those nearest to `given`. `reason` extends the
    first half of the line: `reason="but there are 3 classes"` makes it "seeds: 0 given, but there are 3 classes; ...".
    `ConfigError(line)` takes a finished line, for a message of another form. Whatever is given, the message is a line
    that a terminal can show, see `one_line`; `to_type`, a command at its end, is never cut, so that it can be copied.

    Attributes: `key`, `given` and `allowed` as they were passed; all None where the line was passed finished.
    """

    def __init__(
        self,
        key: str,
        given: Any = _ABSENT,
        allowed: str | Sequence[str] | None = None,
        *,
        reason: str = "",
        to_type: str = "",
    ) -> None:
        line = key if given is _ABSENT else _format(key, given, allowed, reason)
        super().__init__(one_line(line) + (f" {printable(to_type)}" if to_type else ""))
        if given is _ABSENT:
            self.key = self.given = self.allowed = None
        else:
            self.key, self.given, self.allowed = key, given, allowed


class DataError(ConfigError):
    """A dataset that cannot be read or trained on."""


class ModelFileError(ConfigError):
    """A model file that cannot be read: damaged, unsafe, or of an unknown format."""


def require(condition: Any, key: str, given: Any, allowed: str | Sequence[str]) -> None:
    """Raise `ConfigError(key, given, allowed)` unless the condition holds."""
    if not condition:
        raise ConfigError(key, given, allowed)


def closest(word: str, known: Sequence[str]) -> str:
    """Suggest what to write in place of `word`: "nearest: ..." with up to three similar words, else "allowed: ..."."""
    near = get_close_matches(word, known, n=3, cutoff=0.5)
    return f"nearest: {', '.join(near)}" if near else f"allowed: {', '.join(known) or 'none'}"


def one_line(message: object) -> str:
    """The message as one printable line of at most `LONGEST` characters, cut in its middle.

    What SQLAlchemy adds to a database's reason, statement and parameters, is left out: it would be all that is left.
    """
    reason = _STATEMENT.sub("", str(message).strip())
    line = printable(re.sub(r"\s*[\r\n]\s*", " ", reason))
    return line if len(line) <= LONGEST else f"{line[:_HEAD]}…{line[_HEAD + 1 - LONGEST :]}"


def describe_error(error: BaseException) -> str:
    """An exception in one line: the name of its class, and what it says if it says anything."""
    given = error.args[0] if isinstance(error, KeyError) and len(error.args) == 1 else None
    is_sentence = isinstance(given, str) and len(given.split()) > 1  # which KeyError would show as Python source
    message = one_line(given if is_sentence else error)
    return one_line(f"{type(error).__name__}: {message}" if message else type(error).__name__)


def kind_of(value: object) -> str:
    """What to call a value that is none of those allowed: the name of its class, but None is None."""
    return "None" if value is None else type(value).__name__


def printable(text: str) -> str:
    """Escape the characters that would move a terminal's cursor or hide the rest of the text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def describe_size(n_bytes: float) -> str:
    """A size in the largest unit of which it is at least one: "80.0 KiB", "1.5 GiB"."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if n_bytes >= 2**power:
            return f"{n_bytes / 2**power:,.1f} {unit}"
    return f"{n_bytes:.0f} bytes"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether `value` is a finite int or float; booleans do not count."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _format(key: str, given: Any, allowed: str | Sequence[str] | None, reason: str) -> str:
    shown = "null" if given is None else str(given).lower() if isinstance(given, bool) else str(given) or '""'
    line = f"{key}: {shown} given"
    if reason:
        line += f", {reason}"
    if allowed is not None:
        line += f"; allowed: {allowed}" if isinstance(allowed, str) else f"; {closest(shown, allowed)}"
    return line

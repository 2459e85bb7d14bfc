"""Sentences on a terminal, broken between words; what goes to a file or a pipe is a line each."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import IO

NARROWEST = 20
SEND = "To send"  # how lines begin that hold a command, which stays in one piece, to be copied
COMMAND = re.compile(r"(.*\S: )((?:uv run )?python -m pipeline\.\w+ .+|bias-\w+ .+|[\w.]+\(…, .+)", re.DOTALL)


def columns_or(otherwise: int, descriptor: int | None = None) -> int:
    """The width to print at: `COLUMNS`, where the user has set it, else the terminal's, else what is given.

    descriptor: of the file that is printed to; None: standard output.
    """
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    is_terminal = sys.stdout.isatty() if descriptor is None else os.isatty(descriptor)
    return shutil.get_terminal_size().columns if is_terminal else otherwise


def wrapped(sentence: str, width: int) -> str:
    """The sentence in lines of this width, all but the first indented; in one piece for 0, or if it is a command.

    A command that the sentence ends in has a line of its own, unbroken.
    """
    if not width or sentence.startswith(SEND):
        return sentence
    text, command = split_command(sentence)
    if command and len(sentence) > width:
        return f"{wrapped(text.rstrip(), width)}\n{command}"
    margin = " " * (len(sentence) - len(sentence.lstrip()))
    return "\n".join(textwrap.wrap(
        sentence.strip(), max(NARROWEST, width), initial_indent=margin, subsequent_indent=f"{margin}  ",
        break_long_words=False, break_on_hyphens=False,
    ))  # fmt: skip


def split_command(sentence: str) -> tuple[str, str]:
    """A sentence without the command that it ends in, and that command; "" where it ends in none."""
    found = COMMAND.fullmatch(sentence)
    return (found[1], found[2]) if found else (sentence, "")


def print_sentences(sentences: Sequence[str], stream: IO[str] | None = None) -> None:
    """Print sentences, broken between words where the width is known. stream: standard output if None."""
    for sentence in sentences:
        print(wrapped(sentence, columns_or(0, descriptor_of(stream))), file=stream, flush=True)


def descriptor_of(stream: IO[str] | None) -> int | None:
    """The descriptor of a stream: None stands for standard output, -1 for what has none, such as text in memory."""
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return -1

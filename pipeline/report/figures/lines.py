"""Names in several lines: in figures, and in tables on the terminal. Imports nothing that takes a while."""

import re
from collections.abc import Iterable

LABEL_LETTERS, LEGEND_LETTERS = 24, 44  # of a line of a label beside an axis, and in a legend
LABEL_LINE = "label_line"  # parameter of a figure: the regular expression for such a line, which a narrow page replaces
# After what a name may be broken, best first.
BREAKS = ("[,/ ]|\\+(?!\\d)", "\\.(?!\\d)|[:>]", "=", "[_(]|[a-z](?=[A-Z])")


def line_pattern(letters: int) -> str:
    """Return a regular expression, of Python and of Vega, whose successive matches are the lines of a name.

    A line has at most so many letters, and ends after the best of `BREAKS` that it can have.
    """
    ends = [f".{{0,{letters - 1}}}(?:{mark})" for mark in BREAKS]
    return "|".join([f".{{1,{letters}}}$", *ends, f".{{{letters}}}"])


def title_lines(name: str, letters: int = 26) -> list[str]:
    """Break the name of an arm or a layer into lines of at most so many letters."""
    return re.findall(line_pattern(letters), name) or [""]


def most_lines(names: Iterable[str], letters: int = LABEL_LETTERS) -> int:
    """Return how many lines the longest of the names takes."""
    return max((len(title_lines(name, letters)) for name in names), default=1)


def row_height(names: Iterable[str], least: float, letters: int = LABEL_LETTERS, line: float = 13) -> float:
    """Return how high rows beside an axis are, with a gap between two names. line: the height of a line of a name."""
    lines = most_lines(names, letters)
    return max(least, line * (lines + 0.8 * (lines > 1)))


def longest_piece(name: str) -> int:
    """Return how many letters a line needs to have if no word of a name is to be broken."""
    return max(map(len, re.findall(r".+?(?:[,/ =:>]|[.+](?!\d)|$)", name)), default=0)

"""Tell whether the first line of a text table holds the names of its columns, or a row."""

import re
from collections.abc import Sequence
from itertools import pairwise

from pipeline.errors import DataError

WHOLE = re.compile(r"\s*[+-]?\d+\s*")
MARKS_OF_MISSING = ("?",)  # besides those of pandas
GAPS = {"", "?", "na", "nan", "-nan", "n/a", "#n/a", "#na", "<na>", "null", "none"}  # in lower case
MOST_SHOWN, LONGEST_SHOWN = 5, 20
FEWEST_FALLING = 5  # names that are numbers seldom fall, as wavenumbers do; values fall by chance


def is_number(cell: str) -> bool:
    """Whether a cell is a number, with a decimal point or comma."""
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return not _is_gap(cell)


def first_line_is_row(records: Sequence[Sequence[str]], file: str, header: bool | None, remarks: list[str]) -> bool:
    """Whether the first line is a row: it has numbers where rows have, and no new text elsewhere.

    header: whether it holds names, where that is set. Raises DataError where it may be either.
    """
    first, rows = records[0], records[1:]
    if header is not None:
        return not header
    columns = [[row[i] for row in rows if i < len(row) and not _is_gap(row[i])] for i in range(len(first))]
    n_numbers = [sum(map(is_number, column)) for column in columns]
    known = [i for i, cell in enumerate(first) if not _is_gap(cell)]
    if any(columns[i] and n_numbers[i] == len(columns[i]) and not is_number(first[i]) for i in known):
        return False  # text over numbers alone
    with_numbers = [i for i in known if is_number(first[i]) and 2 * n_numbers[i] > len(columns[i])]
    texts = [i for i in known if i not in with_numbers and columns[i]]
    seen = [i for i in texts if first[i] in columns[i]]
    if with_numbers:
        numbers = [_number(first[i]) for i in with_numbers]
        ranges = [[_number(cell) for cell in columns[i] if is_number(cell)] for i in with_numbers]
        inside = [min(values) <= number <= max(values) for number, values in zip(numbers, ranges, strict=True)]
        whole = all(WHOLE.fullmatch(first[i]) for i in with_numbers)
        answer = _by_numbers(numbers, inside, whole, nameless=not first[0], new_text=len(seen) < len(texts))
        if answer is None:
            raise _refusal(file, first)
        if not answer:
            remarks.append(_taken_for_names(file, first))
        return answer
    if any(n_numbers) or len(known) < len(first):  # only gaps over numbers
        return bool(texts) and len(seen) == len(texts)
    if seen and 2 * len(seen) >= len(first):
        raise _refusal(file, first)
    if seen:
        remarks.append(_taken_for_names(file, first))
    return False


def _by_numbers(
    numbers: Sequence[float], inside: Sequence[bool], whole: bool, nameless: bool, new_text: bool
) -> bool | None:
    """Whether a line of numbers, and of texts perhaps, is a row; None where it may be one.

    inside: whether each number lies among those below it. nameless: whether the first column has no name, as a
    pandas index. new_text: whether the line has texts that the rows lack.
    """
    steps = {b - a for a, b in pairwise(numbers)}
    if whole and (steps == {1.0} or (nameless and not steps)):
        return False  # 0,1,2 and 2019,2020 are names
    ordered = all(step > 0 for step in steps) or (len(numbers) >= FEWEST_FALLING and all(step < 0 for step in steps))
    if not new_text or not ordered or all(inside):
        return True
    return None if any(inside) else False  # years and wavelengths are names


def _is_gap(cell: str) -> bool:
    return cell.lower() in GAPS


def _number(cell: str) -> float:
    return float(cell.replace(",", "."))


def _shown(cells: Sequence[str]) -> str:
    short = [cell if len(cell) <= LONGEST_SHOWN else f"{cell[: LONGEST_SHOWN - 1]}…" for cell in cells[:MOST_SHOWN]]
    return ", ".join([*short, "..."] if len(cells) > MOST_SHOWN else short)


def _taken_for_names(file: str, cells: Sequence[str]) -> str:
    return f"{file.partition(': ')[2]}: its first line gives the names ({_shown(cells)}); data.header=false if not"


def _refusal(file: str, cells: Sequence[str]) -> DataError:
    return DataError(
        f"{file} has a first line ({_shown(cells)}) that may be names or a row; allowed: data.header=true for names, "
        "data.header=false for a row"
    )

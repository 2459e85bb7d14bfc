"""The layout of a text table: its separator, whether its first line holds names, and what comes before that."""

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.config.schema import Data
from pipeline.data.header import first_line_is_row, is_number
from pipeline.data.settings import separator_of
from pipeline.errors import DataError

CANDIDATES = (",", ";", "\t", "|")
SPOKEN = {"\t": "tab", " ": "space", ";": "semicolon", ",": "comma", "|": "pipe"}
SAMPLE_LINES, SAMPLE_CHARACTERS = 200, 2**16
NAMELESS = "Unnamed: "  # how pandas calls a column without a name
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Layout:
    """How a text table is laid out. names: of its columns. skip: lines before the first row. trailing: separators end
    the lines.
    """

    separator: str
    names: tuple[str, ...]
    skip: int
    remarks: tuple[str, ...] = ()
    trailing: bool = False


def detect_layout(path: Path, encoding: str, key: str, data: Data) -> Layout:
    """The layout by the first lines of a file. Raises DataError where there are none, or one column."""
    lines, whole = _sample(path, encoding)
    skip = 0
    while skip < len(lines) and (not lines[skip].strip() or lines[skip].lstrip().startswith(("#", "%"))):
        skip += 1
    separator = separator_of(data)
    if skip < len(lines) and (excel := re.fullmatch(r"\"?sep=(.)\"?\s*", lines[skip])):
        separator, skip = separator or excel[1], skip + 1
    comments, lines = [line.strip() for line in lines[:skip]], lines[skip:]
    if not lines:
        raise DataError(f"{key}: {path.name} is empty; allowed: a table with a line of names and rows")
    if separator is None:
        separator = _detect_separator(lines, whole, f"{key}: {path.name}", data.decimal)
    records = _records(lines, separator, whole)
    width = Counter(map(len, records[1:])).most_common(1)[0][0] if len(records) > 1 else len(records[0])
    if data.separator is not None and max(width, len(records[0])) == 1:
        raise DataError(
            "data.separator", data.separator, "null to detect it", reason=f"by which {path.name} has one column"
        )
    if data.header is not False and len(records[0]) < width - 1:
        raise _preamble(lines, width, f"{key}: {path.name}")
    header, remarks, names = records[0], [], []
    is_data = first_line_is_row(records, f"{key}: {path.name}", data.header, remarks)
    if is_data and comments:  # numpy.savetxt(header=...) marks the line of names as a comment
        told = _records([comments[-1].lstrip("#% ")], separator, True)
        names = told[0] if told and len(told[0]) == width and not any(map(is_number, told[0])) else []
    if is_data and not names:
        names = [str(i) for i in range(width)]
        remarks.append(f"{path.name}: no line of names; its columns are called 0 to {width - 1}")
    elif not is_data:
        names, skip = header, skip + _lines_of_header(lines, separator)
    rows = records[1:]
    trailing = bool(rows) and len(names) == width - 1 and all(not row[-1] for row in rows if len(row) == width)
    if trailing:
        names = [*names, ""]
    elif len(names) == width - 1:
        names = ["", *names]  # as R writes the names of the rows
    return Layout(separator, tuple(_unique(names, path, remarks)), skip, tuple(remarks), trailing)


def _sample(path: Path, encoding: str) -> tuple[list[str], bool]:
    """(the first lines with their ends, whether these are all)."""
    lines, size = [], 0
    with open_file(path) as raw, io.TextIOWrapper(raw, encoding, newline="") as file:  # type: ignore[arg-type]
        for line in file:
            lines.append(line)
            size += len(line)
            if len(lines) >= SAMPLE_LINES or (size > SAMPLE_CHARACTERS and len(lines) >= 20):
                return lines, False
    return lines, True


def _records(lines: Sequence[str], separator: str, whole: bool) -> list[list[str]]:
    """The cells of each line that has any; the last line may be cut off within quotes where the sample is not whole."""
    if separator == " ":
        lines = [line.replace("\t", " ").strip() + "\n" for line in lines]
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=separator, skipinitialspace=True)
    records = [[cell.strip() for cell in record] for record in reader]
    records = [record for record in records if any(record)]
    return records if whole or len(records) < 3 else records[:-1]


def _lines_of_header(lines: Sequence[str], separator: str) -> int:
    """How many lines come before the first row: blank ones, and those of the names, which may hold line breaks."""
    if separator == " ":
        return next(i for i, line in enumerate(lines) if line.strip()) + 1
    reader = csv.reader(iter(lines), delimiter=separator, skipinitialspace=True)
    for record in reader:
        if any(cell.strip() for cell in record):
            break
    return reader.line_num


def _detect_separator(lines: Sequence[str], whole: bool, file: str, decimal: str | None) -> str:
    """The separator that gives most lines the same number of cells, two or more, and cells that need no other one.

    Raises DataError where two do that equally well.
    """
    scores = {}
    for separator in CANDIDATES:
        if score := _score(_records(lines, separator, whole), separator, decimal):
            scores[separator] = score
    usual = {separator for separator, score in scores.items() if score[0] >= 0.5}
    if decimal == "," and usual - {","}:
        scores.pop(",", None)  # within a number, unless it stands in quotes
    best = max(scores.values(), default=(0.0, 0.0, 0, 0))
    space = _score(_records(lines, " ", whole), " ", decimal)
    if space and space[0] > 0.9 and (best[0] < 0.5 or (space[0] >= best[0] and space[1] > best[1])):
        return " "
    found = [separator for separator, score in scores.items() if score == best]
    if len(found) > 1:
        words = [SPOKEN[separator] for separator in found]
        raise DataError(
            f"{file} can be split by {' and by '.join(words)}; allowed: data.separator={' or '.join(words)}"
        )
    if not found:
        widths = {other: _usual_width(_records(lines, other, whole)[1:]) for other in CANDIDATES}
        return max(widths, key=lambda other: widths[other])
    return found[0]


def _usual_width(records: Sequence[Sequence[str]]) -> int:
    """How many cells most records have; 1 where fewer than half have as many."""
    width, count = Counter(map(len, records)).most_common(1)[0] if records else (1, 0)
    return width if 2 * count > len(records) else 1


def _preamble(lines: Sequence[str], width: int, file: str) -> DataError:
    first = next(line.strip() for line in lines if line.strip())
    shown = first if len(first) <= 40 else f"{first[:39]}…"
    return DataError(
        f"{file} begins with other lines ({shown}) than those of a table of {width} columns; allowed: the names of the "
        "columns first (leave the lines before out, or begin them with #)"
    )


def _score(records: list[list[str]], separator: str, decimal: str | None) -> tuple[float, float, int, int] | None:
    """(share of lines with the usual number of cells, share of cells that hold no other separator, whether the line of
    names has as many cells, the number).
    """
    counts = [len(record) for record in records]
    if not counts:
        return None
    width = Counter(counts[1:] or counts).most_common(1)[0][0]
    named = counts[0] == width
    if width < 2 or not (named or (counts[0] == width - 1 and counts[0] > 1)):
        return None
    others = [other for other in CANDIDATES if other != separator]
    cells = [cell for record in records[1:] or records for cell in record]
    n_whole = sum(_is_one_cell(cell, others, decimal) for cell in cells)
    n_usual = counts[1:].count(width) + 1  # the names too, which may be one fewer
    return round(n_usual / len(counts), 1), round(n_whole / len(cells), 3), int(named), width


def _is_one_cell(cell: str, others: Sequence[str], decimal: str | None) -> bool:
    """Whether a cell is a number, or text without another separator."""
    if DECIMAL_COMMA.fullmatch(cell) and decimal != ".":
        return True
    if any(other in cell for other in others):
        return bool(THOUSANDS.fullmatch(cell))
    pieces = cell.split()
    return len(pieces) < 2 or not all(map(is_number, pieces))  # numbers with spaces between are several


def _unique(names: Sequence[str], path: Path, remarks: list[str]) -> list[str]:
    """The names of columns, each once: as pandas, a nameless one gets its number, a second `a` becomes `a.1`."""
    taken: list[str] = []
    for i, raw in enumerate(names):
        name = raw.strip().lstrip("\ufeff") or f"{NAMELESS}{i}"
        if name in taken:
            n = next(n for n in range(1, len(names) + 1) if f"{name}.{n}" not in [*taken, *names])
            remarks.append(f"{path.name}: two columns are called {name}; the later one is now {name}.{n}")
            name = f"{name}.{n}"
        taken.append(name)
    return taken


def open_file(path: Path) -> IO[bytes]:
    """The content of a file, unpacked."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]

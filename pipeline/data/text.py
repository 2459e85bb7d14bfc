"""Read a text table (csv and its relatives): detect its encoding, separator, decimal sign and header."""

import codecs
import csv
import gzip
import io
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from pipeline.config.schema import Data
from pipeline.data.settings import separator_of
from pipeline.errors import DataError

CANDIDATES = (",", ";", "\t", "|")
SPOKEN = {"\t": "tab", " ": "space"}
SAMPLE_LINES, SAMPLE_CHARACTERS = 200, 2**16
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
PLAIN = re.compile(r"\s*[+-]?\d+\s*")
COMMA = re.compile(r"\s*[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?\s*")
THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2},\d{3}\s*")
NAMELESS = "Unnamed: "  # how pandas calls a column without a name
MARKS_OF_MISSING = ("?",)  # besides those of pandas: empty, NA, NaN, null, None, ...


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


def read_text(path: Path, key: str, data: Data) -> tuple[Any, list[str]]:
    """(data frame, remarks) of a text table. Raises DataError."""
    encoding = data.encoding or _detect_encoding(path, key)
    try:
        layout = _layout(path, encoding, key, data)
        decimal = data.decimal or "."
        frame = _parse(path, encoding, layout, decimal)
        if data.decimal is None:
            decimal = _detect_decimal(frame, path, key)
            if decimal == ",":
                frame = _parse(path, encoding, layout, decimal)
    except (UnicodeError, ValueError, OSError, EOFError, MemoryError, csv.Error, Warning) as error:
        if isinstance(error, DataError):
            raise
        if isinstance(error, UnicodeError) and data.encoding:
            why = f"in which {path.name} cannot be read"
            raise DataError("data.encoding", encoding, "its own, or null to detect it", reason=why) from error
        raise DataError(f"{key}: {path.name} cannot be read: {_short(error)}") from error
    how = [f"separator {SPOKEN.get(layout.separator, layout.separator)}"] if layout.separator != "," else []
    how += ["decimal comma"] if decimal == "," else []
    how += [f"encoding {encoding}"] if encoding not in ("utf-8", "utf-8-sig") else []
    return frame, [*([f"{path.name}: {', '.join(how)}"] if how else []), *layout.remarks]


def _short(error: Exception) -> str:
    text = str(error).strip()
    return text if len(text) <= 120 else f"{text[:119]}…"


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _detect_encoding(path: Path, key: str) -> str:
    """UTF-8 if the whole file is that, what a byte order mark says, else Latin-1 or its extension by Windows."""
    decoder, is_utf8, high = codecs.getincrementaldecoder("utf-8")(), True, set()
    try:
        with _open(path) as file:
            start = file.read(4)
            for mark, encoding in BOMS:
                if start.startswith(mark):
                    return encoding
            block = start + file.read(2**20)
            while block:
                if b"\0" in block:
                    raise DataError(
                        f"{key}: {path.name} is no text (it holds zero bytes); allowed: a text table, or "
                        "data.encoding=utf-16-le if it is that"
                    )
                if is_utf8:
                    try:
                        decoder.decode(block)
                    except UnicodeDecodeError:
                        is_utf8 = False
                high.update(byte for byte in set(block) if 0x80 <= byte < 0xA0)
                block = file.read(2**20)
            if is_utf8:
                decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        is_utf8 = False
    except (OSError, EOFError) as error:
        raise DataError(f"{key}: {path.name} cannot be read: {_short(error)}") from error
    if is_utf8:
        return "utf-8"
    undefined = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
    return "cp1252" if high and not high & undefined else "latin-1"


def _sample(path: Path, encoding: str) -> tuple[list[str], bool]:
    """(the first lines with their ends, whether these are all)."""
    lines, size = [], 0
    with _open(path) as raw, io.TextIOWrapper(raw, encoding, newline="") as file:  # type: ignore[arg-type]
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


def _layout(path: Path, encoding: str, key: str, data: Data) -> Layout:
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
        separator = _detect_separator(lines, whole)
    records = _records(lines, separator, whole)
    width = Counter(map(len, records[1:])).most_common(1)[0][0] if len(records) > 1 else len(records[0])
    if data.separator is not None and max(width, len(records[0])) == 1:
        raise DataError(
            "data.separator", data.separator, "null to detect it", reason=f"by which {path.name} has one column"
        )
    header, remarks, names = records[0], [], []
    is_data = _is_data(records)
    if is_data and comments:  # numpy.savetxt(header=...) marks the line of names as a comment
        told = _records([comments[-1].lstrip("#% ")], separator, True)
        names = told[0] if told and len(told[0]) == width and not any(map(_is_number, told[0])) else []
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


def _lines_of_header(lines: Sequence[str], separator: str) -> int:
    """How many lines come before the first row: blank ones, and those of the names, which may hold line breaks."""
    if separator == " ":
        return next(i for i, line in enumerate(lines) if line.strip()) + 1
    reader = csv.reader(iter(lines), delimiter=separator, skipinitialspace=True)
    for record in reader:
        if any(cell.strip() for cell in record):
            break
    return reader.line_num


def _detect_separator(lines: Sequence[str], whole: bool) -> str:
    """The separator that gives most lines the same number of cells, two or more, the line of names included."""
    best, found = (0.0, 0, 0), ""
    for separator in CANDIDATES:
        if score := _score(_records(lines, separator, whole)):
            best, found = max((best, found), (score, separator), key=lambda pair: pair[0])
    if best[0] >= 0.5:
        return found
    return " " if (score := _score(_records(lines, " ", whole))) and score[0] > 0.9 else found or ","


def _score(records: list[list[str]]) -> tuple[float, int, int] | None:
    """(share of lines with the usual number of cells, whether that of names has as many, the number)."""
    counts = [len(record) for record in records]
    if not counts:
        return None
    width = Counter(counts[1:] or counts).most_common(1)[0][0]
    named = counts[0] == width
    if width < 2 or not (named or (counts[0] == width - 1 and counts[0] > 1)):
        return None
    return round(counts.count(width) / len(counts), 1), int(named), width


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return cell.lower() not in ("nan", "inf", "infinity")


def _is_data(records: list[list[str]]) -> bool:
    """Whether the first line is a row and not the names: it has numbers where rows have, and no new text elsewhere."""
    first, rows = records[0], records[1:]
    if not rows or any(not cell for cell in first):
        return False
    numeric = [all(_is_number(row[i]) for row in rows if i < len(row) and row[i]) for i in range(len(first))]
    if not any(numeric) or any(is_n and not _is_number(cell) for is_n, cell in zip(numeric, first, strict=True)):
        return False
    texts = [i for i, is_n in enumerate(numeric) if not is_n]
    if texts:
        return all(any(i < len(row) and row[i] == first[i] for row in rows) for i in texts)
    steps = {float(b) - float(a) for a, b in pairwise(first) if "," not in a + b}
    return not (steps == {1.0} and all(map(PLAIN.fullmatch, first)))  # 0,1,2 and 2019,2020 are names


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


def _parse(path: Path, encoding: str, layout: Layout, decimal: str) -> Any:
    """The data frame. Where commas both separate and mark decimals, the numbers stand in quotes and come as text."""
    import pandas as pd

    by_hand = decimal == layout.separator
    with _open(path) as raw, io.TextIOWrapper(raw, encoding, newline="") as file:  # type: ignore[arg-type]
        for _ in range(layout.skip):
            file.readline()
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # that cells were lost
            frame = pd.read_csv(
                file, sep=r"\s+" if layout.separator == " " else layout.separator, header=None,
                names=list(layout.names), index_col=False, decimal="." if by_hand else decimal, skipinitialspace=True,
                low_memory=False, na_values=list(MARKS_OF_MISSING), on_bad_lines="error",
            )  # fmt: skip
    if layout.trailing and frame.iloc[:, -1].isna().all():
        frame = frame.iloc[:, :-1]
    for column in frame.columns if by_hand else ():
        texts = frame[column].dropna().astype(str) if not pd.api.types.is_numeric_dtype(frame[column]) else ()
        if len(texts) and all(PLAIN.fullmatch(t) or COMMA.fullmatch(t) for t in set(texts)):
            frame[column] = pd.to_numeric(frame[column].str.replace(",", "."))
    return frame


def _detect_decimal(frame: Any, path: Path, key: str) -> str:
    """A comma where some column holds nothing but numbers with one. Raises DataError where either may be meant."""
    import pandas as pd

    with_comma: dict[str, set[str]] = {}
    for column in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[column]) or pd.api.types.is_bool_dtype(frame[column]):
            continue
        texts = set(frame[column].dropna().astype(str))
        commas = {text for text in texts if COMMA.fullmatch(text)}
        if commas and all(text in commas or PLAIN.fullmatch(text) for text in texts):
            with_comma[column] = commas
    if not with_comma:
        return "."
    if all(map(THOUSANDS.fullmatch, set().union(*with_comma.values()))):
        column = next(iter(with_comma))
        example = min(with_comma[column])
        raise DataError(
            f"{key}: column {column} of {path.name} holds {example}, which may be {example.replace(',', '')} or "
            f"{example.replace(',', '.')}; allowed: data.decimal=',' for the latter, else numbers without the comma"
        )
    return ","

"""Read a text table (csv and its relatives): detect its encoding, separator, decimal sign and header."""

import codecs
import csv
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config.schema import Data
from pipeline.data.decimals import COMMA, check_commas, check_points, detect_decimal
from pipeline.data.gaps import how_to_keep
from pipeline.data.header import MARKS_OF_MISSING, WHOLE
from pipeline.data.layout import Layout, detect_layout, open_file
from pipeline.data.settings import missing_texts, names
from pipeline.errors import DataError

SPOKEN = {"\t": "tab", " ": "space"}
BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
RAGGED = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")  # as pandas says it, counted from the rows
GAP = "\x1f"  # a text that no file has
Options = dict[str, Any]


def read_text(path: Path, key: str, data: Data) -> tuple[Any, list[str]]:
    """(data frame, remarks) of a text table. Raises DataError."""
    encoding = data.encoding or _detect_encoding(path, key)
    layout = None
    try:
        layout = detect_layout(path, encoding, key, data)
        decimal, gaps = data.decimal or ".", _gaps(data)
        frame = first = _parse(path, encoding, layout, decimal, gaps)
        if data.decimal is None:
            decimal = detect_decimal(frame, path, key)
            if decimal == ",":
                frame = _parse(path, encoding, layout, decimal, gaps)
        if decimal == ",":
            check_points(frame, first, path, key, data)
        elif data.decimal == ".":
            check_commas(frame, path, key, data)
        taken = _taken_for_missing(frame, path, encoding, layout)
        frame = _with_categories(frame, path, encoding, layout, names(data, "categories", list(frame.columns)) or ())
    except (UnicodeError, ValueError, OSError, EOFError, MemoryError, csv.Error, Warning) as error:
        if isinstance(error, DataError):
            raise
        if isinstance(error, UnicodeError) and data.encoding:
            why = f"in which {path.name} cannot be read"
            raise DataError("data.encoding", encoding, "its own, or null to detect it", reason=why) from error
        if layout is not None and (ragged := RAGGED.search(str(error))):
            raise DataError(
                f"{key}: line {int(ragged[2]) + layout.skip} of {path.name} has {ragged[3]} cells, others {ragged[1]} "
                f"(separator {SPOKEN.get(layout.separator, layout.separator)}); allowed: as many in each line, and a "
                "cell with a separator in quotes"
            ) from error
        raise DataError(f"{key}: {path.name} cannot be read: {_short(error)}") from error
    frame.attrs["missing_texts"] = taken
    texts = sorted(set().union(*taken.values()))
    if texts and data.missing_texts is None:
        kept = how_to_keep(frame, taken, taken)
        keep = f"; {kept}" if kept else ""
        spoken = f"{path.name}: taken for missing: {', '.join(texts[:6])} in {', '.join(list(taken)[:4])}"
        layout = replace(layout, remarks=(*layout.remarks, f"{spoken}{keep}"))
    how = [f"separator {SPOKEN.get(layout.separator, layout.separator)}"] if layout.separator != "," else []
    how += ["decimal comma"] if decimal == "," else []
    how += [f"encoding {encoding}"] if encoding not in ("utf-8", "utf-8-sig") else []
    return frame, [*([f"{path.name}: {', '.join(how)}"] if how else []), *layout.remarks]


def _short(error: Exception) -> str:
    text = str(error).strip()
    return text if len(text) <= 120 else f"{text[:119]}…"


def _detect_encoding(path: Path, key: str) -> str:
    """UTF-8 if the whole file is that, what a byte order mark says, else Latin-1 or its extension by Windows."""
    decoder, is_utf8, high = codecs.getincrementaldecoder("utf-8")(), True, set()
    try:
        with open_file(path) as file:
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


def _parse(path: Path, encoding: str, layout: Layout, decimal: str, gaps: Options) -> Any:
    """The data frame. Where commas both separate and mark decimals, the numbers stand in quotes and come as text."""
    import pandas as pd

    by_hand = decimal == layout.separator
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # that cells were lost
        frame = _read_rows(path, encoding, layout, decimal="." if by_hand else decimal, low_memory=False,
                           on_bad_lines="error", **gaps)  # fmt: skip
    if layout.trailing and frame.iloc[:, -1].isna().all():
        frame = frame.iloc[:, :-1]
    for column in frame.columns:
        if pd.api.types.is_string_dtype(frame[column]):
            frame[column] = _stripped(frame[column], gaps)
    frame = _with_exact_whole_numbers(frame, path, encoding, layout, gaps)
    for column in frame.columns if by_hand else ():
        texts = frame[column].dropna().astype(str) if not pd.api.types.is_numeric_dtype(frame[column]) else ()
        if len(texts) and all(WHOLE.fullmatch(t) or COMMA.fullmatch(t) for t in set(texts)):
            frame[column] = pd.to_numeric(frame[column].str.replace(",", "."))
    return frame


def _read_rows(path: Path, encoding: str, layout: Layout, **options: Any) -> Any:
    """The rows as pandas reads them, without the lines before them."""
    import pandas as pd

    with open_file(path) as raw, io.TextIOWrapper(raw, encoding, newline="") as file:  # type: ignore[arg-type]
        for _ in range(layout.skip):
            file.readline()
        return pd.read_csv(file, sep=r"\s+" if layout.separator == " " else layout.separator, header=None,
                           names=list(layout.names), index_col=False, skipinitialspace=True, **options)  # fmt: skip


def _gaps(data: Data) -> Options:
    """Options of pandas that say which texts are missing values."""
    texts = missing_texts(data)
    if texts is None:
        return {"na_values": list(MARKS_OF_MISSING)}
    return {"na_values": ["", *texts], "keep_default_na": False}


def _taken_for_missing(frame: Any, path: Path, encoding: str, layout: Layout) -> dict[str, list[str]]:
    """The texts, empty ones apart, that were read as missing values, by column."""
    places = [i for i, column in enumerate(frame.columns) if frame[column].isna().to_numpy().any()]
    if not places:
        return {}
    texts = _read_rows(path, encoding, layout, usecols=places, dtype=str, keep_default_na=False, na_values=[])
    taken = {}
    for i in places:
        column = frame.columns[i]
        cells = texts[column][frame[column].isna()]
        taken[column] = sorted({cell.strip() for cell in cells.dropna().unique()} - {""})
    return {column: found for column, found in taken.items() if found}


def _with_categories(frame: Any, path: Path, encoding: str, layout: Layout, columns: Sequence[str]) -> Any:
    """The frame with the texts of these columns as the file spells them: 01 is not 1."""
    places = [i for i, column in enumerate(frame.columns) if column in columns]
    if not places:
        return frame
    texts = _read_rows(path, encoding, layout, usecols=places, dtype=str, keep_default_na=False, na_values=[])
    for i in places:
        column = frame.columns[i]
        frame[column] = texts[column].str.strip().astype(object).where(frame[column].notna(), None)
    return frame


def _with_exact_whole_numbers(frame: Any, path: Path, encoding: str, layout: Layout, gaps: Options) -> Any:
    """The frame with Python's integers where pandas made floats or text of whole numbers that a float cannot hold."""
    import pandas as pd

    def suspect(values: Any) -> bool:
        if values.dtype.kind == "f":
            known = values[values.abs() >= 2**53]
            return bool(len(known)) and bool((values.dropna() % 1 == 0).all())
        known = values.dropna() if pd.api.types.is_string_dtype(values) else ()
        return len(known) > 0 and all(isinstance(v, str) and WHOLE.fullmatch(v) for v in known)

    places = [i for i, column in enumerate(frame.columns) if suspect(frame[column])]
    if not places:
        return frame
    texts = _read_rows(path, encoding, layout, usecols=places, dtype=str, **gaps)
    for i in places:
        column = frame.columns[i]
        cells = texts[column].str.strip()
        if cells.dropna().map(lambda cell: WHOLE.fullmatch(cell) is not None).all():
            whole = [None if pd.isna(cell) else int(cell) for cell in cells]
            frame[column] = pd.Series(whole, index=frame.index, dtype=object)
    return frame


def _stripped(texts: Any, gaps: Options) -> Any:
    """The texts of a column without spaces around them; without them, some may turn out as missing, or as numbers."""
    import pandas as pd

    different = {text: text.strip() for text in texts.dropna().unique() if isinstance(text, str)}
    if all(text == stripped for text, stripped in different.items()):
        return texts
    stripped = texts.map(lambda text: different.get(text, text), na_action="ignore")
    text = io.StringIO(stripped.to_csv(index=False, header=False, na_rep=GAP))
    options: Options = gaps | {"na_values": [*gaps["na_values"], GAP]}
    return pd.read_csv(text, header=None, low_memory=False, skip_blank_lines=False, **options).iloc[:, 0]

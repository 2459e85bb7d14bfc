"""Check the settings of `data` that types cannot: their values, and whether they fit the source. Reads no data."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.config.schema import MISSING_VALUES, SPLITS, Data
from pipeline.errors import ConfigError, require

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": " "}
TEXT = (".csv", ".tsv", ".txt", ".data")  # suffixes of text tables; each may be followed by .gz
BINARY = (".parquet", ".npz")
SUFFIXES = (".csv", ".parquet", ".npz", ".tsv", ".txt", ".data", ".csv.gz")  # as messages name them
DEFAULTS = Data()
OF_FILES = ("validation_path", "test_path", "features", "missing", "split", "split_by")  # no other source has them
OF_TABLES = ("drop", "categories")
OF_TEXT = ("separator", "decimal", "encoding", "header", "missing_texts")


def kind_of_file(path: str | None) -> str | None:
    """`text`, `parquet` or `npz` by the suffix, in any case; None for another."""
    name = Path(path or "").name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix in TEXT:
        return "text"
    return suffix[1:] if suffix in BINARY and not name.endswith(".gz") else None


def check_settings(data: Data) -> None:
    """Raise ConfigError for a value that is not allowed, and for a setting that the source cannot follow."""
    _check_source(data)
    for key in ("features", "drop", "categories"):
        names(data, key)
    missing_texts(data)
    separator, decimal = separator_of(data), data.decimal
    allowed = f"one character, or {', '.join(word for word in SEPARATORS if word.isalpha())}"
    require(separator is None or len(separator) == 1, "data.separator", data.separator, allowed)
    require(
        separator is None or not (separator.isalnum() or separator in '"\r\n'), "data.separator", separator, allowed
    )
    require(decimal in (None, ".", ","), "data.decimal", decimal, ". or ,")
    if decimal is not None and decimal == separator:
        raise ConfigError("data.decimal", decimal, "another one", reason="which is data.separator too")
    if data.encoding is not None:
        try:
            "".encode(data.encoding)
        except (LookupError, ValueError) as error:
            raise ConfigError("data.encoding", data.encoding, "an encoding such as utf-8, latin-1, utf-16") from error
    require(data.missing in MISSING_VALUES, "data.missing", data.missing, f"one of {', '.join(MISSING_VALUES)}")
    require(data.split in SPLITS, "data.split", data.split, f"one of {', '.join(SPLITS)}")
    image_size(data)
    if data.split == "random" and data.split_by is not None:
        raise ConfigError("data.split_by", data.split_by, "it with data.split=groups, time or column",
                          reason="but data.split is random")  # fmt: skip
    if data.split != "random" and data.split_by is None:
        raise ConfigError("data.split", data.split, "it with data.split_by=..., the column or array that says so")
    if data.split == "column" and (data.test_path or data.validation_path):
        key = "test_path" if data.test_path else "validation_path"
        raise ConfigError(f"data.{key}", getattr(data, key), "one of the two", reason="but data.split is column")


def names(data: Data, key: str, known: Sequence[str] = ()) -> list[str] | None:
    """The columns or arrays that `data.<key>` names, None where it is not set. Raises ConfigError.

    known: the names that there are. Of these, true or 1e3 on a command line is the one that is spelled so.
    """
    value = getattr(data, key)
    if value is None:
        return None
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    are_names = all(isinstance(name, (str, int, float)) and str(name).strip() for name in listed)
    require(listed and are_names, f"data.{key}", value, "a name, or a list of names [a,b]")
    texts = [_spelled(name, known) for name in listed]
    require(len(set(texts)) == len(texts), f"data.{key}", value, "each name once")
    return texts


def _spelled(name: str | float, known: Sequence[str]) -> str:
    text = str(name).strip()
    if isinstance(name, str) or text in known:
        return text
    if isinstance(name, bool):
        return next((one for one in known if one.lower() == text.lower()), text.lower())
    alike = [one for one in known if one[:1] in "+-.0123456789" and as_float(one) == name]
    return alike[0] if len(alike) == 1 else text


def as_float(text: str) -> float | None:
    """The number that a text is, None where it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def missing_texts(data: Data) -> list[str] | None:
    """The texts that count as missing, None where it is not set: those of pandas, and a question mark."""
    value = data.missing_texts
    if value is None:
        return None
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    plain = all(isinstance(text, (str, int, float)) and not isinstance(text, bool) for text in listed)
    require(
        plain, "data.missing_texts", value, "null, or a list of texts such as [NA,-999]; quote others: '[\"null\"]'"
    )
    return [str(text).strip() for text in listed]


def how_to_drop(data: Data, columns: Sequence[str]) -> str:
    """What to write on a command line to leave columns out."""
    if data.features is not None:
        return f"data.features without {', '.join(columns)}"
    return how_to_set("drop", columns)


def how_to_set(key: str, texts: Sequence[str]) -> str:
    """What to write on a command line to set `data.<key>` to a list; what it would read otherwise is in quotes."""
    plain = [
        re.fullmatch(r"[^\W\d][\w.-]*|-?(0|[1-9]\d*)", text)
        and text.lower() not in ("null", "true", "false", "nan", "inf")
        for text in texts
    ]
    quoted = ['"' + text.replace('"', '\\"') + '"' for text in texts]
    listed = ",".join(text if ok else quote for text, ok, quote in zip(texts, plain, quoted, strict=True))
    return f"data.{key}=[{listed}]" if all(plain) else f"'data.{key}=[{listed}]'"


def how_to_miss(texts: Sequence[str]) -> str:
    """What to write on a command line so that all of these texts count as missing values, each named once."""
    return how_to_set("missing_texts", list(dict.fromkeys(texts)))


def separator_of(data: Data) -> str | None:
    """The separator that is set, as a character; None where it is to be detected."""
    return None if data.separator is None else SEPARATORS.get(data.separator.lower(), data.separator)


def image_size(data: Data) -> tuple[int, int] | None:
    """(height, width) in pixels, None where it is not set. Raises ConfigError."""
    size = data.image_size
    if size is None:
        return None
    listed = list(size) if isinstance(size, (list, tuple)) else [size, size]
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 10_000 for n in listed)
    require(whole and len(listed) == 2, "data.image_size", size, "pixels from 1 to 10000: a number, or [height,width]")
    return listed[0], listed[1]


def _check_source(data: Data) -> None:
    """Refuse a setting that the source cannot follow: it would be ignored."""
    if data.source == "images":
        _refuse(data, (*OF_FILES, *OF_TABLES, *OF_TEXT, "target"), "data=file", "but pictures have none")
        if data.task == "regression":
            raise ConfigError("data.task", data.task, "binary, multiclass", reason="but the folders are classes")
        return
    _refuse(data, ("image_size",), "data=images", f"but {data.name} is not made of picture files")
    if data.source != "file":
        of_files = ("path", "target", "task", *OF_FILES, *OF_TABLES, *OF_TEXT)
        _refuse(data, of_files, "data=file", f"but {data.name} has its own")
        return
    kind = kind_of_file(data.path)
    if kind in ("npz", "parquet"):
        _refuse(data, OF_TEXT, f"it for {', '.join(TEXT)} files", f"but {_name(data.path)} is no text")
    if kind == "npz":
        _refuse(data, OF_TABLES, "data.features=name, the array", f"but {_name(data.path)} has no columns")
    for key in ("validation_path", "test_path"):
        path = getattr(data, key)
        if path is not None and kind_of_file(path) != kind:
            raise ConfigError(
                f"data.{key}", path, "a file of the same kind as data.path", reason=f"but {data.path} is another"
            )


def _refuse(data: Data, keys: tuple[str, ...], allowed: str, reason: str) -> None:
    for key in keys:
        value: Any = getattr(data, key)
        if value != getattr(DEFAULTS, key):
            raise ConfigError(f"data.{key}", value, allowed, reason=reason)


def _name(path: str | None) -> str:
    return Path(path or "").name

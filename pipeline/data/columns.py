"""Turn one column of a table into numbers: what kind it is, and its values as features."""

import datetime
import re
from typing import Any

import numpy as np

from pipeline.data.precision import merges, whole_numbers_lost
from pipeline.errors import DataError

MOST_CATEGORIES = 50  # of a text column: each becomes a feature
FEW_CATEGORIES = 20  # with more, a column that is half of numbers is one of numbers with a slip, not of categories
_DAY = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}"
_WEEKDAY = (
    r"((mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?|(mo|di|mi|do|fr|sa|so)|"
    r"(montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag))[ .,]+"
)
_ENGLISH = (
    r"(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?|"
    r"dec(ember)?)"
)
_OTHERS = (  # of German, French, Spanish, Italian, Portuguese and Dutch
    r"(j[aeä]n|f[eé][bv]|m[aäe][eir]|mrz|mar|a[bpv]r|ma[gi]|ju[ilno]|giu|lug|a[gu][gou]|ao[uû]|se[pt]|o[cktu]t|no[vy]|"
    r"d[eéi][czs]|ene|gen|out)[^\W\d_]*"
)
_MONTH = (
    rf"((\d{{1,2}}(st|nd|rd|th)?[ -.]+)?{_ENGLISH}[ -.,]+\d{{1,4}}(st|nd|rd|th)?([ -.,]+\d{{2,4}})?|"
    rf"\d{{1,2}}{_ENGLISH}\d{{2,4}}|\d{{4}}[ -.]+{_ENGLISH}([ -.]+\d{{1,2}})?|"
    rf"\d{{1,2}}[ -.]+(de )?{_OTHERS}[ -.]+(de )?\d{{4}}|"
    r"(januar|jänner|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember) \d{4})"
)
_YEAR = r"(1[5-9]|20|21)\d\d"
_PART_OF_YEAR = (
    rf"({_YEAR}[-/.](0?[1-9]|1[0-2])|(0?[1-9]|1[0-2])[-/.]{_YEAR}|{_YEAR}[- ]?Q[1-4]|Q[1-4][- /]?{_YEAR}|"
    rf"{_YEAR}-?W\d\d(-?\d)?)"
)
DATE = re.compile(
    rf"(({_WEEKDAY})?({_DAY}|{_MONTH})([ T].*)?|{_PART_OF_YEAR}|\d{{8}}T\d{{4,6}}Z?|"
    r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?)",
    re.IGNORECASE,
)
SPELLED_NUMBER = re.compile(r"[$€£¥]?\s*[+-]?\s*[$€£¥]?\s*\d[\d.,'_\s]*\s*[%$€£¥]?")
INDEX_AND_VALUE = re.compile(r"\d+:[+-]?\d[\d.eE+-]*")
ISO_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?")


def column_kind(values: Any, name: str, key: str = "data.drop") -> str:
    """`number`, `boolean`, `text` or `date`: what the pandas series holds.

    key: the setting that the refusal of anything else names. Raises DataError.
    """
    import pandas as pd

    types = pd.api.types
    if types.is_bool_dtype(values):
        return "boolean"
    if types.is_complex_dtype(values):
        raise _refusal(key, name, "complex numbers")
    if types.is_numeric_dtype(values):
        return "number"
    if types.is_datetime64_any_dtype(values) or isinstance(values.dtype, pd.PeriodDtype):
        return "date"
    if types.is_timedelta64_dtype(values):
        raise _refusal(key, name, "spans of time", "make a number of seconds of them")
    known = values.dropna()
    unhashable = {type(value).__name__ for value in known if values.dtype == object and _holds_several(value)}
    if unhashable:
        raise _refusal(key, name, f"several values per row ({', '.join(sorted(unhashable))})", _leave_out(key, name))
    different = [value for value in pd.unique(known) if value is not None]
    kinds = {type(value) for value in different}
    if kinds and kinds <= {bool, np.bool_}:
        return "boolean"
    if kinds <= {str}:
        return "date" if different and all(DATE.fullmatch(text.strip()) for text in different) else "text"
    if all(issubclass(kind, (datetime.date, datetime.time)) for kind in kinds):
        return "date"
    if all(issubclass(kind, (int, float, np.number)) or kind.__name__ == "Decimal" for kind in kinds):
        return "text" if isinstance(values.dtype, pd.CategoricalDtype) else "number"
    if all(issubclass(kind, (str, bool, int, float, np.number)) for kind in kinds):
        return "text"
    raise _refusal(key, name, f"values of type {', '.join(sorted(kind.__name__ for kind in kinds))}")


def as_numbers(values: Any) -> np.ndarray:
    """[rows] float64 of a column of numbers or booleans, NaN where missing."""
    import pandas as pd

    if values.dtype == object:
        values = values.map(lambda value: np.nan if pd.isna(value) else float(value))
    return values.to_numpy(np.float64, na_value=np.nan)


def digits_lost(values: Any) -> bool:
    """Whether numbers of a column that are different become one and the same as float64."""
    values = values.dropna()
    if values.dtype != object:
        if values.dtype.kind not in "iu":
            return False
        kind = np.uint64 if values.dtype.kind == "u" else np.int64
        return whole_numbers_lost(values.to_numpy(kind))
    if not all(isinstance(value, int) or type(value).__name__ == "Decimal" for value in values):
        return False
    different = set(values)
    return merges(len(different), len(set(map(float, different))))


def as_texts(values: Any) -> np.ndarray:
    """[rows] objects: the text of each value, None where it is missing."""
    missing = values.isna().to_numpy()
    texts = values.astype(object).map(str, na_action="ignore").to_numpy(object)
    texts[missing] = None
    return texts


def require_categories(texts: np.ndarray, name: str, key: str, typed: bool) -> list[str]:
    """The sorted categories of a text column. Raises DataError where it holds numbers that were not read as such.

    typed: the file says that it is text, so that digits alone are categories.
    """
    categories = sorted({text for text in texts if text is not None})
    odd = [text for text in categories if not _is_plain(text)]
    if (odd or not typed) and all(SPELLED_NUMBER.fullmatch(text.strip()) for text in categories):
        raise DataError(
            f"{key}: column {name} holds numbers that cannot be read, such as {(odd or categories)[0]}; allowed: "
            "1234.5, or with data.decimal=',' 1234,5"
        )
    if all(INDEX_AND_VALUE.fullmatch(text) for text in categories):
        raise DataError(
            f"{key}: column {name} holds pairs such as {categories[0]} (LIBSVM's format); allowed: a column per feature"
        )
    if len(categories) > FEW_CATEGORIES and odd and 2 * len(odd) < len(categories):
        raise DataError(
            f"{key}: column {name} holds numbers, and text such as {odd[0]}; allowed: numbers, or nothing where one is "
            "missing (data.missing)"
        )
    return categories


def one_hot(texts: np.ndarray, categories: list[str]) -> np.ndarray:
    """[rows, categories] float64, 1 at each row's category; NaN in rows without one."""
    from sklearn.preprocessing import OneHotEncoder

    encoder = OneHotEncoder(sparse_output=False).fit(np.array(categories, object)[:, None])  # which sorts them, too
    missing = np.array([text is None for text in texts])
    encoded = np.asarray(encoder.transform(np.where(missing, categories[0], texts)[:, None]))
    encoded[missing] = np.nan
    return encoded


def as_times(values: Any, name: str) -> np.ndarray:
    """[rows] numbers in the order of time, of numbers, dates or texts that begin with year-month-day."""
    import pandas as pd

    kind = column_kind(values, name, "data.split_by")
    if kind == "number":
        return values.to_numpy() if values.dtype.kind in "iuf" else as_numbers(values)
    try:
        if isinstance(values.dtype, pd.PeriodDtype):
            values = values.dt.to_timestamp()
        if kind == "date" and not pd.api.types.is_datetime64_any_dtype(values):
            texts = values.map(str)
            if not all(ISO_DATE.fullmatch(text.strip()) for text in texts.unique()):
                raise ValueError
            values = pd.to_datetime(texts.str.strip().str.replace(r"^(\d+)[/.](\d+)[/.]", r"\1-\2-", regex=True),
                                    utc=True, format="mixed")  # fmt: skip
        if kind == "date":
            return values.astype("int64").to_numpy()
    except ValueError:
        pass
    raise DataError(
        "data.split_by", name, "a column of numbers, or of dates like 2024-12-31 or 2024-12-31 23:59",
        reason=f"which holds {values.iloc[0]}",
    )  # fmt: skip


def refuse_date(name: str, example: object, key: str) -> DataError:
    """The refusal of a column of dates as a feature or target."""
    instead = f", data.drop=[{name}], or data.split=time data.split_by={name}" if key != "data.target" else ""
    return DataError(
        f"{key}: column {name} holds dates or times ({example}); allowed: numbers made of them (year, month, hour, "
        f"seconds){instead}"
    )


def _holds_several(value: object) -> bool:
    return isinstance(value, (list, tuple, dict, set, np.ndarray))


def _leave_out(key: str, name: str) -> str:
    return "a column per value" if key == "data.target" else f"a column per value, or data.drop=[{name}]"


def _is_plain(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refusal(key: str, name: str, what: str, advice: str = "leave it out") -> DataError:
    return DataError(f"{key}: column {name} holds {what}; allowed: numbers, booleans or text; {advice}")

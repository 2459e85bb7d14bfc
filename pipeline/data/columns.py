"""Turn one column of a table into numbers: what kind it is, and its values as features."""

import datetime
from typing import Any

import numpy as np

from pipeline.data.dates import DATE, are_dates, dates_in_order, unreadable
from pipeline.data.header import is_number
from pipeline.data.precision import merges, whole_numbers_lost
from pipeline.errors import DataError

MOST_CATEGORIES = 50  # of a text column: each becomes a feature


def column_kind(values: Any, name: str, key: str = "data.drop", beside: bool = False) -> str:
    """`number`, `boolean`, `text` or `date`: what the pandas series holds.

    key: the setting that the refusal of anything else names. beside: whether the table has dates in another column.
    Raises DataError.
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
        return "date" if are_dates([text.strip() for text in different], beside) else "text"
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
    kind = column_kind(values, name, "data.split_by")
    if kind == "number":
        return values.to_numpy() if values.dtype.kind in "iuf" else as_numbers(values)
    if kind == "date":
        return dates_in_order(values, name)
    texts = [str(value) for value in values]
    numeric = [is_number(text) for text in texts]
    dated = [DATE.fullmatch(text.strip()) is not None for text in texts]
    if all(dated):
        return dates_in_order(values, name)
    usual = max(numeric, dated, key=sum)
    raise unreadable(name, texts[usual.index(False)])


def _holds_several(value: object) -> bool:
    return isinstance(value, (list, tuple, dict, set, np.ndarray))


def _leave_out(key: str, name: str) -> str:
    return "a column per value" if key == "data.target" else f"a column per value, or data.drop=[{name}]"


def _refusal(key: str, name: str, what: str, advice: str = "leave it out") -> DataError:
    return DataError(f"{key}: column {name} holds {what}; allowed: numbers, booleans or text; {advice}")

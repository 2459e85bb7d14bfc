"""Dates and times of a table: tell them from categories, refuse them as features, and put rows in their order."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.errors import DataError

_DAY = r"\d{1,4}[-/.] ?\d{1,2}[-/.] ?\d{1,4}\.?"
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
    rf"((\d{{1,2}}(st|nd|rd|th)?[ -./]+)?{_ENGLISH}[ -.,/]+\d{{1,4}}(st|nd|rd|th)?([ -.,/]+\d{{2,4}})?|"
    rf"\d{{1,2}}{_ENGLISH}\d{{2,4}}|\d{{4}}[ -./]+{_ENGLISH}([ -./]+\d{{1,2}})?|"
    rf"\d{{1,2}}[ -./]+(de )?{_OTHERS}[ -./]+(de )?\d{{4}}|"
    r"(januar|jänner|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember) \d{4})"
)
_YEAR = r"(1[5-9]|20|21)\d\d"
_PART_OF_YEAR = (
    rf"({_YEAR}[-/.](0?[1-9]|1[0-2])|(0?[1-9]|1[0-2])[-/.]{_YEAR}|{_YEAR}[- ]?Q[1-4]|Q[1-4][- /]?{_YEAR}|"
    rf"{_YEAR}-?W\d\d(-?\d)?)"
)
_FAR_EAST = r"\d{4} ?[年년] ?\d{1,2} ?[月월]( ?\d{1,2} ?[日일].*)?"
_SPAN = r"-?\d+ days?( [+-]?\d{1,3}:\d{2}:\d{2}(\.\d+)?)?|P(?=\d|T\d)(\d+(\.\d+)?[YMWD])*(T(\d+(\.\d+)?[HMS])+)?"
DATE = re.compile(
    rf"(({_WEEKDAY})?({_DAY}|{_MONTH})([ T:].*)?|{_PART_OF_YEAR}|\d{{8}}T\d{{4,6}}Z?|{_FAR_EAST}|{_SPAN}|"
    r"\d{1,3}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?)",
    re.IGNORECASE,
)
DAY = re.compile(
    rf"({_WEEKDAY})?(?P<a>\d{{1,4}})(?P<sign>[-/.]) ?(?P<b>\d{{1,2}})[-/.] ?(?P<c>\d{{1,4}})\.?([ T:].*)?",
    re.IGNORECASE,
)
TIME = re.compile(r"(\d{1,3}):(\d{2})(?::(\d{2})(?:\.\d+)?)?( ?[ap]m)?", re.IGNORECASE)
YEARS = re.compile(r"(\d\d)(\d\d)-(\d\d)")  # such as the season 2008-09, or September of 2008
DAYS = re.compile(r"\d+ days?")  # such as terms of 30 and 60 days
FEW_TIMES = 20  # of more different ones without a date beside, hours and minutes are times
ISO_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?")
MONTH = re.compile(r"(\d{4})[-/.](0?[1-9]|1[0-2])")
QUARTER = re.compile(r"(\d{4})[- ]?Q([1-4])", re.IGNORECASE)
READABLE = "a column of numbers, or of dates like 2024-12-31, 2024-12-31 23:59, 2024-12 or 2024Q4"


def are_dates(texts: Sequence[str], beside: bool = False) -> bool:
    """Whether different texts are dates or times, rather than versions, scores, seasons or numbers of substances.

    beside: whether another column holds dates, so that a few hours and minutes are times.
    """
    if not texts or not all(DATE.fullmatch(text) for text in texts):
        return False
    if len(texts) > 1 and all(_is_season(text) for text in texts):
        return False
    if len(texts) <= FEW_TIMES and all(DAYS.fullmatch(text) for text in texts):
        return False
    times = [match for match in map(TIME.fullmatch, texts) if match]
    if any(int(match[2]) > 59 or int(match[3] or 0) > 59 for match in times):
        return False
    plain = [match for match in times if match[4] is None]  # without am and pm
    if any(int(match[1]) > 23 for match in plain if match[3] is None):
        return False
    if len(plain) == len(texts) <= FEW_TIMES and not beside:
        return False
    days = [match for match in map(DAY.fullmatch, texts) if match]
    return not days or any(all(map(order, days)) for order in (_year_first, _year_last))


def _is_season(text: str) -> bool:
    match = YEARS.fullmatch(text)
    return match is not None and int(match[3]) == (int(match[2]) + 1) % 100


def _year_first(match: re.Match[str]) -> bool:
    both_full = len(match["b"]) == len(match["c"]) == 2
    return _are_day_and_month(match["b"], match["c"]) and (len(match["a"]) == 4 or (len(match["a"]) == 2 and both_full))


def _year_last(match: re.Match[str]) -> bool:
    both_full = len(match["a"]) == len(match["b"]) == 2
    short = len(match["c"]) == 2 and (match["sign"] == "/" or both_full)
    return _are_day_and_month(match["a"], match["b"]) and (len(match["c"]) == 4 or short)


def _are_day_and_month(*texts: str) -> bool:
    low, high = sorted(map(int, texts))
    return 1 <= low <= 12 and high <= 31


def dates_in_order(values: Any, name: str) -> np.ndarray:
    """[rows] whole numbers in the order of time, of a pandas series of dates. Raises DataError for any other value."""
    import pandas as pd

    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    if not pd.api.types.is_datetime64_any_dtype(values):
        texts = values.map(str).str.strip()
        days = texts.str.replace(r"^(\d+)[/.](\d+)[/.]", r"\1-\2-", regex=True)
        for form, months in ((MONTH, 1), (QUARTER, 3)):
            if all(form.fullmatch(text) for text in texts.unique()):
                days = texts.map(lambda text, form=form, months=months: _first_day(form.fullmatch(text), months))
                texts = days
        is_iso = texts.map(lambda text: ISO_DATE.fullmatch(text) is not None)
        parsed = pd.to_datetime(days.where(is_iso), utc=True, format="mixed", errors="coerce")
        if parsed.isna().any():
            raise unreadable(name, texts[parsed.isna()].iloc[0])
        values = parsed
    return values.astype("int64").to_numpy()


def unreadable(name: str, value: object) -> DataError:
    """The refusal of a column of times by the value that is none."""
    return DataError("data.split_by", name, READABLE, reason=f"which holds {value}")


def refuse_date(values: Any, name: str, key: str) -> DataError:
    """The refusal of a column of dates as a feature or target."""
    known = values.dropna()
    instead = ""
    if key != "data.target":
        instead = f", data.drop=[{name}]"
        try:
            dates_in_order(known, name)
            instead += f", or data.split=time data.split_by={name}"
        except DataError:
            pass
    return DataError(
        f"{key}: column {name} holds dates or times ({known.iloc[0]}); allowed: numbers made of them (year, month, "
        f"hour, seconds){instead}"
    )


def _first_day(match: Any, months: int) -> str:
    return f"{match[1]}-{months * (int(match[2]) - 1) + 1:02d}-01"

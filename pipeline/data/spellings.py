"""Tell categories from numbers that are spelled in a way that was not read as such."""

import re
from collections.abc import Sequence

import numpy as np

from pipeline.errors import DataError

FEW_CATEGORIES = 20  # with more, a column that is half of numbers is one of numbers with a slip, not of categories
_CODES = "EUR|USD|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|BRL|RUB|KRW|TRY|MXN|ZAR"
_MONEY = rf"(?:(?:US)?[$€£¥₹₽₩₺₫฿¢]|{_CODES})"
_SIGN = r"[+\-−–]"
_ONE = r"(?:0[xXoObB][0-9a-fA-F]+|(?:\d[\d.,'’_\s]*|[.,]\d+)(?:[eEdD][+\-−]?\d+)?)"
_UNIT = r"\s*(?P<unit>[^\W\d_²³]+[²³23]?(?:\s*/\s*[^\W\d_]+[²³23]?)?|°\s*[CFK]?|\"|[%‰$€£¥₹₽₩₺₫฿¢])"
SPELLED_NUMBER = re.compile(
    rf"\(?\s*{_MONEY}?\s*{_SIGN}?\s*{_MONEY}?\s*{_ONE}(?:\s*(?:/|±|\+/-|\+-)\s*{_ONE})?(?:{_UNIT})?\s*\)?"
)
SYMBOLS = frozenset('%‰$€£¥₹₽₩₺₫฿¢"')
_WORDS = (
    "kg g mg µg μg lb lbs oz km m cm mm µm μm nm mi mile miles ft inch yd l ml dl h hr hrs hour hours min mins minute "
    "minutes s sec secs second seconds ms µs μs ns day days week weeks month months yr yrs year years hz khz mhz ghz "
    "kb mb gb tb kib mib gib byte bytes kw mw w kwh v mv kv ma pa hpa kpa mpa bar mbar psi kj kcal cal mol mmol ppm "
    "ppb pct percent bp bps mph kmh kph rpm db px k mio mrd mn bn m² m2 m³ m3 cm² cm2 cm³ cm3 km² km2 km/h m/s m/s² "
    "kg/m² kg/m2 kg/m³ kg/m3 g/l mg/l mg/dl mmol/l g/cm³ g/cm3 l/min /min ° °c °f °k"
)
UNITS = frozenset([*_WORDS.split(), *_CODES.lower().split("|")])
BOUND = re.compile(rf"(?:[<>≤≥~≈]|<=|>=)\s*{_SIGN}?{_ONE}")
NO_VALUE = re.compile(r"[^\w\s]+|#[A-Z/0]+[!?]|n\.\s?d\.|[bB][dD][lL]|[lL][oO][dDqQ]")  # such as - and #DIV/0!
INDEX_AND_VALUE = re.compile(r"\d+:[+-]?\d[\d.eE+-]*")


def require_categories(texts: np.ndarray, name: str, key: str, typed: bool) -> list[str]:
    """The sorted categories of a text column. Raises DataError where it holds numbers that were not read as such.

    typed: the file says that it is text, so that digits alone are categories.
    """
    categories = sorted({text for text in texts if text is not None})
    odd = [text for text in categories if not _is_plain(text)]
    if (odd or not typed) and _are_spelled_numbers(categories, with_units=key != "data.target"):
        raise DataError(
            f"{key}: column {name} holds numbers that cannot be read, such as {(odd or categories)[0]}; allowed: "
            "1234.5, or with data.decimal=',' 1234,5"
        )
    if all(INDEX_AND_VALUE.fullmatch(text) for text in categories):
        raise DataError(
            f"{key}: column {name} holds pairs such as {categories[0]} (LIBSVM's format); allowed: a column per feature"
        )
    if odd and 2 * len(odd) < len(categories):
        plain = [text for text in categories if _is_plain(text)]
        gaps = [text for text in odd if NO_VALUE.fullmatch(text)]
        if gaps:
            raise DataError(
                f"{key}: column {name} holds numbers, and {gaps[0]}; allowed: numbers, or data.missing_texts="
                f"'[\"{gaps[0]}\"]' if a value is missing there"
            )
        bounds = [text for text in odd if BOUND.fullmatch(text)]
        measured = any("." in text or "e" in text.lower() for text in plain) and not all(map(_is_whole, plain))
        if bounds or measured or len(categories) > FEW_CATEGORIES:
            raise DataError(
                f"{key}: column {name} holds numbers, and text such as {(bounds or odd)[0]}; allowed: numbers, or "
                "nothing where one is missing (data.missing)"
            )
    return categories


def _are_spelled_numbers(categories: Sequence[str], with_units: bool) -> bool:
    """Whether all are numbers in some spelling; with_units: also with a unit, a known one or after a space the same."""
    found = [SPELLED_NUMBER.fullmatch(text.strip()) for text in categories]
    matches = [match for match in found if match]
    if len(matches) < len(categories):
        return False
    units = {match["unit"] for match in matches if match["unit"] and match["unit"] not in SYMBOLS}
    if not units:
        return True
    spaced = len(units) == 1 and all(m["unit"] is None or m.string[m.start("unit") - 1].isspace() for m in matches)
    return with_units and (spaced or all(re.sub(r"\s", "", unit).lower() in UNITS for unit in units))


def _is_plain(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_whole(text: str) -> bool:
    return float(text) == round(float(text)) if np.isfinite(float(text)) else True

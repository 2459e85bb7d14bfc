"""Tell categories from numbers that are spelled in a way that was not read as such."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.data.settings import how_to_miss, how_to_set
from pipeline.errors import DataError

FEW_CATEGORIES = 20  # with more, a column that is half of numbers is one of numbers with a slip, not of categories
_CODES = "EUR|USD|GBP|CHF|JPY|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|BRL|RUB|KRW|TRY|MXN|ZAR"
_MONEY = rf"(?:(?:US)?[$€£¥₹₽₩₺₫฿¢]|{_CODES})"
_SIGN = r"[+\-−–]"
_GROUPED = (  # never two points, which versions and addresses have
    r"\d{1,3}(?:[\s'’]\d{3})+(?:[.,]\d+)?|\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d+)?|\d{1,3}(?:\.\d{3})+,\d+"
)
_ONE = rf"(?:0[xXoObB][0-9a-fA-F]+|(?:{_GROUPED}|\d+(?:[.,]\d*)?|[.,]\d+)(?:[eEdD][+\-−]?\d+)?)"
_UNIT = r"\s*(?P<unit>[^\W\d_²³]+[²³23]?(?:\s*/\s*[^\W\d_]+[²³23]?)?|°\s*[CFK]?|\"|[%‰$€£¥₹₽₩₺₫฿¢])"
SPELLED_NUMBER = re.compile(
    rf"\(?\s*{_MONEY}?\s*{_SIGN}?\s*{_MONEY}?\s*{_ONE}(?P<second>\s*(?:/|±|\+/-|\+-)\s*{_ONE})?(?:{_UNIT})?\s*\)?"
)
SYMBOLS = frozenset("%‰$€£¥₹₽₩₺₫฿¢")
MONEY = frozenset(_CODES.split("|"))
_WORDS = (
    "kg g mg µg μg lb lbs oz km m cm mm µm μm nm mi mile miles ft inch yd l ml dl h hr hrs hour hours min mins minute "
    "minutes s sec secs second seconds ms µs μs ns day days week weeks month months yr yrs year years hz khz mhz ghz "
    "kb mb gb tb kib mib gib byte bytes kw mw w kwh v mv kv ma pa hpa kpa mpa bar mbar psi kj kcal cal mol mmol ppm "
    "ppb pct percent bp bps mph kmh kph rpm db px k mio mrd mn bn m² m2 m³ m3 cm² cm2 cm³ cm3 km² km2 km/h m/s m/s² "
    "kg/m² kg/m2 kg/m³ kg/m3 g/l mg/l mg/dl mmol/l g/cm³ g/cm3 l/min /min ° °c °f °k"
)
UNITS = frozenset([*_WORDS.split(), *_CODES.lower().split("|"), '"'])
BOUND = re.compile(rf"(?P<sign>[<>≤≥~≈]|<=|>=)\s*(?P<limit>{_SIGN}?{_ONE})")
NO_VALUE = re.compile(r"[^\w\s]+|#[A-Z/0]+[!?]|n\.\s?d\.|[bB][dD][lL]|[lL][oO][dDqQ]")  # such as - and #DIV/0!
PAIR = re.compile(r"(0|[1-9]\d*):[+-]?\d[\d.eE+-]*")  # index:value, as in LIBSVM's format


def require_categories(
    texts: np.ndarray, name: str, key: str, typed: bool, missing: Sequence[str] | None = ()
) -> list[str]:
    """The sorted categories of a text column. Raises DataError where it holds numbers that were not read as such.

    typed: the file says that it is text, so that digits alone are categories. missing: the texts that count as missing
    values; None: `data.missing_texts` does not apply.
    """
    categories = sorted({text for text in texts if text is not None})
    odd = [text for text in categories if not _is_plain(text)]
    few, is_target = len(categories) <= FEW_CATEGORIES, key == "data.target"
    force = f"{how_to_set('categories', [name])} to take them as {'classes' if is_target else 'categories'}"
    if (odd or not typed) and _are_spelled_numbers(categories, few, is_target):
        raise DataError(
            f"{key}: column {name} holds numbers that cannot be read, such as {(odd or categories)[0]}; allowed: "
            f"1234.5, or with data.decimal=',' 1234,5; {force}"
        )
    if not odd or 2 * len(odd) >= len(categories):
        return categories
    plain = [text for text in categories if _is_plain(text)]
    measured = any("." in text or "e" in text.lower() for text in plain) and not all(map(_is_whole, plain))
    if few and not measured and (is_target or _is_top_bin(odd, plain)):
        return categories
    gaps = [text for text in odd if NO_VALUE.fullmatch(text)]
    if gaps:
        advice = "nothing where one is missing" if missing is None else how_to_miss([*missing, *gaps])
        raise DataError(
            f"{key}: column {name} holds numbers, and {gaps[0]}; allowed: numbers, or {advice} if a value is missing "
            f"there; {force}"
        )
    bounds = [text for text in odd if BOUND.fullmatch(text)]
    if bounds or measured or not few:
        raise DataError(
            f"{key}: column {name} holds numbers, and text such as {(bounds or odd)[0]}; allowed: numbers, or "
            f"nothing where one is missing (data.missing); {force}"
        )
    return categories


def spoken(categories: Sequence[str], name: str, what: str, missing: Sequence[str] | None = ()) -> str:
    """How many categories there are; with an example where they may be meant as numbers. what: their plural."""
    count = f"{name}: {len(categories)} {what if len(categories) > 1 else what.replace('ories', 'ory')}"
    odd = [text for text in categories if not _is_plain(text)]
    n_plain = len(categories) - len(odd)
    if odd and n_plain > len(odd) and not all(BOUND.fullmatch(text) for text in odd):
        advice = "leave it empty" if missing is None else how_to_miss([*missing, *odd[:3]])
        return f"{count} such as {odd[0]}, though {n_plain} are numbers; if a value is missing there, {advice}"
    for form, how in ((r"\W*\d", "begin with digits"), (r".*\d", "hold digits")):
        shown = [text for text in odd if re.match(form, text)]
        if shown:
            return f"{count} such as {shown[0]}, which {how}; if they are numbers, write them as 1234.5"
    return count


def refuse_pairs(texts: Mapping[str, np.ndarray]) -> None:
    """Raise DataError for columns of index:value; scores and ratios, whose first numbers do not count columns, pass."""
    run: list[str] = []  # columns side by side whose indices ascend
    before, constant = np.zeros(0), True
    for name, values in texts.items():
        pairs = [None if text is None else PAIR.fullmatch(text) for text in values]
        if any(pair is None and text is not None for pair, text in zip(pairs, values, strict=True)):
            run = []
            continue
        indices = np.array([np.nan if pair is None else float(pair[1]) for pair in pairs])
        if run and bool((indices <= before).any()):
            run = []
        is_constant = len(np.unique(indices[~np.isnan(indices)])) == 1
        run, constant, before = [*run, name], is_constant and (constant or not run), indices
        measured = len(run) == 1 and constant and any(text is not None and "." in text for text in values)
        if measured or (len(run) == 2 and constant) or len(run) > 2:
            first = run[0]
            example = next(text for text in texts[first] if text is not None)
            raise DataError(
                f"data.path: column {first} holds pairs such as {example} (LIBSVM's format); allowed: a column per "
                f"feature; {how_to_set('categories', list(texts))} to take them as categories"
            )


def _are_spelled_numbers(categories: Sequence[str], few: bool, is_target: bool) -> bool:
    """Whether all are numbers in some spelling: of few, in one that nothing but a number has, and never in a target;
    of many, also two that make a fraction, and with a unit, a known one or after a space the same.
    """
    found = [SPELLED_NUMBER.fullmatch(text.strip()) for text in categories]
    matches = [match for match in found if match]
    if len(matches) < len(categories) or (few and is_target and not all(map(_is_plain, categories))):
        return False
    units = {match["unit"] for match in matches if match["unit"] and match["unit"] not in SYMBOLS}
    if few:
        return all(unit.strip() in MONEY for unit in units) and not any(match["second"] for match in matches)
    if not units:
        return True
    spaced = len(units) == 1 and all(m["unit"] is None or m.string[m.start("unit") - 1].isspace() for m in matches)
    return not is_target and (spaced or all(re.sub(r"\s", "", unit).lower() in UNITS for unit in units))


def _is_top_bin(odd: Sequence[str], plain: Sequence[str]) -> bool:
    """Whether the texts are the last step of counts such as 0, 1, 2, >2."""
    numbers = sorted(map(float, plain))
    bounds = [BOUND.fullmatch(text) for text in odd]
    steps = numbers[-1] - numbers[0] == len(numbers) - 1
    return steps and all(
        bound is not None and bound["sign"] in (">", ">=", "≥") and _is_plain(bound["limit"])
        and numbers[-1] <= float(bound["limit"]) <= numbers[-1] + 1 for bound in bounds
    )  # fmt: skip


def _is_plain(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_whole(text: str) -> bool:
    return float(text) == round(float(text)) if np.isfinite(float(text)) else True

"""Numbers in spellings that are not read are no categories, and categories with digits are no numbers."""

import numpy as np
import pytest

from pipeline.data.dates import DATE
from pipeline.data.spellings import require_categories
from pipeline.errors import DataError

NUMBERS = {
    "Unicode minus": ["−5.5", "−6.5", "7"],
    "Fortran": ["0.5D+00", "0.75D-01"],
    "hexadecimal": ["0x1F", "0x2A"],
    "accounting": ["(5.50)", "12.00"],
    "unit": ["5 kg", "7 kg"],
    "units": ["300g", "1.5 kg"],
    "area": ["50 m²", "70 m²"],
    "degrees": ["20°C", "21 °C"],
    "an unknown unit": ["5 barleycorn", "6 barleycorn"],
    "currency": ["EUR 5", "EUR 7.50"],
    "rupees": ["₹5", "₹70"],
    "percent": ["5 %", "7 %"],
    "Swiss thousands": ["1’234", "2’345"],
    "fractions": ["1/2", "3/4"],
    "tolerance": ["5 ± 1", "6 ± 2"],
    "thousand": ["5k", "10k"],
}
SLIPS = {
    "below the limit": (["1.2", "3.4", "5.6", "<0.5"], "<0.5"),
    "whole numbers below": (["1", "2", "3", "<1"], "<1"),
    "dash": (["1", "2", "3", "-"], "data.missing_texts"),
    "Excel": (["1", "2", "3", "#DIV/0!"], "#DIV/0!"),
    "infinity": (["1", "2", "∞"], "∞"),
    "late": (["1.5", "2.5", "3", "late"], "late"),
}
CATEGORIES = [
    ["0", "1", "2", "3+"], ["1st", "2nd", "3rd"], ["18-25", "26-40"], ["<=50K", ">50K"], ["4wd", "2wd"], ["A1", "B2"],
    ["1a", "1b", "2a"], ["+", "-", "0"], ["1", "2", "unknown"], ["<18", ">65"], ["ABC123", "ABC124"], ["v1.2", "v1.3"],
]  # fmt: skip
DATES = ["01/Jan/2024:10:00:00 +0000", "2024年1月1日", "1 days 00:00:00", "-3 days +10:00:00", "PT1H", "P1DT2H",
         "2024. 1. 5.", "5/Jan/2024", "2024년 1월 5일"]  # fmt: skip


def read(texts: list[str], key: str = "data.path") -> list[str]:
    return require_categories(np.array(texts, object), "a", key, False)


@pytest.mark.parametrize("texts", NUMBERS.values(), ids=NUMBERS.keys())
def test_spelled_numbers_are_refused(texts: list[str]) -> None:
    """However few are different."""
    with pytest.raises(DataError, match=r"column a holds numbers that cannot be read, such as"):
        read(texts)


@pytest.mark.parametrize(("texts", "word"), SLIPS.values(), ids=SLIPS.keys())
def test_slips_among_numbers_are_refused(texts: list[str], word: str) -> None:
    """A limit, a mark of a gap, or a word among numbers, however few are different."""
    with pytest.raises(DataError, match=r"^data\.path: column a holds numbers, and ") as error:
        read(texts)
    assert word in str(error.value)


@pytest.mark.parametrize("texts", CATEGORIES, ids=str)
def test_categories_with_digits_are_kept(texts: list[str]) -> None:
    """Steps, ranges, sizes and codes."""
    assert read(texts) == sorted(texts)


def test_classes_may_have_units() -> None:
    """A target of a few sizes is one of classes, where the same feature would be a number."""
    assert read(["50 Hz", "60 Hz"], "data.target") == ["50 Hz", "60 Hz"]


@pytest.mark.parametrize("text", DATES)
def test_dates_and_spans_of_time(text: str) -> None:
    """Dates of logs and of the Far East, and spans of time as pandas and ISO 8601 write them."""
    assert DATE.fullmatch(text)

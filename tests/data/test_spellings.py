"""Numbers in spellings that are not read are no categories, and categories with digits are no numbers."""

import numpy as np
import pytest

from pipeline.data.dates import DATE, are_dates
from pipeline.data.spellings import refuse_pairs, require_categories, spoken
from pipeline.errors import DataError

NUMBERS = {
    "Unicode minus": ["−5.5", "−6.5", "7"],
    "Fortran": ["0.5D+00", "0.75D-01"],
    "hexadecimal": ["0x1F", "0x2A"],
    "accounting": ["(5.50)", "12.00"],
    "currency": ["EUR 5", "EUR 7.50"],
    "rupees": ["₹5", "₹70"],
    "percent": ["5 %", "7 %"],
    "Swiss thousands": ["1’234", "2’345"],
    "Indian thousands": ["1,23,456", "2,34,567"],
    "both signs": ["1.234.567,5", "2.345,5"],
}
MANY = {  # of few different texts, these are categories
    "unit": "{} kg",
    "units": "{}g",
    "area": "{} m²",
    "degrees": "{}°C",
    "inches": '{}"',
    "an unknown unit": "{} barleycorn",
    "fractions": "{}/7",
    "tolerance": "{} ± 1",
    "thousand": "{}k",
}
SLIPS = {
    "below the limit": (["1.2", "3.4", "5.6", "<0.5"], "<0.5"),
    "whole numbers below": (["1", "2", "3", "<1"], "<1"),
    "dash": (["1", "2", "3", "-"], "data.missing_texts"),
    "Excel": (["1", "2", "3", "#DIV/0!"], "#DIV/0!"),
    "infinity": (["1", "2", "∞"], "∞"),
    "late": (["1.5", "2.5", "3", "late"], "late"),
    "a bound elsewhere": (["1", "2", "8", ">3"], ">3"),
    "the way on": (["1", "2", "3", "-"], "data.categories=[a]"),
}
CATEGORIES = [
    ["0", "1", "2", "3+"], ["1st", "2nd", "3rd"], ["18-25", "26-40"], ["<=50K", ">50K"], ["4wd", "2wd"], ["A1", "B2"],
    ["1a", "1b", "2a"], ["+", "-", "0"], ["1", "2", "unknown"], ["<18", ">65"], ["ABC123", "ABC124"], ["v1.2", "v1.3"],
    ["0/0", "0/1", "1/1"], ["3/4", "4/4", "6/8"], ["2018/19", "2019/20"], ["2G", "3G"], ["4K", "8K"], ["1H", "2H"],
    ["36 months", "60 months"], ["4 cyl", "6 cyl"], ['15"', '17"'], [".45", "9mm"], ["0", "1", "2", ">2"],
    ["1", "2", "3", ">=5", "4"], ["10.0.0.1", "10.0.0.2"], ["1.1.1.1", "2.7.1.1"], ["1_1", "2_1"], ["192.168.101.102"],
]  # fmt: skip
DATES = ["01/Jan/2024:10:00:00 +0000", "2024年1月1日", "1 days 00:00:00", "-3 days +10:00:00", "PT1H", "P1DT2H",
         "2024. 1. 5.", "5/Jan/2024", "2024년 1월 5일"]  # fmt: skip
NO_DATES = [
    ["64-17-5", "67-64-1", "108-88-3"], ["1.0.1", "1.2.0", "2.0.0"], ["1.2.10", "1.3.11"], ["4-4-2", "3-5-2"],
    ["01:01", "24:02"],
    ["2008-09", "2009-10", "2010-11"], ["16:9", "4:3"], ["2:10", "3:12"], ["00:11:22", "00:12:22"],
    ["30 days", "60 days"],
]  # fmt: skip
TRUE_DATES = [
    ["2024-12-31", "2024-01-05"], ["31.12.2024", "1.2.2024"], ["12/31/24", "1/5/24"], ["24-12-31"],
    ["2008-09", "2008-10"],
    [f"10:{i}" for i in range(10, 40)], ["10:30PM", "9:15AM"], [f"{i}:10:59" for i in range(100)],
    ["2024-01-02T10:00Z"],
]  # fmt: skip


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


@pytest.mark.parametrize("form", MANY.values(), ids=MANY.keys())
def test_many_numbers_with_units_are_refused(form: str) -> None:
    """Of few different ones they are categories, and it is said what they look like."""
    with pytest.raises(DataError, match=r"numbers that cannot be read, such as .*; data\.categories=\[a\] to take"):
        read([form.format(i) for i in range(21)])
    few = read([form.format(i) for i in range(5, 8)])
    said = f"a: 3 categories such as {few[0]}, which begin with digits; if they are numbers, write them as 1234.5"
    assert spoken(few, "a", "categories") == said


@pytest.mark.parametrize("texts", [["50 Hz", "60 Hz"], ["0x1", "0x2"], ["1", "2", "3", "-"], ["5 %", "7 %"]], ids=str)
def test_a_few_texts_of_a_target_are_classes(texts: list[str]) -> None:
    """Where the same feature may be a number; a slip among measured numbers is none."""
    assert read(texts, "data.target") == sorted(texts)
    with pytest.raises(DataError, match=r"^data\.target: column a holds numbers, and text such as late"):
        read(SLIPS["late"][0], "data.target")


def test_what_begins_or_holds_digits_is_said() -> None:
    """So is a text among numbers, with the texts that count as missing already."""
    for texts in (["Rs. 500", "Rs. 600"], ["FY2023", "FY2024"]):
        assert f"such as {texts[0]}, which hold digits" in spoken(texts, "a", "categories")
    for texts in (["1h 30m", "2h 10m"], ["500/-", "600/-"], ["~5", "~6"], ["10 AM", "11 PM"]):
        assert f"such as {texts[0]}, which begin with digits" in spoken(texts, "a", "categories")
    said = "a: 4 categories such as ND, though 3 are numbers; if a value is missing there, data.missing_texts=[NA,ND]"
    assert spoken(["1", "2", "3", "ND"], "a", "categories", ["NA"]) == said
    assert spoken(["red", "blue"], "a", "categories") == "a: 2 categories"


def test_scores_are_no_pairs_of_an_index() -> None:
    """Pairs are LIBSVM's where their indices ascend along a row, or one is everywhere before measured values."""
    scores = np.array(["2:1", "0:0", "3:2", "2:1"], object)
    refuse_pairs({"score": scores, "before": scores[::-1], "ratio": np.array(["16:9", "4:3", None, "4:3"], object)})
    for texts in ({"a": np.array(["1:3", "1:4"]), "b": np.array(["2:3", "2:4"])}, {"a": np.array(["1:0.5", "1:0.7"])}):
        with pytest.raises(DataError, match=r"^data\.path: column a holds pairs such as 1:.* \(LIBSVM's format\)"):
            refuse_pairs(texts)


@pytest.mark.parametrize("texts", NO_DATES, ids=str)
def test_versions_and_scores_are_no_dates(texts: list[str]) -> None:
    """Nor are numbers of substances, formations, seasons and terms."""
    assert not are_dates(texts)


@pytest.mark.parametrize("texts", TRUE_DATES, ids=lambda texts: texts[0])
def test_dates_stay_dates(texts: list[str]) -> None:
    """A few hours and minutes are times where a column of dates is beside them."""
    assert are_dates(texts) and are_dates(["10:10", "11:10"], beside=True)


@pytest.mark.parametrize("text", DATES)
def test_dates_and_spans_of_time(text: str) -> None:
    """Dates of logs and of the Far East, and spans of time as pandas and ISO 8601 write them."""
    assert DATE.fullmatch(text)

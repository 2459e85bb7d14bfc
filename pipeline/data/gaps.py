"""What to do about texts that were taken for missing values."""

from collections.abc import Collection, Mapping
from typing import Any

from pipeline.data.settings import how_to_set

MOST_SHOWN = 3


def how_to_keep(frame: Any, asked: Mapping[str, Collection[str]], taken: Mapping[str, Collection[str]]) -> str:
    """What keeps texts as categories that were taken for missing values, where that leaves no number in the lurch.

    asked, taken: such texts by column; of the asked ones, those of columns of text are kept, unless a column of numbers
    has them too.
    """
    keep = {text for column, texts in asked.items() if _is_text(frame[column], texts) for text in texts}
    numbers = {text for column, texts in taken.items() if not _is_text(frame[column], texts) for text in texts}
    keep -= numbers
    if not keep:
        return ""
    listed = sorted(keep)
    shown = ", ".join(listed[:MOST_SHOWN]) + (", ..." if len(listed) > MOST_SHOWN else "")
    return f"{how_to_set('missing_texts', sorted(numbers))} to keep {shown} as text"


def _is_text(values: Any, taken: Collection[str]) -> bool:
    """Whether a column holds texts besides the missing values, or nothing else and several of them."""
    known = values.dropna()
    return all(isinstance(value, str) for value in known.unique()) if len(known) else len(taken) > 1

"""Show of an arm's name only what differs within its study: a view, the stored folders keep their names.

`zeros,data.target=label,optimizer.learning_rate=0.1` beside `zeros,data.target=label` is shown as
`zeros,optimizer.learning_rate=0.1` beside `zeros`. The names of all arms decide, so a later sweep that makes a setting
differ has it shown again. Names of folders are cut where they would be too long for a file system; what differs is
looked for in whole names, where these are known (`store.whole_names`), and cut only if it is too long itself.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import lru_cache

from pipeline.config.schema import Config

KEYS = frozenset(field.name for field in fields(Config))  # the first words of overrides
OVERRIDE = re.compile(rf"_?({'|'.join(sorted(KEYS))})([._@/]\w[\w.@/]*)?=")  # a folder's name has _ in place of / and @
LONGEST_SETTING, LONGEST_BLOCK = 90, 150  # characters; together they fit the 255 bytes of a folder name
CUT = re.compile(r"~[0-9a-f]{8}(?=,|$)")  # where a name was cut; no other name has a ~

MANGLED = re.compile(r"=[^=,]*_")  # where a folder's name may have _ for what was typed, as in metrics=_accuracy,f1_


def cut_name(name: str, longest: int, text: str | None = None) -> str:
    """The name, cut with a hash at its end if it is too long: of the text that it stands for, by default its own."""
    whole = name if text is None else text
    return name if len(name) <= longest else f"{name[: longest - 20]}~{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def short_names(names: Iterable[str], whole: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name of a folder -> the name to show, of all arms of a study. Two arms are never shown alike.

    whole: the whole names of those that were cut.
    """
    wholes = {name: (whole or {}).get(name, name) for name in names}
    shared = shared_overrides(wholes.values())
    return {name: without(text, shared) for name, text in wholes.items()}


def shared_overrides(names: Iterable[str]) -> frozenset[str]:
    """The overrides that stand in every arm's name; none of a single arm's is shown."""
    overrides = [frozenset(_split(name)[1]) for name in dict.fromkeys(names)]
    return frozenset.intersection(*overrides) if overrides else frozenset()


@lru_cache(maxsize=2**14)  # asked anew for each run of an arm
def without(name: str, shared: frozenset[str]) -> str:
    """The name of an arm or a block without the overrides that all arms share, cut if the others are too long."""
    setting, overrides = _split(name)
    differing = cut_name(",".join(text for text in overrides if text not in shared), LONGEST_BLOCK)
    return ",".join(filter(None, [setting, differing]))


def _split(name: str) -> tuple[str, list[str]]:
    """The bias setting of an arm's name, empty of a block's, and its overrides.

    A comma separates them outside of brackets, before a key of the configuration; other commas belong to a value.
    """
    parts, depth, begin = list[str](), 0, 0
    cuts = {match.end() for match in CUT.finditer(name)}  # where brackets may be left open
    for i, letter in enumerate(f"{name},"):
        depth = 0 if i in cuts else max(0, depth + (letter in "([{") - (letter in ")]}"))
        if letter == "," and not depth:
            part, begin = name[begin:i], i + 1
            if parts and not _is_override(part):
                parts[-1] += f",{part}"
            else:
                parts.append(part)
    if begin <= len(name):  # a bracket is not closed
        parts.append(name[begin:])
    has_setting = bool(parts) and not _is_override(parts[0])
    return (parts[0], parts[1:]) if has_setting else ("", parts)


def _is_override(part: str) -> bool:
    return OVERRIDE.match(part) is not None

"""Show of an arm's name only what differs within its study: a view, the stored folders keep their whole names.

`zeros,data.target=label,optimizer.learning_rate=0.1` beside `zeros,data.target=label` is shown as
`zeros,optimizer.learning_rate=0.1` beside `zeros`. The names of all arms decide, so a later sweep that makes a setting
differ has it shown again.
"""

import re
from collections.abc import Iterable
from dataclasses import fields

from pipeline.config.schema import Config

KEYS = frozenset(field.name for field in fields(Config))  # the first words of overrides
OVERRIDE = re.compile(rf"_?({'|'.join(sorted(KEYS))})([._@/]\w[\w.@/]*)?=")  # a folder's name has _ in place of / and @


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Whole name -> the name to show, of all arms of a study. Two arms are never shown alike."""
    names = list(dict.fromkeys(names))
    shared = shared_overrides(names)
    return {name: without(name, shared) for name in names}


def shared_overrides(names: Iterable[str]) -> frozenset[str]:
    """The overrides that stand in every arm's name; none of a single arm's is shown."""
    overrides = [frozenset(_split(name)[1]) for name in names]
    return frozenset.intersection(*overrides) if overrides else frozenset()


def without(name: str, shared: frozenset[str]) -> str:
    """The name of an arm or a block without the overrides that all arms share."""
    setting, overrides = _split(name)
    return ",".join(filter(None, [setting, *(text for text in overrides if text not in shared)]))


def _split(name: str) -> tuple[str, list[str]]:
    """The bias setting of an arm's name, empty of a block's, and its overrides.

    A comma separates them outside of brackets, before a key of the configuration; other commas belong to a value.
    """
    parts, depth, begin = list[str](), 0, 0
    for i, letter in enumerate(f"{name},"):
        depth = max(0, depth + (letter == "(") - (letter == ")"))
        if letter == "," and not depth:
            part, begin = name[begin:i], i + 1
            if parts and not _is_override(part):
                parts[-1] += f",{part}"
            else:
                parts.append(part)
    if begin <= len(name):  # a bracket is not closed, as in a name that was cut
        parts.append(name[begin:])
    has_setting = bool(parts) and not _is_override(parts[0])
    return (parts[0], parts[1:]) if has_setting else ("", parts)


def _is_override(part: str) -> bool:
    return OVERRIDE.match(part) is not None

"""Spell what a user types in Hydra's grammar, where that has one reading only.

Hydra's grammar takes few characters without quotes of its own, inside of those that the shell takes away: none of
`#~=();&`, no letters beyond ASCII. So texts, above all paths, are put into quotes here, before Hydra parses them:
`data.path=größe #2.csv` becomes `data.path='größe #2.csv'`. What has two readings is refused with the words to type.
"""

import itertools
import re
import shlex
from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from pipeline.config.calls import quote_calls, quote_mappings
from pipeline.config.schema import FILE_PATHS, PATHS, expand_home, key_types
from pipeline.errors import ConfigError

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_FUNCTION = re.compile(r"(choice|range|sort|shuffle|glob|interval|tag|extend_list|json_str|int|float|str|bool)\s*\(")
_FOREIGN = re.compile(r"[^A-Za-z0-9_/\\+.$%*@?|{} \t:-]")  # {} only as part of an interpolation


def spell_overrides(words: Sequence[str], is_sweep: bool) -> list[str]:
    """The overrides as Hydra has to get them. is_sweep: whether the command line sweeps, so that `a,b` is two values.

    Raises ConfigError for words that a space has torn apart, and for a path that can be read in two ways.
    """
    _refuse_torn(words)
    return [_spell(word, is_sweep) for word in words]


def in_quotes(text: str) -> str:
    """The text in quotes of Hydra's grammar."""
    return QuotedString(text, Quote.single).with_quotes()


def typed(key: str, text: str) -> str:
    """The word to type in a shell so that the key is this text, whatever characters it has."""
    return shlex.quote(f'{key}="{text}"' if not {'"', "\\"} & set(text) else f"{key}={in_quotes(text)}")


def _spell(word: str, is_sweep: bool) -> str:
    key, equals, value = word.partition("=")
    name = key.lstrip("+")
    if not equals or word.startswith("~"):
        return word
    if name == "bias_initializer":
        value = quote_calls(quote_mappings(value))
    elif name == "kernel_initializer":
        value = quote_calls(value)
    elif name in _text_keys():
        value = _as_text(name, value, is_sweep)
    if _parse(value) is None and _parse(quoted := _quote_foreign(value)) is not None:
        value = quoted
    return f"{key}={value}"


@cache
def _text_keys() -> list[str]:
    return [key for key, hint in key_types().items() if hint in (str, str | None)]


def _as_text(key: str, value: str, is_sweep: bool) -> str:
    """The value of a key that holds text, in quotes where Hydra would read it as something else, or not at all."""
    if key in FILE_PATHS and "${" in value and _exists(value):  # no interpolation, but letters of a name
        return in_quotes(value.replace("${", "\\${"))
    parsed = _parse(value)
    parts = _split(value) if parsed is None or parsed.is_sweep_override() else [value]
    if len(parts) > 1 and not (parsed is None and "" in parts) and not _FUNCTION.match(value):
        is_list = any(re.fullmatch(_QUOTED, part.strip()) for part in parts)
        if key in PATHS and not is_list and (not is_sweep or _is_one_path(key, value, parts)):
            return in_quotes(value)
        if key in PATHS or is_sweep:
            return ",".join(_as_text(key, part.strip(), False) for part in parts)
        return value
    if parsed is None:
        return value if _FUNCTION.match(value) else in_quotes(value)
    if parsed.is_sweep_override():
        return value
    text: Any = parsed.value()
    if key in PATHS and isinstance(text, (list, dict)):
        raise ConfigError(f"{key}: {value} given, a list; allowed: {key}=a,b with -m, or one path: {typed(key, value)}")
    if text is None or isinstance(text, (list, dict)):
        return value
    is_quoted = re.fullmatch(_QUOTED, value.strip())
    return value if isinstance(text, str) and (is_quoted or value == value.strip()) else in_quotes(value)


def _is_one_path(key: str, value: str, parts: Sequence[str]) -> bool:
    """Whether a path with commas is one path, though the command sweeps. Raises ConfigError where that is unclear."""
    if "${" in value:
        return False
    word = typed(key, value)
    if key not in FILE_PATHS:
        raise ConfigError(f"{key}: {value} given, which -m would take for {len(parts)} places; allowed: {word}")
    missing = [part for part in parts if not _exists(part)]
    if _exists(value):
        if not missing:
            raise ConfigError(f"{key}: {value} given, a file and a sweep over files; allowed: {word}, or choice(a,b)")
        return True
    if missing:
        raise ConfigError(f"{key}: there is no {missing[0].strip()}; allowed: files a,b to sweep over, or one: {word}")
    return False


def _exists(path: str) -> bool:
    try:
        return expand_home(path.strip()).exists()
    except OSError:  # a name that is too long
        return False


@cache
def _parse(value: str) -> Override | None:
    """The value as an override of some key; None outside of Hydra's grammar."""
    try:
        return OverridesParser.create().parse_override(f"x={value}")
    except HydraException:
        return None


def _split(value: str) -> list[str]:
    """The text between those commas that are neither in quotes nor in an interpolation."""
    pieces = re.split(rf"({_QUOTED}|\$\{{[^}}]*\}}|,)", value)
    parts = [""]
    for piece in pieces:
        if piece == ",":
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _quote_foreign(value: str) -> str:
    """Put each word with characters outside of Hydra's grammar into quotes, in lists, named values and sweeps too."""
    marks = r",\[\]" + (r"{}:" if re.search(r"(?<!\$)\{", value) else "") + (r"()=" if _FUNCTION.match(value) else "")
    pattern = rf"{_QUOTED}|(?:\$\{{[^}}]*\}}|[^{marks}])+|."

    def quote(match: re.Match[str]) -> str:
        word = match[0].strip()
        if not _FOREIGN.search(word) or re.fullmatch(_QUOTED, word) or re.fullmatch(rf"[{marks}]", word):
            return match[0]
        return match[0].replace(word, in_quotes(word))

    return re.sub(pattern, quote, value)


def _refuse_torn(words: Sequence[str]) -> None:
    """Raise ConfigError where spaces have torn an override into several words, with the word to type instead."""
    for i, (before, word) in enumerate(itertools.pairwise(words), 1):
        key, _, value = before.partition("=")
        is_text = key.lstrip("+") in _text_keys()
        is_open = value.endswith((",", "[", "{", "(", ":")) or value.count("[") != value.count("]") or not value
        if word.startswith("="):  # seeds = 3
            torn = words[i - 1 : i + 2 if word == "=" else i + 1]
        elif "=" not in word and not word.startswith("~") and (is_open or is_text or word.startswith((",", "]"))):
            torn = [before, *itertools.takewhile(lambda w: "=" not in w, words[i:])]
        else:
            continue
        if "=" not in "".join(torn) or word in key_types():
            continue
        text = " ".join(torn)
        joined = re.sub(r"\s*=\s*" if is_text else r"\s*([,=\[\]{}:()])\s*", "=" if is_text else r"\1", text)
        raise ConfigError(f"{text}: a space parts it into {len(torn)} words; allowed: {shlex.quote(joined)}")

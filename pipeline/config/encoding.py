"""Refuse command lines with names that cannot be decoded."""

import sys

from pipeline.errors import ConfigError


def refuse_undecoded(argument: str) -> None:
    """Raise ConfigError for an argument, `key=value`, of whose bytes Python could make no text.

    Settings are stored as text, and a folder's name must be the one that run.json says.
    """
    try:
        argument.encode()
    except UnicodeEncodeError as error:
        key, equals, value = argument.partition("=")
        encoding = sys.getfilesystemencoding()
        others = "" if encoding == "utf-8" else ", or PYTHONUTF8=1 in the environment, if it is UTF-8"
        reason = f"which is not text in the encoding {encoding} of this environment"
        raise ConfigError(key, value if equals else key, f"text in that encoding{others}", reason=reason) from error

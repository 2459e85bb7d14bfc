"""The `key=value` options of compare, sync and the benchmark."""

from dataclasses import dataclass

import pytest

from pipeline.config.options import parse_options
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Example:
    name: str = ""
    count: int = 3
    margin: float = 0.005
    threshold: float | None = None
    follow: bool = False


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], Example()),
        (["name=007", "count=4"], Example("007", 4)),
        (["name=a=b,c"], Example("a=b,c")),
        (["margin=1e-2", "threshold=0.9", "follow=true"], Example("", 3, 0.01, 0.9, True)),
        (["name=", "threshold="], Example()),
        (["count=4", "count=5"], Example("", 5)),
    ],
)
def test_options_fill_the_dataclass(arguments: list[str], options: Example) -> None:
    """Each text is converted to its field's type; the last one wins, and an empty one keeps the default."""
    assert parse_options(arguments, Example) == options


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_gives_none(word: str) -> None:
    """Help wins over whatever else the command line says."""
    assert parse_options(["nonsense", word], Example) is None


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("nam=a", "nam=a: no such option; allowed: name=..., count=..., margin=..., threshold=..., follow=..."),
        ("tracking.name=a:b@c", "tracking.name: no such option; allowed: name=..."),
        ("name", "name: no such option; allowed: name=..., count=..., margin=..., threshold=..., follow=..."),
        ("count=1.5", "count: 1.5 given; allowed: a whole number"),
        ("margin=abc", "margin: abc given; allowed: a number"),
        ("threshold=high", "threshold: high given; allowed: a number or null"),
        ("follow=maybe", "follow: maybe given; allowed: true or false"),
        ("name=${oc.env:HOME}", "name: ${oc.env:HOME} given; allowed: plain text, without ${...}"),
    ],
)
def test_bad_option_is_refused(argument: str, line: str) -> None:
    """An unknown option or a value of the wrong type is named in one line, with what is allowed."""
    with pytest.raises(ConfigError) as refusal:
        parse_options([argument], Example)
    assert str(refusal.value) == line

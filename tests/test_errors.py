"""How a refused request is put in one line."""

import pickle

import pytest

from pipeline.errors import (
    ConfigError,
    DataError,
    ModelFileError,
    closest,
    describe_error,
    describe_size,
    kind_of,
    require,
)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("seeds", 0, "a count from 1 up"), "seeds: 0 given; allowed: a count from 1 up"),
        (ConfigError("study", "", "a name"), 'study: "" given; allowed: a name'),
        (ConfigError("data", None, "a name"), "data: null given; allowed: a name"),
        (ConfigError("seeds", True, "a count"), "seeds: true given; allowed: a count"),
        (ConfigError("data", "irish", ["iris", "wine"]), "data: irish given; nearest: iris"),
        (ConfigError("data", "xyzzy", ["iris", "wine"]), "data: xyzzy given; allowed: iris, wine"),
        (ConfigError("data", 5, []), "data: 5 given; allowed: none"),
        (ConfigError("model", "cnn", "mlp", reason="but iris has no images"),
         "model: cnn given, but iris has no images; allowed: mlp"),
        (ConfigError("model", "cnn", reason="but iris has no images"), "model: cnn given, but iris has no images"),
        (ConfigError("baseline: nothing to compare with"), "baseline: nothing to compare with"),
    ],
)  # fmt: skip
def test_message_is_one_line(error: ConfigError, line: str) -> None:
    """The line names the key, what was given in YAML's words, and what is allowed."""
    assert str(error) == line


@pytest.mark.parametrize("kind", [ConfigError, DataError, ModelFileError])
def test_parts_survive_pickling(kind: type[ConfigError]) -> None:
    """An error raised in a worker process arrives with its class, its line and its parts."""
    error = pickle.loads(pickle.dumps(kind("data.path", "a.csv", "a file")))
    assert (type(error), str(error)) == (kind, "data.path: a.csv given; allowed: a file")
    assert (error.key, error.given, error.allowed) == ("data.path", "a.csv", "a file")
    finished = pickle.loads(pickle.dumps(kind("data.path: gone")))
    assert (str(finished), finished.key, finished.given, finished.allowed) == ("data.path: gone", None, None, None)


def test_require_raises_only_where_the_condition_fails() -> None:
    """`require` builds the same error as the constructor."""
    require([1], "seeds", [1], "a list")
    with pytest.raises(ConfigError, match=r"^seeds: \[\] given; allowed: a list$"):
        require([], "seeds", [], "a list")


@pytest.mark.parametrize(
    ("word", "known", "suggestion"),
    [
        ("glorot_unifrom", ["glorot_uniform", "zeros"], "nearest: glorot_uniform"),
        ("zeroes", ["ones", "zeros"], "nearest: zeros, ones"),
        ("xyzzy", ["ones", "zeros"], "allowed: ones, zeros"),
    ],
)
def test_suggestions(word: str, known: list[str], suggestion: str) -> None:
    """A misspelt word is answered with the nearest valid ones; one that resembles nothing, with all of them."""
    assert closest(word, known) == suggestion


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (2**10, "1.0 KiB"),
        (10**6, "976.6 KiB"),
        (3 * 2**19, "1.5 MiB"),
        (2**30, "1.0 GiB"),
        (2**40, "1,024.0 GiB"),
    ],
)
def test_sizes_show_a_number(n_bytes: int, text: str) -> None:
    """The unit is one of which there is at least one."""
    assert describe_size(n_bytes) == text


@pytest.mark.parametrize(("error", "line"), [
    (KeyError("boom\nline2"), "KeyError: boom line2"), (KeyError("lr"), "KeyError: 'lr'"),
    (ValueError("a\nb"), "ValueError: a b"), (RuntimeError(), "RuntimeError"),
    (ConfigError("data: gone"), "ConfigError: data: gone"),
])  # fmt: skip
def test_whatever_is_raised_is_one_line(error: Exception, line: str) -> None:
    """A KeyError's sentence is shown as a sentence, and an error without words is its class."""
    assert describe_error(error) == line


def test_none_is_none() -> None:
    """The name of its class is nothing that anybody typed."""
    assert [kind_of(value) for value in (None, 1, [])] == ["None", "int", "list"]


def test_a_notebook_shows_the_line_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """In place of a traceback through this library, of every error that it raises."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    for kind in (ConfigError, DataError, ModelFileError):
        try:
            raise kind("data: gone; allowed: a file") from ValueError("inner")
        except kind:
            shell.showtraceback()
        shown = capsys.readouterr()
        assert (shown.out + shown.err).strip() == f"{kind.__name__}: data: gone; allowed: a file"

"""The arguments of `python -m pipeline.extract` are parsed, and those that contradict each other are refused."""

from pathlib import Path

import pytest

from pipeline.biases.command_line import parse_arguments
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "file_format"),
    [
        (["m.keras"], "table"),
        (["m.keras", "--output", "a.csv"], "csv"),
        (["m.keras", "--output", "a.npz"], "npz"),
        (["m.keras", "--output", "a.CSV"], "csv"),
        (["m.keras", "--output", "a.txt", "--format", "json"], "json"),
        (["m.keras", "--format", "csv"], "csv"),
    ],
)
def test_the_format_follows_from_the_output(arguments, file_format):
    """`--format` decides, else the ending of `--output`, else it is a table."""
    assert parse_arguments(arguments, None).format == file_format


def test_options_have_no_defaults_but_the_format():
    """What is not given selects everything."""
    options = parse_arguments(["m.keras"], None)
    assert (options.layer, options.kind, options.diff, options.output, options.load) == (None, None, None, None, False)
    options = parse_arguments(["m.keras", "--layer", "a*", "--kind", "beta", "--diff", "o.h5", "--load"], None)
    assert (options.layer, options.kind, options.diff, options.load) == ("a*", "beta", "o.h5", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: MODEL"),
        (["MODEL", "OTHER"], "; a second model is named by --diff OTHER"),
        (["MODEL", "--layer", ""], "--layer: an empty text"),
        (["MODEL", "--format", "xlsx"], "invalid choice: 'xlsx'"),
        (["MODEL", "--kind", "kernel"], "--kind"),
        (["MODEL", "--kind"], "--kind"),
        (["MODEL", "--lay", "gru"], "--lay"),
        (["MODEL", "--format", "npz"], "--format: npz given; allowed: with --output FILE"),
        (["MODEL", "--format", "parquet"], "--format: parquet given; allowed: with --output FILE"),
        (["MODEL", "--output", "a.xlsx"], "--output: a.xlsx given; allowed: --format, or an ending of csv"),
        (["MODEL", "--output", ""], "--format, or an ending of"),
        (["MODEL", "--output", "MODEL", "--format", "csv"], "another file than those that are read"),
        (["MODEL", "--diff", "OTHER", "--output", "OTHER", "--format", "csv"], "another file"),
        (["MODEL", "--diff", "OTHER", "--output", "a.npz"], "--diff: --format npz given; allowed: table, csv, json"),
    ],
)
def test_contradictions_are_refused_in_one_line(arguments, message, tmp_path):
    """The line names the option, what was given, and what is allowed."""
    folder = tmp_path / "folder"
    paths = {"MODEL": str(folder / "m.h5"), "OTHER": str(folder / ".." / "folder" / "o.h5")}
    with pytest.raises(ConfigError) as refusal:
        parse_arguments([paths.get(argument, argument) for argument in arguments], None)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_another_spelling_of_the_model_is_not_overwritten(tmp_path, monkeypatch):
    """Paths are compared after resolving them."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="another file"):
        parse_arguments(["m.h5", "--output", str(Path.cwd() / "m.h5"), "--format", "csv"], None)


def test_help_says_what_each_kind_is(capsys):
    """A refusal names the kinds, and sends to `--kind unknown`."""
    with pytest.raises(SystemExit):
        parse_arguments(["--help"], None)
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "unknown: a variable that may be one" in text and "absent: of a layer that was built without its bias" in text
    )
    assert "load a file of Keras 3" in text

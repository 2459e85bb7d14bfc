"""The help of a command names what was typed, and files where they are."""

import importlib

import pytest

from pipeline import installation
from pipeline.config.schema import CONF

COMMANDS = ("complete", "compare", "extract", "sync", "prune", "merge")


def help_of(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, program: str) -> str:
    monkeypatch.setattr("sys.argv", [program, "--help"])
    try:
        importlib.import_module(f"pipeline.{name}").main()
    except SystemExit as stop:
        assert not stop.code
    return capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_speaks_of_the_command_that_was_called(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console script, or the module; never of both."""
    as_script = help_of(name, capsys, monkeypatch, f"/somewhere/bin/bias-{name}")
    as_module = help_of(name, capsys, monkeypatch, f"/somewhere/pipeline/{name}.py")
    assert f"`bias-{name}" in as_script or f"$(bias-{name} bash)" in as_script
    assert "python -m pipeline" not in as_script
    assert f"python -m pipeline.{name}" in as_module and f"bias-{name}" not in as_module


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 80 columns; and what is to be typed stands on one line."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = help_of(name, capsys, monkeypatch, f"/somewhere/pipeline/{name}.py")
    assert max(map(len, shown.splitlines())) <= 80
    assert all(line.count("`") % 2 == 0 for line in shown.splitlines())


def test_an_installed_package_names_its_own_guide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which lies beside its settings, and no clone has one for it."""
    assert "conf/README.md" in help_of("compare", capsys, monkeypatch, "compare.py")
    monkeypatch.setattr(installation, "IS_CLONE", False)
    shown = help_of("compare", capsys, monkeypatch, "compare.py")
    assert str(CONF / "README.md") in shown and (CONF / "README.md").is_file()

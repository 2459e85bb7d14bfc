"""An address of MLflow's store that can never work is refused before anything depends on it."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from factories import CommandResult, put, share

from pipeline import compare, sync
from pipeline.config.schema import PROJECT, Tracking
from pipeline.errors import ConfigError
from pipeline.tracking.address import check_address


def damaged_database(path: Path) -> None:
    """Write an SQLite file of which all after the header is lost."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE a (b)")
    path.write_bytes(path.read_bytes()[:16] + bytes(4080))


MADE: dict[str, Callable[[Path], object]] = {
    "folder.db": Path.mkdir,
    "text.db": lambda path: path.write_text("no database"),
    "damaged.db": damaged_database,
}
BAD = [
    ("foo://bar", "sqlite:///<file>, http"),
    ("{folder}/mlruns", "sqlite:///<file>, http"),
    ("file://{folder}/mlruns", "sqlite:///<file>, http"),
    ("mlruns", "sqlite:///<file>, http"),
    ("http://", "sqlite:///<file>, http"),
    ("http://host:99999", "which is no address: "),
    ("sqlite://", "sqlite:///<file>, http"),
    ("postgresql+nix://host/db", "which is no address of a database"),
    ("mysql://me:pw@host/db", "but MySQLdb is missing; allowed: a database for which the library is installed"),
    ("sqlite:////proc/nope/m.db", "/proc/nope cannot be written: "),
    ("sqlite:///{folder}/folder.db", "folder.db is a folder; allowed: a file, or nothing"),
    ("sqlite:///{folder}/text.db", "text.db given, which is another file; allowed: an SQLite database, or no file"),
    ("sqlite:///{folder}/damaged.db", "damaged.db given, which SQLite cannot read"),
]


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One of the addresses, with what lies there."""
    for name, make in MADE.items():
        if name in request.param:
            make(tmp_path / name)
    return request.param.format(folder=tmp_path)


def refusals(
    address: str, cli: Callable[..., CommandResult], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> dict[str, CommandResult]:
    """What train, sync and compare answer, by the key that they name."""
    put(tmp_path / "results", "zeros", 0, 0.5)
    capfd.readouterr()
    places = [f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}"]
    return {
        "tracking.uri": cli("data=iris", "model=linear", "seeds=1", f"tracking.uri='{address}'", *places[:1]),
        "uri": CommandResult(sync.main([*places, f"uri={address}"]), *capfd.readouterr()),
        "MLFLOW_TRACKING_URI": CommandResult(compare.main(places), *capfd.readouterr()),
    }


@pytest.mark.parametrize(("address", "line"), share(BAD), indirect=["address"])
def test_an_address_that_cannot_work_is_refused(
    address: str,
    line: str,
    cli: Callable[..., CommandResult],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By train, sync and compare, with exit code 2 and one line; nothing is written."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for key, result in refusals(address, cli, tmp_path, capfd).items():
        assert (result.code, result.err.count("\n"), result.out) == (2, 1, ""), (key, result)
        assert result.err.startswith(f"{key}: ") and line in result.err
        assert ":pw@" not in result.err
    assert {path.name for path in tmp_path.iterdir()} <= {"results", *MADE}


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9", "https://me:pw@host/mlflow", "databricks", "databricks://profile", "sqlite:///new.db",
     "sqlite:///{folder}/empty.db", "postgresql+psycopg://me:pw@127.0.0.1:9/db"],
)  # fmt: skip
def test_a_server_that_does_not_answer_is_not_refused(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come up; a file that is missing or empty becomes a database."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.db").touch()
    check_address(Tracking(True, address.format(folder=tmp_path)))


def test_mlflow_is_not_imported() -> None:
    """Nobody waits for it to be told so."""
    code = "import sys, pipeline.sync; print(pipeline.sync.main(['uri=foo://bar']), 'mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout == "2 False\n"


def test_nothing_is_checked_without_tracking() -> None:
    """Nothing would be sent there."""
    check_address(Tracking(False, "foo://bar"))
    with pytest.raises(ConfigError, match=r"^tracking\.uri: foo://bar given; allowed: "):
        check_address(Tracking(True, "foo://bar"))

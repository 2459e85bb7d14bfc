"""What is in the way of sending to MLflow is found before anything is trained or sent."""

from collections.abc import Callable
from pathlib import Path

import pytest
from factories import CommandResult, put

from pipeline import sync
from pipeline.config.schema import Tracking
from pipeline.errors import ConfigError
from pipeline.store.folder_id import FILE, folder_id
from pipeline.store.runs import RunStore
from pipeline.tracking.client import lock_file, store_lock
from pipeline.tracking.places import check_tracking_places

SERVER = "http://127.0.0.1:9"
FOLDERS = {  # a folder in a file's place
    "results": [f"results/.aside/{FILE}", f"results/.aside/{FILE}.lock"],
    "uri": ["mlflow.db", "mlflow.db.lock", "mlflow.db-journal", "mlflow.db-wal", "mlflow.db-shm"],
}
FILES = ["mlartifacts", "mlartifacts/{study}"]  # a file in a folder's place
PLACES = [(key, place, Path.mkdir) for key, places in FOLDERS.items() for place in places]
PLACES += [("uri", place, Path.touch) for place in FILES]


@pytest.fixture
def taken(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A place beside a stored run that something else has taken."""
    place, take = request.param
    put(tmp_path / "results", "zeros", 0, 0.5, study="iris-linear")
    path = tmp_path / place.format(study="iris-linear")
    path.parent.mkdir(parents=True, exist_ok=True)
    take(path)
    return path


@pytest.mark.parametrize(("key", "taken"), [(k, (p, t)) for k, p, t in PLACES], indirect=["taken"])
def test_a_taken_place_is_named(key: str, taken: Path, tmp_path: Path) -> None:
    """In one line; nothing is written."""
    before = sorted(tmp_path.rglob("*"))
    tracking = Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(ConfigError, match=rf"^{key}: {taken}[ /]") as refusal:
        check_tracking_places(tracking, RunStore(tmp_path / "results", "iris-linear"), "uri")
    assert "\n" not in str(refusal.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("taken", [("mlflow.db.lock", Path.mkdir)], indirect=True)
@pytest.mark.parametrize("mode", ["", "-m", "--plan", "sync"])
def test_commands_refuse_a_taken_place(
    mode: str, taken: Path, cli: Callable[..., CommandResult], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one line with the path, and nothing is trained or sent."""
    before = sorted(tmp_path.rglob("*"))
    if mode == "sync":
        code = sync.main([f"results={tmp_path / 'results'}", f"uri=sqlite:///{tmp_path / 'mlflow.db'}"])
        result = CommandResult(code, *capfd.readouterr())
    else:
        result = cli(*filter(None, [mode]), "data=iris", "model=linear", "seeds=2", "tracking=mlflow")
    key = "uri" if mode == "sync" else "tracking.uri"
    assert (result.code, result.err) == (2, f"{key}: {taken} is a folder; allowed: a file, or nothing; move it away\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_was_written_before_is_not_in_the_way(tmp_path: Path) -> None:
    """An identity, locks that were held, of a database and of a server, and artifacts."""
    store, uri = RunStore(tmp_path / "results", "s"), f"sqlite:///{tmp_path / 'mlflow.db'}"
    folder_id(store.results)
    (tmp_path / "mlartifacts" / "s").mkdir(parents=True)
    for address in (uri, SERVER):
        with store_lock(address, store.results):
            check_tracking_places(Tracking(uri=address), store)
        assert lock_file(address, store.results).is_file()


def test_nothing_is_checked_without_tracking(tmp_path: Path) -> None:
    """Nothing would be written there."""
    (tmp_path / "results" / ".aside" / FILE).mkdir(parents=True)
    check_tracking_places(Tracking(enabled=False), RunStore(tmp_path / "results", "s"))

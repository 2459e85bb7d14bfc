"""Records of failed jobs."""

from pathlib import Path

from pipeline.store.failures import Failure, clear_failure, read_failure, record_failure
from pipeline.store.runs import RunStore

FAILURE = Failure("bias_initializer=ones", "ValueError: no", "multirun/0/train.log")


def test_a_record_is_read_back_until_it_is_cleared(tmp_path: Path) -> None:
    """A failure is known by study and arm, and forgotten when it is cleared."""
    store, other_study = RunStore(tmp_path, "s"), RunStore(tmp_path, "t")
    record_failure(store, "ones", FAILURE)
    assert read_failure(store, "ones") == FAILURE
    assert read_failure(store, "zeros") is None
    assert read_failure(other_study, "ones") is None
    clear_failure(store, "ones")
    clear_failure(store, "ones")
    assert read_failure(store, "ones") is None


def test_a_record_lies_outside_of_the_study(tmp_path: Path) -> None:
    """The study's folder, which DVC tracks, is the same before and after a failure."""
    store = RunStore(tmp_path, "s")
    record_failure(store, "ones", FAILURE)
    assert not store.folder.exists()
    assert store.runs() == []


def test_a_half_written_record_is_none(tmp_path: Path) -> None:
    """A damaged record neither crashes the end of a sweep nor passes for a failure."""
    store = RunStore(tmp_path, "s")
    record_failure(store, "ones", FAILURE)
    (path,) = tmp_path.rglob("failed/*.json")
    for content in (path.read_text()[:20], "[]", '{"error": "no"}'):
        path.write_text(content)
        assert read_failure(store, "ones") is None

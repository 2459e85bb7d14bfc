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


def test_the_jobs_of_an_arm_have_a_record_each(tmp_path: Path) -> None:
    """Two parts that failed are told together; a later command's record takes the place of both."""
    store = RunStore(tmp_path, "s")
    for part, reason in (((0, 1), "MemoryError"), ((2, 3), "killed"), ((4, 5), "killed")):
        failure = Failure("ones", reason, f"/logs/seeds={part[0]}.log", "a request", part)
        record_failure(store, "ones", failure, part)
    read = read_failure(store, "ones")
    assert read is not None and (read.error, read.missing) == ("MemoryError; killed", (0, 1, 2, 3, 4, 5))
    assert read.log == "/logs/seeds=0.log; /logs/seeds=2.log; /logs/seeds=4.log"
    again = Failure("ones", "of today", "/logs/train.log", "another", (2,))
    record_failure(store, "ones", again)
    assert read_failure(store, "ones") == again
    clear_failure(store, "ones")
    assert not list(tmp_path.rglob("failed/*.json"))

"""A folder is a study, or an arm, if its runs say so."""

import shutil
from pathlib import Path

import pytest
from factories import change_meta, put_all

from pipeline.errors import ConfigError
from pipeline.store.runs import RunStore
from pipeline.store.studies import choose_studies, copied_study, group_damaged, stored_studies


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A study of two arms, and a copy of it."""
    for arm in ("zeros", "ones"):
        put_all(tmp_path, arm, [0.5, 0.6])
    shutil.copytree(tmp_path / "s", tmp_path / "copy")
    return tmp_path


def test_a_copied_study_is_none(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The one study is chosen without a name, and the copy named; asking for the copy is refused."""
    assert [store.study for store in choose_studies(results, "")] == ["s"]
    assert capsys.readouterr().err == f"{results / 'copy'} is a copy: its runs say study s; it does not count\n"
    assert [store.study for store in choose_studies(results, "s")] == ["s"]
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigError, match=r"^study: copy is a copy: its runs say study s; allowed: s$"):
        choose_studies(results, "copy")
    assert stored_studies(results) == ["copy", "s"]
    runs, damaged = RunStore(results, "copy").read()
    assert runs == []
    assert [(name, len(group)) for name, group in group_damaged(damaged)] == [("2 arms (4 seeds)", 4)]
    assert {run.reason for run in damaged} == {"a copy: run.json says study s"}


def test_what_is_trained_in_a_copy_makes_it_a_study(results: Path) -> None:
    """Its new runs count, the copied ones do not."""
    put_all(results, "zeros", [0.1, 0.2], study="copy")
    assert copied_study(results, "copy") == ""
    runs, damaged = RunStore(results, "copy").read()
    assert {run.arm for run in runs} == {"zeros"} and {run.arm for run in damaged} == {"ones"}
    assert len(list((results / ".replaced" / "damaged" / "copy" / "zeros").iterdir())) == 2


def test_runs_of_earlier_versions_name_no_study(results: Path) -> None:
    """They count wherever they lie."""
    for path in (results / "copy").glob("*/seed=*"):
        change_meta(path, lambda meta: meta.pop("study"))
    assert copied_study(results, "copy") == ""
    assert len(RunStore(results, "copy").runs()) == 4


def test_a_renamed_arm_is_named_once(results: Path) -> None:
    """Its runs are damaged for one reason."""
    (results / "s" / "ones").rename(results / "s" / "twos")
    (results / "s" / "zeros" / "seed=0" / "biases.npz").unlink()
    names = [name for name, _ in group_damaged(RunStore(results, "s").damaged())]
    assert names == ["twos (2 seeds)", "zeros/seed=0"]


def test_studies_in_the_working_directory_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder lies in the clone for the commands, and in the working directory for Python."""
    (tmp_path / "res" / "study" / "ones" / "seed=0").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rf"^results: no study in /clone/res, .*; allowed: results={tmp_path}/res$"):
        choose_studies(Path("/clone/res"), "")

"""A results folder has an identity that moves with it and is not copied."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.store.folder_id import FILE, folder_id, read_folder_id


def test_an_identity_is_made_once(tmp_path: Path) -> None:
    """A folder without identity gets one when it is asked for, and keeps it; others have another one."""
    assert read_folder_id(tmp_path / "a") is None
    first = folder_id(tmp_path / "a")
    assert read_folder_id(tmp_path / "a") == folder_id(tmp_path / "a") == first
    assert folder_id(tmp_path / "b") != first


def test_several_that_ask_at_once_get_the_same(tmp_path: Path) -> None:
    """An identity is made under a lock."""
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(folder_id, [tmp_path] * 8))) == 1


def test_a_moved_folder_keeps_its_identity(tmp_path: Path) -> None:
    """Its runs in MLflow stay its own."""
    first = folder_id(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_folder_id(tmp_path / "b") == first


def test_a_copied_folder_gets_an_identity_of_its_own(tmp_path: Path) -> None:
    """However it is copied: files, with their times, as hard links. The original keeps its identity."""
    first = folder_id(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    subprocess.run(["cp", "-a", tmp_path / "a", tmp_path / "exact"], check=True)
    subprocess.run(["cp", "-al", tmp_path / "a", tmp_path / "linked"], check=True)
    names = [folder_id(tmp_path / name) for name in ("linked", "copy", "exact", "a")]
    assert len(set(names)) == 4 and names[-1] == first


def test_a_damaged_identity_is_made_anew(tmp_path: Path) -> None:
    """Whatever the file holds, the folder gets an identity."""
    for content in ("", "{", "[1]", '"text"', '{"id": "x"}', "null"):
        folder_id(tmp_path)
        (tmp_path / ".aside" / FILE).write_text(content)
        assert read_folder_id(tmp_path) is None
        assert len(folder_id(tmp_path)) == 12

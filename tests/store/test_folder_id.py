"""A results folder has an identity that moves with it and is not copied."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.config.schema import PROJECT
from pipeline.store import folder_id as module
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


def test_a_machine_with_another_name_or_id_has_another_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a cloned disk, where the file has the same inode. It is said once; a name that comes back is known."""
    machine_id = tmp_path / "machine-id"
    monkeypatch.setattr(module, "MACHINE_ID", machine_id)
    seen = {}
    for host, number in (("a", "1"), ("b", "1"), ("b", "2"), ("a", "1"), ("b", "2"), ("b", None)):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        machine_id.write_text(number) if number else machine_id.unlink()
        known = read_folder_id(tmp_path)
        assert known == seen.get((host, number))
        seen[host, number] = folder_id(tmp_path)
        said = capsys.readouterr().err
        assert (
            said.startswith(f"{tmp_path} was used on a") == (known is None and len(seen) > 1) and said.count("\n") < 2
        )
    assert len(set(seen.values())) == 4


def test_an_identity_of_an_earlier_version_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It named no machine, and becomes that of the first one that sends; a clone of it has another one from then on."""
    folder_id(tmp_path)
    path = tmp_path / ".aside" / FILE
    path.write_text(json.dumps({"id": "earlier", "inode": path.stat().st_ino}))
    assert read_folder_id(tmp_path) == folder_id(tmp_path) == read_folder_id(tmp_path) == "earlier"
    monkeypatch.setattr("socket.gethostname", lambda: "clone")
    assert read_folder_id(tmp_path) is None
    assert folder_id(tmp_path) != "earlier"


@pytest.mark.slow
def test_a_real_host_name_counts(tmp_path: Path) -> None:
    """As in containers that mount one folder: each has an identity of its own."""
    imports = "from pathlib import Path; from pipeline.store.folder_id import folder_id"
    code = f"{imports}; print(folder_id(Path({str(tmp_path)!r})))"
    made = []
    for host in ("one", "two", "one"):
        command = ["unshare", "--uts", "sh", "-c", f'hostname {host} && exec "$0" -c "$1"', sys.executable, code]
        ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
        if "unshare failed" in ended.stderr:
            pytest.skip("host names may not be changed here")
        made.append(ended.stdout)
    assert made[0] == made[2] != made[1]

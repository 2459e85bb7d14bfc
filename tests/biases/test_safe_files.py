"""Hostile archives are refused in one line, and nothing in them is run, unpacked elsewhere or believed."""

import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from keras_files import keras_file, npy, weights_file, zip_file

from pipeline.biases import limits
from pipeline.biases.model_files import read_biases
from pipeline.biases.safe_files import one_line_error
from pipeline.errors import ConfigError, ModelFileError


class _Canary:
    """An object whose pickle makes a folder when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _symlink() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("assets/link")
    info.external_attr = 0o120777 << 16
    return info


def _patched(field: int, value: int, form: str) -> bytes:
    """A `.keras` file with a field of the first entry of its central directory changed."""
    content = keras_file()
    position = content.index(b"PK\1\2") + field
    return content[:position] + struct.pack(form, value) + content[position + struct.calcsize(form) :]


# What is hostile: a function that makes the file (of the path that code in it would create), and what the refusal says.
HOSTILE = {
    "nothing": (lambda c: b"", "truncated"),
    "cut at the start": (lambda c: b"PK\3\4", "truncated or damaged"),
    "cut at the end": (lambda c: keras_file()[:-30], "truncated or damaged"),
    "cut weights": (lambda c: weights_file()[:-400], "truncated file"),
    "a flipped bit": (lambda c: keras_file().replace(b"\x00\x00\x80\x3f" * 6, b"\x00\x00\x80\x3e" * 6), "CRC"),
    "parent folder": (lambda c: keras_file(("../canary", b"x")), "points out of the archive"),
    "absolute member": (lambda c: keras_file((str(c), b"x")), "points out of the archive"),
    "windows member": (lambda c: keras_file(("assets\\..\\..\\x", b"x")), "points out of the archive"),
    "drive": (lambda c: keras_file(("C:x", b"x")), "points out of the archive"),
    "symbolic link": (lambda c: keras_file((_symlink(), str(c))), "is a link"),
    "member twice": (lambda c: keras_file(("config.json", b"{}")), "twice"),
    "encrypted": (lambda c: _patched(8, 1, "<H"), "refused: member config.json is encrypted"),
    "rare compression": (lambda c: _patched(10, 14, "<H"), "rare compression"),
    "bomb": (lambda c: _patched(24, 2**32 - 2, "<L"), "bytes, of"),
    "pickle": (lambda c: pickle.dumps(_Canary(c)), "a pickle, which can run code"),
    "pickle as weights": (lambda c: keras_file(weights=pickle.dumps(_Canary(c))), "not what Keras writes"),
    "pickle in an npz": (lambda c: zip_file(("a/b.npy", npy(np.array([_Canary(c)], object)))), "instead of numbers"),
    "pickle as an npy": (lambda c: zip_file(("a/b.npy", pickle.dumps(_Canary(c)))), "not what Keras writes"),
    "npz bomb": (lambda c: zip_file(("a/b.npy", npy(np.ones(3)).replace(b"(3,), }     ", b"(3333333,),}"))),
                 "which is wrong"),
    "npz that points out": (lambda c: zip_file(("../a.npy", npy(np.ones(3)))), "points out of the archive"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_archives_are_refused_in_one_line(attack, tmp_path):
    """The refusal names the file and the reason; no code ran and no file was written."""
    canary, path = tmp_path / "canary", tmp_path / "folder" / "model.keras"
    path.parent.mkdir()
    make, reason = HOSTILE[attack]
    path.write_bytes(make(canary))
    with pytest.raises(ModelFileError) as refusal:
        read_biases(path)
    message = str(refusal.value)
    assert message.startswith(str(path)) and reason in message and "\n" not in message and len(message) < 500
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]


def test_the_arrays_of_an_npz_are_limited_together(tmp_path, monkeypatch):
    """Arrays that are each within the limit are refused if they exceed it together; arrays not read do not count."""
    path = tmp_path / "biases.npz"
    np.savez(path, **{"after/dense/bias": np.ones(9), "after/out/bias": np.ones(9), "trajectory/x": np.ones(999)})
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 600)
    assert len(read_biases(path)) == 2
    monkeypatch.setattr(limits, "MAX_TOTAL_BYTES", 300)
    with pytest.raises(ModelFileError, match="at most 300 are read"):
        read_biases(path)


def test_errors_become_one_printable_line():
    """Foreign errors get their type, lines are joined, and what a terminal would obey is escaped."""
    assert one_line_error(ConfigError("a:\n  b")) == "a: b"
    assert one_line_error(ValueError("red \x1b[31m")) == "red \\x1b[31m (ValueError)"
    assert one_line_error(KeyError()) == "no message (KeyError)"
    assert len(one_line_error(ValueError("x" * 999))) == 300

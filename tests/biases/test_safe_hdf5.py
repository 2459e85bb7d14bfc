"""Hostile HDF5 files are refused in one line, before HDF5 follows, unpacks or loops over anything in them."""

import struct

import h5py
import numpy as np
import pytest
from keras_files import BIAS, weights_file

from pipeline.biases.model_files import read_biases
from pipeline.biases.safe_hdf5 import HEAP_SIGNATURE
from pipeline.errors import ModelFileError


def _instead(make):
    """A file with something else in the place of the bias."""

    def change(weights):
        del weights[BIAS]
        make(weights)

    return weights_file(change)


def _link(link):
    return _instead(lambda weights: weights.__setitem__(BIAS, link))


def _dataset(**settings):
    return _instead(lambda weights: weights.create_dataset(BIAS, **settings))


def _virtual(weights):
    layout = h5py.VirtualLayout((2,), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", (2,))
    weights.create_virtual_dataset(BIAS, layout)


def _many_places(weights):
    """One array as the bias of many layers: a small file that is large when read."""
    weights["layers/dense_1/vars/0"] = np.ones((2, 10_000), np.float32)
    weights["layers/dense_1/vars/1"] = np.ones(10_000, np.float32)
    for number in range(2, 10):
        weights[f"layers/dense_{number}/vars/0"] = weights["layers/dense_1/vars/0"]
        weights[f"layers/dense_{number}/vars/1"] = weights["layers/dense_1/vars/1"]


def _texts(weights):
    """A thousand texts, which the file could all store in one place, of two megabytes."""
    weights.attrs["long"] = "x" * 2**21
    weights.attrs["names"] = ["x"] * 1000


def _endless():
    """A heap of texts whose first object takes no place: HDF5 reads it for ever."""
    content = weights_file()
    position = content.index(HEAP_SIGNATURE) + 16
    return content[:position] + bytes(16) + content[position + 16 :]


def _heap_of_size(size):
    content = weights_file()
    position = content.index(HEAP_SIGNATURE) + 8
    return content[:position] + struct.pack("<Q", size) + content[position + 8 :]


# What is hostile: a function that makes the file, and what the refusal says.
HOSTILE = {
    "external link": (lambda: _link(h5py.ExternalLink("x.h5", "/x")), "is a link (ExternalLink)"),
    "soft link": (lambda: _link(h5py.SoftLink("/layers")), "is a link (SoftLink)"),
    "link elsewhere": (lambda: weights_file(lambda w: w.__setitem__("more", h5py.SoftLink("/nowhere"))), "is a link"),
    "group in itself": (lambda: weights_file(lambda w: w.__setitem__("layers/again", w["layers"])),
                        "in the file twice"),
    "dataset in many places": (lambda: weights_file(_many_places), "more than the whole file"),
    "texts that could be one": (lambda: weights_file(_texts), "bytes of text"),
    "deep groups": (lambda: weights_file(lambda w: w.create_group("/".join(["layers", "d", *["a"] * 600]))),
                    "nested deeper"),
    "external dataset": (lambda: _dataset(shape=(2,), dtype="f4", external=[("/etc/hostname", 0, 8)]),
                         "stored in another file"),
    "virtual dataset": (lambda: _instead(_virtual), "stored in another file"),
    "compressed bomb": (lambda: _dataset(shape=(10**9,), dtype="f4", compression="gzip"), "is compressed"),
    "absurd shape": (lambda: _dataset(shape=(10**15,), dtype="f4", chunks=(1024,)), "but 0 are stored"),
    "empty array": (lambda: _dataset(shape=(0,), dtype="f4"), "has no values"),
    "objects": (lambda: _dataset(data=["a", "b"]), "instead of numbers"),
    "compound": (lambda: _dataset(data=np.zeros(2, [("a", "f4"), ("b", "i4")])), "instead of numbers"),
    "group as a variable": (lambda: _instead(lambda w: w.create_group(BIAS)), "is no dataset"),
    "missing variable": (lambda: weights_file(lambda w: w.move("layers/dense/vars/0", "layers/dense/vars/7")),
                         "missing"),
    "name with a slash": (lambda: weights_file(lambda w: w["layers/dense/vars"].attrs.__setitem__("name", "../../x")),
                          "is no layer's name"),
    "a type": (lambda: weights_file(lambda w: w.__setitem__("layers/type", np.dtype("f8"))), "neither a group nor"),
    "array for a layer": (lambda: weights_file(lambda w: w.__setitem__("layers/dense_1", np.ones(2))), "is no group"),
    "cut heap": (lambda: _heap_of_size(2**40), "a heap of texts is cut off"),
    "endless heap": (_endless, "a heap of texts without an end"),
}  # fmt: skip


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_hdf5_files_are_refused_in_one_line(attack, tmp_path):
    """The refusal names the file and the reason, and nothing else was written."""
    path = tmp_path / "model.weights.h5"
    make, reason = HOSTILE[attack]
    path.write_bytes(make())
    with pytest.raises(ModelFileError) as refusal:
        read_biases(path)
    message = str(refusal.value)
    assert message.startswith(str(path)) and reason in message and "\n" not in message and len(message) < 500
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_open_elsewhere_is_not_called_damaged(tmp_path):
    """HDF5 refuses a file that the caller has open for writing; the refusal says so."""
    path = tmp_path / "open.h5"
    with h5py.File(path, "w") as opened:
        opened["a"] = 1.0
        opened.flush()
        with pytest.raises(
            ModelFileError, match="it is open elsewhere, in this process or in another program"
        ) as refusal:
            read_biases(path)
    assert "damaged" not in str(refusal.value)

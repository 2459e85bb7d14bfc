"""Open HDF5 files from unknown sources, refusing what Keras never writes and HDF5 would follow, unpack or loop over.

Refused by a ModelFileError: links, groups in a circle, datasets that are stored in other files, compressed or larger
than the file, and damaged heaps of texts. Files have been checked as a whole before any value is read.
"""

import math
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from pipeline.biases import limits
from pipeline.biases.safe_files import refuse_if
from pipeline.errors import ModelFileError

HEAP_SIGNATURE = b"GCOL\x01\0\0\0"  # a heap of texts, version 1
# What HDF5 says of a file that this process has open in another way, or that a program writes.
OPEN_ELSEWHERE = ("locking flag values don't match", "already open", "unable to lock file")


@contextmanager
def open_hdf5(file: Path | IO[bytes]) -> Iterator[h5py.File]:
    """Open an HDF5 file that consists of groups, arrays of numbers and attributes, all stored in the file itself."""
    if isinstance(file, Path):
        with file.open("rb") as content:
            longest_text = _check_heaps(content)
    else:
        longest_text = _check_heaps(file)
    with _opened(file) as opened:
        _check_groups(opened, longest_text)
        yield opened


def _opened(file: Path | IO[bytes]) -> h5py.File:
    try:
        return h5py.File(file, "r", locking=False) if isinstance(file, Path) else h5py.File(file, "r")
    except OSError as error:
        if any(text in str(error) for text in OPEN_ELSEWHERE):
            advice = "close it there, or end the program that writes it"
            raise ModelFileError(f"it is open elsewhere, in this process or in another program: {advice}") from error
        raise


def _check_heaps(file: IO[bytes]) -> int:
    """Check all heaps of texts, and return the length of the longest text: HDF5 loops for ever over a damaged heap.

    A heap is its signature, its size in 8 bytes, then objects: index (2 bytes), references (2), unused (4), size (8),
    content padded to 8 bytes. The object with index 0 is the free rest.
    Source: HDF5 file format specification 3.0, section III.E.
    """
    longest = 0
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        heap = content.find(HEAP_SIGNATURE)
        while heap >= 0:
            (size,) = struct.unpack_from("<Q", content, heap + 8) if heap + 16 <= len(content) else (0,)
            refuse_if(size < 16 or heap + size > len(content), "truncated file: a heap of texts is cut off")
            position = heap + 16
            while position + 16 <= heap + size:
                index, length = struct.unpack_from("<H6xQ", content, position)
                step = length if index == 0 else 16 + -(-length // 8) * 8
                refuse_if(step < 16 or position + step > heap + size, "damaged: a heap of texts without an end")
                position += step
                longest = max(longest, length if index else 0)
            heap = content.find(HEAP_SIGNATURE, heap + size)
    return longest


def _check_groups(opened: h5py.File, longest_text: int) -> None:
    """Refuse links, groups that occur twice (one could contain itself) and datasets or texts larger than the file.

    Many datasets or texts may share one place in the file, so their sizes are added up as if all were read.
    longest_text: the most bytes that one text of an attribute can have.
    """
    waiting: list[tuple[h5py.Group, int]] = [(opened, 0)]
    addresses: set[int] = set()
    n_objects, remaining_bytes, text_bytes = 0, opened.id.get_filesize(), 0
    while waiting:
        group, depth = waiting.pop()
        refuse_if(depth > limits.MAX_GROUP_DEPTH, f"groups nested deeper than {limits.MAX_GROUP_DEPTH}")
        address = h5py.h5o.get_info(group.id).addr  # pyright: ignore[reportAttributeAccessIssue]
        refuse_if(address in addresses, f"group {group.name} is in the file twice")
        addresses.add(address)
        n_objects += len(group.attrs)
        text_bytes += _check_attributes(group, longest_text)
        refuse_if(text_bytes > limits.MAX_WEIGHTS_BYTES, f"attributes that can be {text_bytes} bytes of text")
        for name in group:
            n_objects += 1
            refuse_if(n_objects > limits.MAX_OBJECTS, f"more than {limits.MAX_OBJECTS} groups and datasets")
            link = group.get(name, getlink=True)
            path = f"{str(group.name).rstrip('/')}/{name}"
            refuse_if(not isinstance(link, h5py.HardLink), f"{path} is a link ({type(link).__name__})")
            member = group[name]
            if isinstance(member, h5py.Group):
                waiting.append((member, depth + 1))
            else:
                remaining_bytes -= _check_dataset(member, path)
                refuse_if(remaining_bytes < 0, "its datasets claim to be more than the whole file")


def _check_attributes(group: h5py.Group, longest_text: int) -> int:
    """The most bytes of text that the attributes of a group can have together."""
    total = 0
    for name in group.attrs:
        attribute = group.attrs.get_id(name)
        size = longest_text * math.prod(attribute.shape or ()) if attribute.dtype.kind == "O" else 0
        total += size
        refuse_if(size > limits.MAX_TOTAL_BYTES, f"attribute {name} can be {size} bytes of text")
    return total


def _check_dataset(dataset: Any, path: str) -> int:
    """The size in bytes of a dataset that Keras may have written."""
    refuse_if(not isinstance(dataset, h5py.Dataset), f"{path} is neither a group nor a dataset")
    refuse_if(dataset.external or dataset.is_virtual, f"dataset {path} is stored in another file")
    refuse_if(dataset.id.get_create_plist().get_nfilters(), f"dataset {path} is compressed, which Keras never does")
    is_numeric = dataset.dtype.kind in "fiub" or _is_bfloat16(dataset)
    refuse_if(not is_numeric or dataset.shape is None, f"dataset {path} contains {dataset.dtype} instead of numbers")
    claimed = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    refuse_if(
        claimed > stored, f"dataset {path} claims shape {dataset.shape}, {claimed} bytes, but {stored} are stored"
    )
    return claimed


def _is_bfloat16(dataset: h5py.Dataset) -> bool:
    """Whether the numbers are bfloat16, which NumPy lacks: Keras writes each as two opaque bytes."""
    plain = dataset.dtype.fields is None and dataset.dtype.subdtype is None
    return dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2 and plain


def child_group(group: h5py.Group | None, *names: str) -> h5py.Group | None:
    """The member with the first of these names that exists, if it is a group; else None."""
    member = next((group[name] for name in names if name in group), None) if group is not None else None
    return member if isinstance(member, h5py.Group) else None


def required_group(group: h5py.Group, name: str) -> h5py.Group:
    """A member that is a group. Raises ModelFileError for anything else."""
    member = child_group(group, name)
    if member is None:
        raise ModelFileError(f"refused: {name} is no group in {group.name}")
    return member


def required_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """A member that is a dataset. Raises ModelFileError for anything else."""
    member = group.get(name)
    if not isinstance(member, h5py.Dataset):
        raise ModelFileError(f"refused: {name} is no dataset in {group.name}")
    return member


def read_array(dataset: h5py.Dataset) -> np.ndarray:
    """Read the values of a dataset of an `open_hdf5` file."""
    size, most = dataset.size * dataset.dtype.itemsize, limits.MAX_ARRAY_BYTES
    refuse_if(size > most, f"{dataset.name} is {size} bytes; at most {most} are read")
    values = np.empty(dataset.shape, dataset.dtype)
    if dataset.size:
        dataset.read_direct(values)
    if _is_bfloat16(dataset):
        import ml_dtypes

        return values.view(ml_dtypes.bfloat16)
    return values


def read_texts(attributes: h5py.AttributeManager, name: str) -> list[str]:
    """The text, or the list of texts, of an attribute; empty if it does not exist."""
    if name not in attributes:
        return []
    attribute = attributes.get_id(name)
    count = math.prod(attribute.shape or ())
    is_text = attribute.dtype.kind == "S" or h5py.check_string_dtype(attribute.dtype) is not None
    refuse_if(not is_text and count, f"attribute {name} is no text")  # an empty list has no text type
    too_large = count > limits.MAX_OBJECTS or (count and attribute.get_storage_size() > limits.MAX_JSON_BYTES)
    refuse_if(too_large, f"attribute {name} is too large")
    values = np.ravel(np.asarray(attributes[name], dtype=object)) if count else ()
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]

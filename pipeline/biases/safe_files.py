"""Files from anywhere, opened without running anything in them and without following them anywhere else.

What Keras never writes is refused, with a ConfigError that names the reason: links, datasets kept in other files,
compressed or unreadable ones, archive members that point out of the archive. Sizes are checked before anything is read.
"""

import json
import math
import mmap
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import h5py
import numpy as np

from pipeline.errors import ConfigError

# The most that is read: of a file of weights within an archive, of a JSON text, of one array, of all arrays, each in
# bytes; how many members, groups and datasets, or layers, a file may have; and how deep its groups may be nested. Where
# an archive is compressed, Keras' own rule holds as well.
LARGEST_WEIGHTS = 4 * 2**30
LARGEST_JSON = 64 * 2**20
LARGEST_ARRAY = 2**28
LARGEST_VALUES = 2**30
MOST_OBJECTS = 100_000
DEEPEST = 500
MOST_EXPANSION = 100  # times what is stored, above 256 MiB
ENCRYPTED = 1
HEAP = b"GCOL\x01\0\0\0"


@contextmanager
def refusing_file(path: Path) -> Iterator[None]:
    """Name the file in every refusal, and refuse it as damaged when a library stumbles over what is in it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {one_line_error(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: refused: nested deeper than any model") from error
    except MemoryError as error:
        raise ConfigError(f"{path}: refused: it asks for more memory than there is") from error
    except Exception as error:  # zipfile, zlib, h5py and what they call share no base class
        raise ConfigError(f"{path}: damaged, or not what Keras writes: {one_line_error(error)}") from error


def one_line_error(error: Exception) -> str:
    """An error's message in one line that can be printed, with its type where it has no message of its own."""
    text = " ".join(str(error).split())
    text = text if isinstance(error, ConfigError) else f"{text or 'no more is known'} ({type(error).__name__})"
    return printable(text)[:300]


def printable(text: str) -> str:
    """A text without what would move a terminal's cursor or hide what follows."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def refuse_if(condition: Any, reason: str) -> None:
    """Raise ConfigError with the reason if the condition holds."""
    if condition:
        raise ConfigError(f"refused: {reason}")


@contextmanager
def open_archive(path: Path) -> Iterator[ZipFile]:
    """A zip archive whose members are all plain files within it, each there once and not too large."""
    try:
        opened = ZipFile(path)
    except BadZipFile as error:
        raise ConfigError(f"a truncated or damaged zip archive: {one_line_error(error)}") from error
    with opened:
        members = opened.infolist()
        refuse_if(len(members) > MOST_OBJECTS, f"{len(members)} members; at most {MOST_OBJECTS} are read")
        seen: set[str] = set()
        for member in members:
            refuse_if(member.filename in seen, f"member {member.filename} is in it twice")
            seen.add(member.filename)
            _check_member(member)
        yield opened


def _check_member(member: ZipInfo) -> None:
    name = member.orig_filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    outside = not parts or parts[0].startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name
    refuse_if(outside, f"member {name} points out of the archive")
    refuse_if(stat.S_ISLNK(member.external_attr >> 16), f"member {name} is a link")
    refuse_if(member.flag_bits & ENCRYPTED, f"member {name} is encrypted")
    refuse_if(member.compress_type not in (ZIP_STORED, ZIP_DEFLATED), f"member {name} is in a rare compression")
    many = member.file_size > 2**28 and member.file_size > MOST_EXPANSION * member.compress_size
    refuse_if(many, f"member {name} says it is {member.file_size} bytes, of {member.compress_size} stored")


def read_json(opened: ZipFile, name: str) -> Any:
    """A JSON member of an archive."""
    size = opened.getinfo(name).file_size
    refuse_if(size > LARGEST_JSON, f"{name} is {size} bytes; at most {LARGEST_JSON} are read")
    return json.loads(opened.read(name))


@contextmanager
def unpack_member(opened: ZipFile, name: str) -> Iterator[IO[bytes]]:
    """A member as a file without a name, which is gone afterwards. Its checksum has been compared."""
    size = opened.getinfo(name).file_size
    refuse_if(size > LARGEST_WEIGHTS, f"{name} is {size} bytes; at most {LARGEST_WEIGHTS} are read")
    with tempfile.TemporaryFile() as file, opened.open(name) as member:
        while block := member.read(2**20):
            file.write(block)
        file.seek(0)
        yield file


@contextmanager
def open_hdf5(file: Path | IO[bytes]) -> Iterator[h5py.File]:
    """An HDF5 file that holds all it says, and nothing but groups and plain arrays of numbers."""
    if isinstance(file, Path):
        with file.open("rb") as plain:
            longest = _check_heaps(plain)
    else:
        longest = _check_heaps(file)
    with h5py.File(file, "r", locking=False) if isinstance(file, Path) else h5py.File(file, "r") as opened:
        _check_groups(opened, longest)
        yield opened


def _check_heaps(file: IO[bytes]) -> int:
    """The length of the longest text. Refuses a damaged heap of texts: HDF5's own library can go round in it for ever.

    A heap is `GCOL`, version 1, its size, then objects: index, references, 4 bytes, size (index 0 is the free rest).
    """
    longest = 0
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(HEAP)
        while start >= 0:
            (size,) = struct.unpack_from("<Q", content, start + 8) if start + 16 <= len(content) else (0,)
            refuse_if(size < 16 or start + size > len(content), "truncated file: a heap of texts is cut off")
            place = start + 16
            while place + 16 <= start + size:
                index, length = struct.unpack_from("<H6xQ", content, place)
                taken = length if index == 0 else 16 + -(-length // 8) * 8
                refuse_if(taken < 16 or place + taken > start + size, "damaged: a heap of texts without an end")
                place += taken
                longest = max(longest, length if index else 0)
            start = content.find(HEAP, start + size)
    return longest


def _check_groups(opened: h5py.File, longest: int) -> None:
    """Refuse a link, a group that is in the file twice (it could hold itself), a dataset that Keras would not write.

    Datasets, or texts, that share one place in the file would be more than it holds when read. longest: of the texts.
    """
    waiting, seen, count, left = [(opened["/"], 0)], set(), 0, opened.id.get_filesize()
    texts = 0
    while waiting:
        group, depth = waiting.pop()
        refuse_if(depth > DEEPEST, f"groups within groups, nested deeper than {DEEPEST}")
        address = h5py.h5o.get_info(group.id).addr
        refuse_if(address in seen, f"group {group.name} is in the file twice")
        seen.add(address)
        for name in group.attrs:
            attribute = group.attrs.get_id(name)
            size = longest * math.prod(attribute.shape or ()) if attribute.dtype.kind == "O" else 0
            count, texts = count + 1, texts + size
            refuse_if(size > LARGEST_VALUES or texts > LARGEST_WEIGHTS, f"attribute {name} can be {size} bytes of text")
        for name in group:
            count += 1
            refuse_if(count > MOST_OBJECTS, f"more than {MOST_OBJECTS} groups and datasets")
            link = group.get(name, getlink=True)
            where = f"{group.name.rstrip('/')}/{name}"
            refuse_if(not isinstance(link, h5py.HardLink), f"{where} is a link ({type(link).__name__})")
            there = group[name]
            if isinstance(there, h5py.Group):
                waiting.append((there, depth + 1))
            else:
                refuse_if(not isinstance(there, h5py.Dataset), f"{where} is neither a group nor a dataset")
                left -= _check_dataset(there, where)
                refuse_if(left < 0, "its datasets say they are more than the whole file")


def _check_dataset(dataset: h5py.Dataset, where: str) -> int:
    """The size of a dataset in bytes, if it can be one that Keras wrote."""
    refuse_if(dataset.external or dataset.is_virtual, f"dataset {where} is kept in another file")
    refuse_if(dataset.id.get_create_plist().get_nfilters(), f"dataset {where} is compressed, as Keras does not")
    numbers = dataset.dtype.kind in "fiub" or _is_bfloat16(dataset)
    refuse_if(not numbers or dataset.shape is None, f"dataset {where} holds no numbers but {dataset.dtype}")
    says = math.prod(dataset.shape) * dataset.dtype.itemsize
    holds = dataset.id.get_storage_size()
    refuse_if(says > holds, f"dataset {where} says it is {dataset.shape}, {says} bytes, and holds {holds}")
    return says


def _is_bfloat16(dataset: h5py.Dataset) -> bool:
    """NumPy has no such numbers: Keras writes them as two bytes each that are nothing else."""
    plain = dataset.dtype.fields is None and dataset.dtype.subdtype is None
    return dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2 and plain


def read_array(dataset: h5py.Dataset) -> np.ndarray:
    """The values of a dataset of an `hdf5` file."""
    size = dataset.size * dataset.dtype.itemsize
    refuse_if(size > LARGEST_ARRAY, f"{dataset.name} is {size} bytes; at most {LARGEST_ARRAY} are read")
    values = np.empty(dataset.shape, dataset.dtype)
    if dataset.size:
        dataset.read_direct(values)
    if _is_bfloat16(dataset):
        import ml_dtypes

        return values.view(ml_dtypes.bfloat16)
    return values


def read_text(attributes: h5py.AttributeManager, name: str) -> list[str]:
    """The text or the texts of an attribute; none where it is not there."""
    if name not in attributes:
        return []
    attribute = attributes.get_id(name)
    size = math.prod(attribute.shape or ())
    texts = attribute.dtype.kind == "S" or h5py.check_string_dtype(attribute.dtype) is not None
    refuse_if(not texts and size, f"attribute {name} is no text")  # an empty list has no type of its own
    large = size > MOST_OBJECTS or (size and attribute.get_storage_size() > LARGEST_JSON)
    refuse_if(large, f"attribute {name} is too large")
    values = np.ravel(np.asarray(attributes[name], dtype=object)) if size else ()
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def read_npz(path: Path, prefix: str) -> dict[str, np.ndarray]:
    """The arrays of an npz file whose names begin with the prefix, or all of them where none does.

    None may be a Python object, or say it is larger than it is.
    """
    arrays = {}
    with open_archive(path) as opened:
        members = [m for m in opened.infolist() if m.filename.startswith(prefix)] or opened.infolist()
        size = sum(member.file_size for member in members)
        refuse_if(size > LARGEST_VALUES, f"its arrays are {size} bytes; at most {LARGEST_VALUES} are read")
        for member in members:
            name = member.filename
            refuse_if(not name.endswith(".npy"), f"member {name} is no array")
            refuse_if(member.file_size > LARGEST_ARRAY, f"{name} is too large; at most {LARGEST_ARRAY} bytes are read")
            with opened.open(member) as file:
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = read[np.lib.format.read_magic(file)](file)
                refuse_if(dtype.kind not in "fiub", f"member {name} holds no numbers but {dtype}")
                says = math.prod(shape) * dtype.itemsize
                refuse_if(says != member.file_size - file.tell(), f"member {name} says it is {shape}, and is not")
            with opened.open(member) as file:
                arrays[name.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays

"""Open archives from unknown sources without running their code, and without following them to other files.

What Keras never writes is refused by a ModelFileError that names the reason: links, members that point out of the
archive, encryption, rare compressions, Python objects. HDF5 files are opened by `safe_hdf5`.
"""

import json
import math
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from pipeline.biases import limits
from pipeline.errors import ConfigError, ModelFileError, one_line

ENCRYPTED = 1  # bit of a member's flags


@contextmanager
def refusing_file(path: Path) -> Iterator[None]:
    """Turn every exception within the context into a ModelFileError of one line that names the file."""
    try:
        yield
    except ConfigError as error:
        raise ModelFileError(f"{path}: {one_line_error(error)}") from error
    except RecursionError as error:
        raise ModelFileError(f"{path}: refused: nested deeper than any model") from error
    except MemoryError as error:
        raise ModelFileError(f"{path}: refused: it asks for more memory than there is") from error
    except Exception as error:  # zipfile, zlib, h5py and the libraries they call share no base class
        raise ModelFileError(f"{path}: damaged, or not what Keras writes: {one_line_error(error)}") from error


def refuse_if(condition: Any, reason: str) -> None:
    """Raise ModelFileError with the reason if the condition holds."""
    if condition:
        raise ModelFileError(f"refused: {reason}")


def one_line_error(error: Exception) -> str:
    """The message of an error as one printable line, see `errors.one_line`, with the type of foreign errors."""
    if isinstance(error, ConfigError):
        return str(error)
    message = (error.strerror if isinstance(error, OSError) else "") or str(error) or "no message"
    return one_line(f"{message} ({type(error).__name__})")


@contextmanager
def open_archive(path: Path) -> Iterator[ZipFile]:
    """Open a zip archive whose members are all plain files inside it, with unique names and bounded sizes."""
    try:
        archive = ZipFile(path)
    except BadZipFile as error:
        raise ModelFileError(f"a truncated or damaged zip archive: {one_line_error(error)}") from error
    with archive:
        members = archive.infolist()
        refuse_if(len(members) > limits.MAX_OBJECTS, f"{len(members)} members; at most {limits.MAX_OBJECTS} are read")
        names: set[str] = set()
        for member in members:
            refuse_if(member.filename in names, f"it contains member {member.filename} twice")
            names.add(member.filename)
            _check_member(member)
        yield archive


def _check_member(member: ZipInfo) -> None:
    name = member.orig_filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    outside = not parts or parts[0].startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name
    refuse_if(outside, f"member {name} points out of the archive")
    refuse_if(stat.S_ISLNK(member.external_attr >> 16), f"member {name} is a link")
    refuse_if(member.flag_bits & ENCRYPTED, f"member {name} is encrypted")
    refuse_if(member.compress_type not in (ZIP_STORED, ZIP_DEFLATED), f"member {name} uses a rare compression")
    expands = member.file_size > limits.MAX_EXPANSION * member.compress_size
    refuse_if(
        expands and member.file_size > limits.EXPANSION_FREE_BYTES,
        f"member {name} claims to be {member.file_size} bytes, of {member.compress_size} stored",
    )


def read_json(archive: ZipFile, name: str) -> Any:
    """Read a JSON member of an archive."""
    size = archive.getinfo(name).file_size
    refuse_if(size > limits.MAX_JSON_BYTES, f"{name} is {size} bytes; at most {limits.MAX_JSON_BYTES} are read")
    return json.loads(archive.read(name))


@contextmanager
def unpack_member(archive: ZipFile, name: str) -> Iterator[IO[bytes]]:
    """Unpack a member to an unnamed temporary file, checking its checksum."""
    size = archive.getinfo(name).file_size
    refuse_if(size > limits.MAX_WEIGHTS_BYTES, f"{name} is {size} bytes; at most {limits.MAX_WEIGHTS_BYTES} are read")
    with tempfile.TemporaryFile() as file, archive.open(name) as member:
        while block := member.read(2**20):
            file.write(block)
        file.seek(0)
        yield file


def read_npz(path: Path, prefix: str) -> dict[str, np.ndarray]:
    """Read the arrays of an npz file, which has `.npy` members only: name -> array.

    Arrays whose names do not begin with `prefix` are passed over, unless none does.
    """
    with open_archive(path) as archive:
        members = [m for m in archive.infolist() if m.filename.startswith(prefix)] or archive.infolist()
        total, most = sum(member.file_size for member in members), limits.MAX_TOTAL_BYTES
        refuse_if(total > most, f"its arrays are {total} bytes; at most {most} are read")
        return {member.filename.removesuffix(".npy"): _read_npy(archive, member) for member in members}


def _read_npy(archive: ZipFile, member: ZipInfo) -> np.ndarray:
    """Read a member of an npz: numbers, no Python objects, and as many as its header claims."""
    name, most = member.filename, limits.MAX_ARRAY_BYTES
    refuse_if(member.file_size > most, f"{name} is too large; at most {most} bytes are read")
    with archive.open(member) as file:
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = headers[np.lib.format.read_magic(file)](file)
        refuse_if(dtype.kind not in "fiub", f"member {name} contains {dtype} instead of numbers")
        claimed = math.prod(shape) * dtype.itemsize
        refuse_if(claimed != member.file_size - file.tell(), f"member {name} claims shape {shape}, which is wrong")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)

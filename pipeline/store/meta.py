"""run.json, which describes a run and vouches for its files: read, checked and sealed here alone.

`digests` are those of the run's other files, `seal` is that of all other entries. Whoever changes a number by hand
breaks one of them, and the run is damaged. Runs that earlier versions stored have no seal, and still count.
"""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from pipeline.biases.safe_files import printable
from pipeline.runtime.hashing import digest

RUN, BIASES, HISTORY, WEIGHTS = "run.json", "biases.npz", "history.csv", "weights.npz"
SEAL = "seal"
MAX_META_BYTES = 2**24  # of run.json: a model of 10,000 layers has a fourth of that
MAX_FILE_BYTES = 2**36  # of any other file: more than any machine trains, less than a hole of a terabyte takes to read

Meta = dict[str, Any]


class DamagedRunError(ValueError):
    """A stored run that does not count. The message is a phrase that completes "the run is damaged: ..."."""


def seal_meta(meta: Meta) -> Meta:
    """The content of run.json with its seal, which is its last entry."""
    unsealed = {name: value for name, value in meta.items() if name != SEAL}
    return unsealed | {SEAL: digest(unsealed)}


def read_meta(folder: Path) -> Meta:
    """Read a run's run.json, and hold it against its seal, its schema and the run's files.

    Raises DamagedRunError.
    """
    try:
        meta = _parse(folder)
        _check_schema(meta)
        for name, expected in meta["digests"].items():
            if _file_digest(folder, name) != expected:
                raise DamagedRunError(f"{name} does not match its digest")
    except OSError as error:
        raise DamagedRunError(f"it cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise DamagedRunError(f"{RUN} is nested too deep") from error
    return meta


def _parse(folder: Path) -> Meta:
    if not folder.is_dir():
        raise DamagedRunError("a link to nothing" if folder.is_symlink() else "not a folder")
    _require_file(folder, RUN, MAX_META_BYTES)
    try:
        meta = json.loads((folder / RUN).read_bytes(), parse_constant=_refuse_constant)
    except ValueError as error:  # also UnicodeDecodeError, and integers of thousands of digits
        raise DamagedRunError(f"{RUN} is not valid JSON") from error
    if not isinstance(meta, dict):
        raise DamagedRunError(f"{RUN} is not that of a run")
    if SEAL in meta and seal_meta(meta)[SEAL] != meta[SEAL]:
        raise DamagedRunError(f"{RUN} was changed after it was written")
    return meta


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


@functools.cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(Path(__file__).with_name("run.schema.json").read_text()))


def _check_schema(meta: Meta) -> None:
    error = next(_validator().iter_errors(meta), None)
    if error is None:
        return
    if error.validator == "required":
        problem = next(name for name in error.validator_value if name not in error.instance)
        raise DamagedRunError(f"{RUN} lacks {'.'.join(map(str, [*error.absolute_path, problem]))}")
    entry = ".".join(map(str, error.absolute_path))
    raise DamagedRunError(f"{RUN} has an unusable entry {printable(entry)[:100]}")


def _require_file(folder: Path, name: str, most: int) -> None:
    path = folder / name
    if not path.is_file():  # opening a pipe would wait for ever
        raise DamagedRunError(f"{name} is not a file" if path.exists() or path.is_symlink() else f"{name} is missing")
    if path.stat().st_size > most:
        raise DamagedRunError(f"{name} is larger than any that was written")


def _file_digest(folder: Path, name: str) -> str:
    """What `hashing.digest` gives for the file's content, in little memory."""
    _require_file(folder, name, MAX_FILE_BYTES)
    with (folder / name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]

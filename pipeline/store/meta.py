"""run.json, which describes a run and vouches for its files: read, checked and sealed here alone.

`digests` are those of the run's other files, `seal` is that of all other entries. Whoever changes a number by hand
breaks one of them, and the run is damaged. Runs that earlier versions stored have no seal, and still count.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG
from typing import Any

from pipeline.errors import is_number, printable
from pipeline.runtime.hashing import digest
from pipeline.store.files import describe_file

RUN, BIASES, HISTORY, WEIGHTS, ROWS = "run.json", "biases.npz", "history.csv", "weights.npz", "rows.npz"
MODEL = "after.keras"  # kept with keep_model=true
FILES = (BIASES, HISTORY, WEIGHTS, ROWS, MODEL, RUN)  # of a run; only machine.json is free
MACHINE = "machine.json"  # not part of the run: it may be missing or differ where the run is the same
SEAL = "seal"
DAMAGED = "damaged"  # the folder of damaged runs among those that were replaced, which are called by their keys
MAX_META_BYTES = 2**24  # of run.json: a model of 10,000 layers has a fourth of that
MAX_MACHINE_BYTES = 2**16  # of machine.json, a few lines
MAX_FILE_BYTES = 2**36  # of any other file: more than any machine trains, less than a hole of a terabyte takes to read
SMALL = 2**20  # bytes of a file that is read at once

Meta = dict[str, Any]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_file_name(value: Any) -> bool:
    """Whether a key can be the name of a folder, and of one in the folder that it is put into."""
    return _is_text(value) and "/" not in value and value.isprintable() and value not in (".", "..", DAMAGED)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_keras_object(value: Any) -> bool:
    return isinstance(value, dict) and _is_text(value.get("class_name")) and isinstance(value.get("config"), dict)


# What readers of runs rely on, in the words of run.json; other entries are free.
ENTRIES: dict[str, Callable[[Any], bool]] = {
    "key": _is_file_name,
    "recipe": _is_text,
    "arm": _is_text,
    "seed": _is_count,
    "status": lambda value: value in ("complete", "diverged"),
    "metrics": _is_object,
    "initial_kernels_digest": _is_text,
    "data_digest": _is_text,
    "config.bias_setting": _is_text,
    "config.use_bias": lambda value: isinstance(value, bool),
    "config.bias_initializer": lambda value: value is None or _is_keras_object(value),
    "config.bias_layers": lambda value: _is_text(value) or isinstance(value, list),
    "config.data.name": _is_text,
    "config.data.source": _is_text,
    "config.model.name": _is_text,
    "config.model.layers": lambda value: isinstance(value, list) and all(map(_is_keras_object, value)),
    "config.optimizer": _is_keras_object,
    "config.optimizer.learning_rate": is_number,
    "config.optimizer.schedule": lambda value: value is None or isinstance(value, dict),
    "config.training.epochs": _is_count,
    "config.training.loss": lambda value: _is_text(value) or _is_object(value),
    "config.training.metrics": lambda value: _is_text(value) or isinstance(value, list),
    "environment.device": _is_text,
    "environment.packages": lambda value: _is_object(value) and all(map(_is_text, value.values())),
    "digests": _is_object,
}


COPY = "a copy: "  # how the reason begins where a folder is another one than run.json names


class DamagedRunError(ValueError):
    """A stored run that does not count. The message is a phrase that completes "the run is damaged: ...".

    scope: what it is the damage of: "run", or the "arm" or "study" whose folder has another's name.
    """

    def __init__(self, message: str, scope: str = "run") -> None:
        super().__init__(message)
        self.scope = scope


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
        check_meta(meta)
        for name, expected in meta["digests"].items():
            if _file_digest(folder, name) != expected:
                raise DamagedRunError(f"{name} does not match its digest")
    except OSError as error:
        raise DamagedRunError(f"it cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise DamagedRunError(f"{RUN} is nested too deep") from error
    return meta


def peek_meta(folder: Path) -> Meta:
    """Read a run.json for names alone, without holding the run's files against it; {} where it is unusable."""
    try:
        meta = _parse(folder)
        check_meta(meta)
    except (DamagedRunError, OSError, RecursionError):
        return {}
    return meta


def block_of(meta: Meta) -> str:
    """The overrides of a run besides the bias setting, e.g. `optimizer=sgd` of `zeros,optimizer=sgd`."""
    block = meta["config"].get("block")
    if block is None:  # runs stored before run.json named the block have it only in their arm's name
        return meta["arm"].removeprefix(meta["config"]["bias_setting"]).lstrip(",")
    return block


def _parse(folder: Path) -> Meta:
    if not folder.is_dir():
        raise DamagedRunError(describe_file(folder))
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


def read_machine(folder: Path) -> Meta:
    """Read a run's machine.json; {} where it is missing or unusable, since no number rests on it."""
    try:
        _require_file(folder, MACHINE, MAX_MACHINE_BYTES)
        machine = json.loads((folder / MACHINE).read_bytes(), parse_constant=_refuse_constant)
    except (DamagedRunError, OSError, ValueError, RecursionError):
        return {}
    return machine if isinstance(machine, dict) else {}


def check_meta(meta: Meta) -> None:
    """Raise DamagedRunError if the content of a run.json lacks one of the `ENTRIES`, or has one that does not fit."""
    for name, fits in ENTRIES.items():
        entry: Any = meta
        for key in name.split("."):
            if not (isinstance(entry, dict) and key in entry):
                raise DamagedRunError(f"{RUN} lacks {name}")
            entry = entry[key]
        _require_fit(fits(entry), name)
    _require_fit(_is_text(meta.get("study", "s")), "study")  # earlier versions wrote neither this nor the next
    _require_fit(isinstance(meta["config"].get("block", ""), str), "config.block")
    irrelevant = meta.get("irrelevant_biases", {})
    fits = isinstance(irrelevant, dict) and all(map(_is_irrelevant, irrelevant.values()))
    _require_fit(fits, "irrelevant_biases")
    for name, value in meta["metrics"].items():
        _require_fit(value is None or is_number(value), f"metrics.{name}")
    names = set(meta["digests"])
    _require_fit({BIASES, HISTORY} <= names <= {BIASES, HISTORY, WEIGHTS, ROWS, MODEL}, "digests")


def _is_irrelevant(entry: Any) -> bool:
    """Whether an entry is what `models.irrelevant` keeps of a bias."""
    if not (isinstance(entry, dict) and entry.get("kind") in ("shift", "centred")):
        return False
    return entry["kind"] == "shift" or (_is_text(entry.get("by")) and is_number(entry.get("left")))


def _require_fit(fits: bool, name: str) -> None:
    if not fits:
        raise DamagedRunError(f"{RUN} has an unusable entry {printable(name)[:100]}")


def _require_file(folder: Path, name: str, most: int) -> None:
    path = folder / name
    if not path.is_file():  # opening a pipe would wait for ever
        raise DamagedRunError(f"{name} is not a file" if path.exists() or path.is_symlink() else f"{name} is missing")
    if path.stat().st_size > most:
        raise DamagedRunError(f"{name} is larger than any that was written")


def _file_digest(folder: Path, name: str) -> str:
    """What `hashing.digest` gives for the file's content, in little memory."""
    try:  # of 200,000 files, Path takes as long as reading them
        descriptor = os.open(f"{folder}{os.sep}{name}", os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        _require_file(folder, name, MAX_FILE_BYTES)  # says what is there instead
        raise
    try:
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            _require_file(folder, name, MAX_FILE_BYTES)
        with open(descriptor, "rb", closefd=False) as file:
            if status.st_size <= SMALL:
                return digest(file.read())
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    finally:
        os.close(descriptor)

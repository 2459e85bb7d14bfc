"""The `data` of a comparison in Python, as settings: a name of conf/data, a path, or files made of what is in memory.

What is in memory becomes a file, since a run is known by its files, and the commands find them later. It is written
aside first (`stage_data`), and beside the results (`keep_files`) when all checks have passed.
"""

import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.api.rows import ALLOWED, Arrays, Table, is_frame, read_rows
from pipeline.config.schema import CONF
from pipeline.data.settings import kind_of_file
from pipeline.errors import ConfigError, DataError, closest, kind_of
from pipeline.runtime.hashing import digest

FOLDER = ".data"  # in the folder of the results
ARGUMENTS = {"path": "data", "validation_path": "validation_data", "test_path": "test_data"}


@dataclass(frozen=True)
class StagedData:
    """What was given as data. option: a name of conf/data. settings: of the group `data`. files: key -> file that was
    written for it. shown: name of such a file -> the argument it was made of. may_be_tokens: whether x holds whole
    numbers, [rows, n]."""

    option: str
    settings: Mapping[str, Any]
    files: Mapping[str, Path]
    may_be_tokens: bool = False

    @property
    def shown(self) -> dict[str, str]:
        """How messages call the written files."""
        return {path.name: ARGUMENTS[key] for key, path in self.files.items()}

    def keep_files(self, results: Path) -> "StagedData":
        """Move the files beside the results, where those that are there already stay as they are."""
        kept = {}
        for key, path in self.files.items():
            kept[key] = results / FOLDER / path.name
            if not kept[key].exists():
                kept[key].parent.mkdir(parents=True, exist_ok=True)
                unfinished = kept[key].with_name(f"{path.name}.{os.getpid()}.new")
                shutil.copyfile(path, unfinished)
                unfinished.replace(kept[key])
        return replace(self, settings={**self.settings, **{k: str(p) for k, p in kept.items()}}, files=kept)


def stage_data(
    given: Mapping[str, Any], target: Any, input_shape: Sequence[int | None] | None, folder: Path
) -> StagedData:
    """Find out what was given, and write what is in memory into `folder`.

    given: values of `data`, `validation_data` and `test_data`, None for those that are not. input_shape: of a row, as
    the model takes it; None where it does not say. Raises DataError.
    """
    given = {argument: value for argument, value in given.items() if value is not None}
    if "data" not in given:
        raise DataError("data", None, ALLOWED)
    data = given["data"]
    if not isinstance(data, (str, os.PathLike)):
        return _in_memory(given, target, input_shape, folder)
    settings: dict[str, Any] = {"target": target}
    keys = {argument: key for key, argument in ARGUMENTS.items()}
    for argument, value in given.items():
        if not isinstance(value, (str, os.PathLike)):
            raise DataError(f"{argument}: {kind_of(value)} given, but data is a path or a name; allowed: a path")
        settings[keys[argument]] = str(Path(value).expanduser().absolute())
    path = Path(data).expanduser()
    if kind_of_file(str(data)) is not None:
        return StagedData("file", settings | {"name": path.stem}, {})
    if path.is_dir():
        return StagedData("images", settings | {"name": path.absolute().name}, {})
    return _named(str(data), settings)


def _named(name: str, settings: Mapping[str, Any]) -> StagedData:
    options = sorted(path.stem for path in (CONF / "data").glob("*.yaml") if path.stem not in ("file", "images"))
    if name not in options:
        raise DataError(f"data: {name} is no file, no folder and no name of conf/data; {closest(name, options)}")
    for key, argument in ARGUMENTS.items():
        if key != "path" and key in settings:
            raise DataError(f"{argument}: given with data={name}, which has rows of its own; allowed: data of your own")
    if settings["target"] is not None:
        raise DataError("target", settings["target"], f"none with data={name}, which has its own")
    return StagedData(name, {}, {})


def _in_memory(
    given: Mapping[str, Any], target: Any, input_shape: Sequence[int | None] | None, folder: Path
) -> StagedData:
    files, targets = {}, None
    first: Arrays | Table | None = None
    for key, argument in ARGUMENTS.items():
        if argument not in given:
            continue
        value = given[argument]
        is_path = isinstance(value, (str, os.PathLike))
        own_target = target if argument == "data" or is_frame(value) else None
        rows = None if is_path else read_rows(value, argument, own_target, input_shape)
        if first is None:
            first = rows
        elif type(rows) is not type(first):
            kinds = {Arrays: "arrays", Table: "a DataFrame"}
            raise DataError(f"{argument}: {kinds.get(type(rows), 'a path')} given, but data is {kinds[type(first)]}; "
                            "allowed: the same kind")  # fmt: skip
        if isinstance(rows, Table):
            targets = rows.targets
            files[key] = _write_table(rows, argument, folder)
        elif rows is not None:
            files[key] = _write_arrays(rows, folder)
    name = target if targets and isinstance(target, str) else "table" if targets else "arrays"
    settings = {"name": name, "target": None if targets is None else _one_or_list(targets)}
    whole = isinstance(first, Arrays) and first.x.ndim == 2 and _is_whole(first.x)
    return StagedData("file", settings | {key: str(path) for key, path in files.items()}, files, whole)


def _is_whole(values: np.ndarray) -> bool:
    return values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool(np.all(values == np.floor(values))))


def _one_or_list(names: Sequence[str]) -> Any:
    return names[0] if len(names) == 1 else list(names)


def _write_arrays(rows: Arrays, folder: Path) -> Path:
    """An npz file with the same bytes for the same arrays, whenever it is written."""
    arrays = {"x": np.ascontiguousarray(rows.x), "y": np.ascontiguousarray(rows.y)}
    content = [[name, str(array.dtype), list(array.shape), digest(array.tobytes())] for name, array in arrays.items()]
    path = folder / f"{digest(content)}.npz"
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # of 1980
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return path


def _write_table(rows: Table, argument: str, folder: Path) -> Path:
    from pandas.util import hash_pandas_object

    frame = rows.frame.reset_index(drop=True)
    try:
        values: Any = hash_pandas_object(frame, index=False)  # pyright: ignore[reportCallIssue] (its stubs)
        content = [list(frame.columns), [str(t) for t in frame.dtypes], digest(values.to_numpy().tobytes())]
        path = folder / f"{digest(content)}.parquet"
        frame.to_parquet(path, index=False)
    except (ValueError, TypeError, NotImplementedError) as error:  # what Arrow raises are ValueErrors
        raise DataError(f"{argument}: a column of the DataFrame cannot be stored: {error}") from error
    return path


def check_no_file_settings(staged: StagedData, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for a setting of text files with data from memory."""
    for name in ("separator", "decimal", "encoding", "header", "missing_texts"):
        if staged.files and settings.get(name) is not None:
            raise ConfigError(name, settings[name], "none, since the data are in memory")

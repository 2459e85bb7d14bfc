"""Code of the user's own: Python files that are run because the user names them (`code`), and what they register.

A file registers Keras classes by `keras.saving.register_keras_serializable`; configs then name them, as
`mine>MyInitializer`. It is run once per process, as a module of its own, before any model is built. What it imports
from its own folder, also later in a function, is run anew for it, and its bytes count as the file's own. Nothing is
written, not even bytecode.
"""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.biases.introspection import name_counts, set_name_counts
from pipeline.config.schema import expand_home
from pipeline.config.user_classes import UserClass, add_user_class
from pipeline.errors import ConfigError, describe_error, one_line
from pipeline.models.class_digest import class_digest
from pipeline.models.user_imports import OURS, as_script, importer, is_inside, named_files
from pipeline.runtime.hashing import digest

ALLOWED = "a Python file"


@dataclass(frozen=True)
class CodeFile:
    """A file of code that has been run.

    name: of the file, without its folder. digest: of its bytes, and of those of what it imports from its folder.
    classes: what it registered. module: what it defined. names: how far it counted Keras' automatic names, from 0.
    """

    name: str
    digest: str
    classes: tuple[UserClass, ...]
    module: ModuleType = field(repr=False, compare=False)
    names: dict[str, int] = field(repr=False, compare=False)

    @property
    def registers(self) -> list[str]:
        """The names that it registered."""
        return [known.name for known in self.classes]


_run: dict[str, tuple[list[tuple[Path, str]], CodeFile]] = {}  # by path: each file that was read with its digest


def load_code(paths: Sequence[str]) -> tuple[CodeFile, ...]:
    """Run files of the user's own, those that this process has not run yet, and make known what they register.

    A relative path is taken from the working directory. Imports Keras if there is a path. Raises ConfigError for a file
    that does not exist, raises, or registers what another one does.
    """
    files = tuple(_load(given) for given in paths)
    owner: dict[str, str] = {}
    for given, file in zip(paths, files, strict=True):
        for known in file.classes:
            if known.name in owner:
                reason = f"which registers {known.name}, as {owner[known.name]} does"
                allowed = "a name of its own for each class, and no file here that another one imports"
                raise ConfigError("code", given, allowed, reason=reason)
            owner[known.name] = given
            _make_known(known)
    return files


def register_class(cls: Any, package: str = "Custom") -> UserClass:
    """Make a class of a running program known, as if a file of code had registered it; register it if it is not.

    Its digest is that of its source text and of what it uses, see `class_digest`. Raises ConfigError for a class that
    is none of Keras'.
    """
    import keras

    name = keras.saving.get_registered_name(cls)
    if name == cls.__name__:
        keras.saving.register_keras_serializable(package)(cls)
        name = keras.saving.get_registered_name(cls)
    group = _group(cls)
    if group is None:
        raise ConfigError("class", cls.__name__, "a layer, initializer, loss, metric or optimizer of Keras")
    known = UserClass(name, group, cls, class_digest(cls))
    _make_known(known)
    return known


def find_function(files: Sequence[CodeFile], name: str, key: str) -> Callable[..., Any]:
    """The function `mine:build` of a file `mine.py` of code, or `build` of the only one. Raises ConfigError."""
    stem, colon, function = name.rpartition(":")
    modules = [file.module for file in files if not colon or Path(file.name).stem == stem.removesuffix(".py")]
    found = [getattr(module, function) for module in modules if callable(getattr(module, function, None))]
    if len(found) != 1:
        defined = [
            f"{Path(file.name).stem}:{attribute}"
            for file in files for attribute, value in vars(file.module).items()
            if inspect.isfunction(value) and value.__module__ == file.module.__name__
        ]  # fmt: skip
        raise ConfigError(key, name, f"a function of a file in code: {', '.join(defined) or 'there is none'}")
    return found[0]


def _make_known(known: UserClass) -> None:
    import keras

    keras.saving.get_custom_objects()[known.name] = known.object
    add_user_class(known)


def _load(given: str) -> CodeFile:
    """The file at a path, run unless this process has run the same bytes."""
    path = expand_home(given)
    if not path.is_file():
        reason = "which is a folder" if path.is_dir() else "which does not exist"
        raise ConfigError("code", given, ALLOWED, reason=reason)
    place = os.fspath(path.absolute())
    read, file = _run.get(place, ([], None))
    try:
        if file is None or any(_digest(part) != content for part, content in read):
            read, file = _run_file(given, path.absolute())
            _run[place] = read, file
    except OSError as error:
        raise ConfigError("code", given, ALLOWED, reason=f"which cannot be read: {error.strerror}") from error
    return file


def _digest(path: Path) -> str:
    return digest(path.read_bytes()) if path.is_file() else ""


def _run_file(given: str, path: Path) -> tuple[list[tuple[Path, str]], CodeFile]:
    """Run a file. Returns the digest of each file that was read, and what there is in it. Raises ConfigError."""
    import keras

    source = path.read_bytes()
    module = ModuleType(f"{path.stem}@{digest(source)}")
    module.__file__ = str(path)
    objects = keras.saving.get_custom_objects()
    before, numbers, counted = dict(objects), _numbers(), name_counts()
    set_name_counts({})  # so that layers are called the same in every process, whatever it has made before
    sys.modules[module.__name__] = module  # where dataclasses and typing look for it
    modules = dict[str, ModuleType]()
    vars(module)["__builtins__"] = importer(path.parent, modules)
    try:
        with as_script(path.parent, modules):
            exec(compile(source, str(path), "exec"), vars(module))
        changed = [name for name, value in _numbers().items() if value != numbers[name]]
        if changed:
            raise ConfigError("code", given, "code that leaves it as it is", reason=f"which changes {changed[0]}")
        new = [(name, cls) for name, cls in objects.items() if before.get(name) is not cls]
        if ours := [name for name, _ in new if name.partition(">")[0] == OURS]:
            reason = f"which registers {ours[0]}"
            raise ConfigError("code", given, f"another package than {OURS}", reason=reason)
        names = name_counts()
    except BaseException as error:
        del sys.modules[module.__name__]
        objects.clear()
        objects |= before
        _restore(numbers)
        if isinstance(error, (ConfigError, KeyboardInterrupt)):
            raise
        raise ConfigError(_explain(given, path, error)) from error
    finally:
        set_name_counts(counted)
    helpers = {Path(str(helper.__file__)) for helper in modules.values() if getattr(helper, "__file__", None)}
    helpers |= {file for file in named_files(path) if is_inside(file, path.parent)}
    read = [(path, digest(source)), *((helper, _digest(helper)) for helper in sorted(helpers))]
    contents = [content for _, content in read]
    code_digest = contents[0] if len(contents) == 1 else digest(contents)
    known = ((name, _group(cls), cls) for name, cls in new)
    classes = tuple(
        UserClass(name, group, cls, code_digest, path.name) for name, group, cls in known if group is not None
    )
    return read, CodeFile(path.name, code_digest, classes, module, names)


def _explain(given: str, path: Path, error: BaseException) -> str:
    """The line for code that raises, with where it does."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    kind = type(error).__name__
    said = f"{kind}: {error.msg}" if isinstance(error, SyntaxError) else describe_error(error)
    where = f" in line {line}" if line is not None else ""
    what = one_line(f"{kind}{where}{said.removeprefix(kind)}")
    return f"code: {given} given, which raises {what}; allowed: code that runs"


def _numbers() -> dict[str, Any]:
    """The settings of Keras on which the numbers of every model depend."""
    import keras

    return {
        "keras.config.floatx": keras.config.floatx(),
        "keras.config.dtype_policy": keras.config.dtype_policy().name,
        "keras.config.epsilon": keras.config.epsilon(),
        "keras.config.image_data_format": keras.config.image_data_format(),
    }


def _restore(numbers: dict[str, Any]) -> None:
    import keras

    keras.config.set_floatx(numbers["keras.config.floatx"])
    keras.config.set_dtype_policy(numbers["keras.config.dtype_policy"])
    keras.config.set_epsilon(numbers["keras.config.epsilon"])
    keras.config.set_image_data_format(numbers["keras.config.image_data_format"])


def _group(cls: Any) -> str | None:
    """The group of `keras.<group>` that a registered class or function belongs to; None for none of these."""
    import keras

    if not inspect.isclass(cls):
        return "functions" if callable(cls) else None
    groups = {
        "layers": keras.layers.Layer,
        "initializers": keras.initializers.Initializer,
        "losses": keras.losses.Loss,
        "metrics": keras.metrics.Metric,
        "optimizers": keras.optimizers.Optimizer,
        "optimizers.schedules": keras.optimizers.schedules.LearningRateSchedule,
    }
    return next((group for group, base in groups.items() if issubclass(cls, base)), "others")

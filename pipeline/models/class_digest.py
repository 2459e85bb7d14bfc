"""A digest of a class of a running program: of its source text, and of whatever of the program it uses.

A notebook's class has no file, and is changed by running a cell again. What it calls, and the constants, objects and
modules that it reads, may stand elsewhere in the program. All of this decides its numbers.
"""

import functools
import importlib.util
import inspect
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.models.named_imports import call_candidates, global_names, statement_imports
from pipeline.runtime.hashing import digest
from pipeline.runtime.logs import tell_once

OURS = "pipeline"  # counts by its name: `experiment.identity` knows its version
SCALARS = (bool, int, float, complex, str, bytes, type(None), type(...))
WRAPPERS = (staticmethod, classmethod, types.MethodType)
DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType)
BY_NAME = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, np.ufunc)
PLACES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})


class _Unclear(Exception):
    """A value that cannot be told from another. name: under which the program has it, "" until that is known."""

    def __init__(self, value: Any) -> None:
        super().__init__(type(value).__name__)
        self.name = ""


class _Seen:
    """What has been visited, kept alive so that no other object gets its `id`."""

    def __init__(self) -> None:
        self.values: dict[Any, tuple[int, Any]] = {}

    def place(self, value: Any, more: Any = None) -> int | None:
        """The place of a value in the order of the visits; None at the first."""
        known = self.values.get((id(value), more))
        if known is None:
            self.values[(id(value), more)] = len(self.values), value
        return None if known is None else known[0]

    def copy(self) -> "_Seen":
        """Another list that begins with what is in this one."""
        other = _Seen()
        other.values = dict(self.values)
        return other


def class_digest(cls: Any) -> str:
    """The digest of a class or function, of its base classes and of the functions, constants and objects that it uses.

    What lies in an installed package, Keras for one, counts by its name alone. Raises ConfigError for a class that uses
    something that cannot be told from another, such as a lock.
    """
    try:
        return digest("\n".join(_texts(cls, _Seen())).encode())
    except _Unclear as error:
        name = error.name or "a value"
        raise ConfigError(
            f"{cls.__name__}: it uses {name}, of type {error}, and a change of that would go unnoticed; allowed: "
            "numbers, text, arrays, functions, and objects of these"
        ) from error


def _texts(value: Any, seen: _Seen) -> Iterator[str]:
    """Text by which a value, and what it uses, can be told from another."""
    if isinstance(value, SCALARS):
        yield repr(value)
    elif isinstance(value, types.ModuleType):
        yield value.__name__
    elif isinstance(value, BY_NAME) or _is_installed(value):
        yield f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', None) or value.__name__}"
    elif type(value) in (tuple, frozenset, set):
        yield type(value).__name__
        yield from _of_set(value, seen) if isinstance(value, (set, frozenset)) else _of_each(value, seen)
    elif (place := seen.place(value)) is not None:
        yield f"#{place}"
    elif type(value) is list:
        yield "list"
        yield from _of_each(value, seen)
    elif type(value) in (dict, types.MappingProxyType):
        yield "dict"
        yield from _of_each([part for item in value.items() for part in item], seen)
    elif inspect.isclass(value):
        yield from _of_class(value, seen)
    elif inspect.isfunction(value):
        yield from _of_function(value, seen)
    else:
        yield from _of_object(value, seen)


def _of_each(values: Iterable[Any], seen: _Seen) -> Iterator[str]:
    for value in values:
        yield from _texts(value, seen)
    yield "end"


def _of_set(values: Iterable[Any], seen: _Seen) -> Iterator[str]:
    """In an order of their own: that of a set of texts is another in every process."""
    yield from sorted("\n".join(_texts(value, seen.copy())) for value in values)


def _named(name: str, value: Any, seen: _Seen) -> Iterator[str]:
    yield name
    try:
        yield from _texts(value, seen)
    except _Unclear as error:
        error.name = error.name or name
        raise


def _of_class(cls: Any, seen: _Seen) -> Iterator[str]:
    yield cls.__qualname__
    for base in cls.__bases__:
        yield from _texts(base, seen)
    for name, member in vars(cls).items():
        is_code = inspect.isfunction(member) or isinstance(member, (*WRAPPERS, property))
        # What Python itself notes about a class is in its text, or differs between versions of Python.
        if name != "_abc_impl" and (is_code or not (name.startswith("__") and name.endswith("__"))):
            yield from _named(name, member, seen)


def _of_function(function: types.FunctionType, seen: _Seen) -> Iterator[str]:
    try:
        yield inspect.getsource(function)
    except (OSError, TypeError):
        yield from _of_code(function.__code__, seen)
    yield from _texts(function.__defaults__, seen)
    yield from _texts(function.__kwdefaults__, seen)
    for name, value in inspect.getclosurevars(function).nonlocals.items():
        if name != "__class__":
            yield from _named(name, value, seen)
    names = global_names(function.__code__)
    for name in sorted(names):
        if name in function.__globals__:
            value = function.__globals__[name]
            if isinstance(value, types.ModuleType):
                yield from _of_module(value, names, seen)
            else:
                yield from _named(name, value, seen)
        elif _is_users_module(module := sys.modules.get(name)):
            yield from _of_module(module, names, seen)
    for name in sorted(statement_imports(function.__code__)):
        yield from _of_file(name)
    yield from _of_called_imports(function, names, seen)


def _of_called_imports(function: types.FunctionType, names: set[str], seen: _Seen) -> Iterator[str]:
    """The modules that a function imports by calls; says so where none of its texts is the name of one."""
    candidates = call_candidates(function.__code__)
    found = False
    for name in sorted(candidates or ()):
        if _is_users_module(module := sys.modules.get(name)):
            yield from _of_module(module, names, seen)
        texts = list(_of_file(name))
        yield from texts
        found = found or bool(texts) or name in sys.modules
    if candidates is not None and not found:
        tell_once(f"{function.__qualname__}: it imports a module by a computed name, which is not part of the runs' "
                  "identity; after a change of that module, take another folder of results")  # fmt: skip


def _of_module(module: Any, names: set[str], seen: _Seen) -> Iterator[str]:
    """What a function that uses these names can read from a module of the user's."""
    yield module.__name__
    if not _is_users_module(module) or seen.place(module, frozenset(names)) is not None:
        return
    for name in sorted(names & vars(module).keys()):
        value = vars(module)[name]
        if isinstance(value, types.ModuleType):
            yield from _of_module(value, names, seen)
        else:
            yield from _named(f"{module.__name__}.{name}", value, seen)


def _of_file(name: str) -> Iterator[str]:
    """The content of a module that a function imports when it is called, and that is not imported yet."""
    if name in sys.modules:
        return
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return
    if spec is not None and spec.origin and Path(spec.origin).is_file() and not _is_installed_file(spec.origin):
        yield f"{name} {digest(Path(spec.origin).read_bytes())}"


def _of_object(value: Any, seen: _Seen) -> Iterator[str]:
    """What an object is made of: its class, and its config, content or attributes."""
    if isinstance(value, WRAPPERS):
        yield str(type(value).__name__)
        yield from _texts(value.__func__, seen)
        if isinstance(value, types.MethodType):
            yield from _texts(value.__self__, seen)
    elif isinstance(value, property):
        yield from _of_each((value.fget, value.fset), seen)
    elif isinstance(value, functools.cached_property):
        yield from _texts(value.func, seen)
    elif isinstance(value, functools.partial):
        yield from _of_each((value.func, value.args, value.keywords), seen)
    elif isinstance(value, DESCRIPTORS):
        yield value.__name__
    elif hasattr(value, "__wrapped__"):  # of functools.wraps, functools.cache, tf.function
        yield from _texts(value.__wrapped__, seen)
    elif hasattr(value, "dtype") and hasattr(value, "shape") and (array := _as_array(value)) is not None:
        yield f"{array.dtype}{array.shape}{digest(np.ascontiguousarray(array).tobytes())}"
    else:
        yield from _texts(type(value), seen)
        yield from _of_state(value, seen)


def _of_state(value: Any, seen: _Seen) -> Iterator[str]:
    if callable(getattr(value, "get_config", None)):  # of Keras
        try:
            yield from _texts(value.get_config(), seen)
        except NotImplementedError:
            raise _Unclear(value) from None
        if hasattr(value, "get_weights"):
            yield from _texts(value.get_weights(), seen)
        elif not _is_installed(type(value)):
            yield from _texts(vars(value), seen)
        return
    if not _is_installed(type(value)) and not isinstance(value, (list, dict, set, tuple, str, bytes, int, float)):
        attributes = dict(getattr(value, "__dict__", {}))
        slots = [name for cls in type(value).__mro__ for name in _slots(cls) if hasattr(value, name)]
        attributes |= {name: getattr(value, name) for name in slots}
        yield from _texts(attributes, seen)
        return
    try:
        parts: Any = value.__reduce_ex__(4)  # what pickle would store
    except Exception:  # whatever its class raises
        raise _Unclear(value) from None
    if isinstance(parts, str):
        yield parts
        return
    yield from _of_each([list(part) if isinstance(part, Iterator) else part for part in parts], seen)


def _slots(cls: type) -> Iterable[str]:
    slots = vars(cls).get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _as_array(value: Any) -> np.ndarray | None:
    """An array, a tensor or a variable as an array of numbers or text; None for others."""
    try:
        array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    except Exception:  # whatever its class raises
        return None
    return None if array.dtype.hasobject else array


def _of_code(code: types.CodeType, seen: _Seen) -> Iterator[str]:
    """What a function without source text does, as this version of Python compiles it."""
    yield f"{code.co_code.hex()}{code.co_names}{code.co_varnames}"
    for constant in code.co_consts:
        yield from _of_code(constant, seen) if isinstance(constant, types.CodeType) else _texts(constant, seen)


def _is_users_module(module: Any) -> bool:
    """Whether a module lies in a file of the user's, neither installed nor of this project."""
    if not isinstance(module, types.ModuleType) or module.__name__.partition(".")[0] == OURS:
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        paths: Mapping[str, Any] | Any = getattr(module, "__path__", ())  # of a folder without __init__.py
        return any(not _is_installed_file(str(path)) for path in paths)
    return not _is_installed_file(file)


def _is_installed_file(file: str) -> bool:
    return "site-packages" in file or "dist-packages" in file or file.startswith(PLACES)


def _is_installed(value: Any) -> bool:
    """Whether a class or function is one of a package, which comes with a version."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return False
    module = value.__module__
    if module is None or module.partition(".")[0] in ("builtins", OURS):
        return True
    if module == "__main__":  # its file may be that of the program that runs a notebook
        return False
    try:
        return _is_installed_file(inspect.getfile(value))
    except (OSError, TypeError):  # of C, or of a notebook
        return module in sys.modules and not hasattr(sys.modules[module], "__file__")

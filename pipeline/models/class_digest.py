"""A digest of a class of a running program: of its source text, and of whatever of the program it uses.

A notebook's class has no file, and is changed by running a cell again. What it calls, and the constants that it reads,
may stand in other cells. All of this decides its numbers.
"""

import inspect
import types
from collections.abc import Iterator
from typing import Any

from pipeline.runtime.hashing import digest

CONSTANTS = (bool, int, float, complex, str, bytes, type(None), list, tuple, dict, set)
MEMBERS = (staticmethod, classmethod)


def class_digest(cls: Any) -> str:
    """The digest of a class or function, of its base classes and of the functions and constants that it uses.

    What lies in an installed package, Keras for one, counts by its name alone.
    """
    return digest("\n".join(_texts(cls, set())).encode())


def _texts(value: Any, seen: set[int]) -> Iterator[str]:
    """Text by which a value, and what it uses, can be told from another."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if _is_installed(value):
        yield f"{value.__module__}.{value.__qualname__}"
    elif inspect.isclass(value):
        yield value.__qualname__
        for base in value.__bases__:
            yield from _texts(base, seen)
        for name, member in vars(value).items():
            if name not in ("__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__"):
                yield name
                yield from _texts(member, seen)
    elif isinstance(value, MEMBERS):
        yield from _texts(value.__func__, seen)
    elif isinstance(value, property):
        yield from _texts(value.fget, seen)
    elif inspect.isfunction(value):
        yield from _of_function(value, seen)
    elif isinstance(value, CONSTANTS):
        yield repr(value)
    elif hasattr(value, "tobytes") and hasattr(value, "shape"):  # an array
        yield f"{value.shape}{digest(value.tobytes())}"


def _of_function(function: types.FunctionType, seen: set[int]) -> Iterator[str]:
    try:
        yield inspect.getsource(function)
    except (OSError, TypeError):
        yield from _of_code(function.__code__)
    yield repr(function.__defaults__) + repr(function.__kwdefaults__)
    for name, value in inspect.getclosurevars(function).nonlocals.items():
        if name != "__class__":
            yield name
            yield from _texts(value, seen)
    for name in sorted(_global_names(function.__code__)):
        if name in function.__globals__ and not isinstance(function.__globals__[name], types.ModuleType):
            yield name
            yield from _texts(function.__globals__[name], seen)


def _of_code(code: types.CodeType) -> Iterator[str]:
    """What a function without source text does, as this version of Python compiles it."""
    yield f"{code.co_code.hex()}{code.co_names}{code.co_varnames}"
    for constant in code.co_consts:
        yield from _of_code(constant) if isinstance(constant, types.CodeType) else (repr(constant),)


def _global_names(code: types.CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_global_names, inner))


def _is_installed(value: Any) -> bool:
    """Whether a class or function is one of a package, which comes with a version."""
    if not (inspect.isclass(value) or inspect.isfunction(value) or inspect.isbuiltin(value)):
        return False
    if value.__module__ in ("builtins", None):
        return True
    try:
        file = inspect.getfile(value)
    except (OSError, TypeError):
        return False
    return "site-packages" in file or "dist-packages" in file

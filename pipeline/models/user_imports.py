"""What code of the user's own imports from its folder: while its file runs, and later, in a function that is called."""

import ast
import builtins
import contextlib
import importlib.machinery
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pipeline.installation import PACKAGE
from pipeline.models.named_imports import called_imports
from pipeline.runtime.logs import tell_once

OURS = "pipeline"  # the package under which this project registers its own classes
_active: list[Path] = []  # the folders whose modules are the ones that are imported now


def named_files(path: Path) -> set[Path]:
    """The files in a file's folder that its source, or theirs, names in any `import`, or call that imports,
    also inside functions."""
    folder, found, todo = path.parent, set[Path](), [path]
    while todo:
        file = todo.pop()
        new = {named for named in _named_in(file, folder) if is_inside(named, folder)} - found - {path}
        found |= new
        todo += new
    return found


def _named_in(file: Path, folder: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # which whoever imports it gets to see
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(folder, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = folder if not node.level else file.parents[node.level - 1]
            start = node.module.split(".") if node.module else []
            for alias in node.names:
                yield from _files_of(base, [*start, alias.name])
    for name, line in called_imports(tree):
        if name is None:
            tell_once(f"code: {file.name} imports a module by a computed name in line {line}, which is not part of the "
                      "runs' identity; after a change of that module, take another folder of results")  # fmt: skip
        else:
            yield from _files_of(file.parent if name.startswith(".") else folder, name.lstrip(".").split("."))


def _files_of(folder: Path, parts: list[str]) -> Iterator[Path]:
    """The files that an import of the name with these parts runs, as far as they lie in the folder."""
    for part in parts:
        package, module = folder / part / "__init__.py", folder / f"{part}.py"
        if package.is_file():
            yield package
        elif module.is_file():
            yield module
            return
        folder /= part


@contextlib.contextmanager
def as_script(folder: Path, modules: dict[str, ModuleType]) -> Iterator[None]:
    """Within the context, modules in a folder can be imported: those in `modules`, or else anew, and are added there.

    Random states and the search path are afterwards as before. The modules are forgotten, so that files in different
    folders may import different ones by the same name; each finds its own again, see `importer`.
    """
    states = random.getstate(), np.random.get_state(), sys.dont_write_bytecode, sys.path[:], sys.meta_path[:]
    aside = {name: sys.modules.pop(name) for name in {*_modules_in(folder), *modules} if name in sys.modules}
    known = set(sys.modules)
    sys.modules.update(modules)
    sys.path.insert(0, str(folder))
    sys.meta_path.insert(0, _Finder(folder, importer(folder, modules)))
    sys.dont_write_bytecode = True
    _active.append(folder)
    try:
        yield
    finally:
        _active.pop()
        modules.update({name: sys.modules.pop(name) for name in _modules_in(folder) if name not in known})
        sys.modules.update(aside)
        random.setstate(states[0])
        np.random.set_state(states[1])
        sys.dont_write_bytecode, sys.path[:], sys.meta_path[:] = states[2:]


def importer(folder: Path, modules: dict[str, ModuleType]) -> dict[str, Any]:
    """The builtins of code in a folder, whose `import` finds the folder's modules whenever it runs."""

    def find(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        package = (globals or {}).get("__package__") or "" if level else name
        top = package.partition(".")[0]
        ours = (folder / top).is_dir() or (folder / f"{top}.py").is_file()
        if not ours or top == OURS or (_active and _active[-1] == folder):
            return builtins.__import__(name, globals, locals, fromlist, level)
        with as_script(folder, modules):
            return builtins.__import__(name, globals, locals, fromlist, level)

    return vars(builtins) | {"__import__": find}


class _Finder:
    """Finds the modules in a folder, and gives them the builtins of its code."""

    def __init__(self, folder: Path, names: dict[str, Any]) -> None:
        self.folder, self.names = folder, names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not importlib.machinery.SourceFileLoader or not spec.origin:
            return None
        if not is_inside(Path(spec.origin), self.folder):
            return None
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
        spec.loader.names = self.names
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    names: dict[str, Any]

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self.names
        super().exec_module(module)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, and is none of an installed package or of this project."""
    inside = path.is_relative_to(folder) and not path.is_relative_to(PACKAGE)
    return inside and not {"site-packages", "dist-packages"} & set(path.relative_to(folder).parts)


def _modules_in(folder: Path) -> list[str]:
    """The names of the imported modules whose files lie in a folder, but for installed packages and this project."""
    names = []
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)  # of a folder
        if not str(place).startswith(str(folder)) or name.partition(".")[0] in (OURS, "__main__") or "@" in name:
            continue
        if is_inside(Path(str(place)), folder):
            names.append(name)
    return names

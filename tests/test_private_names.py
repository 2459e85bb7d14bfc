"""The private names of other libraries are used in one module per library."""

import ast
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.schema import PROJECT

PACKAGE = PROJECT / "pipeline"
# The one module for each library. No private name of OmegaConf is needed.
ADAPTERS = {
    "biases/introspection.py": "Keras",
    "experiment/compositions.py": "Hydra",
    "training/pfor.py": "TensorFlow",
}
DOCUMENTED = {"_replace", "_asdict", "_fields", "_make", "_exit"}  # of named tuples and of os: public by their manuals
PRIVATE_MODULES = ("tensorflow.python", "keras.src")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_defined_in(tree: ast.AST) -> Iterator[str]:
    """The private functions, classes, variables and attributes that a module makes itself."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            yield node.attr


def is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def foreign_private_names(tree: ast.AST, defined: set[str]) -> Iterator[str]:
    """The private attributes and modules of other libraries that a module uses, also by `getattr(x, "_name")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not is_self(node.value):
            names = [node.attr]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("attr"):
            names = [a.value for a in node.args[1:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in private_module(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            imported = [alias.name for alias in node.names]
            names = [*private_module(node.module or ""), *imported]
        else:
            continue
        yield from (name for name in names if is_private(name) and name not in defined | DOCUMENTED)


def private_module(path: str) -> list[str]:
    """What is private about a module's path: a part with an underscore, or a package that its library calls private."""
    private = any(f"{path}.".startswith(f"{name}.") for name in PRIVATE_MODULES)
    return [f"_{path}"] if private else [part for part in path.split(".") if is_private(part)]


def private_uses(folder: Path) -> dict[str, set[str]]:
    """Foreign private names by module, of the modules that use any."""
    trees = {file.relative_to(folder).as_posix(): ast.parse(file.read_text("utf-8")) for file in folder.rglob("*.py")}
    defined = {name for tree in trees.values() for name in names_defined_in(tree)}
    uses = {module: set(foreign_private_names(tree, defined)) for module, tree in trees.items()}
    return {module: names for module, names in uses.items() if names}


def test_private_names_of_other_libraries_are_used_in_their_adapter_only():
    """Only the adapter modules use private names; each of them still does, else it is no adapter."""
    uses = private_uses(PACKAGE)
    others = {module: names for module, names in uses.items() if module not in ADAPTERS}
    assert not others
    assert not set(ADAPTERS) - set(uses)


def test_every_way_to_use_a_private_name_is_noticed(tmp_path):
    """Attributes, `getattr`, private modules and private imports are noticed; names of the project itself are not."""
    (tmp_path / "ours.py").write_text(
        "class Ours:\n    def __init__(self):\n        self._mine = 1\n    def _run(self):\n        return self._mine\n"
        "def f(x):\n    return x._mine, x._run(), x._replace(a=1), x.__class__, _total(x)\ndef _total(x): ...\n"
    )
    sources = {
        "attribute": "layer._flatten_layers()", "text": "getattr(layer, '_layers')", "probe": "hasattr(x, '_losses')",
        "module": "import hydra._internal.utils", "member": "from hydra._internal import utils",
        "name": "from keras import _tf_keras", "tensorflow": "from tensorflow.python.ops import pfor",
        "keras": "import keras.src.backend",
    }  # fmt: skip
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(f"{source}\n")
    assert set(private_uses(tmp_path)) == {f"{name}.py" for name in sources}

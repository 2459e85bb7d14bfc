"""Read the constructor arguments of Keras' classes from Keras' source text, without importing it.

Importing Keras takes seven seconds or more, and a typing error in a config should not wait for it. So classes are
found by their `@keras_export("keras.<group>.<Name>")` line, and their `__init__` is parsed, never run. The answer is
always that of the installed Keras: no table has to be kept.
"""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pipeline.config.user_classes import REQUIRED as REQUIRED
from pipeline.config.user_classes import user_arguments, user_class, user_names

# This project's initializers, parsed like Keras' own.
CUSTOM_INITIALIZERS = Path(__file__).parents[1] / "models" / "initializers" / "custom.py"

# What the constructors of these layers pass on by `**kwargs` to that of RNN.
_PASSED_ON = {name: {"zero_output_for_mask": False} for name in ("GRU", "LSTM", "SimpleRNN")}

_OPERATION = re.compile(r"^class (\w+)\(Operation\):", re.MULTILINE)
_EXPORTED_CLASS = re.compile(r"^@keras_export\(([^@]*?)\)\s*(?:@\w+[^\n]*\n)*class (\w+)\(", re.MULTILINE)
_CLASS = re.compile(r"^class ([A-Z]\w+)\(", re.MULTILINE)


def class_names(group: str) -> list[str]:
    """The public class names of a group, e.g. `class_names("initializers")` contains `"GlorotUniform"`.

    The groups are `layers`, `initializers`, `optimizers`, `optimizers.schedules`, `losses`, as in `keras.<group>`. The
    user's own that this process knows are among them, `mine>MyInitializer`.
    """
    return sorted([*_source_files(group), *user_names(group)])


def is_custom(group: str, class_name: str) -> bool:
    """Whether a class is this project's, not Keras'."""
    return _source_files(group).get(class_name) == CUSTOM_INITIALIZERS


def constructor_arguments(group: str, class_name: str) -> dict[str, object]:
    """The arguments of a class's constructor and their defaults: `REQUIRED` without one, None if it is no literal.

    A class without `__init__` has the arguments of its base class in the same file. Raises KeyError for an unknown
    class.
    """
    own = user_class(group, class_name)
    return _parsed_arguments(group, class_name) if own is None else user_arguments(own)


def layer_settings(class_name: str) -> dict[str, object]:
    """The same of a layer, with what its constructor passes on without naming it."""
    return constructor_arguments("layers", class_name) | _PASSED_ON.get(class_name, {})


@cache
def _parsed_arguments(group: str, class_name: str) -> dict[str, object]:
    tree = ast.parse(_source_files(group)[class_name].read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    node = classes.get(class_name)
    while node is not None:
        for member in node.body:
            if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                return _parameters(member.args)
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        node = next((classes[base] for base in bases if base in classes), None)
    return {}


@cache
def operation_names(module: str) -> list[str]:
    """The classes of the operations of `keras.ops` that a module of it defines: `Add` of `numpy`."""
    path = Path(_keras_root(), "src", "ops", f"{module}.py")
    return _OPERATION.findall(path.read_text(encoding="utf-8")) if path.is_file() and module.isidentifier() else []


def _keras_root() -> Path:
    spec = find_spec("keras")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("Keras is not installed: run `uv sync`")
    return Path(spec.origin).parent


@cache
def _source_files(group: str) -> dict[str, Path]:
    """The source file of each public class of a group."""
    spec = find_spec("keras")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("Keras is not installed: run `uv sync`, or `pip install keras`")
    files = {}
    for path in sorted((Path(spec.origin).parent / "src" / group.replace(".", "/")).rglob("*.py")):
        if path.name.endswith("_test.py"):
            continue
        for exports, name in _EXPORTED_CLASS.findall(path.read_text(encoding="utf-8")):
            if f'"keras.{group}.{name}"' in exports:
                files[name] = path
    if group == "initializers":
        names = _CLASS.findall(CUSTOM_INITIALIZERS.read_text(encoding="utf-8"))
        files |= dict.fromkeys(names, CUSTOM_INITIALIZERS)
    return files


def _parameters(args: ast.arguments) -> dict[str, object]:
    positional = [*args.posonlyargs, *args.args][1:]  # without self
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    pairs = [*zip(positional, defaults, strict=True), *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return {arg.arg: REQUIRED if default is None else _literal(default) for arg, default in pairs}


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None

"""What Keras' classes accept, read from Keras' source text.

Importing Keras takes over ten seconds, and a typing error in a config should not cost them. So the classes are
found by their `@keras_export("keras.<group>.<Name>")` line and their `__init__` is parsed, never run. What is
checked is therefore always what the installed Keras accepts; there is no table here that could fall behind it.
"""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

CUSTOM_INITIALIZERS = (
    Path(__file__).parents[1] / "models" / "initializers" / "custom.py"
)  # parsed like Keras' own files
REQUIRED = object()  # the "default" of an argument that has none

_CLASS = re.compile(r"^@keras_export\(([^@]*?)\)\s*(?:@\w+[^\n]*\n)*class (\w+)\(([\w., ]*)\)", re.MULTILINE)


@cache
def _classes(group: str) -> dict[str, Path]:
    """Class name -> source file, for `group` in layers, initializers, optimizers, optimizers.schedules, losses."""
    spec = find_spec("keras")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("Keras is not installed: run `uv sync`")
    found = {}
    for path in sorted((Path(spec.origin).parent / "src" / group.replace(".", "/")).rglob("*.py")):
        if path.name.endswith("_test.py"):
            continue
        for exports, name, _ in _CLASS.findall(path.read_text(encoding="utf-8")):
            if f'"keras.{group}.{name}"' in exports:
                found[name] = path
    if group == "initializers":
        text = CUSTOM_INITIALIZERS.read_text(encoding="utf-8")
        found |= dict.fromkeys(re.findall(r"^class ([A-Z]\w+)\(", text, re.MULTILINE), CUSTOM_INITIALIZERS)
    return found


def class_names(group: str) -> list[str]:
    """The public class names of a group, e.g. `names("initializers")` holds `"GlorotUniform"`."""
    return sorted(_classes(group))


def is_custom(group: str, class_name: str) -> bool:
    """Whether a class is this project's, not Keras'."""
    return _classes(group).get(class_name) == CUSTOM_INITIALIZERS


@cache
def constructor_arguments(group: str, class_name: str) -> dict[str, object]:
    """Constructor arguments of a Keras class with their defaults; `REQUIRED` where there is no default.

    Defaults that are not literals come as None. Arguments that a class hands on by `**kwargs` are those of its
    base class, looked up in the same file. Raises KeyError for an unknown class.
    """
    tree = ast.parse(_classes(group)[class_name].read_text(encoding="utf-8"))
    bodies = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    node = bodies.get(class_name)
    while node is not None:
        init = next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
        if init is not None:
            return _parameters(init.args)
        node = next((bodies[b.id] for b in node.bases if isinstance(b, ast.Name) and b.id in bodies), None)
    return {}


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

"""The modules that code names when it imports: by a statement, or by a call such as `import_module("helpers")`."""

import ast
import dis
import re
import types
from collections.abc import Iterator

CALLS = ("import_module", "__import__")
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def called_imports(tree: ast.AST) -> Iterator[tuple[str | None, int]]:
    """Each import by a call in source text: the module, None where that is computed, and the line."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in CALLS:
            given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "name")][:1]
            text = given[0].value if given and isinstance(given[0], ast.Constant) else None
            yield text if isinstance(text, str) else None, node.lineno


def statement_imports(code: types.CodeType) -> set[str]:
    """The modules that the import statements of a function name."""
    instructions = (instruction for part in codes(code) for instruction in dis.get_instructions(part))
    return {str(i.argval) for i in instructions if i.opname == "IMPORT_NAME" and i.argval}


def call_candidates(code: types.CodeType) -> set[str] | None:
    """The texts in a function that calls may import by, whether or not they do; None where no call imports."""
    if not global_names(code) & set(CALLS):
        return None
    texts = {text for part in codes(code) for text in part.co_consts if isinstance(text, str)}
    return {text for text in texts if _NAME.fullmatch(text)}


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function, and of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def global_names(code: types.CodeType) -> set[str]:
    """The names of globals and attributes that a function uses, with those of functions within it."""
    return {name for part in codes(code) for name in part.co_names}

"""NUMERICS_VERSION is raised when numbers change: the guard of the keys by which stored results are found."""

import ast
import hashlib
import io
import re
import tokenize
from pathlib import Path

from pipeline.config import PROJECT
from pipeline.identity import NUMERICS_VERSION

# Files whose code decides the numbers of a run, and the hash of what they did when NUMERICS_VERSION was last settled.
DECISIVE = ("data", "models", "vectorize", "objectives", "optimizers", "memory", "own_initializers", "stack",
            "training", "biases", "runtime", "config")  # fmt: skip
KNOWN = (1, "a9577070bd21f9d2")


def code_of(path: Path) -> str:
    """The code of a file without comments, docstrings and layout, whatever Python reads it."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines[docstring.lineno - 1 : docstring.end_lineno] = [""] * (docstring.end_lineno - docstring.lineno + 1)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return re.sub(r"\s+", "", "".join(lines))


def test_numerics_version_is_settled():
    """Results of code that gives other numbers would pass for results of today's."""
    files = [PROJECT / "pipeline" / f"{name}.py" for name in DECISIVE]
    found = hashlib.sha256("".join(map(code_of, files)).encode()).hexdigest()[:16]
    assert (NUMERICS_VERSION, found) == KNOWN, (
        "the code that decides numbers has changed. Train the default study before and after: if any number differs, "
        f"raise NUMERICS_VERSION in {Path('pipeline/identity.py')}; then set KNOWN to (NUMERICS_VERSION, {found!r})"
    )

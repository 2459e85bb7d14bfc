"""NUMERICS_VERSION is raised when numbers change: the guard of the keys by which stored results are found."""

import ast
import hashlib
import io
import re
import tokenize
from pathlib import Path

from pipeline.config.schema import PROJECT
from pipeline.runtime.hashing import NUMERICS_VERSION

# The packages and modules whose code decides the numbers of a run, and the hash of what they did when NUMERICS_VERSION
# was last settled.
DECISIVE = ("config/schema.py", "runtime/device.py", "runtime/hashing.py", "biases/variables.py",
            "biases/extraction.py", "biases/introspection.py", "data", "models", "training")  # fmt: skip
KNOWN = (1, "182d2ed4ba68aecb")


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
    places = [PROJECT / "pipeline" / place for place in DECISIVE]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    found = hashlib.sha256("".join(map(code_of, files)).encode()).hexdigest()[:16]
    assert (NUMERICS_VERSION, found) == KNOWN, (
        "the code that decides numbers has changed. Train the default study before and after: if any number differs, "
        f"raise NUMERICS_VERSION in pipeline/runtime/hashing.py; then set KNOWN to (NUMERICS_VERSION, {found!r})"
    )

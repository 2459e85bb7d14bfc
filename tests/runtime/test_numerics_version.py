"""Versions are raised when numbers change: the guard of the keys by which stored results are found."""

import ast
import hashlib
import io
import re
import tokenize
from pathlib import Path

import pytest

from pipeline.analysis.ablation import VERSION
from pipeline.config.schema import PROJECT
from pipeline.runtime.hashing import NUMERICS_VERSION

# The packages and modules whose code decides the numbers of a run, and those whose code decides the numbers of the
# tables that are made from runs; each with its version, and with a hash of the code when that version was last settled.
RUNS = ("config/schema.py", "runtime/device.py", "runtime/hashing.py", "biases/variables.py", "biases/extraction.py",
        "biases/introspection.py", "data", "models", "training", "experiment/check.py",
        "experiment/run.py", "experiment/code.py")  # fmt: skip
TABLES = ("analysis/ablation.py", "experiment/ablation.py", "experiment/evaluation.py")
SUBJECTS = {
    "NUMERICS_VERSION in pipeline/runtime/hashing.py": (RUNS, NUMERICS_VERSION, (1, "3213e689f6cef51f")),
    "VERSION in pipeline/analysis/ablation.py": (TABLES, VERSION, ("1", "5c0329481e540132")),
}


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


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_version_is_settled(name: str) -> None:
    """The version and the hash of the code are those that were settled together."""
    places, version, settled = SUBJECTS[name]
    paths = [PROJECT / "pipeline" / place for place in places]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]
    code = hashlib.sha256("".join(map(code_of, files)).encode()).hexdigest()[:16]
    assert (version, code) == settled, (
        "code that decides numbers has changed. Compute the same results before and after, also those that the change "
        f"is about: if any number differs, raise {name}; then write ({version!r}, {code!r}) into this test"
    )

"""Code stays short enough to be read in one sitting."""

import ast

from pipeline.config.schema import PROJECT

MOST_LINES = {"module": 300, "function": 60}


def test_modules_and_functions_are_short() -> None:
    """No module of pipeline/ has more than 300 lines, and no function more than 60."""
    too_long = []
    for path in sorted((PROJECT / "pipeline").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(PROJECT).as_posix()
        lines = len(text.splitlines())
        if lines > MOST_LINES["module"]:
            too_long.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MOST_LINES["function"]:
                too_long.append(f"{name}, {node.name}: {node.end_lineno - node.lineno + 1} lines")
    assert too_long == []

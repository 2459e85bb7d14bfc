"""The digest of a class changes with whatever decides its numbers, and with nothing else."""

import functools
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.models.class_digest import class_digest
from pipeline.runtime.logs import forget_told, told_to

SOURCE = """
import keras
class Own(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return keras.ops.zeros(shape) + VALUE{use}
"""


class Box:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Plain(keras.initializers.Initializer):
    def __init__(self, value: float) -> None:
        self.value = value


def own(value: Any, use: str = "") -> Any:
    """A class of a program in which the global VALUE is this."""
    namespace: dict[str, Any] = {"VALUE": value, "__name__": "__main__"}
    exec(SOURCE.format(use=use), namespace)
    return namespace["Own"]


@pytest.mark.parametrize("make", [
    float,
    lambda v: [v, {"a": {v}}],
    lambda v: frozenset({v, "b"}),
    np.float32,
    lambda v: np.full(3, v),
    keras.ops.convert_to_tensor,
    keras.initializers.Constant,
    lambda v: [keras.initializers.RandomNormal(stddev=v)],
    lambda v: SimpleNamespace(v=v),
    Box,
    Plain,
    Path,
    lambda v: functools.partial(max, v),
    lambda v: Box(lambda: v),
    lambda v: functools.cache(lambda: v),
    Box(0).__init__.__get__,
], ids=["number", "containers", "frozenset", "scalar", "array", "tensor", "initializer", "listed", "namespace", "slots",
        "own initializer", "path", "partial", "closure", "cached", "method"])  # fmt: skip
def test_what_a_class_reads_is_part_of_its_digest(make: Any) -> None:
    """Numbers, arrays, objects of Keras and of one's own, at any depth."""
    values = ("0.1", "5.0") if make is Path else (Box(0.1), Box(5.0)) if "__get__" in repr(make) else (0.1, 5.0)
    one, again, other = (class_digest(own(make(value))) for value in (values[0], values[0], values[1]))
    assert one == again
    assert one != other


def module(value: float, body: str = "return FACTOR") -> ModuleType:
    made = ModuleType("helpers")
    made.__file__ = "/home/user/helpers.py"
    exec(f"FACTOR, OTHER = {value}, 0\ndef factor():\n    {body}\ndef unused():\n    return OTHER", vars(made))
    return made


def test_a_module_of_the_users_is_followed() -> None:
    """What the class uses of it: a changed function or number, and no other."""
    digests = [class_digest(own(helpers, ".factor()")) for helpers in (module(0.1), module(5), module(5, "return 5"))]
    assert len(set(digests)) == 3
    changed = module(0.1)
    vars(changed)["OTHER"] = 3
    assert class_digest(own(changed, ".factor()")) == digests[0]


STATEMENT = "from late_helper import factor"


@pytest.mark.parametrize(
    "code", [STATEMENT, "import importlib; factor = importlib.import_module('late_helper').factor"]
)
@pytest.mark.parametrize("imported", [True, False])
def test_a_module_that_is_imported_in_a_call_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: bool, code: str
) -> None:
    """Whether the program has it already or not."""
    monkeypatch.syspath_prepend(tmp_path)
    digests = []
    for value in (1, 22):
        (tmp_path / "late_helper.py").write_text(f"def factor(): return {value}\n")
        sys.modules.pop("late_helper", None)
        namespace: dict[str, Any] = {"__name__": "__main__"}
        if imported:
            made = ModuleType("late_helper")
            made.__file__ = str(tmp_path / "late_helper.py")
            vars(made)["factor"] = eval(f"lambda: {value}")
            monkeypatch.setitem(sys.modules, "late_helper", made)
        exec(f"def own():\n    {code}\n    return factor()", namespace)
        digests.append(class_digest(namespace["own"]))
    assert digests[0] != digests[1]


def test_a_module_of_a_computed_name_is_said_not_to_be_followed() -> None:
    """What it is, only the call knows."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def own(name):\n    return __import__(name).factor()", namespace)
    lines = list[str]()
    forget_told()
    with told_to(lines.append):
        class_digest(namespace["own"])
    assert [line.partition(", which")[0] for line in lines] == ["own: it imports a module by a computed name"]


PRINTED = """
import keras
from pipeline.models.class_digest import class_digest
from pipeline.runtime.logs import forget_told, told_to
NAMES = {"a", "bb", "ccc", "dddd"}
TABLE = {"x": frozenset(NAMES), "y": [NAMES]}
class Own(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return len(NAMES) + len(TABLE) + ("a" in {"a", "bb", "ccc"})
print(class_digest(Own))
"""


@pytest.mark.slow
def test_a_set_of_texts_is_the_same_in_every_process() -> None:
    """Python orders it by hashes that are other ones in each."""
    printed = [
        subprocess.run([sys.executable, "-c", PRINTED], cwd=PROJECT, capture_output=True, text=True, check=True,
                       env=os.environ | {"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert printed[0] == printed[1] != ""


def test_what_cannot_be_told_apart_is_refused() -> None:
    """By its name in the program."""
    with pytest.raises(ConfigError, match=r"^Own: it uses VALUE, of type lock, and a change of that would go"):
        class_digest(own(threading.Lock()))

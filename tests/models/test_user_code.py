"""Code of the user's own: what runs, what it registers, and how a file that cannot be used is refused."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.keras_signatures import class_names, constructor_arguments
from pipeline.config.user_classes import user_class
from pipeline.errors import ConfigError
from pipeline.models.user_code import find_function, load_code, register_class
from pipeline.runtime.logs import told_to

MINE = """
import keras
import numpy as np

@keras.saving.register_keras_serializable(package="{package}")
class Mine(keras.initializers.Initializer):
    def __init__(self, value=0.1, seed=None):
        self.value, self.seed = value, seed

    def __call__(self, shape, dtype=None):
        return keras.random.normal(shape, stddev=self.value, seed=self.seed)

def build():
    return 1
"""


def write(path: Path, package: str, more: str = "") -> Path:
    path.write_text(MINE.format(package=package) + more)
    return path


def test_a_file_is_run_once_and_again_when_it_changes(tmp_path: Path) -> None:
    """The same bytes give the same classes without running again; others are run, with another digest."""
    path = str(write(tmp_path / "größe #1.py", "once"))
    (first,), (second,) = load_code([path]), load_code([path])
    assert first is second and first.registers == ["once>Mine"] and "once>Mine" in class_names("initializers")
    assert constructor_arguments("initializers", "once>Mine") == {"value": 0.1, "seed": None}
    write(tmp_path / "größe #1.py", "once", "# other bytes")
    (third,) = load_code([path])
    assert third.digest != first.digest and user_class("initializers", "once>Mine") is third.classes[0].object
    assert not list(tmp_path.rglob("__pycache__"))


def test_what_a_file_imports_from_its_folder_is_part_of_it(tmp_path: Path) -> None:
    """A module beside the file counts with its bytes, and one of the same name in another folder is another."""
    digests = []
    for folder, value in (("a", 1), ("b", 2), ("b", 3)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "nu_helper.py").write_text(f"VALUE = {value}")
        path = write(tmp_path / folder / "mine.py", "helped", "\nimport nu_helper\nVALUE = nu_helper.VALUE\n")
        (file,) = load_code([str(path)])
        assert vars(file.module)["VALUE"] == value
        digests.append(file.digest)
    assert len(set(digests)) == 3 and "nu_helper" not in sys.modules and not list(tmp_path.rglob("__pycache__"))


def test_what_a_function_imports_is_part_of_it_too(tmp_path: Path) -> None:
    """A module that is imported only when a function is called, and what that one imports so, of the same folder."""
    lazy = "\ndef value():\n    import nu_lazy\n    return nu_lazy.value()\n"
    digests, values = [], []
    for folder, number in (("a", 1), ("b", 2), ("b", 3)):
        (tmp_path / folder / "nu_parts").mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "nu_parts" / "__init__.py").write_text("")
        (tmp_path / folder / "nu_parts" / "deep.py").write_text(f"VALUE = {number}")
        (tmp_path / folder / "nu_lazy.py").write_text(
            "def value():\n    from nu_parts import deep\n    return deep.VALUE\n"
        )
        (file,) = load_code([str(write(tmp_path / folder / "mine.py", "lazy", lazy))])
        digests.append(file.digest)
        values.append(vars(file.module)["value"]())
    assert values == [1, 2, 3] and len(set(digests)) == 3 and not list(tmp_path.rglob("__pycache__"))
    assert not {"nu_lazy", "nu_parts", "nu_parts.deep"} & set(sys.modules)


@pytest.mark.parametrize("call", ["importlib.import_module('nu_called')", "__import__('nu_called')"])
def test_what_a_call_imports_is_part_of_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Where its name stands there as text; of a computed one the user is told."""
    lines = list[str]()
    monkeypatch.syspath_prepend(tmp_path)
    body = "\nimport importlib\ndef value():\n    return {}.VALUE\n"
    digests = []
    for number in (1, 22):
        (tmp_path / "nu_called.py").write_text(f"VALUE = {number}")
        with told_to(lines.append):
            (file,) = load_code([str(write(tmp_path / "mine.py", "called", body.format(call)))])
        sys.modules.pop("nu_called", None)
        assert vars(file.module)["value"]() == number
        digests.append(file.digest)
    assert digests[0] != digests[1] and lines == []
    sys.modules.pop("nu_called", None)
    computed = call.replace("'nu_called'", "'nu_' + str(0)")
    with told_to(lines.append):
        load_code([str(write(tmp_path / "mine.py", "called", body.format(computed)))])
    assert [line.partition(" by ")[0] for line in lines] == ["code: mine.py imports a module"]


def test_the_callers_state_is_as_before(tmp_path: Path) -> None:
    """Code that draws, or changes the search path, changes neither for the program that runs it."""
    states = random.getstate(), np.random.get_state()[1].tolist(), sys.path[:]  # type: ignore[union-attr]
    more = "import random, sys\nrandom.seed(1)\nnp.random.seed(1)\nsys.path.append('/nowhere')\n"
    load_code([str(write(tmp_path / "mine.py", "states", more))])
    assert (random.getstate(), np.random.get_state()[1].tolist(), sys.path) == states  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("1 / 0", "code: {path} given, which raises ZeroDivisionError in line 1: division by zero; allowed: code that"),
        (
            "\n\nimport nowhere_at_all",
            "code: {path} given, which raises ModuleNotFoundError in line 3: No module named",
        ),
        ("def f(:", "code: {path} given, which raises SyntaxError in line 1: "),
        ("import sys; sys.exit(3)", "code: {path} given, which raises SystemExit in line 1: 3"),
        ("import keras; keras.config.set_floatx('float64')", "code: {path} given, which changes keras.config.floatx; "),
        (
            MINE.format(package="pipeline"),
            "code: {path} given, which registers pipeline>Mine; allowed: another package",
        ),
    ],
)
def test_code_that_cannot_be_used_is_refused(tmp_path: Path, code: str, line: str) -> None:
    """A file that raises, or that would change other models, is refused in a line, and registers nothing."""
    import keras

    before = dict(keras.saving.get_custom_objects())
    path = tmp_path / "m.py"
    path.write_text(code)
    with pytest.raises(ConfigError) as refusal:
        load_code([str(path)])
    text = str(refusal.value).replace(str(path), "{path}")
    assert text.startswith(line.format(path="{path}"))
    assert keras.saving.get_custom_objects() == before and keras.config.floatx() == "float32"


def test_files_that_are_missing_or_disagree_are_refused(tmp_path: Path) -> None:
    """A file that does not exist, a folder, and two files that register the same name are named."""
    for path, reason in ((tmp_path / "none.py", "which does not exist"), (tmp_path, "which is a folder")):
        with pytest.raises(ConfigError, match=reason):
            load_code([str(path)])
    both = [str(write(tmp_path / name, "both", f"# {name}")) for name in ("one.py", "two.py")]
    with pytest.raises(ConfigError, match=r"which registers both>Mine, as .*one.py does"):
        load_code(both)


def test_a_class_of_a_program_and_a_function_of_a_file(tmp_path: Path) -> None:
    """A class that Python hands over is known by its registered name; a function is found by `mine:build`."""
    import keras

    class Given(keras.initializers.Initializer):
        pass

    known = register_class(Given)
    assert known.name == "Custom>Given" and user_class("initializers", "Custom>Given") is Given
    assert register_class(Given) == known
    files = load_code([str(write(tmp_path / "mine.py", "functions"))])
    assert find_function(files, "mine:build", "model.function")() == find_function(files, "build", "x")() == 1
    with pytest.raises(ConfigError, match=r"model.function: mine:buid given; allowed: .* mine:build"):
        find_function(files, "mine:buid", "model.function")


def test_the_bias_of_a_layer_of_ones_own_is_found() -> None:
    """What a layer of the user's own keeps as `bias`, set by its `bias_initializer`, is a bias; else it is unknown."""
    import keras

    from pipeline.biases.extraction import find_biases

    class Shift(keras.layers.Layer):
        def __init__(self, bias_initializer: str = "ones", **kwargs: object) -> None:
            super().__init__(**kwargs)
            self.bias_initializer = keras.initializers.get(bias_initializer)

        def build(self, input_shape: tuple[int, ...]) -> None:
            self.bias = self.add_weight(shape=input_shape[-1:], initializer=self.bias_initializer)

    layer = Shift(name="shift")
    layer.build((None, 3))
    assert [bias.kind for bias in find_biases(layer)] == ["unknown"]
    register_class(Shift)
    assert [bias.kind for bias in find_biases(layer)] == ["bias"]

"""A model that a function of the user's returns trains, is not trained again, and is after its file has changed."""

from pathlib import Path

import pytest

from pipeline.store.runs import RunStore

SOURCE = """import keras

scaled = keras.layers.Rescaling(2.0)


def narrow():
    return keras.Sequential([keras.layers.Dense(2)])


def build():
    hidden = [keras.layers.Dense(5, activation="relu"), keras.layers.Dense(4, activation="relu", name="dense_7")]
    return keras.Sequential([scaled, *hidden, keras.layers.Dense(3, activation="softmax")])
"""


@pytest.fixture
def train(cli, tmp_path):
    """A function that trains `build` of a file, and returns what was said and when each run was stored."""
    store = RunStore(tmp_path / "results", "iris-build")

    def run(*overrides):
        code = [f"code=[{tmp_path / 'mine.py'}]", "model=python", "model.function=mine:build", "study=iris-build"]
        small = ["data=iris", "seeds=2", "training.epochs=1", "training.xla=false", "ablation=false"]
        result = cli(*code, *small, *overrides)
        assert result.code == 0, result.err
        written = {run.path: (run.path / "run.json").stat().st_mtime_ns for run in store.runs()}
        return result.out + result.err, written

    (tmp_path / "mine.py").write_text(SOURCE)
    return run


@pytest.mark.slow
def test_a_model_of_a_function_is_trained_once_for_each_state_of_its_file(train, tmp_path):
    """A comment is another state: what a file's code does, nobody can tell from its text."""
    _, stored = train("bias_initializer=ones")
    assert len(stored) == 2
    assert train("bias_initializer=ones")[1] == stored
    path: Path = tmp_path / "mine.py"
    path.write_text(f"{SOURCE}# another state\n")
    _, again = train("bias_initializer=ones")
    assert again.keys() == stored.keys()
    assert not set(again.values()) & set(stored.values())
    assert len(list((tmp_path / "results" / ".replaced").rglob("run.json"))) == 2


@pytest.mark.slow
def test_a_setting_names_layers_as_the_function_does(train, tmp_path):
    """`dense_1` is its last layer, which is called dense_2 here, whatever else was made in the program before."""
    import keras

    keras.layers.Dense(1)
    said, stored = train("bias_initializer={dense_1: ones, dense_7: glorot_uniform}")
    assert said.count("model: dense_1 is called dense_2, dense_7 is called dense_1 here") == 1
    (arm,) = {path.parent.name for path in stored}
    assert arm.startswith("dense_1=glorot_uniform+dense_2=ones,")
    assert train("bias_initializer={dense_1: ones, dense_7: glorot_uniform}")[1] == stored

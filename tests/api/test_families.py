"""Whatever family its layers are of, a live model trains as the same model of a command line: the same bits."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from factories import compose_config
from layer_forms import live, spelled

from pipeline.api import compare_initializers
from pipeline.api.arms import read_arms
from pipeline.api.data import stage_data
from pipeline.api.models import read_model
from pipeline.api.settings import build_configs
from pipeline.experiment.run import run_arm

pytestmark = pytest.mark.slow
ROWS = 24
# Name -> (shape of a row, layers, before a Dense layer of three classes). Between them every family that has a bias,
# those that change what reaches one, and those that draw.
MODELS: dict[str, tuple[tuple[int, ...], list[tuple[str, dict[str, Any]]]]] = {
    "pictures": ((6, 6, 2), [
        ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu"}),
        ("BatchNormalization", {}), ("DepthwiseConv2D", {"kernel_size": 2}), ("GroupNormalization", {"groups": 2}),
        ("SeparableConv2D", {"filters": 4, "kernel_size": 2}), ("MaxPooling2D", {}),
        ("SpatialDropout2D", {"rate": 0.2}), ("Conv2DTranspose", {"filters": 2, "kernel_size": 2}),
        ("GlobalAveragePooling2D", {}),
    ]),
    "steps": ((6, 4), [
        ("Conv1D", {"filters": 4, "kernel_size": 2, "padding": "causal"}), ("DepthwiseConv1D", {"kernel_size": 2}),
        ("SeparableConv1D", {"filters": 4, "kernel_size": 2}), ("LayerNormalization", {}),
        ("Conv1DTranspose", {"filters": 4, "kernel_size": 2}), ("AveragePooling1D", {"pool_size": 2}),
        ("TimeDistributed", {"layer": ("Dense", {"units": 3})}), ("Flatten", {}),
    ]),
    "recurrent": ((4, 3), [
        ("LSTM", {"units": 3, "return_sequences": True}), ("GRU", {"units": 3, "return_sequences": True}),
        ("Bidirectional", {"layer": ("LSTM", {"units": 2, "return_sequences": True})}),
        ("SimpleRNN", {"units": 3}),
    ]),
    "cubes": ((4, 4, 4, 1), [
        ("Conv3D", {"filters": 2, "kernel_size": 2}), ("MaxPooling3D", {}),
        ("Conv3DTranspose", {"filters": 2, "kernel_size": 2}), ("GlobalMaxPooling3D", {}),
    ]),
    "films": ((2, 4, 1), [("ConvLSTM1D", {"filters": 1, "kernel_size": 2}), ("Flatten", {})]),
    "tokens": ((5,), [
        ("Embedding", {"input_dim": 9, "output_dim": 3}), ("GlobalAveragePooling1D", {}),
        ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 4, "bias_axes": "c"}), ("PReLU", {}),
        ("Dropout", {"rate": 0.3}), ("Dense", {"units": 4, "activation": "gelu"}), ("GaussianNoise", {"stddev": 0.1}),
    ]),
}  # fmt: skip
OUTPUT = ("Dense", {"units": 3, "activation": "softmax"})
COMMON = (
    "training.epochs=1",
    "training.batch_size=1000",
    "training.xla=false",
    "seeds=[3]",
    "bias_initializer=glorot",
)  # one step: the larger the batch, the fewer places a stack has


def rows(shape: tuple[int, ...], tokens: bool) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.integers(0, 9, (ROWS, *shape)) if tokens else draw.normal(size=(ROWS, *shape)).astype(np.float32)
    return x, np.arange(ROWS) % 3


def trained(config: Any) -> dict[str, np.ndarray]:
    """Every bias of the only run at every epoch."""
    outcome = run_arm(config)
    (run,) = outcome.runs
    assert outcome.trained == (3,)
    return run.biases("before", "after", "trajectory")


def check(model: Any, data: Any, tmp_path: Path, *yaml: str) -> None:
    """A live model trained through the settings that `compare_initializers` makes, against a command line's."""
    read = read_model(model)
    staged = stage_data({"data": data}, None, read.input_shape, tmp_path).keep_files(tmp_path / "live")
    given = {"epochs": 1, "batch_size": 1000, "xla": False, "seeds": [3]}
    (config,) = build_configs(read, staged, read_arms(["glorot_uniform"]), given, tmp_path / "live", "")
    path = staged.settings["path"]
    standardize = "data.standardize=false" if data[0].dtype.kind == "i" else "data.standardize=true"
    typed = compose_config("data=file", f"data.path={path}", "data.name=arrays", standardize, *yaml, *COMMON,
                           f"results={tmp_path / 'typed'}", "tracking=none")  # fmt: skip
    ours, theirs = trained(config), trained(typed)
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])
    moved = [name for name in ours if name.startswith("after/") if (ours[name] != ours[f"before/{name[6:]}"]).any()]
    assert moved, "nothing was trained"


@pytest.mark.parametrize("name", MODELS)
def test_a_live_model_trains_to_the_biases_of_yaml(tmp_path: Path, name: str) -> None:
    """Before training, after it and between: bit for bit."""
    shape, layers = MODELS[name]
    model = keras.Sequential([keras.Input(shape), *map(live, [*layers, OUTPUT])])
    yaml = ("model.name=sequential", f"model.layers={spelled([*layers, OUTPUT])}")
    check(model, rows(shape, name == "tokens"), tmp_path, *yaml)


def test_a_live_functional_model_trains_to_the_biases_of_its_file(tmp_path: Path) -> None:
    """With attention, merges and a nested model, which no list of layers holds."""
    L = keras.layers
    inputs = keras.Input((4, 3))
    x = L.MultiHeadAttention(2, 3, name="heads")(inputs, inputs)
    x = L.Add(name="sum")([x, inputs])
    nested = keras.Sequential([keras.Input((4, 3)), L.Conv1D(3, 2, padding="same", name="inner")], name="nested")
    attended = L.Flatten(name="flat")(L.Attention(name="attended")([x, x]))
    x = L.Concatenate(name="joined")([L.GlobalAveragePooling1D(name="mean")(nested(x)), attended])
    model = keras.Model(inputs, L.Dense(3, activation="softmax", name="output")(x))
    model.save(tmp_path / "functional.keras")
    check(model, rows((4, 3), False), tmp_path, "model=file", f"model.path={tmp_path / 'functional.keras'}")


def test_a_nested_graph_trains_as_its_file(tmp_path: Path) -> None:
    """One that is no chain, as where a recurrent layer is called with arguments."""
    steps = keras.Input((6, 3), name="steps")
    inner = keras.Model(steps, keras.layers.GRU(3, name="gru")(steps), name="inner")
    model = keras.Sequential([inner, keras.layers.Dense(2, activation="softmax", name="last")])
    path = tmp_path / "sequential.keras"
    model.save(path)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(40, 6, 3)), np.arange(40) % 2
    choice: dict[str, Any] = {"arms": ["zeros", "ones"], "seeds": 2, "epochs": 2, "progress": False}
    one, other = (compare_initializers(given, data, **choice) for given in (model, str(path)))
    assert one.table["mean"].tolist() == other.table["mean"].tolist()
    assert one.biases().equals(other.biases())

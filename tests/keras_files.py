"""Model files for tests: those that Keras saves of its layers, and small ones written by hand to be damaged."""

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

import h5py
import numpy as np

from pipeline.biases.extraction import bias_variables
from pipeline.biases.variables import Bias

FORMATS = ("keras", "weights.h5", "h5")


def chain(keras: Any, shape: tuple, *layers: Any, name: str | None = None) -> Any:
    """A built Sequential for rows of this shape."""
    model = keras.Sequential([keras.Input(shape), *layers], name=name)
    model.build((None, *shape))
    return model


def randomize(variables: Iterable[Any]) -> None:
    """Give every variable of floats other numbers, so that no two are equal."""
    draw = np.random.default_rng(0)
    for variable in variables:
        if "float" in variable.dtype:
            variable.assign(draw.normal(size=variable.shape))


def _dense(keras: Any) -> Any:
    L = keras.layers
    model = chain(keras, (6, 5), L.Dense(4, bias_initializer=keras.initializers.Constant(0.1)),
                  L.EinsumDense("abc,cd->abd", (6, 3), bias_axes="d"), L.EinsumDense("abc,cd->abd", (6, 3)),
                  L.PReLU(), L.Dropout(0.1), L.Flatten(), L.Dense(3, use_bias=False),
                  L.Dense(2, name="out"))  # fmt: skip
    model.compile("adam", "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


def _conv1d(keras: Any) -> Any:
    L = keras.layers
    return chain(keras, (9, 4), L.Conv1D(4, 2), L.DepthwiseConv1D(2, depth_multiplier=2), L.SeparableConv1D(3, 2),
                 L.Conv1DTranspose(3, 2), L.Conv1D(2, 1, use_bias=False))  # fmt: skip


def _conv2d(keras: Any) -> Any:
    L = keras.layers
    return chain(keras, (8, 8, 2), L.Conv2D(3, 2), L.DepthwiseConv2D(2), L.SeparableConv2D(3, 2),
                 L.SeparableConv2D(2, 1, use_bias=False), L.Conv2DTranspose(2, 2))  # fmt: skip


def _conv3d(keras: Any) -> Any:
    return chain(keras, (4, 4, 4, 1), keras.layers.Conv3D(2, 2), keras.layers.Conv3DTranspose(2, 2))


def _recurrent(keras: Any) -> Any:
    L = keras.layers
    cells = [L.LSTMCell(3), L.GRUCell(2, reset_after=False), L.SimpleRNNCell(2, name="last")]
    return chain(keras, (5, 3), L.SimpleRNN(2, return_sequences=True), L.GRU(3, return_sequences=True),
                 L.GRU(2, reset_after=False, dropout=0.5, return_sequences=True),
                 L.LSTM(4, return_sequences=True, use_bias=False), L.RNN(cells, return_sequences=True),
                 L.RNN(L.GRUCell(3), return_sequences=True), L.LSTM(2, bias_initializer="ones"),
                 L.Dense(1))  # fmt: skip


def _recurrent_2d(keras: Any) -> Any:
    L = keras.layers
    return chain(keras, (3, 5, 5, 1), L.ConvLSTM2D(2, 2, return_sequences=True), L.ConvLSTM2D(2, 2, use_bias=False),
                 L.Flatten(), L.Dense(1))  # fmt: skip


def _wrapped(keras: Any) -> Any:
    L = keras.layers
    backward = L.GRU(2, return_sequences=True, go_backwards=True, name="back")
    return chain(keras, (5, 3), L.Bidirectional(L.LSTM(2, return_sequences=True)),
                 L.Bidirectional(L.GRU(2, return_sequences=True), backward_layer=backward),
                 L.TimeDistributed(L.Dense(3)), L.SpectralNormalization(L.Dense(3, name="inner")),
                 L.TimeDistributed(chain(keras, (3,), L.Dense(2), name="small")), L.Flatten(), L.Dense(2))  # fmt: skip


def _attention(keras: Any) -> Any:
    L = keras.layers
    inputs = keras.Input((6, 8))
    x = L.MultiHeadAttention(2, 3)(inputs, inputs)
    x = L.GroupQueryAttention(2, 4, 2)(x, x)
    x = L.MultiHeadAttention(2, 2, use_bias=False, dropout=0.1)(x, x)
    x = L.Attention(use_scale=True)([x, x])
    return keras.Model(inputs, L.Dense(1)(x))


def _norms(keras: Any) -> Any:
    L = keras.layers
    return chain(keras, (4, 6), L.BatchNormalization(), L.LayerNormalization(), L.GroupNormalization(2),
                 L.BatchNormalization(renorm=True, name="renorm"), L.UnitNormalization(), L.RMSNormalization(),
                 L.Normalization(), L.LayerNormalization(center=False), L.LayerNormalization(scale=False),
                 L.BatchNormalization(scale=False), L.BatchNormalization(center=False), L.Dense(2))  # fmt: skip


def _frozen(keras: Any) -> Any:
    L = keras.layers
    block = chain(keras, (4,), L.BatchNormalization(), L.Dense(3), L.BatchNormalization(name="second"), L.Dense(3),
                  name="block")  # fmt: skip
    model = chain(keras, (4,), block, L.Dense(2))
    block.layers[1].trainable = False
    return model


def _shared(keras: Any) -> Any:
    L = keras.layers
    words = keras.Input((4,))
    shared = L.Dense(5, name="shared")
    inner = chain(keras, (4, 5), L.Dense(5), L.BatchNormalization(), L.Dense(5), name="inner")
    x = shared(L.Embedding(7, 5)(words))
    deep = keras.Sequential([keras.Input((4, 5)), L.Dense(5), inner], name="deep")
    x = L.Add()([deep(shared(x)), x]) * 2.0
    return keras.Model(words, [L.Dense(1)(x), L.Dense(2)(inner(x)), keras.ops.relu(L.Dense(1)(x))])


def _renamed(keras: Any) -> Any:
    """Layers whose names are those of classes, of groups, or of layers that come later."""
    L = keras.layers
    return chain(keras, (3,), L.Dense(2, name="lstm"), L.Dense(2, name="vars"), L.Dense(2, name="dense_10"),
                 *(L.Dense(2) for _ in range(11)))  # fmt: skip


def _half(keras: Any) -> Any:
    L = keras.layers
    return chain(keras, (3,), L.Dense(4, dtype="bfloat16"), L.Dense(2, dtype="mixed_float16"), L.Dense(2))


# Together they have every layer that has a bias, could have one, or has a variable that looks like one.
MODELS: dict[str, Callable[[Any], Any]] = {
    "dense": _dense, "conv1d": _conv1d, "conv2d": _conv2d, "conv3d": _conv3d, "recurrent": _recurrent,
    "recurrent_2d": _recurrent_2d, "wrapped": _wrapped, "attention": _attention, "norms": _norms, "frozen": _frozen,
    "shared": _shared, "renamed": _renamed, "half": _half,
}  # fmt: skip


def build_models(keras: Any) -> dict[str, Any]:
    """All of MODELS, their biases random numbers."""
    keras.backend.clear_session()  # the names that Keras gives count on from other tests
    models = {name: build(keras) for name, build in MODELS.items()}
    for model in models.values():
        randomize(bias_variables(model).values())
    return models


def descriptions(biases: Iterable[Bias]) -> list[dict[str, Any]]:
    """Everything that is known of each bias, its values as exact lists; equal for a live model and its file."""
    rows = []
    for bias in biases:
        values = getattr(bias.values, "value", bias.values)
        array = None if values is None else np.array(values)
        rows.append({k: v for k, v in vars(bias).items() if k not in ("values", "owner", "source")}
                    | {"values": None if array is None else array.tolist(),
                       "dtype": "" if array is None else str(array.dtype)})  # fmt: skip
    return rows


BIAS = "layers/dense/vars/1"  # where `weights_file` has its bias


def weights_file(change: Callable[[h5py.File], Any] = lambda weights: None) -> bytes:
    """A `.weights.h5` file with one Dense layer, after a change."""
    content = io.BytesIO()
    with h5py.File(content, "w") as weights:
        weights["layers/dense/vars/0"] = np.ones((3, 2), np.float32)
        weights[BIAS] = np.ones(2, np.float32)
        weights["layers/dense/vars"].attrs["name"] = "dense"
        change(weights)
    return content.getvalue()


def config_text(*layers: dict) -> str:
    """The config.json of a Sequential with these layers and a Dense layer."""
    dense = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense", "use_bias": True}}
    return json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": [*layers, dense]}})


def zip_file(*members: tuple) -> bytes:
    """A zip archive of (name, content) members."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


def npy(array: np.ndarray) -> bytes:
    """An array as NumPy saves it, objects as pickles."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    return content.getvalue()


def keras_file(*more: tuple, config: str | None = None, weights: bytes | None = None) -> bytes:
    """A `.keras` file of that Sequential, with other content or more members."""
    return zip_file(
        ("config.json", config_text() if config is None else config),
        ("model.weights.h5", weights_file() if weights is None else weights),
        *more,
    )


def legacy_file(*layers: dict, change: Callable[[h5py.File], Any] = lambda file: None) -> bytes:
    """A legacy `.h5` file of that Sequential, after a change."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["model_config"] = config_text(*layers)
        dense = file.create_group("model_weights/dense")
        dense.attrs["weight_names"] = ["dense/kernel:0", "dense/bias:0"]
        dense["dense/kernel:0"], dense["dense/bias:0"] = np.ones((3, 2), np.float32), np.ones(2, np.float32)
        change(file)
    return content.getvalue()


def stored_arrays(file: Any) -> dict[str, np.ndarray]:
    """What h5py shows of a file's weights: the path of each dataset, but for those of an optimizer -> its array."""
    arrays = {}
    with h5py.File(file, "r") as weights:

        def add(path: str, member: Any) -> None:
            if isinstance(member, h5py.Dataset) and path.split("/")[0] not in ("optimizer", "optimizer_weights"):
                arrays[f"/{path}"] = member[()]

        weights.visititems(add)
    return arrays

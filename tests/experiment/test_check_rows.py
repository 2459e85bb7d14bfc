"""What layers read off the rows themselves reaches them as it is: padding to skip, and numbers to look up."""

from dataclasses import replace

import numpy as np
import pytest
from factories import change_config, compose_config

from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.errors import ConfigError
from pipeline.experiment.check_rows import check_rows
from pipeline.models.build import build_model
from pipeline.models.live import architecture_of_model
from pipeline.models.spec import complete_layers

MASKED = "masking skips steps of 0, which data.standardize moves, so that padding is trained on; allowed: .*=false"
LOOKED_UP = "{} looks up whole numbers, which data.standardize moves; allowed: data.standardize=false"
HAS = "model: {} entries, 0 to {}, but x goes from {}; allowed: {}"

pytestmark = pytest.mark.filterwarnings(
    "ignore:Layer .* does not support masking", "ignore:.*destroy the mask information"
)


def layer(class_name, **config):
    return {"class_name": class_name, "config": config}


FLAT, STEPS = layer("Flatten"), layer("Reshape", target_shape=[16, 4])
MASKING, EMBEDDING = layer("Masking"), layer("Embedding", input_dim=17, output_dim=2)
CASES = {  # layers, data.standardize, what is refused
    "masking": ([STEPS, MASKING], True, MASKED),
    "nested": ([STEPS, layer("Sequential", layers=[MASKING])], True, MASKED),
    "dropped": ([STEPS, layer("SpatialDropout1D", rate=0.5), MASKING], True, MASKED),
    "noise": ([STEPS, layer("GaussianNoise", stddev=0.5), MASKING], True, MASKED),
    "padded": ([STEPS, layer("ZeroPadding1D"), layer("Cropping1D"), MASKING], True, MASKED),
    "scaled": ([STEPS, layer("Rescaling", scale=0.5), MASKING], True, MASKED),
    "as it is": ([STEPS, MASKING], False, None),
    "no such step": ([STEPS, layer("Masking", mask_value=-1.0)], True, None),
    "computed": ([FLAT, layer("Dense", units=64, activation="relu"), STEPS, MASKING], True, None),
    "frozen": ([FLAT, layer("Dense", units=64, activation="relu", trainable=False), STEPS, MASKING], True, None),
    "embedding": ([FLAT, EMBEDDING], True, LOOKED_UP.format("embedding")),
    "encoding": ([layer("CategoryEncoding", num_tokens=17)], True, LOOKED_UP.format("category_encoding")),
    "looked up": ([FLAT, EMBEDDING], False, None),
    "too few": ([layer("Embedding", input_dim=9, output_dim=2)], False, HAS.format("embedding has 9", 8, "0 to 16",
                                                                                   "input_dim=17")),
    "too few codes": ([layer("CategoryEncoding", num_tokens=9)], False, HAS.format("category_encoding has 9", 8,
                                                                                  "0 to 16", "num_tokens=17")),
    "negative": ([layer("Rescaling", scale=1.0, offset=-2.0), EMBEDDING], False,
                 HAS.format("embedding has 17", 16, "-2 to 14", "numbers from 0 up")),
}  # fmt: skip


def check(layers, standardize, change_x=lambda x: x):
    config = compose_config("data=digits", f"data.standardize={str(standardize).lower()}")
    config = change_config(config, model={"name": "mine", "layers": layers})
    dataset = load_dataset(config.data)
    dataset = replace(dataset, x=change_x(dataset.x[:300]), y=dataset.y[:300])
    model = build_model(complete_layers(config), dataset.x.shape[1:], dataset.task, dataset.n_targets, 0)
    check_rows(model, dataset, split_rows(dataset, config.data, 0), config.data)
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


@pytest.mark.parametrize("case", CASES)
def test_what_layers_read_off_rows_is_there(case):
    """Whatever selects, moves or pads numbers before; what a layer with weights has computed is no concern of this."""
    layers, standardize, words = CASES[case]
    layers = [*layers, FLAT, layer("Dense", units=10, activation="softmax")]
    if words is None:
        check(layers, standardize)
    else:
        with pytest.raises(ConfigError, match=words):
            check(layers, standardize)


def test_a_column_among_others_is_looked_up_as_it_is():
    """Also where the table's other columns are no whole numbers."""
    import keras

    inputs = keras.Input((8, 8, 1))
    columns = keras.layers.Flatten()(inputs)
    embedded = keras.layers.Flatten()(keras.layers.Embedding(17, 2)(columns[:, 20:21]))
    joined = keras.layers.Concatenate()([embedded, columns[:, 30:]])
    layers, _ = architecture_of_model(keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(joined)))

    def mixed(x):
        return np.where(np.arange(64).reshape(8, 8, 1) < 30, x, x + 0.5)

    check(layers, False, mixed)
    with pytest.raises(ConfigError, match=LOOKED_UP.format("embedding")):
        check(layers, True, mixed)


def test_a_nested_graph_is_looked_into():
    """Where a Functional model holds another one, and this the Masking."""
    import keras

    steps = keras.Input((16, 4))
    inner = keras.Model(steps, keras.layers.SimpleRNN(2)(keras.layers.Masking()(steps)))
    last = keras.layers.Dense(10, activation="softmax")
    layers, _ = architecture_of_model(keras.Sequential([keras.layers.Reshape((16, 4)), inner, last]))
    check(layers, False)
    with pytest.raises(ConfigError, match=MASKED):
        check(layers, True)

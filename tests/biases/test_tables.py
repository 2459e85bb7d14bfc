"""Tables of biases have one row per bias or gate, with exact statistics."""

import numpy as np
from keras_files import chain, randomize

from pipeline.biases.tables import (
    COLUMNS,
    bias_rows,
    bias_statistics,
    bias_table,
    describe_biases,
    gate_parts,
    value_table,
)
from pipeline.biases.variables import Bias


def test_gates_are_slices_of_the_array_in_keras_order(keras):
    """Each row has the statistics of its gate: Keras stores i, f, c, o in an LSTM and z, r, h in a GRU."""
    L = keras.layers
    model = chain(keras, (4, 3), L.LSTM(5, return_sequences=True, name="lstm"), L.GRU(3, name="gru"))
    lstm, gru = model.layers
    assert lstm.cell.unit_forget_bias  # so only the forget gate starts at ones
    table = describe_biases(model)
    means = table[table["variable"] == "lstm/bias"].set_index("gate")["mean"]
    assert dict(means) == {"i": 0, "f": 1, "c": 0, "o": 0}
    randomize(model.variables)
    table = describe_biases(model).set_index(["variable", "role", "gate"])
    for number, gate in enumerate("ifco"):
        part = lstm.cell.bias.numpy()[5 * number : 5 * (number + 1)].astype(np.float64)
        row = table.loc["lstm/bias", "", gate]
        assert (row["mean"], row["std"], row["min"], row["max"]) == (part.mean(), part.std(), part.min(), part.max())
        assert (row["shape"], row["dtype"], row["layer_type"]) == ("(5,)", "float32", "LSTM")
    for index, role in enumerate(("input", "recurrent")):
        for number, gate in enumerate("zrh"):
            part = gru.cell.bias.numpy()[index, 3 * number : 3 * (number + 1)].astype(np.float64)
            assert table.loc["gru/bias", role, gate]["max"] == part.max()


def test_a_table_has_all_columns_even_without_rows():
    """The statistics are floats in any case."""
    table = bias_table([])
    assert tuple(table.columns) == COLUMNS and table["mean"].dtype == np.float64


def test_an_absent_bias_has_no_statistics():
    """Its row says what is absent, and its numbers are None."""
    (row,) = bias_rows([Bias("out/bias", "out", "Dense", "absent", trainable=False)])
    assert (row["variable"], row["kind"], row["shape"], row["dtype"]) == ("out/bias", "absent", "", "")
    assert row["mean"] is row["std"] is row["min"] is row["max"] is None


def test_statistics_of_half_precision_are_computed_in_double():
    """65504 is the largest float16: the mean of two of them is not infinite."""
    (row,) = bias_rows([Bias("a/bias", "a", "Dense", "bias", values=np.full(2, 65504, np.float16))])
    assert (row["mean"], row["std"], row["dtype"]) == (65504.0, 0.0, "float16")


def test_bias_statistics_compare_with_the_start():
    """l2 is the length of the bias now, drift its distance from before."""
    statistics = bias_statistics(np.float32([3, 0]), np.float32([3, 4]))
    assert statistics == {"mean": 3.5, "std": 0.5, "l2": 5.0, "drift": 4.0}


def test_gates_of_two_rows_have_the_roles_input_and_recurrent():
    """A GRU's bias [2, 3 units] has six parts; a bias without gates has one."""
    gru = Bias("gru/bias", "gru", "GRU", "bias", gates="zrh", values=np.arange(6).reshape(2, 3))
    assert [(role, gate, *part) for role, gate, part in gate_parts(gru)] == [
        ("input", "z", 0), ("input", "r", 1), ("input", "h", 2),
        ("recurrent", "z", 3), ("recurrent", "r", 4), ("recurrent", "h", 5),
    ]  # fmt: skip
    query = Bias("a/query/bias", "a/query", "EinsumDense", "bias", role="query", values=np.zeros((2, 3)))
    ((role, gate, values),) = gate_parts(query)
    assert (role, gate, values.shape) == ("query", "", (2, 3))


def test_a_value_table_has_a_row_per_number():
    """unit counts within the gate; an absent bias has no rows."""
    gru = Bias("gru/bias", "gru", "GRU", "bias", gates="zrh", values=np.arange(12.0).reshape(2, 6))
    table = value_table([gru, Bias("out/bias", "out", "Dense", "absent")]).to_pydict()
    rows = list(zip(*table.values(), strict=True))
    assert list(table) == ["variable", "role", "gate", "unit", "value"] and len(rows) == 12
    assert rows[8:10] == [("gru/bias", "recurrent", "r", 0, 8.0), ("gru/bias", "recurrent", "r", 1, 9.0)]

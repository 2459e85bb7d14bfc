"""Whatever table or arrays are written, in whatever form, the same values are read back."""

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.schema import Data
from pipeline.data.dataset import Dataset
from pipeline.data.sources import load_dataset

ENCODINGS = {"utf-8": "", "utf-8-sig": "", "utf-16": "", "latin-1": "äöé", "cp1252": "€ä"}  # letters that only it has
WORDS = st.text("abcXYZ äé;|'\".,#%", min_size=1, max_size=8).map(lambda t: f"w{t.strip()}w")
NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False, width=32).map(float)


def read(content: bytes, name: str, target: str, **more: Any) -> Dataset:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        return load_dataset(Data(name="d", source="file", path=str(Path(folder) / name), target=target, **more))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_text_table_is_read_back(data: st.DataObject) -> None:
    """Numbers, text, booleans and gaps, with any separator, decimal sign, encoding, quotes and line ends."""
    n = data.draw(st.integers(12, 40))
    separator = data.draw(st.sampled_from([",", ";", "\t", "|"]))
    decimal = data.draw(st.sampled_from([".", ","])) if separator != "," else "."
    encoding = data.draw(st.sampled_from(list(ENCODINGS)))
    kinds = data.draw(st.lists(st.sampled_from(["number", "whole", "text", "boolean"]), min_size=1, max_size=4))
    names = [f"{kind} {i}{ENCODINGS[encoding]}" for i, kind in enumerate(kinds)]
    gaps = data.draw(st.booleans())
    columns: list[list[Any]] = []
    for kind in kinds:
        if kind == "text":
            categories = data.draw(st.lists(WORDS, min_size=2, max_size=4, unique=True))
            column: list[Any] = [categories[i % len(categories)] for i in range(n)]
        else:
            values = {"number": NUMBERS, "whole": st.integers(-999, 999), "boolean": st.booleans()}[kind]
            column = data.draw(st.lists(values, min_size=n, max_size=n))
            column[:2] = {"number": [0.5, -1.25], "whole": [1, 2], "boolean": [True, False]}[kind]
        if gaps:
            for i in data.draw(st.lists(st.integers(4, n - 1), max_size=3)):
                column[i] = None
        columns.append(column)
    labels = [("yes", "no", "maybe")[i % 3] for i in range(n)]

    def cell(value: Any) -> str:
        return "" if value is None else repr(value).replace(".", decimal) if isinstance(value, float) else str(value)

    space = data.draw(st.sampled_from(["", " "]))
    text = io.StringIO()
    quoting = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    ends = data.draw(st.sampled_from(["\n", "\r\n"]))
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=ends)
    writer.writerow([f"{name}{space}" for name in [*names, "label"]])
    writer.writerows([*map(cell, row)] for row in zip(*columns, labels, strict=True))
    bare = any("ä" in str(c) or "é" in str(c) for column in columns for c in column)
    content = (
        text.getvalue().encode(encoding) if not (bare and encoding == "cp1252") else text.getvalue().encode("cp1252")
    )
    loaded = read(content, "any.csv", "label", missing="impute" if gaps else "refuse")

    assert [loaded.classes[i] for i in loaded.y] == labels
    for name, kind, column in zip(names, kinds, columns, strict=True):
        lacking = np.array([value is None for value in column])
        if kind == "text":
            of = [i for i, feature in enumerate(loaded.features) if feature.startswith(f"{name}=")]
            categories = [loaded.features[i].removeprefix(f"{name}=") for i in of]
            assert set(categories) == {value for value in column if value is not None}
            seen = [None if np.isnan(row).all() else categories[int(np.argmax(row))] for row in loaded.x[:, of]]
            assert seen == column
        else:
            values = np.array([np.nan if value is None else float(value) for value in column])
            got = loaded.x[:, loaded.features.index(name)]
            np.testing.assert_allclose(got, values.astype(got.dtype), rtol=1e-15)
        missing = f"{name} is missing"
        assert (missing in loaded.features) == bool(lacking.any())
        if lacking.any():
            np.testing.assert_array_equal(loaded.x[:, loaded.features.index(missing)] == 1, lacking)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_arrays_are_read_back(data: st.DataObject) -> None:
    """Inputs of any type and shape, targets as codes, text, one-hot rows or numbers, in one piece or in parts."""
    n = data.draw(st.integers(10, 30))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shape = data.draw(st.sampled_from([(3,), (4, 2), (5, 5, 1), (4, 4, 3)]))
    dtype = data.draw(st.sampled_from(["f4", "f8", "f2", "u1", "i2", "i8", "?", ">f4"]))
    x = (rng.random((n, *shape)) * 200).astype(dtype)
    codes = np.arange(n) % data.draw(st.integers(2, 4))
    form = data.draw(st.sampled_from(["codes", "column", "text", "one-hot", "float", "several"]))
    y = {
        "codes": codes, "column": codes[:, None], "text": np.array(["a", "b", "c", "d"])[codes],
        "one-hot": np.eye(codes.max() + 1, dtype=dtype if dtype != "?" else "i4")[codes],
        "float": codes + 0.25, "several": np.column_stack([codes + 0.5, -codes]),
    }[form]  # fmt: skip
    content = {"x": x, "y": y}
    parts = data.draw(st.booleans())
    if parts:
        cut = n - 4
        content = {"x_train": x[:cut], "y_train": y[:cut], "x_test": x[cut:], "y_test": y[cut:]}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **content)
    loaded = read(file.getvalue(), "any.npz", None)  # type: ignore[arg-type]
    np.testing.assert_array_equal(loaded.x, x.astype(np.float32))
    assert (loaded.parts is not None) == parts
    if form in ("float", "several"):
        assert loaded.task == "regression"
        np.testing.assert_allclose(loaded.y, y, rtol=1e-6)
    else:
        np.testing.assert_array_equal(loaded.y, codes)
        assert len(loaded.classes) == codes.max() + 1

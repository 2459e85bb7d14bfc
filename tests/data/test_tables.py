"""Tables as people have them: read rightly whatever their form, or refused with what to do."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.schema import Data
from pipeline.data.dataset import INDICATOR, NUMBER, Dataset
from pipeline.data.sources import data_identity, load_dataset
from pipeline.data.splits import split_rows, standardized_inputs
from pipeline.errors import ConfigError

ROWS = "".join(f"{i / 4},{i % 7},{'ab'[i % 2]}\n" for i in range(24))


def settings(path: Path, **more: Any) -> Data:
    return Data(name="mine", source="file", path=str(path), **{"target": "label"} | more)


def table(folder: Path, content: str | bytes, name: str = "mine.csv", **more: Any) -> Dataset:
    """The dataset of a file with this content."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_dataset(settings(folder / name, **more))


def refusal(folder: Path, content: str | bytes, name: str = "mine.csv", **more: Any) -> str:
    """The one line that refuses a file with this content."""
    with pytest.raises(ConfigError) as error:
        table(folder, content, name, **more)
    assert "\n" not in str(error.value) and len(str(error.value)) <= 300
    return str(error.value)


CSV = f"first,second,label\n{ROWS}"
FORMS = {
    "comma": ("mine.csv", CSV.encode(), {}),
    "semicolon": ("mine.csv", CSV.replace(",", ";").encode(), {}),
    "tab": ("mine.tsv", CSV.replace(",", "\t").encode(), {}),
    "pipe": ("mine.txt", CSV.replace(",", "|").encode(), {}),
    "spaces": ("mine.data", CSV.replace(",", "   ").encode(), {}),
    "decimal comma": ("mine.csv", CSV.replace(",", ";").replace(".", ",").encode(), {}),
    "decimal comma after tabs": ("mine.TSV", CSV.replace(",", "\t").replace(".", ",").encode(), {}),
    "byte order mark": ("mine.csv", CSV.encode("utf-8-sig"), {}),
    "UTF-16": ("mine.csv", CSV.encode("utf-16"), {}),
    "named encoding": ("mine.csv", CSV.encode("utf-16-le"), {"encoding": "utf-16-le"}),
    "CRLF": ("mine.csv", CSV.replace("\n", "\r\n").encode(), {}),
    "CR": ("mine.csv", CSV.replace("\n", "\r").encode(), {}),
    "spaces after commas": ("mine.csv", CSV.replace(",", ", ").encode(), {}),
    "blank lines": ("mine.csv", ("\n\n" + CSV.replace("\n", "\n\n")).encode(), {}),
    "quoted": ("mine.csv", pd.DataFrame([r.split(",") for r in CSV.split()]).to_csv(
        index=False, header=False, quoting=1).encode(), {}),
    "quoted decimal commas": ("mine.csv", "".join(
        ",".join(f'"{c.replace(".", ",")}"' for c in line.split(",")) + "\n" for line in CSV.split()).encode(), {}),
    "comment": ("mine.csv", f"# made by hand\n{CSV}".encode(), {}),
    "Excel's line": ("mine.csv", f"sep=;\n{CSV.replace(',', ';')}".encode(), {}),
    "separators at ends": ("mine.csv", CSV.replace("\n", ",\n").encode(), {}),
    "separators at ends of rows": ("mine.csv", f"first,second,label\n{ROWS}".replace("a\n", "a,\n").replace(
        "b\n", "b,\n").encode(), {}),
    "names of rows as R writes them": ("mine.csv", "first,second,label\n" + "".join(
        f"{i + 1},{line}\n" for i, line in enumerate(ROWS.split()))
        , {}),
    "index as pandas writes it": ("mine.csv", ",first,second,label\n" + "".join(
        f"{i},{line}\n" for i, line in enumerate(ROWS.split())), {}),
    "two indices": ("mine.csv", ",Unnamed: 0,first,second,label\n" + "".join(
        f"{i},{i},{line}\n" for i, line in enumerate(ROWS.split())), {}),
    "packed": ("mine.csv.gz", gzip.compress(CSV.encode()), {}),
    "capitals": ("MINE.CSV", CSV.encode(), {}),
    "spaces before separators": ("mine.csv", CSV.replace(",", " , ").replace("\n", "  \n").encode(), {}),
    "named separator": ("mine.csv", CSV.replace(",", "\t").encode(), {"separator": "tab"}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "more"), FORMS.values(), ids=FORMS.keys())
def test_one_table_in_every_form(name: str, content: Any, more: dict, tmp_path: Path) -> None:
    """The same rows come out of every form that the table may have."""
    loaded = table(tmp_path, content, name, **more)
    expected = [[i / 4, i % 7] for i in range(24)]
    np.testing.assert_array_equal(loaded.x, np.array(expected, np.float32))
    assert loaded.y.tolist() == [0, 1] * 12
    assert (loaded.features, loaded.classes, loaded.kinds) == (("first", "second"), ("a", "b"), None)


def test_what_was_detected_is_said(tmp_path: Path) -> None:
    """The separator, the decimal comma and the encoding are named where they are not the usual ones."""
    content = "größe;label\n" + "".join(f"{i},5;{'ja' if i % 2 else 'nö'}\n" for i in range(10))
    loaded = table(tmp_path, content.encode("latin-1"))
    assert loaded.remarks[0] == "mine.csv: separator ;, decimal comma, encoding latin-1"
    assert (loaded.features, loaded.classes) == (("größe",), ("ja", "nö"))
    windows = table(tmp_path, content.replace("ja", "€").encode("cp1252"), "windows.csv")
    assert (windows.remarks[0][-15:], windows.classes) == ("encoding cp1252", ("nö", "€"))


@pytest.mark.parametrize("file", ["iris.data", "years.csv", "numbers.csv", "spaces.txt"])
def test_a_first_line_of_names_is_told_from_a_row(file: str, tmp_path: Path) -> None:
    """Files as UCI has them have no names; a first line of years or of pandas' numbers are names."""
    rows = "".join(f"{4.5 + i / 10},{i % 3}.25,{('x', 'y')[i % 2]}\n" for i in range(12))
    content = {
        "iris.data": rows,
        "years.csv": f"2019,2020,kind\n{rows}",
        "numbers.csv": f"0,1,2\n{rows.replace('x', '0').replace('y', '1')}",
        "spaces.txt": rows.replace(",", "  ").replace("x", "1").replace("y", "2"),
    }[file]
    loaded = table(tmp_path, content, file, target="kind" if file == "years.csv" else 2)
    assert loaded.x.shape == (12, 2)
    assert loaded.features == (("2019", "2020") if file == "years.csv" else ("0", "1"))
    assert any("no line of names" in line for line in loaded.remarks) == (file in ("iris.data", "spaces.txt"))


def test_text_booleans_and_missing_values_as_scikit_learn_prepares_them(tmp_path: Path) -> None:
    """What a seed's model sees is scikit-learn's pipeline, fitted on the seed's training rows alone."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "age": rng.normal(40, 9, 60).round(1), "pay": rng.integers(1, 9, 60) * 1000.0, "ok": rng.random(60) < 0.5,
        "city": rng.choice(["Bonn", "Köln", "Ulm"], 60), "odd": ["rare", "so"] + ["usual"] * 58,
        "label": rng.choice(["a", "b"], 60),
    })  # fmt: skip
    frame.loc[rng.random(60) < 0.2, "age"] = np.nan
    frame.loc[rng.random(60) < 0.2, "city"] = np.nan
    frame.to_csv(tmp_path / "mine.csv", index=False)
    data = settings(tmp_path / "mine.csv", missing="impute")
    loaded = load_dataset(data)
    assert "city: 3 categories" in loaded.remarks
    numbers, texts, lacking = ["age", "pay", "ok"], ["city", "odd"], ["age", "city"]
    unseen = 0
    for seed in range(6):
        split = split_rows(loaded, data, seed)
        prepared = ColumnTransformer([
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("texts", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore",
             sparse_output=False)), texts),
            ("missing", MissingIndicator(features="all"), lacking),
        ]).fit(frame.iloc[split.train].astype({"ok": float}))  # fmt: skip
        known = [
            f"{name}={c}"
            for name, categories in zip(texts, prepared.named_transformers_["texts"][-1].categories_, strict=True)
            for c in categories
        ]
        unseen += len(known) < 6
        columns = [*numbers, *known, *(f"{name} is missing" for name in lacking)]
        expected = prepared.transform(frame.astype({"ok": float}))
        seen = standardized_inputs(loaded, split, np.arange(60))
        np.testing.assert_allclose(seen[:, [loaded.features.index(c) for c in columns]], expected, atol=2e-6)
        others = [i for i, c in enumerate(loaded.features) if c not in columns]
        assert not seen[:, others].any(), "a category that no training row has is all zeros"
    assert unseen, "some seed should train without the rare category"
    assert loaded.kinds is not None
    assert loaded.kinds.tolist().count(NUMBER) == 3 and loaded.kinds.tolist().count(INDICATOR) == 2


def test_missing_values_are_refused_dropped_or_filled(tmp_path: Path) -> None:
    """Refused by default with the count; a row without a target is left out where the others are filled."""
    content = CSV.replace("0.25,1,b", "?,1,b").replace("0.5,2,a", "0.5,NA,a").replace("0.75,3,b", "0.75,3,")
    line = refusal(tmp_path, content)
    assert line.startswith(
        "data.missing: refuse given, but mine.csv has missing values (NaN) in label, first, second (3 "
    )
    dropped = table(tmp_path, content, missing="drop")
    assert (len(dropped.x), dropped.kinds) == (21, None)
    assert "mine.csv: 3 of 24 rows lack a value and are left out" in dropped.remarks
    filled = table(tmp_path, content, missing="impute")
    assert filled.x.shape == (23, 4)
    assert int(np.isnan(filled.x).sum()) == 2


def test_gaps_that_no_training_row_has(tmp_path: Path) -> None:
    """Where only held-out rows lack a value, what says so is 0 for them too: nothing was learnt about it."""
    content = CSV.replace("5.75,2,b", ",2,b")
    loaded = table(tmp_path, content, missing="impute")
    data = settings(tmp_path / "mine.csv", missing="impute")
    splits = [split_rows(loaded, data, seed) for seed in range(8)]
    seen = [(23 in split.train, standardized_inputs(loaded, split, np.array([23]))[0, -1]) for split in splits]
    assert {trained for trained, _ in seen} == {True, False}
    assert all(value == trained for trained, value in seen)


NOISE = np.random.default_rng(5).normal(size=40).tolist()


def noise(**columns: list) -> str:
    """A table of columns of 40 rows, with a label that has nothing to do with them."""
    labels = np.random.default_rng(1).choice(["a", "b"], 40)
    return pd.DataFrame({"noise": NOISE} | columns | {"label": labels}).to_csv(index=False)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"id": [*range(20), None, *range(21, 40)]}, "column id is another whole number in each row"),
        ({"id": list(range(40))}, "column id counts the rows (0 to 39)"),
        (
            {"id": np.random.default_rng(0).permutation(np.arange(1, 41)).tolist()},
            "column id counts the rows (1 to 40)",
        ),
        ({"id": [7000 + 3 * i for i in range(40)]}, "column id is another whole number in each row"),
        ({"id": [f"p{i:02d}" for i in range(40)]}, "id: another text in each row"),
        ({"n": [i % 8 for i in range(40)]}, None),
        ({"x": [i / 3 for i in range(40)]}, None),
    ],
)
def test_a_column_that_counts_rows_is_named(columns: dict, line: str | None, tmp_path: Path) -> None:
    """Sorted or shuffled numbers of rows and ids are features, but not without a word."""
    loaded = table(tmp_path, noise(**columns), missing="impute")
    said = [remark for remark in loaded.remarks if remark.startswith(line or "column ")]
    assert len(said) == (0 if line is None else 1)
    assert line is None or "data.drop=[id]" in said[0]


def test_a_feature_that_gives_the_target_is_named(tmp_path: Path) -> None:
    """A copy of the target, codes of it, and a threshold on a number give it alone; noise does not."""
    label = np.random.default_rng(1).choice(["a", "b"], 40)
    tells = {"code": (label == "b") * 3, "score": np.where(label == "b", 5, 0) + np.abs(NOISE) / 99, "copy": label}
    said = "\n".join(table(tmp_path, noise(**{k: v.tolist() for k, v in tells.items()})).remarks)
    for name in ("code", "score", "copy"):
        assert f"column {name} alone gives the target" in said
    assert "column noise alone" not in said
    pounds = pd.DataFrame({"kg": NOISE, "age": NOISE[::-1], "label": [2.2 * n + 1 for n in NOISE]}).to_csv(index=False)
    said = "\n".join(table(tmp_path, pounds, "pounds.csv").remarks)
    assert "column kg alone gives the target" in said and "column age alone" not in said


def test_text_gaps_and_one_of_several_targets_are_searched_too(tmp_path: Path) -> None:
    """Categories one to one, a copy with gaps, gaps that tell, and a copy of one target; the file's column is named."""
    codes = np.random.default_rng(1).integers(0, 3, 60)
    values = np.random.default_rng(2).normal(size=60)
    frame = pd.DataFrame({"v": values, "kind": np.array(["x", "y", "z"])[codes], "label": codes})
    frame["holes"] = np.where(np.arange(60) % 7, codes * 10.0, np.nan)
    frame["gap"] = np.where(codes == 1, np.nan, values[::-1])
    frame.loc[:, "both"] = np.where(codes > 0, "m", "n")
    frame.to_csv(tmp_path / "mine.csv", index=False)
    data = settings(tmp_path / "mine.csv", missing="impute")
    said = [line for line in load_dataset(data).remarks if "alone gives" in line]
    assert [line.partition(" alone")[0] for line in said] == ["column kind", "column holes"]
    assert said[0].endswith("data.drop=[kind]")
    two = pd.DataFrame({"v": values, "copy": 2 * values[::-1], "a": values[::-1], "b": values**2 + values[::-1]})
    two.to_csv(tmp_path / "two.csv", index=False)
    said = [line for line in load_dataset(settings(tmp_path / "two.csv", target=["a", "b"])).remarks if "alone" in line]
    assert len(said) == 1 and said[0].startswith("column copy alone gives the target a; ")


def test_digits_that_float32_loses_are_named(tmp_path: Path) -> None:
    """Seconds keep their values when standardized, and it is said where they are not standardized, or too fine."""
    unix = pd.DataFrame({"t": 1732500000 + 15 * np.arange(240), "label": np.tile([0, 1], 120)}).to_csv(index=False)
    data = settings(tmp_path / "mine.csv")
    loaded = table(tmp_path, unix)
    split = split_rows(loaded, data, 0)
    assert len(np.unique(standardized_inputs(loaded, split, np.arange(240)))) == 240
    assert not any("float32" in line for line in loaded.remarks)
    raw = table(tmp_path, unix, standardize=False).remarks
    assert [line.partition(" tells")[0] for line in raw if "float32" in line] == ["column t: float32"]
    fine = pd.DataFrame({"v": [*(np.arange(50) * 1e-9), 1.0], "label": [*[0, 1] * 25, 0]}).to_csv(index=False)
    assert any("column v: float32 tells only" in line for line in table(tmp_path, fine, "fine.csv").remarks)
    target = pd.DataFrame({"v": NOISE, "label": 1e9 + np.arange(40)}).to_csv(index=False)
    assert not any("float32" in line for line in table(tmp_path, target, "target.csv").remarks)
    raw = table(tmp_path, target, "target.csv", standardize_target=False).remarks
    assert any("the target: float32 tells only" in line for line in raw)


TARGETS = {
    "thirty": ("c{0:02d}", 30, "multiclass", 30),
    "thirty numbers": ("{0}", 30, "regression", 0),
    "twenty numbers": ("{0}", 20, "multiclass", 20),
}


@pytest.mark.parametrize(("form", "n", "task", "classes"), TARGETS.values(), ids=TARGETS.keys())
def test_text_of_any_number_of_classes_is_classes(form: str, n: int, task: str, classes: int, tmp_path: Path) -> None:
    """The rule of 20 holds for whole numbers, and is said; text is classes."""
    content = "x,label\n" + "".join(f"{i % 11},{form.format(i % n)}\n" for i in range(240))
    loaded = table(tmp_path, content)
    assert (loaded.task, len(loaded.classes)) == (task, classes)
    assert (task == "regression") == any("data.task=multiclass" in line for line in loaded.remarks)


def test_several_targets(tmp_path: Path) -> None:
    """Several columns of numbers are a regression of each; one-hot columns are classes."""
    content = "x,a,b,c\n" + "".join(f"{i},{i / 2},{i * 3},{-i}\n" for i in range(30))
    loaded = table(tmp_path, content, target=["a", "b", "c"])
    assert (loaded.task, loaded.y.shape, loaded.features, loaded.n_targets) == ("regression", (30, 3), ("x",), 3)
    np.testing.assert_allclose(loaded.y[7], [3.5, 21, -7])
    content = "x,a,b,c\n" + "".join(f"{i},{int(i % 3 == 0)},{int(i % 3 == 1)},{int(i % 3 == 2)}\n" for i in range(30))
    loaded = table(tmp_path, content, target=["a", "b", "c"])
    assert (loaded.task, loaded.classes, loaded.y.tolist()) == ("multiclass", ("a", "b", "c"), [0, 1, 2] * 10)
    assert table(tmp_path, content, target=["a", "b", "c"], task="regression").y.shape == (30, 3)
    assert "multi-label" in refusal(tmp_path, content.replace("1,0,0", "1,1,0"), target=["a", "b", "c"])


REFUSED = {
    "no target": (CSV, {"target": None}, ("data.target", "first, second, label", "data.target=label")),
    "dates": (CSV.replace("second", "when").replace(",0,", ",2024-01-05,").replace(",1,", ",2024-02-05,").replace(
        ",2,", ",2024-02-05,").replace(",3,", ",2024-02-05,").replace(",4,", ",2024-02-05,").replace(
        ",5,", ",2024-02-05,").replace(",6,", ",2024-02-05,"), {}, ("data.path", "when", "dates", "data.split=time")),
    "many categories": ("name,label\n" + "".join(f"n{i},a\nn{i},b\n" for i in range(51)), {},
                        ("data.path", "name (51)", "50", "data.drop=[name]")),
    "thousands": ("pay;label\n" + "1.234,5;a\n2.345,6;b\n" * 9, {}, ("data.path", "pay", "1.234,5")),
    "decimal comma and thousands": ("pay;label\n" + "1.234;a\n2.345;b\n" * 9, {"decimal": ","}, ("pay", "1.234")),
    "no decimal comma": ("pay;label\n" + "1,25;a\n2,5;b\n" * 9, {"decimal": "."}, ("pay", "1,25", "data.decimal=','")),
    "LIBSVM": ("a 1:3 2:4\n" + "b 1:7 2:5\na 1:7 2:5\n" * 9, {"target": "a"}, ("data.path", "1:7", "LIBSVM")),
    "currency": ("pay,label\n" + "$12,a\n$13.5,b\n" * 9, {}, ("data.path", "pay", "$12")),
    "either": ("pay;label\n" + "1,234;a\n2,345;b\n" * 9, {}, ("data.path", "pay", "1,234", "data.decimal=','")),
    "slips": ("pay,label\n" + "".join(f"{i}.5,a\n" for i in range(30)) + "oops,b\n" * 3, {}, ("pay", "oops")),
    "unknown feature": (CSV, {"features": ["frist"]}, ("data.features", "frist", "nearest: first")),
    "unknown drop": (CSV, {"drop": "secnd"}, ("data.drop", "secnd", "nearest: second")),
    "target as feature": (CSV, {"features": ["label"]}, ("data.features", "label", "data.target")),
    "both": (CSV, {"features": ["first"], "drop": ["first"]}, ("data.drop", "first", "data.features")),
    "nothing left": (CSV, {"drop": ["first", "second"]}, ("data.path", "no column besides")),
    "wrong separator": (CSV, {"separator": ";"}, ("data.separator", "; given", "null")),
    "two characters": (CSV, {"separator": ";;"}, ("data.separator", ";; given", "tab")),
    "decimal": (CSV, {"decimal": ";"}, ("data.decimal", "; given", ". or ,")),
    "no encoding": (CSV, {"encoding": "klingon"}, ("data.encoding", "klingon given", "latin-1")),
    "another encoding": (CSV.replace("a", "ä").encode("latin-1"), {"encoding": "utf-8", "target": "läbel"},
                         ("data.encoding", "utf-8 given", "null")),
    "zero bytes": (b"a,b\n\0\0\0\n", {}, ("data.path", "no text")),
    "ragged": (CSV + "1,2,a,4\n", {}, ("data.path", "line 26 of mine.csv has 4 cells, others 3", "quotes")),
    "missing": (CSV, {"missing": "mean"}, ("data.missing", "mean given", "refuse, drop, impute")),
    "image size": (CSV, {"image_size": 8}, ("data.image_size", "8 given", "data=images")),
    "split": (CSV, {"split": "chrono"}, ("data.split", "chrono given", "random, groups, time, column")),
    "split without by": (CSV, {"split": "time"}, ("data.split", "time given", "data.split_by")),
    "by without split": (CSV, {"split_by": "first"}, ("data.split_by", "first given", "data.split=groups")),
    "distinct texts": ("x,label\n" + "".join(f"{i % 3},t{i}\n" for i in range(40)), {}, ("data.target", "40 diff")),
}  # fmt: skip


@pytest.mark.parametrize(("content", "more", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_say_what_to_do(content: Any, more: dict, words: tuple[str, ...], tmp_path: Path) -> None:
    """One line with the key, the value and what to write instead."""
    line = refusal(tmp_path, content, **more)
    assert [word for word in words if word not in line] == [], line


@pytest.mark.parametrize("key", ["separator", "decimal", "encoding", "header", "drop"])
def test_settings_of_text_are_refused_for_other_files(key: str, tmp_path: Path) -> None:
    """A setting that a file cannot follow is refused while it is planned, not ignored."""
    np.savez(tmp_path / "mine.npz", x=np.zeros((9, 2)), y=np.arange(9) % 2)
    value = {"separator": ";", "decimal": ",", "encoding": "utf-8", "header": False, "drop": ["a"]}[key]
    with pytest.raises(ConfigError, match=rf"^data\.{key}: "):
        data_identity(settings(tmp_path / "mine.npz", **{key: value}))
    with pytest.raises(ConfigError, match=rf"^data\.{key}: "):
        data_identity(Data(name="iris", source="iris", **{key: value}))


def test_spaces_make_no_category_and_hide_no_gap(tmp_path: Path) -> None:
    """`yes ` is `yes`, and an `NA ` with a space is missing."""
    rows = [("yes ", "1 "), ("yes", "2"), (" no", "NA "), ("no", "4")] * 6
    content = "a,b,label\n" + "".join(f"{a},{b},{'xy'[i % 2]}\n" for i, (a, b) in enumerate(rows))
    loaded = table(tmp_path, content, missing="impute")
    assert loaded.features == ("a=no", "a=yes", "b", "b is missing")
    assert loaded.x[:4, 2].tolist()[:2] == [1, 2] and np.isnan(loaded.x[2, 2])


def test_names_that_occur_twice(tmp_path: Path) -> None:
    """The second column of a name gets a number, and that is said."""
    loaded = table(tmp_path, CSV.replace("second", "first"))
    assert loaded.features == ("first", "first.1")
    assert "mine.csv: two columns are called first; the later one is now first.1" in loaded.remarks


def test_whole_numbers_beyond_floats_are_named(tmp_path: Path) -> None:
    """Ids that a float64 cannot tell apart are not merged without a word, in tables, arrays and targets."""
    ids = 2**60 + np.arange(30)
    pd.DataFrame({"id": ids, "label": np.arange(30) % 2}).to_csv(tmp_path / "a.csv", index=False)
    np.savez(tmp_path / "b.npz", x=ids[:, None], y=np.arange(30) % 2)
    np.savez(tmp_path / "c.npz", x=np.arange(30.0)[:, None], y=ids)
    for name in ("a.csv", "b.npz", "c.npz"):
        data = settings(tmp_path / name, target="label" if name == "a.csv" else "y")
        assert any("whole numbers apart" in line for line in load_dataset(data).remarks), name


def test_the_same_rows_do_not_test(tmp_path: Path) -> None:
    """A test file that is a copy of the training file is refused; an index in one of two files alone is no matter."""
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text(CSV)
    with pytest.raises(
        ConfigError, match=r"^data\.test_path: .* which holds the same as data\.path; allowed: other rows"
    ):
        load_dataset(settings(tmp_path / "train.csv", test_path=str(tmp_path / "test.csv")))
    pd.read_csv(tmp_path / "train.csv")[3:].to_csv(tmp_path / "test.csv")
    loaded = load_dataset(settings(tmp_path / "train.csv", test_path=str(tmp_path / "test.csv")))
    assert (loaded.x.shape, loaded.features) == ((45, 2), ("first", "second"))


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    """Nullable numbers, booleans, categories, text of digits and an index, as pandas stores them."""
    frame = pd.DataFrame({
        "n": pd.array([1, None, 3] * 8, "Int64"), "ok": pd.array([True, None, False] * 8, "boolean"),
        "size": pd.Categorical(["s", "m", "l"] * 8), "zip": ["01", "02", "10"] * 8, "label": ["a", "b"] * 12,
    }, index=pd.Index(range(24)))  # fmt: skip
    frame.to_parquet(tmp_path / "mine.parquet")
    loaded = load_dataset(settings(tmp_path / "mine.parquet", missing="impute"))
    texts = [f"{name}={value}" for name, values in (("size", "lms"), ("zip", ["01", "02", "10"])) for value in values]
    assert loaded.features == ("n", "ok", *texts, "n is missing", "ok is missing")
    np.testing.assert_array_equal(loaded.x[0], [1, 1, 0, 0, 1, 1, 0, 0, 0, 0])
    frame.assign(when=pd.date_range("2024-01-01", periods=24)).to_parquet(tmp_path / "dates.parquet")
    with pytest.raises(ConfigError, match=r"^data\.path: column when holds dates"):
        load_dataset(settings(tmp_path / "dates.parquet", missing="impute"))


def test_a_named_index_of_parquet_is_a_column(tmp_path: Path) -> None:
    """What `set_index` made of a column is read; an index without a name is not."""
    frame = pd.DataFrame({"a": np.arange(24) / 4, "b": np.arange(24) % 5, "c": NOISE[:24], "label": ["x", "y"] * 12})
    for index in (["a"], ["a", "b"]):
        frame.set_index(index).to_parquet(tmp_path / f"{len(index)}.parquet")
        loaded = load_dataset(settings(tmp_path / f"{len(index)}.parquet"))
        assert loaded.features == ("a", "b", "c")
        np.testing.assert_array_equal(loaded.x[:, :2], frame[["a", "b"]].to_numpy(np.float32))
        assert any(line.startswith(f"{len(index)}.parquet: its index a") for line in loaded.remarks)
    frame.set_index(np.arange(24)[::-1]).to_parquet(tmp_path / "nameless.parquet")
    assert load_dataset(settings(tmp_path / "nameless.parquet")).features == ("a", "b", "c")


@pytest.mark.parametrize("value", [[1, 2], {"n": 1}, ["a", "b"]])
def test_several_values_per_row_are_refused(value: Any, tmp_path: Path) -> None:
    """Parquet's lists and dicts are no feature and no target; where the column is left out, they do no harm."""
    frame = pd.DataFrame({"a": np.arange(24) / 4, "b": [value] * 24, "label": ["x", "y"] * 12})
    frame.to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(ConfigError, match=r"column b holds several values per row .*data\.drop=\[b\]$"):
        load_dataset(settings(tmp_path / "mine.parquet"))
    with pytest.raises(ConfigError, match=r"^data\.target: column b holds several values per row"):
        load_dataset(settings(tmp_path / "mine.parquet", target="b", drop="label"))
    assert load_dataset(settings(tmp_path / "mine.parquet", drop="b")).features == ("a",)


DATES = ["Tue Jan {d} 2024", "Tue, {d} Jan 2024 10:00:00 +0100", "Tue Jan  {d} 12:00:00 2024", "{d}. März 2024",
         "{d} de enero de 2024", "{d} août 2024", "2024-{m:02d}", "{m:02d}/2024", "2024Q{q}", "2024-Q{q}", "Q{q} 2024",
         "2024-W{d:02d}", "{d:02d}JAN2024", "2024-Jan-{d:02d}", "January {d}st, 2024", "Januar 202{q}", "Jan 202{q}",
         "202401{d:02d}T1200"]  # fmt: skip
NO_DATES = ["marker {d}", "section {d}", "set {d}", "gen {d}", "decision {d}", "1234-{d:02d}", "v{q}.{d}.x", "Q{q}",
            "may", "mon", "market 202{q}", "12-{d}", "sunday {d}"]  # fmt: skip


@pytest.mark.parametrize("form", [*DATES, *NO_DATES])
def test_dates_are_told_from_categories(form: str, tmp_path: Path) -> None:
    """Dates in words, months, quarters and weeks are refused as others are; words that begin like a month are not."""
    texts = [form.format(d=1 + i % 9, m=1 + i % 12, q=1 + i % 4) for i in range(36)]
    content = "when,n,label\n" + "".join(f'"{text}",{i % 7},{"ab"[i % 2]}\n' for i, text in enumerate(texts))
    if form in DATES:
        assert "column when holds dates or times" in refusal(tmp_path, content)
    else:
        assert table(tmp_path, content).features[-1] == "n"

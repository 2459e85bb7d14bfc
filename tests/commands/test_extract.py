"""The command that shows and writes the biases of a saved model: what it says, what it writes, how it refuses."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from pipeline import extract
from pipeline.biases.model_files import read_biases
from pipeline.config.schema import PROJECT
from pipeline.store.runs import BIASES


def _weights(path: Path, bias) -> Path:
    """A GRU, a Dense layer with this bias and one without, as Keras would write them."""
    with h5py.File(path, "w") as file:
        for name, *arrays in (
            ("gru/cell", np.ones((2, 6)), np.ones((2, 6)), np.arange(12.0).reshape(2, 6)),
            ("dense", np.ones((2, len(bias))), bias),
            ("dense_1", np.ones((len(bias), 2))),
        ):
            for number, array in enumerate(arrays):
                file[f"layers/{name}/vars/{number}"] = np.asarray(array, np.float32)
        file.create_group("layers/gru/vars")
        for group, name in (("gru", "gru"), ("dense", "[red]dense"), ("dense_1", "out")):
            file[f"layers/{group}/vars"].attrs["name"] = name
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return _weights(tmp_path / "model.weights.h5", [0.5, -1.0, 2.0])


def test_the_table_is_printed_within_100_columns(model, capsys):
    """The table would not show every gate, kind and shape, or would not fit."""
    assert extract.main([str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["variable", "layer_type", "kind"]
    at = next(number for number, line in enumerate(lines) if line.startswith("gru/bias"))
    assert [line.split()[-6] for line in lines[at : at + 6]] == ["z", "r", "h"] * 2
    assert [line.split()[-5] for line in lines[at : at + 6]] == ["(2,)"] * 6
    assert any(line.split() == ["[red]dense/bias", "Dense", "bias", "(3,)", "0.5", "1.22", "-1", "2"] for line in lines)
    assert any(line.split() == ["out/bias", "Dense", "absent"] for line in lines)
    assert max(map(len, lines)) <= 100


def test_the_choice_is_by_layer_and_kind(model, capsys):
    """--layer or --kind would let through what they should not."""
    assert extract.main([str(model), "--layer", "gr*", "--format", "csv"]) == 0
    assert {row["variable"] for row in csv.DictReader(capsys.readouterr().out.splitlines())} == {"gru/bias"}
    assert extract.main([str(model), "--kind", "absent", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["variable"], row["kind"], row["mean"]) == ("out/bias", "absent", None)


def test_arrays_are_written_exactly(model, tmp_path):
    """npz and parquet would not hold the values, or npz could not be read again."""
    for name in ("a.npz", "a.parquet"):
        assert extract.main([str(model), "--output", str(tmp_path / name)]) == 0
    with np.load(tmp_path / "a.npz") as arrays:
        assert {name: arrays[name].tolist() for name in arrays} == {
            "[red]dense/bias": [0.5, -1, 2], "gru/bias": np.arange(12).reshape(2, 6).tolist(),
        }  # fmt: skip
    assert [v.path for v in read_biases(tmp_path / "a.npz")] == ["[red]dense/bias", "gru/bias"]
    long = pd.read_parquet(tmp_path / "a.parquet")
    assert list(long) == ["variable", "role", "gate", "unit", "value"] and len(long) == 15
    chosen = long[(long["gate"] == "r") & (long["role"] == "recurrent")]
    assert chosen[["unit", "value"]].to_numpy().tolist() == [[0, 8], [1, 9]]


def test_a_difference_has_drift_cosine_and_flips(model, tmp_path, capsys):
    """--diff would compare other biases, or compute something else."""
    other = _weights(tmp_path / "other.weights.h5", [0.5, 1.0, 2.0])
    with h5py.File(other, "r+") as file:
        file["layers/dense_2/vars/0"] = np.ones((2, 1), np.float32)
        file["layers/dense_2/vars/1"] = np.ones(1, np.float32)
        del file["layers/gru"]
    assert extract.main([str(model), "--diff", str(other), "--format", "json"]) == 0
    rows = {row["variable"]: row for row in json.loads(capsys.readouterr().out)}
    dense = rows["[red]dense/bias"]
    assert (dense["drift"], dense["sign_flips"], dense["only_in"]) == (2, 1, "")
    assert dense["cosine"] == pytest.approx(3.25 / 5.25)
    assert {name: row["only_in"] for name, row in rows.items() if row["only_in"]} == {
        "gru/bias": "first", "dense_2/bias": "second",
    }  # fmt: skip
    assert extract.main([str(model), "--diff", str(other)]) == 0
    assert "only_in" in capsys.readouterr().out


def test_other_shapes_are_shown_and_not_compared(model, tmp_path, capsys):
    """Biases of two lengths would be compared, or end in a traceback."""
    other = _weights(tmp_path / "other.weights.h5", [1.0])
    assert extract.main([str(model), "--diff", str(other), "--layer", "*dense", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["shape"], row["other_shape"], row["drift"], row["sign_flips"]) == ("(3,)", "(1,)", None, None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "are required"),
        (["nowhere.keras"], "no such file"),
        (["."], BIASES),
        (["MODEL", "--format", "xlsx"], "xlsx"),
        (["MODEL", "--format", "npz"], "--output"),
        (["MODEL", "--format", "parquet"], "--output"),
        (["MODEL", "--output", "a.xlsx"], "--format"),
        (["MODEL", "--output", "nowhere/a.csv"], "cannot be written"),
        (["MODEL", "--output", "MODEL", "--format", "csv"], "another file"),
        (["MODEL", "--diff", "OTHER", "--output", "OTHER", "--format", "csv"], "another file"),
        (["MODEL", "--output", ".", "--format", "csv"], "cannot be written"),
        (["MODEL", "--output", "MODEL/a.csv"], "cannot be written"),
        (["MODEL", "--output", ""], "--format"),
        (["MODEL", "MODEL"], "unrecognized"),
        (["MODEL", "--kind", "kernel"], "--kind"),
        (["MODEL", "--kind"], "--kind"),
        (["MODEL", "--layer", "dense"], "nearest: [red]dense"),
        (["MODEL", "--diff", "MODEL", "--kind", "absent"], "neither"),
        (["MODEL", "--diff", "MODEL", "--load"], "--load"),
        (["MODEL/inside"], "inside"),
        (["/dev/null"], "not a plain file"),
        ([""], "folder"),
        (["x" * 5000], "too long"),
        (["MODEL", "--layer", "gruu"], "nearest: gru"),
        (["MODEL", "--kind", "beta"], "has no beta"),
        (["MODEL", "--kind", "absent", "--output", "a.npz"], "holds values"),
        (["MODEL", "--diff", "nowhere.h5"], "nowhere.h5: no such file"),
        (["MODEL", "--diff", "MODEL", "--output", "a.npz"], "--diff"),
        (["MODEL", "--load"], "--load"),
        (["MODEL", "--lay", "gru"], "--lay"),
        (["runs:/0123"], "no MLflow store"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(model, arguments, reason, tmp_path, monkeypatch, capsys):
    """A request would end in a traceback, in several lines or in exit code 0, or leave half a file behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    content = model.read_bytes()
    names = {"MODEL": str(model), "OTHER": f"{tmp_path}/../{tmp_path.name}/{model.name}"}
    given = [a.replace("MODEL", names["MODEL"]).replace("OTHER", names["OTHER"]) for a in arguments]
    assert extract.main(given) == 2
    said = capsys.readouterr()
    assert said.out == "" and reason in said.err and said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [model] and model.read_bytes() == content


def test_a_layer_can_be_chosen_by_its_exact_name(model, capsys):
    """A name with the letters of a pattern in it could not be asked for."""
    assert extract.main([str(model), "--layer", "[red]dense", "--format", "json"]) == 0
    assert [row["variable"] for row in json.loads(capsys.readouterr().out)] == ["[red]dense/bias"]


def test_output_that_nobody_reads_or_that_has_few_letters(model, tmp_path):
    """`| head`, or a terminal without Unicode, would end in a traceback."""
    with h5py.File(model, "r+") as file:
        for number in range(2, 400):
            file[f"layers/dense_{number}/vars/0"] = np.ones((1, 1), np.float32)
            file[f"layers/dense_{number}/vars/1"] = np.ones(1, np.float32)
    command = f"{sys.executable} -m pipeline.extract {model}"
    said = subprocess.run(
        f"{command} --format json | head -n 1", shell=True, cwd=PROJECT, capture_output=True, text=True
    )
    assert (said.stdout, said.stderr) == ("[\n", "")
    plain = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    said = subprocess.run([*command.split(), "--layer", "gru"], cwd=PROJECT, capture_output=True, text=True, env=plain)
    assert (said.returncode, said.stderr) == (0, "") and "gru/bias" in said.stdout


def test_a_file_that_is_there_stays_whole(model, tmp_path, monkeypatch):
    """A failure while writing would leave a half-written file in the place of the old one."""
    target = tmp_path / "a.csv"
    target.write_text("old")
    monkeypatch.setattr(Path, "write_bytes", lambda path, content: (_ for _ in ()).throw(OSError(28, "No space left")))
    assert extract.main([str(model), "--output", str(target)]) == 2
    assert target.read_text() == "old" and len(list(tmp_path.iterdir())) == 2


def test_load_reads_what_the_reader_does_not_know(tmp_path, monkeypatch, capsys):
    """--load would not go through Keras, or would run a Lambda layer's code."""
    import keras

    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="out")]).save(path)
    assert extract.main([str(path), "--load", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["variable"], row["initializer"], row["mean"]) == ("out/bias", "Zeros", 0)
    monkeypatch.chdir(tmp_path)
    canary = tmp_path / "canary"
    code = keras.layers.Lambda(lambda x: __import__("os").makedirs("canary", exist_ok=True) or x, output_shape=(3,))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), code])
    for path in (tmp_path / "model.keras", tmp_path / "model.h5"):
        model.save(path)
        if canary.exists():
            canary.rmdir()
        assert extract.main([str(path)]) == 0 and extract.main([str(path), "--load"]) == 2
        assert capsys.readouterr().err.count("\n") == 1 and not canary.exists()


def test_load_knows_our_initializers_and_says_what_to_do_about_other_layers(tmp_path):
    """A model of ours could not be loaded, or a layer of another library would be guessed, or end in a traceback."""
    import keras

    from pipeline.models.initializers.custom import FanInUniform

    class Own(keras.layers.Layer):
        def build(self, shape):
            self.bias = self.add_weight(shape=(3,), name="bias")

        def call(self, x):
            return x + self.bias

    dense = keras.layers.Dense(2, name="out", bias_initializer=FanInUniform(fan_in=3, seed=1))
    keras.Sequential([keras.Input((3,)), dense]).save(tmp_path / "ours.keras")
    for form in ("keras", "h5"):
        keras.Sequential([keras.Input((3,)), Own(name="own"), dense]).save(tmp_path / f"other.{form}")

    def said(*arguments):
        command = [sys.executable, "-m", "pipeline.extract", *map(str, arguments), "--format", "json"]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)

    loaded = said(tmp_path / "ours.keras", "--load")  # in another process, where nothing is registered yet
    (row,) = json.loads(loaded.stdout)
    assert row["max"] == dense.bias.numpy().max() and row["initializer"] == "FanInUniform(fan_in=3)"
    assert "Warning" not in loaded.stderr
    for form in ("keras", "h5"):
        path = tmp_path / f"other.{form}"
        kinds = {row["layer"]: (row["kind"], row["layer_type"]) for row in json.loads(said(path).stdout)}
        assert kinds == {"own": ("unknown", "Own"), "out": ("bias", "Dense")}
    refused = said(path, "--load")
    (line,) = [line for line in refused.stderr.splitlines() if "--load" in line]
    assert refused.returncode == 2 and "For Own: in Python, import what defines it" in line and not refused.stdout


def test_a_run_of_mlflow_is_read(tmp_path, monkeypatch, capsys):
    """runs:/<id> would not give the biases after training, or a logged Keras file."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(uri)
    experiment = client.create_experiment("study", artifact_location=(tmp_path / "artifacts").as_uri())
    run_id = client.create_run(experiment).info.run_id
    assert extract.main([f"runs:/{run_id}"]) == 2
    assert "neither" in capsys.readouterr().err
    (tmp_path / "biases").mkdir()
    np.savez(tmp_path / "biases" / "after.npz", **{"dense/bias": np.array([1.0, 2.0])})
    client.log_artifact(run_id, str(tmp_path / "biases" / "after.npz"), "biases")
    assert extract.main([f"runs:/{run_id}", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["variable"], row["mean"]) == ("dense/bias", 1.5)
    assert extract.main(["runs:/0123"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_the_models_that_a_run_logged_are_read(tmp_path, monkeypatch, capsys):
    """runs:/<id> would not find what mlflow.keras logs, or would take one of several models without a word."""
    import keras
    import mlflow.keras

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    location = (tmp_path / "artifacts").as_uri()
    experiment = mlflow.MlflowClient(uri).create_experiment("study", artifact_location=location)

    def fresh(value):
        start = keras.initializers.Constant(value)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="out", bias_initializer=start)])
        model.compile("sgd", "mse")
        return model

    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.keras.autolog()
        trained = fresh(0.5)
        trained.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
        mlflow.keras.autolog(disable=True)
    auto = run.info.run_id
    with mlflow.start_run(experiment_id=experiment) as run:
        ids = [mlflow.keras.log_model(fresh(value), name=name, pip_requirements=[]).model_id
               for name, value in (("one", 1.0), ("two", 2.0), ("two", 3.0))]  # fmt: skip
    several = run.info.run_id

    def said(run, *more):
        code = extract.main([f"runs:/{run}", "--format", "json", *more])
        out, err = capsys.readouterr()
        return [row["min"] for row in json.loads(out)] if code == 0 else err

    assert said(auto) == [trained.layers[0].bias.numpy().min()] and said(auto, "--load") == said(auto)
    for name, value in (("one", 1), (ids[1], 2), (ids[2], 3), ("one/data/model.keras", 1)):
        assert said(f"{several}/{name}") == [value]
    for name, reason in (("", "several models"), ("/two", "several models"), ("/three", "no such model")):
        err = said(several + name)
        assert reason in err and err.count("\n") == 1 and all(f"runs:/{several}/{id_}" in err for id_ in ids[1:])
        assert (f"runs:/{several}/one" in err) == (name != "/two")
    err = said(f"{several}/one/MLmodel")
    assert f"runs:/{several}/one/MLmodel: truncated" in err and str(tmp_path / "artifacts") not in err
    assert said(f"{several}/one/nothing").count("\n") == 1


def test_the_command_is_quick(model):
    """The command would import TensorFlow, Keras or MLflow to read a file."""
    code = f"""import sys; from pipeline import extract
assert extract.main([{str(model)!r}]) == 0
print([name for name in ('tensorflow', 'keras', 'mlflow') if name in sys.modules])"""
    said = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert (said.returncode, said.stdout.splitlines()[-1:]) == (0, ["[]"]), said.stderr

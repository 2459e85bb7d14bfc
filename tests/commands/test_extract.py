"""The extract command as a whole: what it prints, what it writes, and how it refuses."""

import csv
import json
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from factories import put

from pipeline import extract
from pipeline.config.schema import PROJECT
from pipeline.runtime.device import start_tensorflow
from pipeline.store.replaced import write_run
from pipeline.store.runs import BIASES, WEIGHTS, RunStore


def _weights(path: Path, bias) -> Path:
    """A weights file of a GRU, a Dense layer with this bias, and one without a bias."""
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


def test_a_table_is_printed(model, capsys):
    """Without options, all biases are printed as a table."""
    assert extract.main([str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["variable", "layer_type", "kind"]
    assert [line.split()[0] for line in lines if "/bias" in line] == ["[red]dense/bias", "out/bias", "gru/bias"]


def test_biases_are_selected_and_printed(model, capsys):
    """--layer and --kind select what --format prints."""
    assert extract.main([str(model), "--layer", "gr*", "--format", "csv"]) == 0
    assert {row["variable"] for row in csv.DictReader(capsys.readouterr().out.splitlines())} == {"gru/bias"}
    assert extract.main([str(model), "--kind", "absent", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["variable"], row["kind"], row["mean"]) == ("out/bias", "absent", None)


def test_an_output_file_is_written(model, tmp_path, capsys):
    """--output writes the file and prints nothing; another run replaces it."""
    target = tmp_path / "a.npz"
    target.write_text("old")
    assert extract.main([str(model), "--output", str(target)]) == 0
    assert capsys.readouterr().out == ""
    with np.load(target) as arrays:
        assert set(arrays) == {"gru/bias", "[red]dense/bias"}


def test_two_models_are_compared(model, tmp_path, capsys):
    """--diff prints a row per bias of either model, and --layer selects in both."""
    other = _weights(tmp_path / "other.weights.h5", [0.5, 1.0, 2.0])
    with h5py.File(other, "r+") as file:
        file["layers/dense_2/vars/0"] = np.ones((2, 1), np.float32)
        file["layers/dense_2/vars/1"] = np.ones(1, np.float32)
        del file["layers/gru"]
    assert extract.main([str(model), "--diff", str(other), "--format", "json"]) == 0
    rows = {row["variable"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name: (row["only_in"], row["drift"]) for name, row in rows.items()} == {
        "gru/bias": ("first", None), "[red]dense/bias": ("", 2), "dense_2/bias": ("second", None),
    }  # fmt: skip
    assert extract.main([str(model), "--diff", str(other), "--layer", "*dense"]) == 0
    out = capsys.readouterr().out
    assert "sign_flips" in out and "gru" not in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "are required"),
        (["MODEL", "--output", "MODEL", "--format", "csv"], "another file"),
        (["nowhere.keras"], "nowhere.keras: no such file"),
        (["."], BIASES),
        (["MODEL/inside"], "inside"),
        (["/dev/null"], "not a plain file"),
        ([""], "folder"),
        (["x" * 5000], "too long"),
        (["MODEL", "--layer", "gruu"], "nearest: gru"),
        (["MODEL", "--layer", "dense"], "nearest: [red]dense"),
        (["MODEL", "--kind", "beta"], "has no beta"),
        (["MODEL", "--kind", "absent", "--output", "a.npz"], "holds values"),
        (["MODEL", "--diff", "MODEL", "--kind", "absent"], "neither"),
        (["MODEL", "--diff", "nowhere.h5"], "nowhere.h5: no such file"),
        (["MODEL", "--diff", ""], "folder"),
        (["MODEL", "--load"], "--load"),
        (["MODEL", "--diff", "MODEL", "--load"], "--load"),
        (["MODEL", "--output", "nowhere/a.csv"], "cannot be written"),
        (["MODEL", "--output", ".", "--format", "csv"], "cannot be written"),
        (["MODEL", "--output", "MODEL/a.csv"], "cannot be written"),
        (["runs:/0123"], "no MLflow store"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(model, arguments, reason, tmp_path, monkeypatch, capsys):
    """Exit code 2, one line on standard error, nothing printed, nothing written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    content = model.read_bytes()
    assert extract.main([argument.replace("MODEL", str(model)) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and reason in printed.err and printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [model] and model.read_bytes() == content


def test_odd_files_are_refused_in_one_line(tmp_path, capsys):
    """A link to itself, an archive without members, and an array without numbers are no traceback."""
    (tmp_path / "loop.keras").symlink_to("loop.keras")
    with zipfile.ZipFile(tmp_path / "nothing.keras", "w"):
        pass
    np.savez(tmp_path / "nothing.npz", **{"after/dense/bias": np.zeros(0)})
    for name in ("loop.keras", "nothing.keras", "nothing.npz"):
        assert extract.main([str(tmp_path / name)]) == 2, capsys.readouterr()
        line = capsys.readouterr().err
        assert name in line and line.count("\n") == 1 and "(log: " not in line


def test_a_closed_pipe_and_a_terminal_without_unicode_are_no_errors(model):
    """`| head` ends the command silently, and letters that the terminal lacks are replaced."""
    with h5py.File(model, "r+") as file:
        for number in range(2, 400):
            file[f"layers/dense_{number}/vars/0"] = np.ones((1, 1), np.float32)
            file[f"layers/dense_{number}/vars/1"] = np.ones(1, np.float32)
    command = [sys.executable, "-m", "pipeline.extract", str(model)]
    piped = f"{shlex.join(command)} --format json | head -n 1"
    result = subprocess.run(piped, shell=True, cwd=PROJECT, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[\n", "")
    ascii_only = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    command += ["--layer", "gru"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, env=ascii_only)
    assert (result.returncode, result.stderr) == (0, "") and "gru/bias" in result.stdout


@pytest.mark.slow
def test_load_knows_the_initializers_of_this_project(tmp_path):
    """--load reads, in a fresh process, a model whose bias initializer Keras does not ship, and without a warning."""
    start_tensorflow("cpu")
    import keras

    from pipeline.models.initializers.custom import FanInUniform

    dense = keras.layers.Dense(2, name="out", bias_initializer=FanInUniform(fan_in=3, seed=1))
    keras.Sequential([keras.Input((3,)), dense]).save(tmp_path / "ours.keras")
    command = [sys.executable, "-m", "pipeline.extract", str(tmp_path / "ours.keras"), "--load", "--format", "json"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    (row,) = json.loads(result.stdout)
    assert row["max"] == dense.bias.numpy().max() and row["initializer"] == "FanInUniform(fan_in=3)"
    assert "Warning" not in result.stderr


def test_a_run_of_mlflow_is_read(mlflow_store, tmp_path, monkeypatch, capsys):
    """runs:/<id> reads the biases after training that the project uploads; a run without any is refused."""
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    client = MlflowClient(mlflow_store)
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_the_models_that_a_run_logged_are_read(mlflow_store, tmp_path, monkeypatch, capsys):
    """runs:/<id> reads what mlflow.keras logs; of several models it asks for one by name or id."""
    start_tensorflow("cpu")
    import keras
    import mlflow.keras

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    location = (tmp_path / "artifacts").as_uri()
    experiment = mlflow.MlflowClient(mlflow_store).create_experiment("study", artifact_location=location)

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

    def minima_or_error(run, *more):
        code = extract.main([f"runs:/{run}", "--format", "json", *more])
        out, err = capsys.readouterr()
        return [row["min"] for row in json.loads(out)] if code == 0 else err

    assert minima_or_error(auto) == [trained.layers[0].bias.numpy().min()] and minima_or_error(
        auto, "--load"
    ) == minima_or_error(auto)
    for name, value in (("one", 1), (ids[1], 2), (ids[2], 3), ("one/data/model.keras", 1)):
        assert minima_or_error(f"{several}/{name}") == [value]
    for name, reason in (("", "several models"), ("/two", "several models"), ("/three", "no such model")):
        err = minima_or_error(several + name)
        assert reason in err and err.count("\n") == 1 and all(f"runs:/{several}/{id_}" in err for id_ in ids[1:])
        assert (f"runs:/{several}/one" in err) == (name != "/two")
    err = minima_or_error(f"{several}/one/MLmodel")
    assert f"runs:/{several}/one/MLmodel: truncated" in err and str(tmp_path / "artifacts") not in err
    assert minima_or_error(f"{several}/one/nothing").count("\n") == 1


def test_a_damaged_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run, and the biases.npz in it, are held against digests and seal; biases alone are read as they are."""
    folder, whole = put(tmp_path, "zeros", 0, 0.5).path, put(tmp_path, "ones", 0, 0.5).path
    for model in (folder, folder / BIASES):
        assert extract.main([str(model)]) == 0
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace("0.5", "0.999"))
    capsys.readouterr()
    for arguments in ([folder], [folder, "--load"], [whole, "--diff", folder], [folder / BIASES]):
        assert extract.main([*map(str, arguments)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.endswith(": a damaged run: run.json was changed after it was written\n")
        assert printed.err.startswith(str(folder)) and printed.err.count("\n") == 1
    (folder / "run.json").unlink()
    assert extract.main([str(folder)]) == 0


def _overwrite(folder: Path, name: str) -> None:
    np.savez(folder / name, **{"after/dense/bias": np.full(2, 9.0)})


def test_every_file_of_a_damaged_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of a run's files is held against its digest, by a link too, and so is a file that the run never had.

    A model that was put beside them is none of them.
    """
    whole, run = put(tmp_path, "ones", 0, 0.5).path, put(tmp_path, "zeros", 0, 0.5)
    weights = {"before/dense/bias": np.zeros(2), "after/dense/bias": np.ones(2)}
    folder = write_run(RunStore(tmp_path, "s"), run.meta | {"key": "other"}, run.biases(), run.history(), weights).path
    link = tmp_path / "linked.npz"
    link.symlink_to(folder / WEIGHTS)
    for model in (folder, folder / WEIGHTS, link):
        assert extract.main([str(model)]) == 0
    content = (folder / WEIGHTS).read_bytes()
    _overwrite(folder, WEIGHTS)
    _overwrite(whole, WEIGHTS)
    capsys.readouterr()
    digest, no_digest = f"{WEIGHTS} does not match its digest", f"run.json has no digest of {WEIGHTS}"
    files = [(folder / name, digest) for name in (WEIGHTS, BIASES, "history.csv", "rows.npz", "run.json")]
    for model, reason in [*files, (link, digest), (whole / WEIGHTS, no_digest)]:
        for arguments in ([model], [model, "--load"], [whole, "--diff", model]):
            assert extract.main([*map(str, arguments)]) == 2
            printed = capsys.readouterr()
            assert printed.out == "" and printed.err.count("\n") == 1
            assert printed.err.endswith(f": a damaged run: {reason}\n")
    (folder / WEIGHTS).write_bytes(content)
    (folder / "run.json").write_text((folder / "run.json").read_text().replace("0.5", "0.999"))
    assert extract.main([str(folder / WEIGHTS)]) == 2
    assert capsys.readouterr().err.endswith(": a damaged run: run.json was changed after it was written\n")
    assert extract.main([str(_weights(folder / "mine.weights.h5", [0.5, -1.0, 2.0]))]) == 0

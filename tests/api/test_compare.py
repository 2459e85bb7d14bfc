"""`compare_initializers` gives the commands' answer, and leaves the caller's process as it was."""

import logging
import os
import random
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from factories import compose_config
from own_classes import Squares, Within, Wrong

from pipeline.api import ConfigError, DataError, PipelineError, Study, compare_initializers
from pipeline.config.schema import PROJECT
from pipeline.data.sources import load_dataset
from pipeline.experiment.plan import plan_job

pytestmark = pytest.mark.slow
ARMS = ["no_bias", "zeros", "ones", keras.initializers.RandomNormal(stddev=0.2)]
SETTINGS: dict[str, Any] = {"arms": ARMS, "seeds": 3, "epochs": 2, "progress": False}


def network() -> keras.Sequential:
    return keras.Sequential([keras.layers.Dense(6, activation="relu"), keras.layers.Dense(3, activation="softmax")])


@pytest.fixture(scope="module")
def iris() -> tuple[np.ndarray, np.ndarray]:
    dataset = load_dataset(compose_config("data=iris").data)
    return dataset.x, dataset.y


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def study(iris: tuple[np.ndarray, np.ndarray], results: Path) -> Study:
    return compare_initializers(network(), iris, results=results, study="flowers", **SETTINGS)


def test_the_answer_is_that_of_the_command(study: Study, results: Path, tmp_path: Path) -> None:
    """`pipeline.compare` finds the study, and says the same."""
    command = [sys.executable, "-m", "pipeline.compare", f"results={results}", f"reports={tmp_path}", "mlflow=false",
               "figures=false"]  # fmt: skip
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert study.headline in " ".join(done.stdout.split())
    assert (tmp_path / "flowers" / "report.html").exists()
    assert list(study.verdicts) == ["no_bias", "zeros", "ones", "random_normal(stddev=0.2)"]
    assert study.verdicts["zeros"].verdict == "baseline"
    assert study.verdicts[ARMS[3]].setting == "random_normal(stddev=0.2)"
    assert list(study.table["arm"]) == list(study.verdicts)
    assert set(study.differences["seed"]) == {0, 1, 2}


def test_a_live_model_trains_as_the_same_model_in_yaml(study: Study) -> None:
    """The same key, so the same run: but for the data, which are a file here."""
    hidden = "{class_name:Dense,config:{units:6,activation:relu}}"
    output = "{class_name:Dense,config:{units:3,activation:softmax}}"
    run = next(run for run in study.runs if run.arm == "ones")
    (path,) = (study.folder.parent / ".data").iterdir()
    overrides = ["data=file", f"data.path={path}", "data.name=arrays", "model.name=sequential",
                 f"model.layers=[{hidden},{output}]", "training.epochs=2", "bias_initializer=ones"]  # fmt: skip
    plan = plan_job(compose_config(*overrides))
    assert run.key == plan.keys[run.seed][0]


def test_biases_of_every_run(study: Study) -> None:
    """A row per bias, before and after training; none of the arm without biases."""
    biases = study.biases()
    assert set(biases["arm"]) == {"zeros", "ones", "random_normal(stddev=0.2)"}
    assert len(biases) == 3 * 3 * (6 + 3)
    ones = biases.loc[biases["arm"] == "ones"]
    assert (ones["before"] == 1).all() and (ones["after"] != 1).any()


def test_what_a_notebook_shows(study: Study, tmp_path: Path) -> None:
    """Verdict, table and figure, all in the page; the same as text; figures and the report as files."""
    html = study._repr_html_()
    assert study.headline in html and ">ones</td>" in html and 'src="data:image/png;base64,' in html
    assert "http" not in html
    text = repr(study)
    assert text.endswith("\n\n" + "\n".join(study.notes))
    assert study.headline in text and "data: 150 rows" in text
    chart = study.chart("learning_curves")
    assert chart.svg.startswith("<svg") and chart.save(tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert study.save(tmp_path / "report").exists()
    assert (tmp_path / "report" / "comparison.json").exists()
    assert study.save(tmp_path / "report", figures=False).exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "summary.csv").write_text("mine")
    with pytest.raises(ConfigError, match=r"^folder: .*summary.csv is of no earlier report"):
        study.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "summary.csv").read_text() == "mine"
    with pytest.raises(ConfigError, match=r"^chart: no figure interval; nearest: intervals"):
        study.chart("interval")


def test_a_second_call_trains_nothing(study: Study, iris: tuple[np.ndarray, np.ndarray], results: Path) -> None:
    """It answers from the stored runs; seeds and arms of the study that were not asked for are left out."""
    files = {path: path.stat().st_mtime_ns for path in results.rglob("run.json")}
    fewer = SETTINGS | {"arms": ["zeros", "ones"], "seeds": 2}
    again = compare_initializers(network(), iris, results=results, study="flowers", **fewer)
    assert {path: path.stat().st_mtime_ns for path in results.rglob("run.json")} == files
    assert list(again.verdicts) == ["zeros", "ones"]
    for metric in ("accuracy", "loss", "best_val_loss"):
        named = compare_initializers(network(), iris, results=results, study="flowers", metric=metric, **fewer)
        assert named.comparison.study.metric == (metric if "_" in metric else f"test_{metric}")
    backwards = compare_initializers(
        network(), iris, results=results, study="flowers", **fewer | {"arms": ARMS[2:0:-1]}
    )
    assert list(backwards.verdicts) == list(backwards.table["arm"]) == ["ones", "zeros"]
    for answer, frame in ((backwards, backwards.summary), (study, study.summary), (study, study.differences)):
        orders = {tuple(dict.fromkeys(rows["arm"])) for _, rows in frame.groupby("metric", sort=False)}
        assert orders == {tuple(arm for arm in answer.verdicts if arm in set(frame["arm"]))}
    assert list(dict.fromkeys(backwards.biases()["arm"])) == ["ones", "zeros"]
    first = ["arm", "metric", "verdict", "difference", "difference_ci_low", "difference_ci_high", "p_holm", "mean"]
    assert list(study.table)[:9] == list(study.summary)[:9] == [*first, "seeds"]
    assert sorted(study.table) == sorted(study.comparison.summary)
    assert repr(backwards).index("\nones") < repr(backwards).index("\nzeros")
    assert {(run.arm, run.seed) for run in again.runs} == {(arm, seed) for arm in ("zeros", "ones") for seed in (0, 1)}


def test_the_process_is_as_it_was(iris: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """Random numbers go on as without the call, also where the model comes from a function that draws."""

    def drawn() -> list[Any]:
        return [random.random(), np.random.rand(), float(keras.random.normal(())), float(tf.random.normal(()))]

    def model() -> keras.Sequential:
        drawn()
        os.environ["MADE_BY_A_MODEL"] = "1"
        return network()

    def process() -> list[Any]:
        loggers = {name: logging.getLogger(name).level for name in ("", "tensorflow", "absl", "hydra", "urllib3")}
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return [loggers, logging.root.handlers[:], warnings.filters[:], dict(os.environ), Path.cwd(), handlers]

    keras.utils.set_random_seed(7)
    drawn()
    expected = drawn()
    keras.utils.set_random_seed(7)
    drawn()
    before = process()
    compare_initializers(model, iris, **SETTINGS | {"arms": ["zeros", "ones"], "seeds": 1, "ablation": False})
    assert process() == before
    assert drawn() == expected
    with pytest.raises(PipelineError):
        compare_initializers(model, iris, results=tmp_path / "none", epochs=0)
    assert process() == before
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("change", "line"), [
    ({"epochs": 0}, "epochs: 0 given; allowed: a whole number from 1 up"),
    ({"seeds": 0}, "seeds: 0 given; allowed: a count from 1 up"),
    ({"arms": ["zeroes"]}, "arms: zeroes given; nearest: zeros, ones; allowed: any of Keras, your own as MyInitiali"),
    ({"arms": ["zeros", "ones"], "baseline": "glorot_uniform"}, "baseline: glorot_uniform given; allowed: zeros, ones"),
    ({"arms": ["ones"]}, "arms: ones is the only one; allowed: two or more"),
    ({"metrics": ["accuracy", "auc"]}, 'metrics: auc given; allowed: metrics="auto", or for a multiclass target a '),
    ({"loss": "hinge"}, "loss: Hinge given for a multiclass target; allowed: auto, "),
    ({"optimizer": "adamm"}, "optimizer: adamm is no optimizer of Keras; nearest: "),
    ({"epoch": 3}, "epoch: no such argument; nearest: epochs"),
    ({"results": "/dev/null/x"}, "results: /dev/null/x cannot be written: "),
])  # fmt: skip
def test_what_cannot_be_done_is_refused(
    iris: tuple[np.ndarray, np.ndarray], tmp_path: Path, change: dict[str, Any], line: str
) -> None:
    """In one line that speaks of arguments, before anything is written."""
    with pytest.raises(ConfigError) as refusal:
        compare_initializers(network(), iris, **SETTINGS | {"results": tmp_path / "results"} | change)
    assert str(refusal.value).startswith(line)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("data", "change", "words"), [
    (lambda x, y: (x, np.zeros(len(x))), {}, ("data: ", "one class only")),
    (lambda x, y: (x[:1], y[:1]), {}, ("one row",)),
    (lambda x, y: (np.where(x > 5, np.nan, x), y), {}, ("data: ", "missing values")),
    (lambda x, y: (x, y), {"arms": [Wrong(), "zeros"]}, ("arms: the initializer Wrong returns", "nan")),
    (lambda x, y: (x, y), {"arms": [Wrong(0.0, 1), "zeros"]}, ("Wrong returns shape (7,) for a bias of shape (6,)",)),
])  # fmt: skip
def test_bad_input_is_one_line(
    iris: tuple[np.ndarray, np.ndarray], tmp_path: Path, data: Any, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    """One class, one row, gaps, an initializer of NaN or of another shape: nothing is written."""
    with pytest.raises(PipelineError) as refusal:
        compare_initializers(network(), data(*iris), **SETTINGS | {"results": tmp_path / "results"} | change)
    line = str(refusal.value)
    assert "\n" not in line and all(word in line for word in words), line
    assert ".npz" not in line and "bias_initializer" not in line
    assert list(tmp_path.iterdir()) == []


def test_an_input_of_another_shape_is_refused(iris: tuple[np.ndarray, np.ndarray]) -> None:
    """The model is the user's: it is not built anew for other rows."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="softmax")])
    with pytest.raises(
        ConfigError, match=r"^model: sequential takes rows of shape \(5,\), but data has rows of shape \(4,\)"
    ):
        compare_initializers(model, iris, **SETTINGS)


INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
import keras
import numpy as np
from pipeline.api import compare_initializers
from pipeline.experiment.isolation import _trainers
handlers = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]
results = Path(sys.argv[1])

def interrupt():
    while not list(results.rglob("run.json")):
        threading.Event().wait(0.05)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
x = np.random.default_rng(0).normal(size=(400, 4))
model = keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1, activation="sigmoid")])
try:
    arms = ["zeros", "ones", "he_normal"]
    compare_initializers(model, (x, x[:, 0] > 0), arms=arms, seeds=4, epochs=60, results=results)
except KeyboardInterrupt:
    now = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]
    print("interrupted", len(_trainers), handlers == now)
"""


def test_an_interrupted_call_keeps_what_is_stored(tmp_path: Path) -> None:
    """KeyboardInterrupt reaches the caller; no process is left; runs that are stored are whole."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], cwd=PROJECT, capture_output=True, text=True, timeout=240
    )
    assert done.stdout == "interrupted 0 True\n", done.stderr[-2000:]
    runs = [path.parent for path in tmp_path.rglob("run.json")]
    assert runs and all((run / "biases.npz").is_file() for run in runs)


def test_a_functional_model_trains(iris: tuple[np.ndarray, np.ndarray]) -> None:
    """One with a connection around a layer, which no Sequential has; by an arm given for each layer too."""
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(4, activation="relu", name="first")(inputs)
    outputs = keras.layers.Dense(3, activation="softmax", name="last")(keras.layers.Add()([inputs, hidden]))
    arms = ["zeros", {"first": "ones", "output": keras.initializers.Constant(0.1)}]
    answer = compare_initializers(keras.Model(inputs, outputs), iris, **SETTINGS | {"arms": arms, "ablation": False})
    biases = answer.biases()
    mixed = biases.loc[biases["arm"] != "zeros"]
    assert dict(mixed.groupby("bias")["before"].mean().round(3)) == {"first/bias": 1.0, "last/bias": 0.1}


def test_layers_are_called_as_in_the_model(iris: tuple[np.ndarray, np.ndarray]) -> None:
    """Though automatic names count on within a program: the answer says under which name it has them."""
    network()
    model = network()
    first, last = (layer.name for layer in model.layers)
    settings = SETTINGS | {"arms": ["zeros", {first: "zeros", last: "ones"}], "seeds": 1, "ablation": False}
    answer = compare_initializers(model, iris, **settings)
    mixed = answer.biases().query("arm != 'zeros'")
    assert dict(mixed.groupby("bias")["before"].mean()) == {"dense/bias": 0, "dense_1/bias": 1}
    assert f"model: {first} is called dense, {last} is called dense_1 here" in repr(answer)


def test_a_loss_and_a_metric_of_ones_own_train() -> None:
    """A class that computes what Keras' does gives its numbers."""
    x = np.random.default_rng(0).normal(size=(60, 2))
    settings = SETTINGS | {"arms": ["zeros", "ones"], "seeds": 1, "ablation": False}
    answers = []
    for loss, metrics in ((Squares(), [Within(0.5), "mse"]), ("mse", ["mse"])):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("adam", loss, metrics=metrics)
        answers.append(compare_initializers(model, (x, x[:, 0]), **settings).runs[0].meta["metrics"])
    assert 0 <= answers[0]["test_within"] <= 1
    assert answers[0]["test_mse"] == pytest.approx(answers[1]["test_mse"], rel=1e-5)


def test_the_library_has_one_base_of_errors() -> None:
    """Whoever catches it catches all."""
    assert issubclass(DataError, PipelineError) and issubclass(ConfigError, PipelineError)

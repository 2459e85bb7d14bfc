"""A request that cannot be carried out: one line that says why, exit code 2, and nothing trained or written."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from factories import DROPOUT_GRU, Said

from pipeline.config.schema import PROJECT

QUICK = ("data=iris", "model=linear", "training.epochs=1", "seeds=1", "tracking=none")


class Bad(NamedTuple):
    """One bad value of a key, a good one beside it, and what the refusal must say."""

    key: str
    good: str
    bad: str
    says: tuple[str, ...]  # the key, what was given, what is allowed
    others: tuple[str, ...] = ()  # overrides that both need

    def __str__(self) -> str:
        return f"{self.key}={self.bad}"


def dense(argument: str) -> str:
    return f"[{{class_name:Dense,config:{{{argument}}}}},{{class_name:Dense}}]"


GOOD_LAYERS = dense("units:2")
FILE = ("data=file", "data.target=label")
CSV, NPZ = ("data=file", "data.path=good.csv"), ("data=file", "data.path=good.npz")

BAD = [
    # options of a group, with the nearest names
    Bad("bias_initializer", "zeros", "zeroz", ("bias_initializer", "zeroz", "nearest: zeros")),
    Bad("bias_initializer", "zeros", "glorot_unifrom", ("bias_initializer", "glorot_unifrom", "glorot_uniform")),
    Bad("bias_initializer", "zeros", "null", ("bias_initializer", "null", "allowed", "use_bias=false")),
    Bad("bias_initializer", "zeros", "orthogonal", ("bias_initializer", "Orthogonal", "allowed", "GlorotUniform")),
    Bad("bias_initializer", "zeros", "identity", ("bias_initializer", "Identity", "allowed", "GlorotUniform")),
    Bad("bias_initializer.class_name", "Zeros", "Zeross", ("bias_initializer.class_name", "Zeross", "nearest: Zeros")),
    Bad("data", "iris", "irish", ("data", "irish", "nearest: iris")),
    Bad("model", "linear", "liner", ("model", "liner", "nearest: linear")),
    Bad("optimizer", "adam", "adamm", ("optimizer", "adamm", "nearest: adam")),
    Bad("training", "default", "defalt", ("training", "defalt", "default")),
    Bad("runtime", "auto", "tpu", ("runtime", "tpu", "cpu", "gpu")),
    Bad("tracking", "none", "mlfow", ("tracking", "mlfow", "nearest: mlflow")),
    Bad("experiment", "images", "lessn", ("experiment", "lessn", "nearest: lesson")),
    # values
    Bad("training.epochs", "1", "0", ("training.epochs", "0 given", "from 1 up")),
    Bad("training.epochs", "1", "1.5", ("training.epochs", "1.5", "allowed", "whole number")),
    Bad("training.epochs", "1", "ten", ("training.epochs", "ten", "allowed", "whole number")),
    Bad("training.batch_size", "8", "0", ("training.batch_size", "0 given", "from 1 up")),
    Bad("seeds", "1", "-1", ("seeds", "-1 given", "from 1 up")),
    Bad("seeds", "1", "1.5", ("seeds", "1.5 given", "from 1 up")),
    Bad("seeds", "1", "[]", ("seeds", "[] given", "from 1 up")),
    Bad("seeds", "1", "0", ("seeds", "0 given", "from 1 up")),
    Bad("use_bias", "true", "maybe", ("use_bias", "maybe", "allowed", "true", "false")),
    Bad("optimizer.learning_rate", "0.1", "-0.1", ("optimizer.learning_rate", "-0.1 given", "positive")),
    Bad("data.test_fraction", "0.2", "1.2", ("data.test_fraction", "1.2 given", "between 0 and 1")),
    Bad("bias_layers", "all", "hiden", ("bias_layers", "hiden given", "all, hidden, output")),
    Bad("bias_layers", "[output]", "[outptu]", ("bias_layers", "outptu", "nearest: output")),
    Bad("study", "mine", "a/b", ("study", "a/b given", "allowed")),
    # layers
    Bad("model.layers", GOOD_LAYERS, dense("units:-4"), ("model.layers.0.config.units", "-4 given", "from 1 up")),
    Bad("model.layers", GOOD_LAYERS, dense("units:0"), ("model.layers.0.config.units", "0 given", "from 1 up")),
    Bad("model.layers", GOOD_LAYERS, dense("unit:4"), ("model.layers.0.config.unit", "nearest: units")),
    Bad("model.layers", GOOD_LAYERS, "[{class_name:Dens},{class_name:Dense}]",
        ("model.layers.0.class_name", "Dens", "nearest: Dense")),
    Bad("model.layers", GOOD_LAYERS, "[{class_name:Lambda,config:{function:x}},{class_name:Dense}]",
        ("model.layers.0.class_name", "Lambda", "code", "allowed")),
    Bad("model.layers", GOOD_LAYERS, "[{class_name:Bidirectional,config:{layer:{class_name:Lambda}}}]",
        ("model.layers.0.config.layer.0.class_name", "Lambda", "code", "allowed")),
    Bad("model.layers", GOOD_LAYERS, "[]", ("model.layers", "[] given", "a list of layers")),
    Bad("model.layers", GOOD_LAYERS, "[{class_name:Dense,config:5}]", ("model.layers.0", "5", "allowed")),
    Bad("model.layers", GOOD_LAYERS, dense("units:2,bias_initializer:null"),
        ("model.layers.0.config.bias_initializer", "null")),
    Bad("model.layers", GOOD_LAYERS, dense("units:2,bias_initializer:zeroz"),
        ("model.layers.0.config.bias_initializer", "zeroz", "Zeros")),
    Bad("model.layers", GOOD_LAYERS, dense("units:2,bias_initializer:{class_name:Zeross,config:{}}"),
        ("model.layers.0.config.bias_initializer", "Zeross", "nearest: Zeros")),
    Bad("model.layers", GOOD_LAYERS, dense("units:2,kernel_initializer:{class_name:Zeross,config:{}}"),
        ("model.layers.0.config.kernel_initializer", "Zeross", "nearest: Zeros")),
    Bad("model.layers", GOOD_LAYERS, dense("units:2,bias_initializer:{class_nam:Zeros}"),
        ("model.layers.0.config.bias_initializer", "class_nam", "class_name")),
    Bad("model.layers", GOOD_LAYERS, dense("units:2,activation:reluu"), ("model", "reluu")),
    Bad("model", "linear", "lstm", ("model", "(4,)")),
    # optimizers
    Bad("optimizer.class_name", "Adam", "Adamm", ("optimizer.class_name", "Adamm given", "nearest: Adam")),
    Bad("optimizer.class_name", "Adam", "Lamb", ("optimizer.class_name", "Lamb given", "Adam")),
    Bad("+optimizer.config", "{beta_1:0.8}", "{beta_3:0.8}", ("optimizer.config.beta_3", "nearest", "beta_1")),
    Bad("+optimizer.config", "{clipvalue:1.0}", "{use_ema:true}", ("optimizer.config.use_ema", "clipnorm")),
    Bad("+optimizer.config", "{clipnorm:1.0}", "{clipnorm:0}", ("optimizer.config.clipnorm", "0 given", "positive")),
    Bad("optimizer.schedule", "null", "CosineDecays", ("optimizer.schedule", "CosineDecays", "nearest: CosineDecay")),
    Bad("optimizer.schedule", "null", "{class_name:CosineDecay}", ("optimizer.schedule.config.decay_steps", "nothing")),
    *(Bad("optimizer.schedule", f"{{class_name:CosineDecay,config:{{decay_steps:{good}}}}}",
          f"{{class_name:CosineDecay,config:{{decay_steps:{bad}}}}}",
          ("optimizer.schedule.config.decay_steps", f"{bad} given", "a positive number"))
      for good, bad in (("5", "high"), ("5", "0"))),
    Bad("optimizer.schedule", "{class_name:ExponentialDecay,config:{decay_steps:5,decay_rate:0.5,staircase:true}}",
        "{class_name:ExponentialDecay,config:{decay_steps:5,decay_rate:0.5,staircase:7}}",
        ("optimizer.schedule.config.staircase", "7 given", "true or false")),
    Bad("optimizer.schedule", "{class_name:PiecewiseConstantDecay,config:{boundaries:[5],values:[0.001,0.0001]}}",
        "{class_name:PiecewiseConstantDecay,config:{boundaries:[5],values:[0.001]}}",
        ("optimizer.schedule.config.values", "[0.001] given", "2 numbers")),
    Bad("+optimizer.config", "{clipnorm:1.0}", "{clipnorm:1.0,clipvalue:1.0}",
        ("optimizer.config", "clipvalue and clipnorm given", "one of")),
    Bad("+optimizer.config", "{beta_1:0.8}", "{beta_1:2}", ("optimizer.config.beta_1", "2 given", "below 1")),
    Bad("+optimizer.config", "{amsgrad:true}", "{amsgrad:maybe}", ("optimizer.config.amsgrad", "maybe given", "true")),
    Bad("+optimizer.config", "{weight_decay:0.1}", "{weight_decay:abc}",
        ("optimizer.config.weight_decay", "abc given", "a number")),
    Bad("optimizer.config.momentum", "0.9", "2", ("optimizer", "momentum"), ("optimizer=sgd",)),
    # objectives
    Bad("training.loss", "sparse_categorical_crossentropy", "mse", ("training.loss", "MeanSquaredError given")),
    Bad("training.loss", "auto", "{class_name:CategoricalCrossentropy,config:{label_smoothing:2}}",
        ("training.loss.config.label_smoothing", "2 given")),
    Bad("training.metrics", "[accuracy]", "[auc]", ("training.metrics", "auc", "given", "accuracy")),
    *(Bad("training.metrics", "accuracy", bad, ("training.metrics", f"{bad} given", "accuracy"))
      for bad in ("null", "5", "[]")),
    Bad("training.class_weight", "balanced", "[1,2]", ("training.class_weight", "3 weights")),
    Bad("training.class_weight", "[1,2,3]", "[1,2,x]", ("training.class_weight", "3 weights")),
    Bad("training.loss", "{class_name:SparseCategoricalCrossentropy,config:{}}", "{class_name:Huber,config:3}",
        ("training.loss", "config", "arguments")),
    Bad("training.seeds_at_once", "3", "0", ("training.seeds_at_once", "0 given", "auto")),
    Bad("training.xla", "auto", "maybe", ("training.xla", "maybe given", "true or false")),
    Bad("model.layers", "[{class_name:Dense}]", "[{class_name:Dense,config:{activity_regularizer:l2}}]",
        ("activity_regularizer", "batch", "kernel_regularizer")),
    Bad("model.layers", "[{class_name:Dense}]", "[{class_name:SpectralNormalization},{class_name:Dense}]",
        ("SpectralNormalization", "assigns weights", "kernel_constraint")),
    Bad("+optimizer.config", "{beta_1:0.8}", "{beta_1:high}", ("optimizer.config.beta_1", "high given", "a number")),
    # arguments of initializers
    Bad("bias_initializer.config.value", "0.1", "high", ("bias_initializer.config.value", "high given", "a number"),
        ("bias_initializer=constant",)),
    Bad("+bias_initializer.config", "{value:0.1}", "{valeu:0.1}", ("bias_initializer.config.valeu", "nearest: value"),
        ("bias_initializer=constant",)),
    Bad("bias_initializer.config.mode", "fan_out", "fan_foo", ("mode", "fan_foo", "fan_in"),
        ("bias_initializer=variance_scaling",)),
    # the user's own rows; the files are made below
    Bad("data.target", "label", "lable", ("data.target", "lable", "nearest: label"), CSV),
    Bad("data.target", "label", "null", ("data.target", "label"), CSV),
    Bad("data.path", "good.csv", "text.csv", ("data.path", "text.csv", "colour"), FILE),
    Bad("data.path", "good.csv", "holes.csv", ("data.path", "holes.csv", "NaN", "height"), FILE),
    Bad("data.path", "good.csv", "infinite.csv", ("data.path", "infinite.csv", "infinite"), FILE),
    Bad("data.path", "good.csv", "gone.csv", ("data.path", "gone.csv"), FILE),
    Bad("data.path", "good.csv", "notes.txt", ("data.path", "notes.txt", "allowed", ".csv, .parquet, .npz"), FILE),
    Bad("data.path", "good.csv", "null", ("data.path", "null given", "allowed", ".csv, .parquet, .npz"),
        (*FILE, "study=mine")),
    Bad("data.path", "good.csv", "empty.csv", ("data.path", "empty.csv"), FILE),
    Bad("data.path", "good.csv", "alike.csv", ("data", "one class", "two or more"), FILE),
    Bad("data.path", "good.csv", "few.csv", ("data", "few", "4 rows", "at least 5"), FILE),
    Bad("data.path", "good.csv", "not.parquet", ("data.path", "not.parquet"), FILE),
    Bad("data.path", "good.npz", "holes.npz", ("data.path", "holes.npz", "NaN"), FILE),
    Bad("data.path", "good.npz", "cut.npz", ("data.path", "cut.npz"), FILE),
    Bad("data.path", "good.npz", "flat.npz", ("data.path", "flat.npz", "allowed", "[rows, ...]"), FILE),
    Bad("data.target", "label", "lable", ("data.target", "lable", "nearest: label"), NPZ),
    Bad("data.task", "binary", "classes", ("data.task", "classes given", "binary, multiclass, regression"),
        (*FILE, "data.path=good.csv")),
    Bad("data.task", "binary", "regression", ("data.target", "text", "allowed", "numbers"),
        (*FILE, "data.path=good.csv")),
    # places
    Bad("results", "results", "notes.txt/results", ("results", "notes.txt", "cannot be written")),
    Bad("results", "results", "notes.txt", ("results", "notes.txt", "cannot be written")),
]  # fmt: skip

# One for each step that finds a fault: composing, types, values, layers, the places, the rows, building the model.
ALONE = ("zeroz", "null", "ten", "0", "[]", "orthogonal", dense("units:-4"), "notes.txt/results", "holes.csv", "lstm")


@pytest.fixture
def files(tmp_path: Path) -> None:
    """Datasets that can be trained on, and others that cannot."""
    rows = [(150.0 + i, 50 + i, "fm"[i % 2]) for i in range(20)]

    def csv(name: str, first_height: object = 150.0, rows: list = rows) -> None:
        lines = [f"{h},{w},{label}" for h, w, label in rows]
        lines[0] = f"{first_height},50,f"
        (tmp_path / name).write_text("height,weight,label\n" + "\n".join(lines) + "\n")

    csv("good.csv")
    csv("holes.csv", "")
    csv("infinite.csv", "inf")
    csv("few.csv", rows=rows[:4])
    csv("alike.csv", rows=rows[::2])
    (tmp_path / "text.csv").write_text("height,colour,label\n" + "150,red,f\n160,blue,m\n" * 10)
    for name in ("empty.csv", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "not.parquet").write_text("height")
    x, label = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    np.savez(tmp_path / "good.npz", x=x, label=label)
    np.savez(tmp_path / "holes.npz", x=np.where(x == 3, np.nan, x), label=label)
    np.savez(tmp_path / "flat.npz", x=x[:, 0], label=label)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:200])


def assert_refused(said: Said, folder: Path, before: set[Path], *words: str) -> None:
    """Exit code 2, one line that holds the words, and no file that was not there before."""
    assert (said.code, said.err.count("\n")) == (2, 1), said
    assert not [word for word in words if word not in said.err], said.err
    assert set(folder.rglob("*")) == before


def absolute(text: str, folder: Path) -> str:
    """The text with a path for the name of a file or folder that it ends in."""
    key, _, name = text.rpartition("=")
    is_place = name.endswith((".csv", ".npz", ".txt", ".parquet", "results"))
    return f"{key}{'=' if key else ''}{folder / name}" if is_place else text


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_value_is_refused_before_a_sweep(bad: Bad, cli: Callable[..., Said], tmp_path: Path) -> None:
    """A sweep is refused whole, and nothing of it trained, where only its last job has a value that cannot work."""
    one_arm = "use_bias=choice(true)"  # in place of the six jobs of the default sweep
    others = [absolute(o, tmp_path) for o in (*QUICK, one_arm, *bad.others) if o.split("=")[0] != bad.key]
    before = set(tmp_path.rglob("*"))
    said = cli("-m", *others, f"{bad.key}={absolute(bad.good, tmp_path)},{absolute(bad.bad, tmp_path)}")
    assert_refused(said, tmp_path, before, *bad.says)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("bad", [b for b in BAD if b.bad in ALONE], ids=str)
def test_bad_value_is_refused_in_a_single_job(bad: Bad, cli: Callable[..., Said], tmp_path: Path) -> None:
    """One job is refused as a sweep is, whichever step finds the fault."""
    others = [absolute(o, tmp_path) for o in (*QUICK, *bad.others) if o.split("=")[0] != bad.key]
    before = set(tmp_path.rglob("*"))
    assert_refused(cli(*others, f"{bad.key}={absolute(bad.bad, tmp_path)}"), tmp_path, before, *bad.says)


@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["one job", "sweep"])
@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optimiser=sgd", ("optimiser", "nearest: optimizer")),
        ("seed=3", ("seed", "nearest: seeds")),
        ("training.epoch=3", ("training.epoch", "nearest: training.epochs")),
        ("optimizer.lerning_rate=1", ("optimizer.lerning_rate", "nearest: optimizer.learning_rate")),
        ("+foo=3", ("foo", "allowed: study")),
        ("+training.epoch=3", ("training.epoch", "nearest: training.epochs")),
        ("bias_initializer.config.valeu=0.1", ("bias_initializer.config.valeu", "nearest: value")),
        ("training=null", ("training", "null", "default")),
        ("seeds=[1", ("seeds=[1",)),
    ],
)
def test_bad_key_is_refused(
    override: str, says: tuple[str, ...], sweep: list[str], cli: Callable[..., Said], tmp_path: Path
) -> None:
    """A key that does not exist is refused with the nearest ones that do."""
    before = set(tmp_path.rglob("*"))
    said = cli(*sweep, *QUICK, "bias_initializer=constant", override)
    assert_refused(said, tmp_path, before, *says)


def test_negative_units_in_a_model_file_are_refused(cli: Callable[..., Said], tmp_path: Path) -> None:
    """A model file of one's own is checked like those of the project, and one without fault is taken."""
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    text = "name: narrow\nlayers:\n  - class_name: Dense\n    config: {units: -4}\n  - class_name: Dense\n"
    (folder / "narrow.yaml").write_text(text)
    (folder / "wide.yaml").write_text(text.replace("-4", "4"))
    before = set(tmp_path.rglob("*"))
    mine = f"--config-dir={tmp_path / 'mine'}"
    said = cli("-m", mine, *QUICK, "model=wide,narrow")
    assert_refused(said, tmp_path, before, "model.layers.0.config.units", "-4 given", "from 1 up")
    assert "units: 4" in cli(mine, *QUICK, "model=wide", "--cfg=job").out


@pytest.mark.parametrize(
    "sweep", [["runtime=gpu"], ["-m", "use_bias=choice(true)", "runtime=cpu,gpu"]], ids=["one job", "last of a sweep"]
)
def test_gpu_is_refused_where_there_is_none(sweep: list[str], cli: Callable[..., Said], tmp_path: Path) -> None:
    """`runtime=gpu` never trains on a CPU instead."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU here")
    before = set(tmp_path.rglob("*"))
    said = cli(*QUICK, *sweep)
    assert_refused(said, tmp_path, before, "runtime", "gpu given", "allowed: auto, cpu")


@pytest.mark.parametrize(
    ("data", "model", "says"),
    [
        ("data=iris", ("model=lesson",), ("model", "2 outputs", "3 classes")),
        ("data=diabetes", ("model=lesson",), ("model", "2 outputs", "regression")),
        ("data=iris", DROPOUT_GRU, ("model", "(4,)")),
    ],
)
def test_model_that_does_not_fit_the_data_is_refused(
    data: str, model: tuple[str, ...], says: tuple[str, ...], cli: Callable[..., Said], tmp_path: Path
) -> None:
    """A model whose inputs or outputs cannot be the dataset's is found before it trains on something else."""
    before = set(tmp_path.rglob("*"))
    assert_refused(cli(*QUICK, data, *model), tmp_path, before, *says)


def test_two_jobs_of_one_name_are_refused(cli: Callable[..., Said], tmp_path: Path) -> None:
    """Two different trainings that would replace each other's results are refused, not run in turn."""
    before = set(tmp_path.rglob("*"))
    said = cli("-m", *QUICK, "experiment=images,lesson", "study=mine")
    assert_refused(said, tmp_path, before, "study", "mine/", "allowed")


def test_adding_what_is_there_is_refused(cli: Callable[..., Said], tmp_path: Path) -> None:
    """A plus sign too many ends in Hydra's words, which name neither key nor remedy first."""
    before = set(tmp_path.rglob("*"))
    said = cli(*QUICK, "+training.epochs=1")
    assert_refused(said, tmp_path, before, "training.epochs", "exists already", "without the plus")


def test_a_constant_that_no_weight_can_hold_is_refused(cli: Callable[..., Said], tmp_path: Path) -> None:
    """Keras would refuse it in words of its own, after a wait for TensorFlow."""
    before = set(tmp_path.rglob("*"))
    said = cli(*QUICK, "bias_initializer=constant", "bias_initializer.config.value=1e39")
    assert_refused(said, tmp_path, before, "bias_initializer.config.value", "1e+39 given", "up to 3.4e+38")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--cfg", "job"], 0),
        (["training.epochs=0"], 2),
        (["bias_initializer=orthogonal"], 2),
        (["optimizer=adamm"], 2),
        (["model.layers=[{class_name:Dense,config:{unit:4}}]"], 2),
    ],
)
def test_quick_answers_do_not_wait_for_tensorflow(
    arguments: list[str], code: int, small: list[str], tmp_path: Path
) -> None:
    """Help and plain refusals come without the many seconds of importing TensorFlow or MLflow."""
    script = (
        "import sys\n"
        "from pipeline import train\n"
        "try:\n    code = train.main()\nexcept SystemExit as stop:\n    code = stop.code or 0\n"
        "print('exit', code, [name for name in ('tensorflow', 'keras', 'mlflow') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", script, *arguments, *small]
    environment = {"PYTHONPATH": str(PROJECT), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(f"exit {code} []\n"), done.stderr

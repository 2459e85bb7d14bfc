"""Bad values are refused before anything is trained, each in one line with the key and what is allowed."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from factories import DROPOUT_GRU, last_of_each

from pipeline.errors import ConfigError
from pipeline.experiment.plan import Plan
from pipeline.experiment.validate import validate

QUICK = ("data=iris", "model=linear", "training.epochs=1", "seeds=1", "tracking=none")


class Bad(NamedTuple):
    """A bad value of a key, a good one beside it, and what the refusal must say."""

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
    Bad("tracking.wait", "0", "-1", ("tracking.wait", "-1.0 given", "seconds from 0 to 86400")),
    Bad("tracking.wait", "0.5", "nan", ("tracking.wait", "nan given", "seconds from 0 to 86400")),
    Bad("tracking.detail", "arms", "seeds", ("tracking.detail", "seeds given", "one of runs, arms")),
    Bad("optimizer.learning_rate", "0.1", "-0.1", ("optimizer.learning_rate", "-0.1 given", "positive")),
    Bad("data.test_fraction", "0.2", "1.2", ("data.test_fraction", "1.2 given", "a number from 0 to below 1")),
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
        ("model.layers.0.class_name", "Lambda", "code", "allowed: other layers of Keras")),
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
    Bad("optimizer.config.beta_1", "0.8", "2", ("optimizer.config.beta_1", "2 given", "below 1")),
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
    Bad("bias_initializer.config.value", "0.1", "1e39", ("bias_initializer.config.value", "1e+39 given", "3.4e+38"),
        ("bias_initializer=constant",)),
    Bad("+bias_initializer.config", "{value:0.1}", "{valeu:0.1}", ("bias_initializer.config.valeu", "nearest: value"),
        ("bias_initializer=constant",)),
    Bad("bias_initializer.config.mode", "fan_out", "fan_foo", ("mode", "fan_foo", "fan_in"),
        ("bias_initializer=variance_scaling",)),
    # the user's own rows; the files are made below
    Bad("data.target", "label", "lable", ("data.target", "lable", "nearest: label"), CSV),
    Bad("data.target", "label", "null", ("data.target", "label"), CSV),
    Bad("data.path", "good.csv", "dates.csv", ("data.path", "born", "data.drop=[born]"), FILE),
    Bad("data.path", "good.csv", "holes.csv", ("data.missing", "holes.csv", "NaN", "height", "impute"), FILE),
    Bad("data.path", "good.csv", "infinite.csv", ("data.path", "height", "infinite"), FILE),
    Bad("data.path", "good.csv", "gone.csv", ("data.path", "gone.csv"), FILE),
    Bad("data.path", "good.csv", "notes.xlsx", ("data.path", "notes.xlsx", "allowed", ".csv, .parquet, .npz"), FILE),
    Bad("data.path", "good.csv", "null", ("data.path", "null given", "allowed", ".csv, .parquet, .npz"),
        (*FILE, "study=mine")),
    Bad("data.path", "good.csv", "empty.csv", ("data.path", "empty.csv"), FILE),
    Bad("data.path", "good.csv", "alike.csv", ("data", "one class", "two or more"), FILE),
    Bad("data.path", "good.csv", "few.csv", ("data", "few", "4 rows", "at least 5"), FILE),
    Bad("data.path", "good.csv", "not.parquet", ("data.path", "not.parquet"), FILE),
    Bad("data.path", "good.npz", "holes.npz", ("data.missing", "holes.npz", "NaN"), FILE),
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
    # models that do not fit the data, and a device that is not there
    Bad("model", "linear", "lesson", ("model", "2 outputs", "3 classes")),
    Bad("data", "trial", "diabetes", ("model", "2 outputs", "regression"), ("model=lesson",)),
    Bad("data", "digits", "iris", ("model", "(4,)"), DROPOUT_GRU),
    Bad("runtime", "cpu", "gpu", ("runtime", "gpu given", "allowed: auto, cpu")),
]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with datasets that can be trained on, and others that cannot."""
    folder = tmp_path_factory.mktemp("files")
    rows = [(150.0 + i, 50 + i, "fm"[i % 2]) for i in range(20)]

    def csv(name: str, first_height: object = 150.0, rows: list = rows) -> None:
        lines = [f"{h},{w},{label}" for h, w, label in rows]
        lines[0] = f"{first_height},50,f"
        (folder / name).write_text("height,weight,label\n" + "\n".join(lines) + "\n")

    csv("good.csv")
    csv("holes.csv", "")
    csv("infinite.csv", "inf")
    csv("few.csv", rows=rows[:4])
    csv("alike.csv", rows=rows[::2])
    (folder / "dates.csv").write_text("height,born,label\n" + "150,2001-02-03,f\n160,1999-12-31,m\n" * 10)
    for name in ("empty.csv", "notes.txt"):
        (folder / name).touch()
    (folder / "not.parquet").write_text("height")
    x, label = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    np.savez(folder / "good.npz", x=x, label=label)
    np.savez(folder / "holes.npz", x=np.where(x == 3, np.nan, x), label=label)
    np.savez(folder / "flat.npz", x=x[:, 0], label=label)
    (folder / "cut.npz").write_bytes((folder / "good.npz").read_bytes()[:200])
    return folder


@functools.cache
def accepted(*overrides: str) -> list[Plan]:
    """The plans of a valid request, checked once: many rows of the table share one."""
    return validate(overrides)


def with_paths(text: str, folder: Path) -> str:
    """The text with an absolute path for the name of a file or folder that it ends in."""
    key, _, name = text.rpartition("=")
    is_path = name.endswith((".csv", ".npz", ".txt", ".parquet", "results"))
    return f"{key}{'=' if key else ''}{folder / name}" if is_path else text


def request(bad: Bad, value: str, folder: Path) -> list[str]:
    """The overrides of a request with this value for the bad one's key."""
    others = [o for o in (*QUICK, "results=results", *bad.others) if o.split("=")[0] != bad.key]
    return [with_paths(override, folder) for override in last_of_each([*others, f"{bad.key}={value}"])]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_value_is_refused(bad: Bad, files: Path) -> None:
    """A bad value is refused in one line with its key and what is allowed; a good one in its place is accepted."""
    before = set(files.rglob("*"))
    accepted(*request(bad, bad.good, files))
    with pytest.raises(ConfigError) as refusal:
        validate(request(bad, bad.bad, files))
    line = str(refusal.value)
    assert "\n" not in line and not [word for word in bad.says if word not in line], line
    assert set(files.rglob("*")) == before


def test_two_jobs_with_the_same_folder_are_refused() -> None:
    """Two different trainings that would replace each other's results are refused, not run in turn."""
    with pytest.raises(ConfigError, match=r"^study: two jobs of this sweep would both be mine/zeros,"):
        validate([*QUICK, "experiment=images,lesson", "study=mine"])

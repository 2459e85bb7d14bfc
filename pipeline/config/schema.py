"""The settings of a training: one dataclass per Hydra group, with each key's type, default and meaning.

`load_config` turns a composed Hydra config into a frozen `Config`. conf/README.md lists the same keys; a test holds it
to this module.
"""

import types
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from omegaconf import MISSING

from pipeline.installation import CONF as CONF  # settings and where they come from, in one place
from pipeline.installation import PROJECT as PROJECT

TASKS = ("binary", "multiclass", "regression")
MISSING_VALUES = ("refuse", "drop", "impute")
SPLITS = ("random", "groups", "time", "column")
DEVICES = ("auto", "cpu", "gpu")
LONGEST_WAIT = 86_400  # seconds
CLAIMS = ("mean-target", "prior-bias", "need-a-bias", "null-controls", "before-batchnorm", "framework-defaults",
          "zero-kernels", "highway", "born-dead", "edge-of-chaos", "gates")  # see `analysis.known`  # fmt: skip
DETAILS = ("runs", "arms")  # of a study in MLflow
DATA_PATHS = ("data.path", "data.validation_path", "data.test_path")
FILE_PATHS = (*DATA_PATHS, "model.path")  # keys that name a file, over which a sweep can go
PATHS = ("results", "tracking.uri", *FILE_PATHS)  # keys that name a place


@dataclass(frozen=True)
class BiasInitializer:
    """The initializer of the biases, in Keras' form."""

    class_name: str = MISSING
    """Class of the initializer: one of Keras' or of `pipeline/models/initializers/custom.py`."""
    config: dict[str, Any] = field(default_factory=dict)
    """Arguments of its constructor; those not set here keep the class's defaults."""
    layers: Any | None = None
    """Initializers of some layers instead, by name or for `hidden` and `output`: `{output:class_prior}`."""


@dataclass(frozen=True)
class Model:
    """A Keras model: Sequential, or Functional with one input and one output."""

    name: str = MISSING
    """Part of the default study name."""
    layers: list[Any] | None = MISSING
    """The layers in order, each `{class_name, config}` as in Keras; null: those of `path` or `function`."""
    path: str | None = None
    """A model that Keras saved: a .keras file, or the .json of `model.to_json()`; its weights are not used."""
    function: str | None = None
    """A function in a file of `code` that returns a Keras model: `mine:build`."""


@dataclass(frozen=True)
class Data:
    """A dataset and how it is split."""

    name: str = MISSING
    """Part of the default study name."""
    source: str = MISSING
    """Loader of the dataset, see `pipeline/data/sources.py`; `file` reads `path`."""
    path: str | None = None
    """Of a file: a .csv, .tsv, .txt, .parquet or .npz file; of `images`: a folder of pictures per class."""
    validation_path: str | None = None
    """A file like `path` with the validation rows."""
    test_path: str | None = None
    """A file like `path` with the test rows."""
    target: Any | None = None
    """Of a file: the column or array to predict; `[a,b]`: several numbers."""
    features: Any | None = None
    """Of a file: the columns, or the array, to predict from; null: all others."""
    drop: Any | None = None
    """Of a table: columns to leave out."""
    categories: Any | None = None
    """Of a table: columns that are taken as categories, a target's as classes, whatever they hold."""
    separator: str | None = None
    """Of a text table: what separates columns; null: detected."""
    decimal: str | None = None
    """Of a text table: `.` or `,`; null: detected."""
    encoding: str | None = None
    """Of a text table, such as `latin-1`; null: detected."""
    header: bool | None = None
    """Of a text table: whether its first line holds the names of the columns; null: detected."""
    missing_texts: Any | None = None
    """Of a text table: the only texts that count as missing, `[NA,-999]`; `[]`: empty cells alone; null: the usual
    ones."""
    missing: str = "refuse"
    """Missing values of a table: `refuse`, `drop` the rows, or `impute` from the training rows."""
    image_size: Any | None = None
    """Of `images`: pictures are resized to this many pixels, a number or `[height,width]`."""
    task: str | None = None
    """`binary`, `multiclass` or `regression`; null: inferred from the target."""
    split: str = "random"
    """How rows are held out: `random`, `groups` (rows of a group stay together), `time` (the latest are tested),
    `column` (it names each row's part)."""
    split_by: str | None = None
    """The column or array that says so; it is no feature."""
    test_fraction: float | None = 0.2
    """Share of all rows held out for testing; null: the dataset's own test set; 0: test on the training rows."""
    validation_fraction: float = 0.2
    """Share of the remaining rows held out for validation; 0: validate on the training rows."""
    standardize: bool = True
    """Scale features to mean 0 and standard deviation 1 over the training rows."""
    standardize_target: bool = True
    """The same for the target of a regression."""


@dataclass(frozen=True)
class Optimizer:
    """A Keras optimizer."""

    class_name: str = MISSING
    """Class of the optimizer, one that updates element by element."""
    learning_rate: float = MISSING
    """Learning rate; the first one where there is a schedule."""
    config: dict[str, Any] = field(default_factory=dict)
    """Other arguments of its constructor."""
    schedule: Any | None = None
    """A Keras learning-rate schedule, `{class_name, config}`; null: a constant rate."""


@dataclass(frozen=True)
class Training:
    """How long and on what objective to train."""

    epochs: int = MISSING
    """Passes over the training rows."""
    batch_size: int = MISSING
    """Rows per step."""
    loss: Any = "auto"
    """`auto` (from the task), a name such as `huber`, or `{class_name, config}` of a Keras loss."""
    metrics: Any = "auto"
    """`auto` (from the task), or a list such as `[accuracy,f1]`, see below."""
    class_weight: Any | None = None
    """null, `balanced`, a list with a weight per class, or `{class: weight}`."""
    stop: Any | None = None
    """Early stopping of each seed, `{patience: 5, monitor: val_loss, min_delta: 0}`, see below; null: train all
    epochs."""
    seeds_at_once: Any = "auto"
    """Seeds in memory at once: whole stacks of 2 to 20, at least one, which changes no number; `auto`: as fit."""
    xla: Any = "auto"
    """Compile the training program with XLA: `auto`, true or false."""


@dataclass(frozen=True)
class Runtime:
    """Where to train."""

    device: str = "auto"
    """`auto`: a GPU if TensorFlow sees one; `gpu`: refuse to run without one; `cpu`."""
    isolate: Any = "auto"
    """true: train in a process beside, which dies alone; `auto`: on a GPU, with launchers, if memory is short."""
    portable: Any = False
    """true: train on the CPU, with the same numbers on every x86-64 processor with AVX2; layers other than small Dense
    ones are refused; `auto`: where the processor has AVX2."""


@dataclass(frozen=True)
class Tracking:
    """The copy of the results in MLflow."""

    enabled: bool = True
    """Upload every run to MLflow."""
    uri: str | None = None
    """Tracking server or store; null: `MLFLOW_TRACKING_URI`, else `mlflow.db` beside the default `results`."""
    wait: float = 30
    """Most seconds that a sweep waits for its uploads after the last training; `sync` sends what is missing then."""
    detail: str = "runs"
    """`runs`: a run per arm and one per seed; `arms`: the arms' alone, with means and intervals, for huge sweeps."""


@dataclass(frozen=True)
class DesignSettings:
    """What `until=decided` declares before the first run; it stays as it is in `design.json` of the study."""

    looks: Any = (10, 20, 40, 80, 160)
    """Seeds of each look at the answer, ascending."""
    most_seeds: int | None = None
    """Seeds of the last look, in place of the looks from there on."""
    spending: str = "obrien_fleming"
    """How the chance of a false positive is spent on the looks: `obrien_fleming`, late; `pocock`, evenly."""
    alpha: float = 0.05
    """That chance, over all looks and all arms compared with one baseline."""
    margin: float | None = None
    """Largest difference of the metric that does not matter; null: 0.005, for a metric without a unit."""
    metric: str | None = None
    """Metric of the verdict, such as `test_f1`; null: the model's first test metric."""
    baseline: str = "zeros"
    """Bias setting that the others are compared with."""


@dataclass(frozen=True)
class Settings:
    """Every key of the configuration."""

    study: str = "${data.name}-${model.name}"
    """Name of the study: its folder under `results`, its MLflow experiment."""
    use_bias: bool = True
    """false: build the layers without biases."""
    bias_layers: Any = "all"
    """Layers that the bias setting applies to: `all`, `hidden`, `output` or `[names]`."""
    seeds: Any = MISSING
    """A count (10: the seeds 0 to 9) or a list such as `[3,7]`."""
    until: str | None = None
    """`decided`: train more seeds, look by look, until every arm is decided, see `design`; null: train `seeds`."""
    tune: Any | None = None
    """Train each arm at several values of one or two numbers, to compare each at its best: `optimizer.learning_rate`,
    or `{optimizer.learning_rate:[0.001,0.01]}`, the shared value first; see below."""
    seeds_per_job: Any | None = None
    """Most seeds that one job of a launcher trains, so that several train one arm; `auto`: shared among its jobs; null:
    all."""
    keep_model: bool = False
    """Keep each run's trained model as `after.keras`, and the arm's best seed's in MLflow."""
    show_weights: bool = False
    """Print the first seed's weights before and after training; store those of any model."""
    ablation: bool = True
    """Afterwards test the trained models with other biases, and count dead ReLU units."""
    kernel_initializer: Any | None = None
    """Initializer of the kernels that the model leaves open: a name, with arguments, or `{class_name, config}`."""
    code: Any | None = None
    """Python files of yours to run, `[mine.py]`, which register Keras initializers or layers, or have a function for
    `model.function`."""
    claim: str | None = None
    """A published claim that the study tests, which `compare` then prints beside ours: see `experiment`."""
    results: str = "results"
    """Folder of the results; a relative one is in the clone; of an installed package, in the working directory."""
    bias_initializer: BiasInitializer = field(default_factory=BiasInitializer)
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    optimizer: Optimizer = field(default_factory=Optimizer)
    training: Training = field(default_factory=Training)
    runtime: Runtime = field(default_factory=Runtime)
    tracking: Tracking = field(default_factory=Tracking)
    design: DesignSettings = field(default_factory=DesignSettings)

    @property
    def code_paths(self) -> tuple[str, ...]:
        """The files of `code`."""
        return () if self.code is None else (self.code,) if isinstance(self.code, str) else tuple(self.code)

    @property
    def results_dir(self) -> Path:
        """The folder that holds the studies; a relative path is taken from the project, see `pipeline.installation`."""
        return PROJECT / expand_home(self.results)


@dataclass(frozen=True)
class Config(Settings):
    """One arm over its seeds: what a Hydra job trains, with the overrides that made it."""

    overrides: tuple[str, ...] = ()


def expand_home(path: str) -> Path:
    """The path with `~` replaced by the home folder; a name that begins with `~` and is nobody's stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def key_types() -> dict[str, Any]:
    """Type of every dotted key, groups included: `{"study": str, "data": Data, "data.name": str, ...}`."""
    keys: dict[str, Any] = {}
    for name, hint in get_type_hints(Settings).items():
        keys[name] = hint
        if is_dataclass(hint):
            keys |= {f"{name}.{inner}": inner_hint for inner, inner_hint in get_type_hints(hint).items()}
    return keys


def is_nullable(hint: Any) -> bool:
    """Whether null is a value of this type."""
    return types.NoneType in get_args(hint)


def is_open(hint: Any) -> bool:
    """Whether a value of this type can hold keys that the schema does not list: a dict, a list, or anything."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return any(part is Any or get_origin(part) in (dict, list) for part in parts)


def describe_type(hint: Any) -> str:
    """What a user may write for a field of this type, e.g. "a whole number or null"."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(describe_type(part) for part in get_args(hint))
    kind = get_origin(hint) or hint
    return {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        list: "a list, [a,b]",
        dict: "named values, {name:value}",
        types.NoneType: "null",
    }.get(kind, "a value")

"""What can be asked for: one dataclass per Hydra group, checked before anything starts.

`load` turns the composed Hydra config into a frozen `Config`. Whatever is wrong comes out as one `ConfigError`, whose
message is a single line: the key, what was given, what is allowed.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

PROJECT = Path(__file__).resolve().parents[2]
CONF = PROJECT / "conf"
TASKS = ("binary", "multiclass", "regression")
DEVICES = ("auto", "cpu", "gpu")


@dataclass(frozen=True)
class BiasInitializer:
    """A Keras initializer in Keras' own form."""

    class_name: str = MISSING
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A Sequential model: Keras layers, each `{class_name, config}`, in order."""

    name: str = MISSING
    layers: list[Any] = MISSING


@dataclass(frozen=True)
class Data:
    """A dataset and how it is cut. Fractions are of all rows (test) and of the rows left after it (validation)."""

    name: str = MISSING
    source: str = MISSING
    path: str | None = None
    target: str | None = None
    task: str | None = None
    test_fraction: float | None = 0.2
    validation_fraction: float = 0.2
    standardize: bool = True
    standardize_target: bool = True


@dataclass(frozen=True)
class Optimizer:
    """A Keras optimizer: its class, its learning rate, and any other argument of its constructor under `config`.

    `schedule` is one of Keras' learning-rate schedules, `{class_name, config}`, that starts at `learning_rate`.
    """

    class_name: str = MISSING
    learning_rate: float = MISSING
    config: dict[str, Any] = field(default_factory=dict)
    schedule: Any = None


@dataclass(frozen=True)
class Training:
    """Length of training, in passes over the training rows, rows per step, what is minimised and what is measured.

    `seeds_at_once` limits how many seeds share the memory, in whole stacks of the 2 to 20 seeds that train as one (one
    stack at least), and `xla` says whether they train under XLA: auto, or a choice of one's own.
    """

    epochs: int = MISSING
    batch_size: int = MISSING
    loss: Any = "auto"
    metrics: Any = "auto"
    class_weight: Any = None
    seeds_at_once: Any = "auto"
    xla: Any = "auto"


@dataclass(frozen=True)
class Runtime:
    """Where to train: `auto` takes a GPU when TensorFlow sees one, `gpu` insists on it, `cpu` hides it."""

    device: str = "auto"


@dataclass(frozen=True)
class Tracking:
    """The MLflow mirror. Without `uri` it is `MLFLOW_TRACKING_URI`, else the embedded store in the project folder."""

    enabled: bool = True
    uri: str | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that conf/ can say. Arms that are compared share a study: a results folder, an MLflow experiment."""

    study: str = "${data.name}-${model.name}"
    use_bias: bool = True
    bias_layers: Any = "all"
    seeds: Any = MISSING
    show_weights: bool = False
    ablation: bool = True
    results: str = "results"
    bias_initializer: BiasInitializer = field(default_factory=BiasInitializer)
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    optimizer: Optimizer = field(default_factory=Optimizer)
    training: Training = field(default_factory=Training)
    runtime: Runtime = field(default_factory=Runtime)
    tracking: Tracking = field(default_factory=Tracking)

    @property
    def results_dir(self) -> Path:
        """The folder that holds the studies; a relative one is in the project, wherever the command was given."""
        return PROJECT / Path(self.results).expanduser()


@dataclass(frozen=True)
class Config(Settings):
    """One arm over its seeds: what a Hydra job trains, with the overrides that made it."""

    overrides: tuple[str, ...] = ()

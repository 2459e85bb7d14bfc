"""What can be asked for: one dataclass per Hydra group, checked before anything starts.

`load` turns the composed Hydra config into a frozen `Config`. Whatever is wrong comes out as one `ConfigError`, whose
message is a single line: the key, what was given, what is allowed.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.errors import ConfigError, closest, require

PROJECT = Path(__file__).resolve().parent.parent
CONF = PROJECT / "conf"

MAX_SEED = 2**31 - 1
TASKS = ("binary", "multiclass", "regression")
DEVICES = ("auto", "cpu", "gpu")
# Overrides that do not make another arm: who and where (not what), and what the study's name says already.
NOT_IN_ARM = (
    "study",
    "seeds",
    "use_bias",
    "bias_initializer",
    "show_weights",
    "ablation",
    "results",
    "runtime",
    "tracking",
    "experiment",
    "hydra",
)


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


def register_schema() -> None:
    """Let Hydra know every key and its type, so that each can be overridden and none be misspelt."""
    ConfigStore.instance().store(name="schema", node=_schema(Settings))
    OmegaConf.register_new_resolver("file_stem", lambda path: Path(str(path)).stem, replace=True)


def parse_seeds(seeds: Any) -> tuple[int, ...]:
    """`5` is the seeds 0 to 4; a list is those very seeds, in ascending order."""
    allowed = f"a count from 1 up, or a list of different whole numbers from 0 to {MAX_SEED}"
    given = list(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds < 10**6 else seeds
    require(isinstance(given, (list, tuple)) and len(given) > 0, "seeds", seeds, allowed)
    whole = all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s <= MAX_SEED for s in given)
    require(whole and len(set(given)) == len(given), "seeds", seeds, allowed)
    return tuple(sorted(given))


def load(composed: DictConfig, overrides: list[str]) -> Config:
    """The checked config of one Hydra job, with the overrides that made it. Raises ConfigError."""
    tree = {key: value for key, value in OmegaConf.to_container(_resolve(composed)).items() if key != "hydra"}
    if tree.get("bias_initializer") is None:
        raise ConfigError(
            "bias_initializer: null is not a choice, since Keras reads it as glorot_uniform; "
            "allowed: a name from conf/bias_initializer, or use_bias=false for no bias"
        )
    for group in ("model", "data", "optimizer", "training", "runtime", "tracking"):
        if not isinstance(tree.get(group), dict):
            raise ConfigError(f"{group}: {tree.get(group)} given; allowed: a name from conf/{group}")
    try:
        checked = OmegaConf.merge(_schema(Config), tree | {"overrides": overrides})
        missing = sorted(OmegaConf.missing_keys(checked))
        if missing:
            raise ConfigError(f"{missing[0]}: nothing given; a value is needed")
        config = OmegaConf.to_object(checked)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error, tree)) from error
    assert isinstance(config, Config)
    _check_values(config)
    return replace(config, seeds=parse_seeds(config.seeds))


def arm_name(config: Config, defaults: dict[str, object]) -> str:
    """The bias setting, then the other overrides of the job: `zeros,optimizer.learning_rate=0.01`.

    `defaults` are those of the initializer's class; a setting that differs is named: `constant(value=0.1)`.
    """
    return ",".join(filter(None, [_folder_name(bias_setting(config, defaults), 90), block_name(config)]))


def block_name(config: Config) -> str:
    """The overrides of the job besides the bias setting; empty without any. Arms of one block can be compared."""
    others = [o for o in config.overrides if not _in_study_or_unnamed(o, config)]
    return _folder_name(",".join(sorted(o.lstrip("+") for o in others)), 150)


def bias_setting(config: Config, defaults: dict[str, object]) -> str:
    """`no_bias`, `zeros`, `glorot_uniform`, `constant(value=0.1)`, ..."""
    if not config.use_bias:
        return "no_bias"
    given = config.bias_initializer.config
    differing = [f"{k}={v}" for k, v in sorted(given.items()) if v != defaults.get(k)]
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", config.bias_initializer.class_name).lower()
    return name + (f"({','.join(differing)})" if differing else "")


def parse_options(arguments: Sequence[str], known: Mapping[str, str]) -> dict[str, str] | None:
    """`key=value` arguments over their defaults, for commands that need no Hydra; None when help is asked for."""
    options = dict(known)
    for argument in arguments:
        if argument in ("-h", "--help"):
            return None
        key, equals, value = argument.partition("=")
        if key not in known or not equals:
            raise ConfigError(f"{argument}: no such option; allowed: {', '.join(f'{k}=...' for k in known)}")
        options[key] = value
    return options


def _schema(cls: type[Settings]) -> DictConfig:
    schema = OmegaConf.structured(cls)
    for node in (schema, *(schema._get_node(name) for name in schema)):
        node._set_flag("readonly", False)  # the dataclasses are frozen, the config under composition is not
    return schema


def _check_values(config: Config) -> None:
    data, where, rate = config.data, config.bias_layers, config.optimizer.learning_rate
    study = re.fullmatch(r"[\w.,=+-][\w .,=+-]*", config.study) and not config.study.startswith(".")
    require(study, "study", config.study, "a folder name: letters, digits, space and . , = + - _")
    require(config.results.strip() != "", "results", repr(config.results), "a folder")
    names = isinstance(where, list) and where and all(isinstance(name, str) for name in where)
    layers = "all, hidden, output, or a list of layer names"
    require(where in ("all", "hidden", "output") or names, "bias_layers", where, layers)
    for key in ("test_fraction", "validation_fraction"):
        fraction = getattr(data, key)
        require(fraction is None or 0 < fraction < 1, f"data.{key}", fraction, "a number between 0 and 1")
    require(data.task in (None, *TASKS), "data.task", data.task, f"one of {', '.join(TASKS)}")
    require(rate > 0 and math.isfinite(rate), "optimizer.learning_rate", rate, "a positive number")
    for key in ("epochs", "batch_size"):
        number = getattr(config.training, key)
        require(number >= 1, f"training.{key}", number, "a whole number from 1 up")
    at_once, xla = config.training.seeds_at_once, config.training.xla
    counted = isinstance(at_once, int) and not isinstance(at_once, bool) and at_once >= 1
    require(at_once == "auto" or counted, "training.seeds_at_once", at_once, "auto, or a whole number from 1 up")
    require(xla == "auto" or isinstance(xla, bool), "training.xla", xla, "auto, true or false")
    require(config.runtime.device in DEVICES, "runtime.device", config.runtime.device, f"one of {', '.join(DEVICES)}")


def _in_study_or_unnamed(override: str, config: Config) -> bool:
    key = override.lstrip("+~").split("=")[0].split("@")[0]
    if key.partition(".")[0] in NOT_IN_ARM:
        return True
    if key == "training.seeds_at_once":  # decides no number
        return True
    names_data_or_model = key in ("data", "data.name", "data.path", "model", "model.name")
    return names_data_or_model and config.study == f"{config.data.name}-{config.model.name}"


def _folder_name(text: str, most: int) -> str:
    """`text` as a folder can be named: what no name may hold replaced, what is too long cut and told apart."""
    name = re.sub(r"[^\w.,=()+-]", "_", text.lstrip("+"))
    return name if len(name) <= most else f"{name[: most - 20]}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _resolve(composed: DictConfig) -> DictConfig:
    tree = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    try:
        OmegaConf.resolve(tree)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error, {})) from error
    return tree


def one_line(error: OmegaConfBaseException, tree: dict[str, Any], key: str = "") -> str:
    """An OmegaConf error as one line: the key, what was given, what is allowed."""
    message = str(error.msg or error).strip().splitlines()[0]
    key = key or str(error.full_key or error.key or "config")
    unknown = re.match(r"Key '(.+)' not in '(\w+)'", message)
    if unknown:
        known = [f for f in known_keys() if f.rpartition(".")[0] == key.rpartition(".")[0]]
        names = [name.rpartition(".")[2] for name in known]
        return f"{key}: no such key; {closest(unknown[1], names)}"
    wrong = re.match(r"(?:Value )?'(.*?)'.*(Integer|Float|Boolean|Bool|bool)", message)
    if wrong:
        allowed = {"Integer": "a whole number", "Float": "a number"}.get(wrong[2], "true or false")
        return f"{key}: {wrong[1]} given; allowed: {allowed}"
    if "not Optional" in message:
        return f"{key}: null given; allowed: a value"
    return f"{key}: {message}"


def known_keys() -> list[str]:
    """Every dotted key of the config; the free-form `config` dictionaries end in their own name."""
    keys = []
    for name, value in OmegaConf.to_container(OmegaConf.structured(Settings)).items():
        keys += [name, *(f"{name}.{key}" for key in value)] if isinstance(value, dict) else [name]
    return keys

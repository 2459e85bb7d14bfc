"""The settings of a comparison in Python: one `Config` per arm, checked like those of the command line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pipeline.api.arms import GivenArm
from pipeline.api.classes import is_own, own_form
from pipeline.api.data import StagedData, check_no_file_settings
from pipeline.api.losses import loss_settings, metric_settings
from pipeline.api.models import GivenModel
from pipeline.api.objects import is_keras_object, optimizer_settings, plain, serialized, without_defaults
from pipeline.api.stopping import stop_settings
from pipeline.api.tuning import tuned_trees
from pipeline.api.wording import argument_names
from pipeline.config.load import file_stem, load_config
from pipeline.config.made_options import initializer_node
from pipeline.config.schema import CONF, Config, Tracking
from pipeline.config.tuning import Values
from pipeline.errors import ConfigError, closest, is_number, kind_of, require
from pipeline.experiment.validate import compose_jobs
from pipeline.runtime.hashing import digest
from pipeline.tracking.address import check_address

NOT_HERE = ("name", "source", "path", "validation_path", "test_path", "target", "layers", "class_name", "schedule",
            "baseline", "metric", "margin", "config", "function", "code")  # what other arguments say  # fmt: skip

STOPPING = 'stop={"patience": 5}, with min_delta, monitor, ... as Keras\' EarlyStopping has them'
FAMILIAR = {  # what users of Keras try first
    "lr": "learning_rate", "verbose": "progress=False, which shows no bar", 
    "validation_split": "validation_fraction, drawn anew for each seed",
    "seed": "seeds", "random_state": "seeds", "n_seeds": "seeds", "early_stopping": STOPPING,
    "patience": STOPPING, "initializers": "arms", "x": "data=(x, y)", "y": "data=(x, y)",
    "shuffle": "none; every seed shuffles the rows in its own order",
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What is asked of the stored runs, see `analysis.study.load_study`."""

    baseline: Any = None
    metric: str = ""
    margin: float | None = None
    threshold: float | None = None


def setting_keys() -> dict[str, str]:
    """The key of the settings behind each argument that is a value of its own."""
    keys = {}
    for key, argument in argument_names().items():
        if argument not in NOT_HERE and key.partition(".")[0] in ("data", "training", "optimizer", "runtime", "design"):
            keys[argument] = key
    return keys | {name: name for name in ("bias_layers", "ablation", "seeds", "show_weights", "kernel_initializer",
                                           "keep_model", "until")}  # fmt: skip


def check_names(settings: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Raise ConfigError for an argument that does not exist."""
    known = list(dict.fromkeys([*arguments, *setting_keys()]))
    for name in settings:
        if name not in known:
            hint = FAMILIAR.get(name)
            raise ConfigError(f"{name}: no such argument; {f'allowed: {hint}' if hint else closest(name, known)}")


def check_design(until: Any, seeds: Any, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for a number of seeds beside a design, and for arguments of a design without one."""
    if until is not None and seeds is not None:
        raise ConfigError('seeds: given with until="decided", which finds out how many it takes; allowed: most_seeds')
    for name in ("looks", "most_seeds", "spending", "alpha") if until is None else ():
        if name in settings:
            raise ConfigError(f'{name}: given without until="decided", which alone has a design; allowed: with it')


def check_question(question: "Question", mlflow: Any) -> None:
    """Raise ConfigError for what `pipeline.compare` would refuse, before anything is trained."""
    margin = question.margin
    require(margin is None or (is_number(margin) and 0 < margin < math.inf), "margin", margin, "a positive number")
    require(question.threshold is None or is_number(question.threshold), "threshold", question.threshold, "a number")
    require(isinstance(question.metric, str), "metric", question.metric, "the name of a metric")
    require(isinstance(mlflow, (bool, str)), "mlflow", mlflow, "True, False or the address of a server")
    if mlflow:
        check_address(Tracking(True, mlflow if isinstance(mlflow, str) else None), "mlflow")


def build_configs(
    model: GivenModel,
    data: StagedData,
    arms: Sequence[GivenArm],
    settings: Mapping[str, Any],
    results: Path,
    study: str,
    tune: Mapping[str, Values] | None = None,
) -> list[Config]:
    """The config of each arm, with `tune` at each point of its grid, the shared one first.

    study: its name, or "" for one made of what all arms share. Raises ConfigError.
    """
    check_no_file_settings(data, settings)
    shared = _shared_tree(model, data, settings)
    name = study or _study_name(shared)
    trees = [
        (_arm_tree(at_point, arm) | {"results": str(results), "study": name}, overrides)
        for at_point, overrides in tuned_trees(shared, tune or {})
        for arm in arms
    ]
    return [load_config(OmegaConf.create(tree), overrides) for tree, overrides in trees]


def _shared_tree(model: GivenModel, data: StagedData, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all arms share, as nested dicts."""
    chosen = [f"data={data.option}", f"model={model.option or 'linear'}", "tracking=none"]
    if data.option in ("file", "images"):
        chosen += ["data.path=x", "data.target=y"]
    (base,) = compose_jobs(chosen)
    tree = plain(asdict(base))
    del tree["overrides"]
    tree["data"] |= dict(data.settings)
    if model.layers:
        tree["model"] |= {"name": model.name, "layers": model.layers}
    for group, values in model.compiled.items():
        tree[group] |= values
    if has_tokens(model, data) and settings.get("standardize") is None:
        tree["data"]["standardize"] = False
    for name, value in settings.items():
        if value is not None:
            _set(tree, name, value)
    tree["data"]["name"] = file_stem(str(tree["data"]["name"]))
    tree["model"]["name"] = file_stem(str(tree["model"]["name"]))
    return tree


def has_tokens(model: GivenModel, data: StagedData) -> bool:
    """Whether the model looks up whole numbers of x, which standardizing would destroy."""
    return _begins_with_lookup(model) or (model.looks_up and data.may_be_tokens)


def _begins_with_lookup(model: GivenModel) -> bool:
    layers = [layer for layer in model.layers if layer["class_name"] != "InputLayer"]
    while layers and layers[0]["class_name"] == "Sequential":
        layers = [layer for layer in layers[0]["config"]["layers"] if layer["class_name"] != "InputLayer"]
    return bool(layers) and layers[0]["class_name"] == "Embedding"


def standardizing_note(model: GivenModel, data: StagedData, config: Config) -> list[str]:
    """What was done to x from memory, of which a user of Keras expects that it reaches the model as it is."""
    if not data.files:
        return []
    if config.data.standardize:
        return ["data: x was standardized (standardize=False leaves it as it is)"]
    if not has_tokens(model, data):
        return []
    otherwise = "" if _begins_with_lookup(model) else " (standardize=True)"  # what is looked up at once never can be
    return [f"data: x was left as it is, since the model looks up whole numbers{otherwise}"]


def _set(tree: dict[str, Any], name: str, value: Any) -> None:
    """Write the value of an argument into the settings."""
    if name == "optimizer":
        tree["optimizer"] |= optimizer_settings(value)
    elif name == "loss":
        tree["training"]["loss"], logits = loss_settings(value)
        if logits:
            raise ConfigError("loss", "from_logits=True", "it in model.compile, or a model that ends in probabilities")
    elif name == "stop":
        tree["training"]["stop"] = plain(stop_settings(value))
    elif name == "metrics":
        tree["training"]["metrics"] = metric_settings(value)
    elif name == "kernel_initializer" and is_keras_object(value):
        form = own_form(value, name)[0] if is_own(value) else serialized(value, name)
        tree[name] = form | {"config": without_defaults("initializers", form["class_name"], form["config"])}
    elif is_keras_object(value) or callable(value):
        raise ConfigError(name, getattr(value, "__name__", kind_of(value)), "a number, a text, or a list of these")
    else:
        group, _, inner = setting_keys()[name].rpartition(".")
        (tree[group] if group else tree)[inner] = plain(list(value) if isinstance(value, (range, set)) else value)


def _arm_tree(shared: Mapping[str, Any], arm: GivenArm) -> dict[str, Any]:
    tree = {**shared, "use_bias": arm.use_bias}
    if arm.use_bias:
        tree["bias_initializer"] = initializer_node(arm.initializer, (CONF,))
    return tree


def _study_name(shared: Mapping[str, Any]) -> str:
    """A name of the dataset and the model, with a digest of all that the arms share: other settings, another study."""
    decisive = {name: shared[name] for name in ("model", "optimizer", "training", "bias_layers")}
    data = {name: value for name, value in shared["data"].items() if not name.endswith("path")}
    files = [Path(shared["data"][name] or "").name for name in ("path", "validation_path", "test_path")]
    short = digest([decisive, data, files])[:6]
    return f"{shared['data']['name']}-{shared['model']['name']}-{short}"

"""Load the composed Hydra config into a frozen, checked `Config`."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.messages import explain_omegaconf
from pipeline.config.schema import DEVICES, TASKS, Config, Settings
from pipeline.errors import ConfigError, require

MAX_SEED = 2**31 - 1


def register_schema() -> None:
    """Let Hydra know every key and its type, so that each can be overridden and none be misspelt."""
    ConfigStore.instance().store(name="schema", node=structured_schema(Settings))
    OmegaConf.register_new_resolver("file_stem", lambda path: Path(str(path)).stem, replace=True)


def parse_seeds(seeds: Any) -> tuple[int, ...]:
    """`5` is the seeds 0 to 4; a list is those very seeds, in ascending order."""
    allowed = f"a count from 1 up, or a list of different whole numbers from 0 to {MAX_SEED}"
    given = list(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds < 10**6 else seeds
    require(isinstance(given, (list, tuple)) and len(given) > 0, "seeds", seeds, allowed)
    whole = all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s <= MAX_SEED for s in given)
    require(whole and len(set(given)) == len(given), "seeds", seeds, allowed)
    return tuple(sorted(given))


def load_config(composed: DictConfig, overrides: list[str]) -> Config:
    """The checked config of one Hydra job, with the overrides that made it. Raises ConfigError."""
    tree = {key: value for key, value in OmegaConf.to_container(_resolve(composed)).items() if key != "hydra"}
    if tree.get("bias_initializer") is None:
        reason, allowed = "which Keras reads as glorot_uniform", "a name from conf/bias_initializer, or use_bias=false"
        raise ConfigError("bias_initializer", None, allowed, reason=reason)
    for group in ("model", "data", "optimizer", "training", "runtime", "tracking"):
        require(isinstance(tree.get(group), dict), group, tree.get(group), f"a name from conf/{group}")
    try:
        checked = OmegaConf.merge(structured_schema(Config), tree | {"overrides": overrides})
        missing = sorted(OmegaConf.missing_keys(checked))
        if missing:
            raise ConfigError(f"{missing[0]}: nothing given; a value is needed")
        config = OmegaConf.to_object(checked)
    except OmegaConfBaseException as error:
        raise ConfigError(explain_omegaconf(error, tree)) from error
    assert isinstance(config, Config)
    _check_values(config)
    return replace(config, seeds=parse_seeds(config.seeds))


def structured_schema(cls: type[Settings]) -> DictConfig:
    """The structured OmegaConf node of a dataclass, writable while Hydra composes."""
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


def _resolve(composed: DictConfig) -> DictConfig:
    tree = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    try:
        OmegaConf.resolve(tree)
    except OmegaConfBaseException as error:
        raise ConfigError(explain_omegaconf(error, {})) from error
    return tree

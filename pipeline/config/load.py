"""Turn a composed Hydra config into a frozen, checked `Config`."""

import copy
import hashlib
import math
import pickle
import re
import textwrap
import unicodedata
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.designs import complete_design
from pipeline.config.interpolation import resolve_settings
from pipeline.config.messages import explain_omegaconf
from pipeline.config.schema import CLAIMS, CONF, DETAILS, DEVICES, LONGEST_WAIT, TASKS, Config, Settings
from pipeline.config.stopping import complete_stop
from pipeline.config.tuning import check_tune
from pipeline.errors import ConfigError, require
from pipeline.installation import command_text, guide_text

LONGEST_STEM = 200  # bytes of a file's name in a study's, which is a folder
MAX_SEED = 2**31 - 1
GROUPS = tuple(name for name, hint in get_type_hints(Settings).items() if is_dataclass(hint))


@cache
def register_schema() -> None:
    """Register the schema with Hydra, so that Hydra knows every key and its type, and the resolvers of conf/."""
    ConfigStore.instance().store(name="schema", node=structured_schema(Settings))
    OmegaConf.register_new_resolver("file_stem", file_stem, replace=True)
    OmegaConf.register_new_resolver("example", example_file, replace=True)
    OmegaConf.register_new_resolver("list_options", list_options, replace=True)
    OmegaConf.register_new_resolver("command", command_text, replace=True)
    OmegaConf.register_new_resolver("guide", guide_text, replace=True)


def example_file(name: object) -> str:
    """The path of a file of pipeline/examples, for `code`."""
    return str(Path(__file__).parents[1] / "examples" / f"{file_stem(name)}.py")


def file_stem(path: object) -> str:
    """The name of a file without its suffix, as part of a study's name: without characters that no study can have."""
    stem = unicodedata.normalize("NFC", Path(str(path)).stem)
    name = re.sub(r"^\.|[^\w .,=+-]", "_", stem).strip() or "_"
    if len(name.encode()) > LONGEST_STEM:
        name = f"{name[: LONGEST_STEM // 4 - 9]}_{hashlib.sha256(stem.encode()).hexdigest()[:8]}"  # 4 bytes a letter
    return name


def list_options() -> str:
    """The options of each group of conf/, one group after the other, in lines of at most 80 characters (for --help)."""
    folders = sorted({path.parent for path in CONF.glob("*/**/*.yaml")})
    groups = {str(folder.relative_to(CONF)): sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}
    groups["hydra/launcher"].insert(0, "basic")  # Hydra's own
    return "\n".join(
        textwrap.fill(", ".join(options), 80, initial_indent=f"  {group}: ", subsequent_indent=" " * 6,
                      break_on_hyphens=False)  # a name stays whole
        for group, options in groups.items()
    )  # fmt: skip


def structured_schema(cls: type[Settings]) -> DictConfig:
    """The OmegaConf node of the settings: every key and its type, writable, and open where arguments are free-form.

    OmegaConf makes frozen dataclasses read-only, but Hydra has to compose values into them. Below `*.config`, the
    arguments of a Keras class, keys can be set that the chosen file does not list.
    """
    schema = OmegaConf.structured(cls)
    OmegaConf.set_readonly(schema, False)
    for group in GROUPS:
        OmegaConf.set_readonly(schema[group], False)
        if "config" in schema[group]:
            OmegaConf.set_struct(schema[group].config, False)
    return schema


@cache
def _config_schema() -> DictConfig:
    """The node of a finished config, made once for all jobs; to be merged with, which copies it."""
    return structured_schema(Config)


_last: list[tuple[dict[str, Any], bytes]] = []  # at most one: settings, and the finished config's node with them


def _merged(tree: dict[str, Any]) -> DictConfig:
    """The node of a finished config with these settings. Raises what OmegaConf raises for wrong ones.

    OmegaConf takes a hundredth of a second for them all. The jobs of a sweep differ in a few, so those alone are set in
    a copy of what it made of the job before.
    """
    for before, made in _last:
        if (changes := _changed_values(before, tree)) is not None:
            merged = pickle.loads(made)
            merged.merge_with(changes)
            return merged
    merged = cast(DictConfig, OmegaConf.merge(_config_schema(), tree))
    _last[:] = [(copy.deepcopy(tree), pickle.dumps(merged))]
    return merged


def _changed_values(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any] | None:
    """The numbers, texts and the like that differ between two trees of settings; None if their keys or types differ.

    A merge adds to the keys that are there, so where keys differ, as in free arguments, it has to begin anew.
    """
    if list(before) != list(now):
        return None
    changes = dict[str, Any]()
    for key, value in now.items():
        if isinstance(value, dict) and isinstance(before[key], dict):
            if (within := _changed_values(before[key], value)) is None:
                return None
            changes |= {key: within} if within else {}
        elif repr(value) != repr(before[key]):  # also True and 1, or 1 and 1.0
            if isinstance(value, (dict, list)) or isinstance(before[key], (dict, list)):
                return None
            changes[key] = value
    return changes


def load_config(composed: DictConfig, overrides: list[str]) -> Config:
    """Check the composed config of one Hydra job and freeze it, with the overrides that made it. Raises ConfigError."""
    tree = _resolve(composed)
    if tree.get("bias_initializer") is None:
        raise null_initializer()
    for group in GROUPS:
        require(isinstance(tree.get(group), dict), group, tree.get(group), f"a name from conf/{group}")
    try:
        config = OmegaConf.to_object(_merged(_escape(tree)))
    except OmegaConfBaseException as error:
        raise explain_omegaconf(error) from error
    assert isinstance(config, Config)
    _check_values(config)
    weights = config.training.class_weight
    if isinstance(weights, dict):  # as run.json has it, in any order
        weights = {str(name): weight for name, weight in sorted(weights.items(), key=lambda item: str(item[0]))}
    training = replace(config.training, stop=complete_stop(config.training.stop), class_weight=weights)
    config = replace(config, training=training, seeds=parse_seeds(config.seeds), overrides=tuple(overrides))
    config = replace(config, design=complete_design(config))
    return replace(config, tune=check_tune(config))


def null_initializer() -> ConfigError:
    """The error for `bias_initializer=null`, which a user may take for "no bias"."""
    choices, reason = "a name from conf/bias_initializer, or use_bias=false", "which Keras reads as glorot_uniform"
    return ConfigError("bias_initializer", None, choices, reason=reason)


def parse_seeds(seeds: Any) -> tuple[int, ...]:
    """The seeds of a count (5: 0 to 4) or of a list, in ascending order. Raises ConfigError."""
    allowed = f"a count from 1 up (10: the seeds 0 to 9), or a list of different whole numbers from 0 to {MAX_SEED}"
    if _is_whole(seeds):
        require(1 <= seeds < 10**6, "seeds", seeds, allowed)
        return tuple(range(seeds))
    require(isinstance(seeds, (list, tuple)) and len(seeds) > 0, "seeds", seeds, allowed)
    require(all(_is_whole(s) and 0 <= s <= MAX_SEED for s in seeds), "seeds", seeds, allowed)
    require(len(set(seeds)) == len(seeds), "seeds", seeds, allowed)
    return tuple(sorted(seeds))


def _resolve(composed: DictConfig) -> dict[str, Any]:
    """The settings as plain values, interpolations resolved, without Hydra's own. Raises ConfigError."""
    raw = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=False))
    raw.pop("hydra", None)
    groups = [name for name in GROUPS if isinstance(raw.get(name), dict)]
    values = {name: value for name, value in raw.items() if name not in groups}
    for group in groups:
        values |= {f"{group}.{name}": value for name, value in raw[group].items()}
    for key, value in values.items():
        if value == MISSING:
            raise ConfigError(f"{key}: no value given; this key has no default")
    return resolve_settings(raw, groups)


def _escape(value: Any) -> Any:
    """The value with `${` in its texts escaped: what is resolved is no interpolation any more."""
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, dict):
        return {name: _escape(inner) for name, inner in value.items()}
    return [_escape(inner) for inner in value] if isinstance(value, list) else value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_values(config: Config) -> None:
    """Check what types cannot: ranges, choices, and keys that take values of several types. Raises ConfigError."""
    is_folder = re.fullmatch(r"[\w.,=+-][\w .,=+-]*", config.study) and not config.study.startswith(".")
    require(is_folder, "study", config.study, "a folder name: letters, digits, space and . , = + - _")
    require(config.claim in (None, *CLAIMS), "claim", config.claim, f"null or one of {', '.join(CLAIMS)}")
    require(config.results.strip() != "", "results", repr(config.results), "a folder")
    paths = config.code_paths if isinstance(config.code, (str, list, type(None))) else (None,)
    are_paths = config.code != [] and all(isinstance(path, str) and path.strip() for path in paths)
    allowed = "a list of different Python files, [a.py,b.py]"
    require(are_paths and len(set(paths)) == len(paths), "code", config.code, allowed)
    layers = config.bias_layers
    are_names = isinstance(layers, list) and layers and all(isinstance(name, str) for name in layers)
    allowed = "all, hidden, output, or a list of layer names"
    require(layers in ("all", "hidden", "output") or are_names, "bias_layers", layers, allowed)
    for key in ("test_fraction", "validation_fraction"):
        fraction = getattr(config.data, key)
        allowed = "a number from 0 to below 1"
        require(fraction is None or 0 <= fraction < 1, f"data.{key}", fraction, allowed)
    require(config.data.task in (None, *TASKS), "data.task", config.data.task, f"one of {', '.join(TASKS)}")
    rate = config.optimizer.learning_rate
    require(rate > 0 and math.isfinite(rate), "optimizer.learning_rate", rate, "a positive number")
    for key in ("epochs", "batch_size"):
        number = getattr(config.training, key)
        require(number >= 1, f"training.{key}", number, "a whole number from 1 up")
    per_job = config.seeds_per_job
    is_count = isinstance(per_job, int) and _is_whole(per_job) and per_job >= 1
    require(per_job in (None, "auto") or is_count, "seeds_per_job", per_job, "auto, null, or a whole number from 1 up")
    at_once, xla = config.training.seeds_at_once, config.training.xla
    is_count = _is_whole(at_once) and at_once >= 1
    require(at_once == "auto" or is_count, "training.seeds_at_once", at_once, "auto, or a whole number from 1 up")
    require(xla == "auto" or isinstance(xla, bool), "training.xla", xla, "auto, true or false")
    wait, allowed = config.tracking.wait, f"seconds from 0 to {LONGEST_WAIT}"
    require(0 <= wait <= LONGEST_WAIT, "tracking.wait", wait, allowed)
    detail = config.tracking.detail
    require(detail in DETAILS, "tracking.detail", detail, f"one of {', '.join(DETAILS)}")
    isolate = config.runtime.isolate
    require(isolate == "auto" or isinstance(isolate, bool), "runtime.isolate", isolate, "auto, true or false")
    require(config.runtime.device in DEVICES, "runtime.device", config.runtime.device, f"one of {', '.join(DEVICES)}")
    portable = config.runtime.portable
    require(portable == "auto" or isinstance(portable, bool), "runtime.portable", portable, "auto, true or false")
    if portable is True and config.runtime.device == "gpu":
        raise ConfigError("runtime.portable", "true", "auto, false", reason="but numbers of a GPU are not portable")

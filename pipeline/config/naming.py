"""Names of arms and blocks, made from the overrides of a job."""

import hashlib
import re

from pipeline.config.schema import Config

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

"""Name arms and blocks by the overrides of a job."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from hydra.core.override_parser.types import Override

from pipeline.config.keras_signatures import constructor_arguments
from pipeline.config.overrides import parse_overrides
from pipeline.config.schema import Config

# Overrides that make no other arm: they name the study, choose seeds or the bias setting itself, or change no number.
NOT_IN_ARM = (
    "study",
    "seeds",
    "use_bias",
    "bias_initializer",
    "code",
    "show_weights",
    "keep_model",
    "ablation",
    "results",
    "runtime",
    "tracking",
    "experiment",
    "hydra",
)
FILES_OF_PARTS = ("data.validation_path", "data.test_path", "model.path")  # make an arm of their own, wherever they lie
IN_STUDY = ("data", "data.name", "data.path", "model", "model.name", "model.path", "model.function")
NOT_TYPED = ("seed", "fan_in", "fan_out", "gates", "values")  # arguments that come from the run or the layer
REST = "Zeros"  # what layers get that have no initializer of their own, where others have
LONGEST_SETTING, LONGEST_BLOCK = 90, 150  # characters; together they fit the 255 bytes of a folder name


def arm_name(config: Config, defaults: dict[str, object]) -> str:
    """The bias setting, then the job's other overrides: `zeros,optimizer.learning_rate=0.01`.

    `defaults` are the argument defaults of the initializer's class; see `bias_setting`.
    """
    setting = _folder_name(bias_setting(config, defaults), LONGEST_SETTING)
    return ",".join(filter(None, [setting, block_name(config)]))


def block_name(config: Config) -> str:
    """The job's overrides except the bias setting, sorted; "" without any. Arms are compared within a block."""
    others = [override for override in config.overrides if not _is_left_out(override, config)]
    last = {override.get_key_element().lstrip("+~"): _spell(override) for override in parse_overrides(others)}
    return _folder_name(",".join(sorted(last.values())), LONGEST_BLOCK)


def bias_setting(config: Config, defaults: dict[str, object]) -> str:
    """`no_bias`, or the initializer with the arguments that differ from `defaults`: `random_normal(stddev=0.1)`.

    The name can be typed as an option. The only argument of a class stands without its name: `constant(0.1)`. Where
    layers have initializers of their own: `hidden=zeros+output=class_prior`, and `others=` unless these are zeros.
    """
    if not config.use_bias:
        return "no_bias"
    chosen = config.bias_initializer
    name = initializer_name(chosen.class_name, chosen.config, defaults)
    if not chosen.layers:
        return name
    others = {} if (chosen.class_name, chosen.config) == (REST, {}) else {"others": name}
    layers = {
        layer: initializer_name(
            one["class_name"], one["config"], constructor_arguments("initializers", one["class_name"])
        )
        for layer, one in sorted(chosen.layers.items())
    }
    return "+".join(f"{layer}={name}" for layer, name in (layers | others).items())


def initializer_name(class_name: str, config: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """An initializer with the arguments that differ from the defaults of its class: `random_normal(stddev=0.1)`."""
    differing = [f"{name}={value}" for name, value in sorted(config.items()) if value != defaults.get(name)]
    if len([name for name in defaults if name not in NOT_TYPED]) == 1:
        differing = [argument.partition("=")[2] for argument in differing]
    snake_case = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()
    snake_case = snake_case.replace(">", ".")  # of a class of the user's own, mine>MyInitializer
    return snake_case + (f"({','.join(differing)})" if differing else "")


def _spell(override: Override) -> str:
    """An override in the spelling of sweeps, `false` as `False` and 1e-2 as 0.01, but with texts not in quotes."""
    if override.is_delete():
        return override.input_line or ""
    value = override.value()
    text = value if isinstance(value, str) else override.get_value_element_as_str()
    if override.get_key_element() in FILES_OF_PARTS:
        text = Path(text).name
    return f"{override.get_key_element().lstrip('+')}={text}"


def _is_left_out(override: str, config: Config) -> bool:
    """Whether an override makes no other arm, or the study's name tells it already."""
    key = override.lstrip("+~").split("=")[0].split("@")[0]
    if key.partition(".")[0] in NOT_IN_ARM or key == "training.seeds_at_once":
        return True
    is_data_or_model = key in IN_STUDY
    return is_data_or_model and config.study == f"{config.data.name}-{config.model.name}"


def _folder_name(text: str, longest: int) -> str:
    """The text as a folder name: forbidden characters replaced, and cut with a hash at its end if it is too long."""
    name = re.sub(r"[^\w.,=()+-]", "_", text.lstrip("+"))
    return name if len(name) <= longest else f"{name[: longest - 20]}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"

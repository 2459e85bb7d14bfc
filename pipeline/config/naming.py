"""Name arms and blocks by the overrides of a job."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from pipeline.config.keras_signatures import constructor_arguments
from pipeline.config.overrides import parse_overrides
from pipeline.config.schema import Config
from pipeline.config.short_names import CUT, LONGEST_BLOCK, LONGEST_SETTING, MANGLED, cut_name
from pipeline.errors import ConfigError

# Overrides that make no other arm: they name the study, choose seeds or the bias setting itself, or change no number.
NOT_IN_ARM = (
    "study",
    "seeds",
    "until",
    "design",
    "tune",
    "use_bias",
    "bias_initializer",
    "code",
    "show_weights",
    "keep_model",
    "seeds_per_job",
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
NOT_SHOWN = r"[^\w.,=()+\-\[\]{}:/> ]"  # characters of overrides that no name has
REST = "Zeros"  # what layers get that have no initializer of their own, where others have
NO_PACKAGE = "Custom>"  # of a class that was registered without one


def arm_name(config: Config, defaults: dict[str, object]) -> str:
    """The bias setting, then the job's other overrides: `zeros,optimizer.learning_rate=0.01`.

    `defaults` are the argument defaults of the initializer's class; see `bias_setting`.
    """
    setting = _folder_name(bias_setting(config, defaults), LONGEST_SETTING)
    return ",".join(filter(None, [setting, block_name(config)]))


def block_name(config: Config) -> str:
    """The job's overrides except the bias setting, sorted; "" without any. Arms are compared within a block."""
    in_study = config.study == f"{config.data.name}-{config.model.name}"
    return _folder_name(_block_text(config.overrides, in_study), LONGEST_BLOCK)


def whole_block(block: str, recorded: Iterable[object], in_study: bool) -> str:
    """The name of a block as it was typed, from the overrides that made it: neither cut nor with `_` for brackets.

    recorded: what runs of the block have kept as their overrides, which may be those of another block, or damaged; only
    those whose block has this name count. in_study: whether the study's name tells data and model.
    """
    for overrides in recorded if CUT.search(block) or MANGLED.search(block) else ():
        if isinstance(overrides, Sequence) and all(isinstance(text, str) for text in overrides):
            try:
                text = _block_text(overrides, in_study)
            except ConfigError:
                continue
            if _folder_name(text, LONGEST_BLOCK) == block:
                return re.sub(NOT_SHOWN, "_", re.sub(r"['\"]", "", text.lstrip("+")))
    return block


def _block_text(overrides: Sequence[str], in_study: bool) -> str:
    others = [override for override in overrides if not _is_left_out(override, in_study)]
    last = {override.get_key_element().lstrip("+~"): _spell(override) for override in parse_overrides(others)}
    return ",".join(sorted(last.values()))


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


def shown_setting(setting: str, initializer: Mapping[str, Any] | None) -> str:
    """The bias setting as it is shown: an initializer of the user's own with its class and all arguments, as written.

    setting: see `bias_setting`. initializer: of the stored settings, `{class_name, config}`, maybe with `layers`.
    """
    chosen: Mapping[str, Any] = initializer or {}
    layers: Any = chosen.get("layers") or {}
    if not layers:
        return _shown_initializer(chosen, setting)
    if not any(">" in one["class_name"] for one in (chosen, *layers.values())):
        return setting
    others = {} if (chosen["class_name"], chosen["config"]) == (REST, {}) else {"others": chosen}
    shown = {layer: _shown_initializer(one) for layer, one in (dict(sorted(layers.items())) | others).items()}
    return "+".join(f"{layer}={name}" for layer, name in shown.items())


def _shown_initializer(initializer: Mapping[str, Any], setting: str = "") -> str:
    """An initializer of a setting, which is the name of any but the user's own."""
    class_name, config = str(initializer.get("class_name", "")), initializer.get("config") or {}
    if ">" not in class_name:
        return setting or initializer_name(class_name, config, constructor_arguments("initializers", class_name))
    is_only = len(config) == 1 and f"({next(iter(config))}=" not in setting
    arguments = [str(value) if is_only else f"{name}={value}" for name, value in config.items()]
    name = class_name.removeprefix(NO_PACKAGE) + (f"({','.join(arguments)})" if arguments else "")
    return cut_name(re.sub(r"[^\w.,=()+>-]", "_", name), LONGEST_SETTING)


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


def _is_left_out(override: str, in_study: bool) -> bool:
    """Whether an override makes no other arm, or the study's name tells it already, as it does data and model."""
    key = override.lstrip("+~").split("=")[0].split("@")[0]
    if key.partition(".")[0] in NOT_IN_ARM or key == "training.seeds_at_once":
        return True
    return in_study and key in IN_STUDY


def _folder_name(text: str, longest: int) -> str:
    """The text as a folder name: forbidden characters replaced, and cut with a hash at its end if it is too long."""
    return cut_name(re.sub(r"[^\w.,=()+-]", "_", text.lstrip("+")), longest, text)

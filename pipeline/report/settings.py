"""Describe the settings and versions of a study's runs, as pairs of a name and a text."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.analysis.arms import Arm
from pipeline.models.functional import source_names, top_layers

BIAS_SETTINGS = ("bias_setting", "use_bias", "bias_initializer", "bias_layers")  # what distinguishes arms of a block
MOST_NAMED = 4  # arms in a list of them
NO_SETTINGS = ("block",)  # entries of a run's configuration that are derived from others

Pairs = list[tuple[str, str]]


def first_config(arms: Sequence[Arm]) -> str:
    """The whole configuration of the first arm, as JSON."""
    return json.dumps(_configs(arms)[0], indent=2)


def describe_arms(arms: Sequence[Arm]) -> Pairs:
    """Arm -> its initializer with its arguments, or `no bias`."""
    return [(arm.name, _bias_setting(config, arm.setting)) for arm, config in zip(arms, _configs(arms), strict=True)]


def describe_settings(arms: Sequence[Arm]) -> Pairs:
    """Dotted name of every setting but the biases' that all arms share -> its value."""
    return [(name, next(iter(by_value))) for name, by_value in _settings(arms).items() if len(by_value) == 1]


def describe_differences(arms: Sequence[Arm]) -> list[tuple[str, str, str]]:
    """(dotted name, value, which arms have it), for every setting but the biases' that differs between arms."""
    differing = {name: by_value for name, by_value in _settings(arms).items() if len(by_value) > 1}
    return [(name, value, name_arms(some, arms)) for name, by in differing.items() for value, some in by.items()]


def name_arms(some: Sequence[Arm], arms: Sequence[Arm]) -> str:
    """Some of the arms: by their bias settings or their blocks where these tell them from the others, else by name."""
    settings, blocks = (dict.fromkeys(getattr(arm, part) for arm in some) for part in ("setting", "block"))
    names = [arm.name for arm in some]
    if len(some) == len(arms):
        return "all arms"
    if sum(arm.setting in settings for arm in arms) == len(some):
        names = list(settings)
    elif "" not in blocks and sum(arm.block in blocks for arm in arms) == len(some):
        names = list(blocks)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _settings(arms: Sequence[Arm]) -> dict[str, dict[str, list[Arm]]]:
    """Dotted name of every setting but the biases' -> each value with the arms that have it."""
    flat = [dict(_flatten(config)) for config in _configs(arms)]
    values: dict[str, dict[str, list[Arm]]] = {name: {} for settings in flat for name in settings}
    for name, by_value in values.items():
        for arm, settings in zip(arms, flat, strict=True):
            by_value.setdefault(settings.get(name, "–"), []).append(arm)
    return values


def describe_environments(arms: Sequence[Arm]) -> Pairs:
    """Name of each package, device, ... -> its version or value; where runs differ, all values.

    The machine is left out of portable runs, whose report is the same on any.
    """
    values: dict[str, dict[str, None]] = {}
    for run in (run for arm in arms for run in arm.runs):
        for key, value in (run.meta["environment"] if run.portable else run.environment).items():
            name = "Python" if key == "python" else key.replace("_", " ")
            nested: dict[str, Any] = value if key == "packages" else {name: value}
            for name, text in nested.items():
                values.setdefault(name, {})[_spell(text)] = None
    return [(name, " | ".join(texts)) for name, texts in values.items()]


def _configs(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    return [arm.runs[0].meta["config"] for arm in arms]


def _bias_setting(config: Mapping[str, Any], setting: str) -> str:
    if config.get("use_bias") is False:
        return "no bias"
    initializer = config.get("bias_initializer") or {}
    if initializer.get("layers"):
        return re.sub(r"\+(?!\d)", ", ", setting)  # classes as everywhere on the page
    arguments = ", ".join(f"{key}={_spell(value)}" for key, value in initializer.get("config", {}).items())
    name = initializer.get("class_name", config.get("bias_setting", ""))
    layers = config.get("bias_layers", "all")
    return f"{name}({arguments})".removesuffix("()") + ("" if layers == "all" else f" in {_spell(layers)}")


def _flatten(config: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for group, value in config.items():
        if group in (*BIAS_SETTINGS, *NO_SETTINGS):
            continue
        if not isinstance(value, Mapping):
            yield group, _spell(value)
            continue
        for key, inner in value.items():
            if (group, key) == ("model", "layers"):
                yield from ((f"model.layers {i}", _spell_layer(layer)) for i, layer in enumerate(top_layers(inner), 1))
            else:
                yield f"{group}.{key}", _spell(inner)


def _spell_layer(layer: Mapping[str, Any]) -> str:
    """A layer in one line, without its bias settings."""
    arguments = []
    for key, value in layer.get("config", {}).items():
        if key not in BIAS_SETTINGS:
            is_layer = isinstance(value, Mapping) and "class_name" in value
            arguments.append(f"{key}={_spell_layer(value) if is_layer else _spell(value)}")
    sources = [source for node in layer.get("inbound_nodes", ()) for source in source_names(node)]
    of = f" of {', '.join(dict.fromkeys(sources))}" if sources else ""
    return f"{layer.get('class_name', '')}({', '.join(arguments)}){of}"


def _spell(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_spell(inner)}" for key, inner in value.items()) or "none"
    return ", ".join(map(_spell, value)) or "none" if isinstance(value, list) else str(value)

"""The commands that train a study's arms, with each bias setting as `pipeline.config` takes it."""

import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.analysis.arms import Arm
from pipeline.config.keras_signatures import class_names, constructor_arguments
from pipeline.config.naming import REST, initializer_name
from pipeline.config.schema import CONF
from pipeline.config.tuning import read_tune
from pipeline.installation import command_text
from pipeline.store.runs import Run

LEFT_OUT = ("bias_initializer", "use_bias", "seeds", "results", "tracking")  # what the command has of its own, or not


def training_commands(
    arms: Sequence[Arm], study: str, tune: Mapping[str, Sequence[float]] | None = None, new_study: str = "",
    until: str = "",
) -> list[str]:  # fmt: skip
    """What trained the arms, one per block: the commands recorded, else what names tell; or the call in a program.

    Blocks of one `tune` have one command. tune: the values of another one, in its place. new_study: the name of
    another study that is to declare them, where this one has a design. until: what decides on the number of seeds.
    """
    commands = []
    for block in dict.fromkeys(arm.runs[0].block for arm in arms):
        of_block = [arm for arm in arms if arm.runs[0].block == block]
        settings = [option_of(arm) for arm in of_block if arm.setting != "no_bias"]
        seeds = sorted({run.seed for arm in of_block for run in arm.runs})
        count = str(len(seeds)) if seeds == list(range(len(seeds))) else f"[{','.join(map(str, seeds))}]"
        program = next(filter(None, (arm.runs[0].machine.get("program") for arm in of_block)), "")
        if program:
            asked = f"until={json.dumps('decided')}, study={json.dumps(new_study or study)}"
            asked = asked if new_study or until else f"seeds={count}"
            given = [arm.setting if arm.setting == "no_bias" else option_of(arm) for arm in of_block]
            values = f", tune={json.dumps(tuned)}" if (tuned := _values_tried(overrides_of(of_block), tune)) else ""
            commands.append(f"{program}(…, arms=[{', '.join(map(json.dumps, given))}]{values}, {asked})")
            continue
        recorded = overrides_of(of_block)
        portable = of_block[0].runs[0].portable
        words = recorded[0] if recorded else [*_named_in(of_block[0].runs[0]), *_words(block)]
        if portable or not recorded:  # a portable run may have been asked for in other words elsewhere
            words = [
                f"study={study}",
                *(word for word in words if not word.startswith(("study=", "runtime.portable="))),
            ]
        others = _tuned(_others(words), tune)
        code = [shlex.quote(word) for words in recorded for word in words if word.startswith("code=")]
        if code and code[0] not in others:  # arms without a class of the user's own may be trained without it
            others.append(code[0])
        if portable:
            others.append("runtime.portable=true")
        biases = [_in_shell(f"bias_initializer={','.join(settings)}")] if settings else []
        use = ["use_bias=true,false" if settings else "use_bias=false"] if len(settings) < len(of_block) else []
        counted = [] if any(word.startswith("until=decided") for word in others) else [until or f"seeds={count}"]
        if new_study:
            others = [*(word for word in others if not word.startswith("study=")), f"study={shlex.quote(new_study)}"]
        commands.append(" ".join([f"{command_text('train', uv=True)} -m", *others, *biases, *use, *counted]))
    return list(dict.fromkeys(commands))


def deciding_command(arms: Sequence[Arm], study: str, tune: Mapping[str, Sequence[float]] | None = None) -> str:
    """The command that trains the arms of a study by declared looks; "" where one command cannot have all blocks."""
    first, *more = training_commands(arms, study, tune, until="until=decided")
    if not more:
        return first
    commands = [shlex.split(command) for command in (first, *more)]
    if len({len(words) for words in commands}) > 1:
        return ""
    columns = [list(dict.fromkeys(column)) for column in zip(*commands, strict=True)]
    is_grid = len(commands) == math.prod(map(len, columns))
    if not is_grid or any(len({word.partition("=")[0] for word in column}) > 1 for column in columns):
        return ""
    values = [[word.partition("=")[2] for word in others] for _, *others in columns]
    return " ".join(shlex.quote(",".join([of[0], *more])) for of, more in zip(columns, values, strict=True))


def _tuned(others: Sequence[str], tune: Mapping[str, Sequence[float]] | None) -> list[str]:
    """Words of a command with the shared value of each tuned key and the whole `tune`, and without a block's value."""
    values = _values_tried([[shlex.split(word)[0] for word in others]], tune)
    if not values:
        return list(others)
    kept = [word for word in others if shlex.split(word)[0].lstrip("+").partition("=")[0] not in {"tune", *values}]
    shared = [f"{key}={of_key[0]:g}" for key, of_key in values.items()] if tune is None else []
    listed = ",".join(f"{key}:[{','.join(f'{value:g}' for value in of_key)}]" for key, of_key in values.items())
    return [*kept, *shared, shlex.quote(f"tune={{{listed}}}")]


def _values_tried(
    recorded: Iterable[Iterable[str]], tune: Mapping[str, Sequence[float]] | None
) -> Mapping[str, Sequence[float]]:
    """The values of each tuned key: those given, else those recorded among the overrides of runs."""
    texts = [word.partition("=")[2] for words in recorded for word in words if word.startswith("tune=")]
    return tune or (read_tune(texts[0]) if texts else {})


def overrides_of(arms: Iterable[Arm]) -> list[list[str]]:
    """The overrides that the first run of each arm was trained with, where it tells."""
    kept = (arm.runs[0].meta["environment"] | arm.runs[0].machine for arm in arms)
    return [words for one in kept if (words := one.get("overrides")) is not None]


def _named_in(run: Run) -> list[str]:
    """Data and model that the study's name tells, so that its arms' names do not."""
    config = run.meta["config"]
    names = [config.get(group, {}).get("name") for group in ("data", "model")]
    is_told = run.meta.get("study") == "-".join(map(str, names))
    options = zip(("data", "model"), names, strict=True)
    return [f"{group}={name}" for group, name in options if is_told and (CONF / group / f"{name}.yaml").is_file()]


def _words(block: str) -> list[str]:
    """The overrides in a block's name, which may hold commas between brackets."""
    words, depth = [""], 0
    for letter in block:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            words.append("")
        else:
            words[-1] += letter
    return list(filter(None, words))


def recorded_of(run: Run) -> dict[str, Any]:
    """Versions, device, machine and circumstances of a run; of a portable one what is the same on any machine."""
    return run.meta["environment"] if run.portable else run.environment | run.machine


def option_of(arm: Arm) -> str:
    """The option of `bias_initializer` that gives an arm its biases; its name, where its configuration has none.

    Names are no options where layers have initializers of their own, where the class is the user's, or once cut.
    """
    initializer = arm.runs[0].meta["config"].get("bias_initializer") or {}
    if not initializer.get("class_name"):
        return arm.setting
    rest = {"class_name": initializer["class_name"], "config": initializer.get("config") or {}}
    if not (layers := initializer.get("layers")):
        return arm.setting if _is_option(arm.setting, rest) else _spell(rest)
    mapping = f"{{{','.join(f'{name}:{_spell(one)}' for name, one in layers.items())}}}"
    if rest == {"class_name": REST, "config": {}}:
        return mapping
    return f"{_named_values(rest)[:-1]},layers:{mapping}}}"


def _is_option(setting: str, initializer: Mapping[str, Any]) -> bool:
    return ">" not in initializer["class_name"] and setting == _spell(initializer)


def _spell(initializer: Mapping[str, Any]) -> str:
    """`constant(3)`, `mine>MyInitializer(value=0.3)`, or named values where an argument has brackets or commas."""
    name, config, texts = initializer["class_name"], initializer.get("config") or {}, _texts(initializer)
    if any(re.search(r"[(),\[\]{}\"]", text) for text in texts.values()):
        return _named_values(initializer)
    if ">" in name:
        arguments = ",".join(f"{key}={text}" for key, text in texts.items())
        return f"{name}({arguments})" if arguments else name
    defaults = constructor_arguments("initializers", name) if name in class_names("initializers") else {}
    return initializer_name(name, config, defaults)


def _texts(initializer: Mapping[str, Any]) -> dict[str, str]:
    """The arguments of an initializer, each as the command line takes it."""
    config = initializer.get("config") or {}
    return {key: value if _is_word(value) else json.dumps(value) for key, value in config.items()}


def _named_values(initializer: Mapping[str, Any]) -> str:
    arguments = ",".join(f"{key}:{text}" for key, text in _texts(initializer).items())
    config = f",config:{{{arguments}}}" if arguments else ""
    return f'{{class_name:"{initializer["class_name"]}"{config}}}'


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*", value) is not None


def _in_shell(word: str) -> str:
    return shlex.quote(word) if "'" in word else f"'{word}'"


def _others(overrides: Iterable[str]) -> list[str]:
    """Overrides but those of biases and seeds, quoted for a shell."""
    return [shlex.quote(text) for text in overrides if text.lstrip("+~").split("=")[0].split(".")[0] not in LEFT_OUT]

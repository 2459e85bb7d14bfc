"""What to type instead of an option that does not exist: what users of Keras, and of files, try first."""

import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipeline.config.calls import is_call, name_of_call
from pipeline.config.keras_signatures import class_names
from pipeline.errors import ConfigError, is_number
from pipeline.installation import guide_text

NO_BIAS = ("none", "no", "off", "no_bias", "nobias", "false")
TABLES = (".csv", ".tsv", ".txt", ".data", ".gz", ".parquet", ".npz", ".npy", ".xlsx", ".xls", ".json", ".arff", ".h5")
MODELS = (".keras", ".h5", ".hdf5", ".pb", ".py", ".onnx", ".tflite")
SEVERAL = {  # what a word may stand for
    "kaiming": "he_normal or he_uniform, which are kaiming_normal and kaiming_uniform",
    "he": "he_normal or he_uniform",
    "lecun": "lecun_normal or lecun_uniform",
    "random": "random_normal or random_uniform",
    "torch": "pytorch, which is fan_in_uniform",
    "keras": "zeros, Keras' default",
    "tensorflow": "zeros, Keras' default",
    "default": "zeros, Keras' default",
}
ALL_INITIALIZERS = (
    f"--help lists all; a class of your own: code=[mine.py] 'bias_initializer=mine>MyInitializer()', see {guide_text()}"
)
OWN_FILE = "code=[mine.py], the file that registers it"
OWN_CODE = f"allowed: {OWN_FILE}"
KERAS_GROUPS = {"bias_initializer": "initializers", "optimizer": "optimizers"}


def no_such_option(group: str, option: Any, options: Sequence[str]) -> ConfigError:
    """The error for an option that a group does not have, with what to type instead where that can be told."""
    if isinstance(option, list):
        several = ",".join(str(part) for one in option for part in (one if isinstance(one, list) else [one]))
        return ConfigError(f"{group}: [{several}] given, of which only the last would count; "
                           f"allowed: one name; a sweep is {group}={several} with -m")  # fmt: skip
    if group == "bias_initializer" and is_number(option):
        value = f"{group}=constant {group}.config.value={option}"
        return ConfigError(group, option, f"constant({option}), in quotes of the shell, or {value}")
    if group == "bias_initializer" and str(option).lower() in NO_BIAS:
        return ConfigError(group, option, "use_bias=false, which is no bias; or an option of conf/bias_initializer")
    if group == "bias_initializer" and str(option).lower() in SEVERAL:
        return ConfigError(group, option, SEVERAL[str(option).lower()])
    text = str(option)
    if "," in text and not text.startswith("{") and not is_call(option):  # in quotes within the shell's
        word = shlex.quote(f"{group}={text}")
        return ConfigError(group, text, f"{word} with -m, without quotes in the quotes", reason="which is one name")
    if is_call(option) and group != "bias_initializer":
        name = name_of_call(text)
        return ConfigError(group, option, f"{group}={name}, and its settings by {group}.<key>=..., see {guide_text()}")
    hint = ""
    if group in KERAS_GROUPS:
        hint = _of_class(group, text, options)
        if not hint and group == "bias_initializer" and not text.endswith((".yaml", ".yml")):
            name = name_of_call(text) if is_call(text) else text
            return ConfigError(f"{group}: {text} given; {near_initializers(name, options)}")
    elif group == "data":
        hint = _of_data(text)
    elif group == "model":
        hint = _of_model(text)
    if not hint and text.endswith((".yaml", ".yml")):
        hint = _of_file(group, text)
    return ConfigError(group, option, hint or options)


def near_initializers(name: str, known: Sequence[str]) -> str:
    """The initializers of the nearest names, where all of them are listed, and how one of one's own is given."""
    near = get_close_matches(name, known, n=5, cutoff=0.4)
    return f"nearest: {', '.join(near)}; {ALL_INITIALIZERS}" if near else ALL_INITIALIZERS


def no_such_class(name: str, known: Sequence[str]) -> str:
    """What to give in place of a class that is none of Keras': its file, where its name is that of one's own."""
    own = [other for other in known if ">" in other]
    if ">" in name:
        near = get_close_matches(name, own, n=3, cutoff=0.5)
        return f"nearest: {', '.join(near)}" if near else OWN_CODE
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"nearest: {', '.join(near)}" if near else f"one of keras; of your own: {OWN_CODE}"


def _of_class(group: str, text: str, options: Sequence[str]) -> str:
    """The option for a class of Keras, given as `HeNormal`, `keras.initializers.HeNormal` or with its arguments."""
    path, bracket, arguments = text.partition("(")
    name = _plain(path.rpartition(".")[2])
    option = next((known for known in options if _plain(known) == name), None)
    if option is not None:
        return f"{group}={option}" if not bracket else shlex.quote(f"{group}={option}({arguments.removesuffix(')')})")
    classes = [known for known in class_names(KERAS_GROUPS[group]) if _plain(known) == name]
    return f"{group}.class_name={classes[0]}, a class of Keras without an option" if classes else ""


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _of_data(text: str) -> str:
    if text.lower().endswith(TABLES):
        path = shlex.quote(f"data.path={text}")
        return f"data=file {path} data.target=..., the name of the column to predict"
    if text.endswith(("/", ".zip")) or ("/" in text and not Path(text).suffix) or Path(text).is_dir():
        path = shlex.quote(f"data.path={text}")
        return f"data=images {path} for pictures in a folder per class, or data=file data.path=... for a table"
    return ""


def _of_model(text: str) -> str:
    if text.lower().endswith(MODELS):
        return f"a list of layers in conf/model/<name>.yaml, see {guide_text()}; pipeline.extract reads model files"
    return ""


def _of_file(group: str, text: str) -> str:
    path = Path(text)
    name = shlex.quote(f"{group}={path.stem}")
    if path.parent.name == group and path.is_file():
        return f"{shlex.quote(f'--config-dir={path.parent.parent}')} {name}"
    place = f"{group}/{path.stem}.yaml"
    return f"{name}, after the file was put at conf/{place}; or at mine/{place}, with --config-dir=mine"

"""Messages of the engine in the words of Python: arguments, not keys of the command line."""

import re
from collections.abc import Mapping

from pipeline.config.schema import key_types

ARGUMENTS = {
    "data.path": "data", "data.validation_path": "validation_data", "data.test_path": "test_data",
    "training.stop": "stop", "training.epochs": "epochs", "model.path": "model", "model.layers": "model",
    "model.function": "model", "optimizer.class_name": "optimizer", "tracking.uri": "mlflow",
    "bias_initializer": "arms", "runtime.device": "device",
}  # fmt: skip
# Sentences of the engine that speak of what only its files and keys have.
SENTENCES = (
    (r"^metrics: (.*); allowed: auto, or ", r'metrics: \1; allowed: metrics="auto", or '),
    (r"^class_name: (?=\S+>)", "arms: "),
    (r"allowed: code=\[mine\.py\], the file that registers it", "allowed: the class itself, or an instance of it"),
    (r"^code: the initializer", "arms: the initializer"),
    (r"; allowed: \{class_name:'[\w.]+>\w+'.*\}$", "; allowed: the class itself, or an instance of it"),
    (r"functions that a file of code=\[\.\.\.\] registers", "a layer of your own class"),
    (r"^bias_layers: all given, but no layer of (\S+) takes the choice: .*",
     "model: no layer leaves its bias open; allowed: one with a bias and without a bias_initializer of its own"),
    (r"^missing: refuse given, but (\w+) (?:holds|has) ", r"\1: "),
    (r", or one without units, which then follow from the data$", ""),
    (r"(?<=has activation linear)(.*); allowed: softmax, or a last Dense\(\d+\)$",
     r"\1; allowed: softmax, or from_logits=True in the loss that the model is compiled with"),
    (r"\bmissing=(drop|impute)\b", r"missing='\1'"),
    (r"--help lists all; a class of your own: .*", "allowed: any of Keras, your own as MyInitializer(0.1)"),
    (r"a sweep \(-m\) with the arm (\S+) \(\S+\) and another one", r"arms=[\1, ...] with another one"),
    (r"^tune of (\S+): (.*?) given(?=;)", r"tune: \2 given for \1"),
    (r"\btune=\{([\w.]+):(\[[^\]]*\])\}", r'tune={"\1": \2}'),
    (r"(?<![\w.])config\.(?=\w)", "optimizer.config."),
    (r"\btune=([\w.]+)", r'tune="\1"'),
    (r"\b(of|but) (?:dataset )?arrays\b(?!-)", r"\1 data"),
)  # fmt: skip
VALUES = {"null": "None", "true": "True", "false": "False"}


def argument_names() -> dict[str, str]:
    """The argument of `compare_initializers` that stands for each key of the settings."""
    names = {key: key.rpartition(".")[2] for key in key_types() if "." in key and not key.endswith(".name")}
    return {key: name for key, name in names.items() if key.partition(".")[0] != "tracking"} | ARGUMENTS


def in_python(line: str, files: Mapping[str, str] | None = None) -> str:
    """A line with arguments in the place of keys. files: the names of written files -> what they were made of."""
    for name, argument in (files or {}).items():
        line = line.replace(name, argument)
    line = re.sub(r"\bbias_initializer\.config\.", "arms: ", line)
    line = re.sub(r"\bmodel\.layers\.(\d+)", r"model, layer \1", line)
    keys = sorted(argument_names().items(), key=lambda item: -len(item[0]))
    for key, argument in keys:
        line = re.sub(rf"(?<![\w./-]){re.escape(key)}(?![\w])", argument, line)
    for pattern, words in SENTENCES:
        line = re.sub(pattern, words, line)
    line = re.sub(r"(?<![\w/-])(use_bias=false)\b", "the arm no_bias", line)
    return re.sub(r"(?<=[ =])(null|true|false)(?=[,;. )]|$)", lambda match: VALUES[match[1]], line)

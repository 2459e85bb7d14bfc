"""What of the user's own code (`code`) the jobs of a request use."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config.calls import as_mapping, is_call, name_of_call
from pipeline.config.hints import OWN_FILE
from pipeline.config.metrics import own_class_name, own_metrics
from pipeline.config.schema import Config
from pipeline.config.user_classes import used_classes, user_names
from pipeline.errors import ConfigError, printable
from pipeline.models.source import layers_key
from pipeline.models.user_code import CodeFile, load_code
from pipeline.runtime.device import start_tensorflow
from pipeline.runtime.logs import redirect_stderr
from pipeline.runtime.portable import is_portable
from pipeline.runtime.wrapping import print_sentences

REGISTERED = re.compile(r"[A-Za-z_][\w.]*>[A-Za-z_]\w*")  # a name as Keras registers it; no equation, such as ab->b


def run_code(config: Config) -> tuple[CodeFile, ...]:
    """Run the files of `code` that this process has not run yet; TensorFlow is started if there are any."""
    if not config.code_paths:
        return ()
    with tempfile.TemporaryDirectory() as aside, redirect_stderr(Path(aside) / "noise"):
        start_tensorflow(config.runtime.device, is_portable(config.runtime.portable, config.runtime.device))
        return load_code(config.code_paths)


def used_code(config: Config, layers: list[dict[str, Any]], files: Sequence[CodeFile]) -> list[dict[str, Any]]:
    """What run.json says of the code that a job depends on: `file`, `digest`, and the names `used`, sorted by file.

    The digests are part of the run's identity. Raises ConfigError for a class that only another job's code registers.
    """
    _check_names(config, layers)
    used = used_classes([layers, asdict(config.optimizer), asdict(config.training)])
    by_digest: dict[str, dict[str, Any]] = {}
    for known in sorted(used, key=lambda known: known.name):
        if known.file and not any(known.name in file.registers for file in files):
            raise ConfigError(f"code: nothing registers {known.name}; allowed: the file that does, code=[{known.file}]")
        entry = by_digest.setdefault(known.digest, {"file": known.file, "digest": known.digest, "used": []})
        entry["used"].append(known.name)
    stem, _, name = str(getattr(config.model, "function", None) or "").rpartition(":")
    for file in files if name else ():
        if hasattr(file.module, name) and (not stem or stem.removesuffix(".py") == Path(file.name).stem):
            entry = {"file": file.name, "digest": file.digest, "used": []}
            by_digest.setdefault(file.digest, entry)["used"].append(name)
    return sorted(by_digest.values(), key=lambda entry: (entry["file"], entry["digest"]))


def _check_names(config: Config, layers: list[dict[str, Any]]) -> None:
    """Raise ConfigError for a name like `mine>Mine` that no file of code registers, with the nearest that one does."""
    training = config.training
    several = training.metrics if isinstance(training.metrics, list) else [training.metrics]
    for key, entry in [("training.loss", training.loss), *(("training.metrics", metric) for metric in several)]:
        if is_call(entry):
            raise ConfigError(key, entry, as_mapping(entry))
    metrics = [("training.metrics", "metrics", entry) for entry in own_metrics(training.metrics).values()]
    for key, group, entry in [("training.loss", "losses", training.loss), *metrics]:
        name, known = own_class_name(entry), [*user_names(group), *user_names("functions")]
        if name and name not in known:
            raise ConfigError(key, name, known or OWN_FILE)
    for key, name in _named(layers, layers_key(config.model)):
        raise ConfigError(key, name, user_names() or OWN_FILE)


def _named(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """The keys and names like `mine>Mine` that nothing registers, at any depth."""
    if isinstance(value, str):
        if is_call(value) and REGISTERED.fullmatch(name_of_call(value)):
            raise ConfigError(key, value, as_mapping(value))
        if REGISTERED.fullmatch(value) and value not in user_names():
            yield key, value
    elif isinstance(value, (dict, list)):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if name != "name":
                yield from _named(inner, f"{key}.{name}")


def check_code(jobs: Sequence[tuple[Config, Mapping[str, Any]]]) -> None:
    """Print what each file of code registers. Raises ConfigError for a file that no job of the request uses.

    jobs: config and settings of each, see `plan.Plan`.
    """
    used = {entry["digest"] for _, settings in jobs for entry in settings.get("code", ())}
    files = dict(pair for config, _ in jobs for pair in zip(config.code_paths, run_code(config), strict=True))
    for path, file in files.items():
        if file.digest not in used and file.registers:
            reason = f"which registers {', '.join(file.registers)}, but no job uses it"
            allowed = f"code=null, or a setting that names it, as {{class_name:'{file.registers[0]}'}}"
            raise ConfigError("code", path, allowed, reason=reason)
        if file.digest not in used:
            allowed = "a file with @keras.saving.register_keras_serializable(package='mine') above each class"
            raise ConfigError("code", path, allowed, reason="which registers nothing")
    for path, file in files.items():
        names = ", ".join(file.registers) or "nothing"
        print_sentences([printable(f"code: {path} (digest {file.digest}) registers {names}")])


def check_unchanged(config: Config, settings: Mapping[str, Any]) -> None:
    """Run the code that a job depends on in this process too. Raises ConfigError where a file has changed since."""
    digests = {file.digest for file in run_code(config)}
    for entry in settings.get("code", ()):
        if entry["file"] and entry["digest"] not in digests:
            raise ConfigError("code", entry["file"], "the same command again", reason="which was changed meanwhile")

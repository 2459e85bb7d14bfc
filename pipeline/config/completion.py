"""What the Tab key offers on a command line: options, groups, keys, their values, and names of files.

Answered from the schema and the names of files alone, in a fraction of a second: nothing is composed, and neither Hydra
nor NumPy is imported. `shells.py` has the code by which a shell asks.
"""

import ast
import itertools
import os
import re
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from pipeline.config.schema import DEVICES, MISSING_VALUES, PATHS, SPLITS, TASKS, expand_home, key_types
from pipeline.installation import CONF, PACKAGE, PROJECT

COMMANDS = ("train", "compare", "extract", "sync", "prune", "merge")
TOKEN = re.compile(r"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"\\])+""")
# What stands before a quote that is open, the quote, and what follows it.
OPEN = re.compile(r"""((?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^'"\\])*)(?:(['"])(.*))?""", re.DOTALL)
SPECIAL = re.compile(r"([^\w@%+=:,./~-])")  # what a shell does not take as it is

SWITCHES = ("auto", "true", "false")
VALUES = {  # of keys whose type does not say what they take
    "bias_layers": ("all", "hidden", "output"),
    "data.missing": MISSING_VALUES,
    "data.split": SPLITS,
    "data.task": TASKS,
    "runtime.device": DEVICES,
    "runtime.isolate": SWITCHES,
    "runtime.portable": SWITCHES,
    "training.class_weight": ("null", "balanced"),
    "training.metrics": ("auto",),
    "training.seeds_at_once": ("auto",),
    "training.xla": SWITCHES,
}
LAUNCHERS = {"basic": "hydra", "joblib": "joblib", "slurm": "submitit", "dask": "distributed"}  # and what each needs
HYDRA_OPTIONS = ("-m", "--multirun", "--plan", "--status", "-q", "--quiet", "--help", "--cfg", "--resolve",
                 "--config-dir", "--config-name", "--info", "--hydra-help")  # fmt: skip
OPTIONS = {
    "train": HYDRA_OPTIONS,
    "compare": ("-q", "--quiet", "--help"),
    "sync": ("--help",),
    "prune": ("--dry-run", "--yes", "--help"),
    "merge": ("--dry-run", "--help"),
    "extract": ("--format", "--output", "--layer", "--kind", "--diff", "--load", "--wait", "--help"),
}
OPTION_VALUES = {  # of options that take the next word
    "--cfg": ("job", "hydra", "all"),
    "-c": ("job", "hydra", "all"),
    "--format": ("table", "csv", "json", "parquet", "npz"),
    "--kind": ("bias", "beta", "absent", "unknown"),
}
WITHOUT_CHOICES = ("--config-name", "-cn", "--package", "-p", "--layer", "--wait")


def complete_line(line: str) -> list[str]:
    """The words that the last word of a command line can become, quoted for a shell; [] where the line is not ours.

    line: as typed, up to the cursor, where a quote may be open: then what can follow it, which a shell replaces.
    A word that goes on (`data=`, a folder) ends with one of `= . /`.
    """
    parts = OPEN.fullmatch(line)
    if parts is None:  # half of an escape
        return []
    line, quote, quoted = parts.groups()
    tokens = list(TOKEN.finditer(line))
    at_word = bool(tokens) and tokens[-1].end() == len(line)
    words = [_unquote(token[0]) for token in tokens]
    before = words.pop() if at_word else ""
    current = before + (_unquote(f'"{quoted}"') if quote == '"' else quoted or "")
    command, given = find_command(words)
    offered = _candidates(command, given, current) if command else []
    found = [word for word in sorted(set(offered)) if word.startswith(current)]
    if not quote:
        return [SPECIAL.sub(r"\\\1", word) for word in found]
    rest = [word.removeprefix(before) for word in found]
    return rest if quote == "'" else [re.sub(r'(["\\$`])', r"\\\1", word) for word in rest]


def find_command(words: Sequence[str]) -> tuple[str, list[str]]:
    """Which command of ours the words before the last one run, and the words after it; "" where none."""
    for i, word in enumerate(words):
        name = Path(word).name
        if name.startswith("bias-") and name.removeprefix("bias-") in COMMANDS:
            return name.removeprefix("bias-"), list(words[i + 1 :])
        module = word.removeprefix("pipeline.")
        if i and words[i - 1] == "-m" and word.startswith("pipeline.") and module in COMMANDS:
            return module, list(words[i + 1 :])
    return "", []


def _unquote(token: str) -> str:
    return "".join(shlex.split(token, comments=False)[:1])


def _candidates(command: str, given: Sequence[str], current: str) -> list[str]:
    """Whole words that may stand in the place of the current one."""
    before = given[-1] if given else ""
    if before in OPTION_VALUES and command in ("train", "extract"):
        return list(OPTION_VALUES[before])
    if before in ("--config-dir", "-cd"):
        return _paths(current, folders_only=True)
    if before in WITHOUT_CHOICES and command in ("train", "extract"):
        return []
    if current.startswith("-"):
        return list(OPTIONS[command])
    if command == "extract":
        return _paths(current)
    folders = [CONF, *map(Path, _config_folders(given))] if command == "train" else []
    if "=" in current:
        return _values(command, current, folders, given)
    used = {word.lstrip("+").partition("=")[0] for word in given}
    if command != "train":
        options = [f"{key}=" for key in option_keys(command) if key not in used]
        if command == "merge":
            options += _paths(current, folders_only=True)
        if command in ("compare", "sync") and "study" not in used and all("=" in word for word in given):
            options += _choices(command, "study", folders, given)  # a study's name alone is enough
        return options
    return [word for word in _settings(current) if word.rstrip("=") not in used]


def option_keys(command: str) -> list[str]:
    """The keys of a command that does not use Hydra: the fields of its options, read from its source text.

    Importing the command would take half a second.
    """
    tree = ast.parse((PACKAGE / f"{command}.py").read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("Options")]
    fields = [field.target for node in classes for field in node.body if isinstance(field, ast.AnnAssign)]
    return [field.id for field in fields if isinstance(field, ast.Name)]


def _config_folders(given: Sequence[str]) -> list[str]:
    """The folders of `--config-dir`, which add options to the groups."""
    return [following for word, following in itertools.pairwise(given) if word in ("--config-dir", "-cd")] + [
        word.partition("=")[2] for word in given if word.startswith("--config-dir=")
    ]


def _settings(current: str) -> list[str]:
    """Groups as `data=`, and those that have keys as `data.` too; the keys of a group once its dot is typed."""
    sign = current[: len(current) - len(current.lstrip("+"))]
    keys = key_types()
    parents = {key.partition(".")[0] for key in keys if "." in key}
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name != "hydra"}
    parent = current.lstrip("+").partition(".")[0] if "." in current else ""
    if parent:
        return [f"{sign}{key}=" for key in keys if key.startswith(f"{parent}.")]
    names = {key for key in keys if "." not in key and (key not in parents or key in groups)}
    words = [f"{name}=" for name in names | groups | {"hydra/launcher"}] + [f"{parent}." for parent in parents]
    return [f"{sign}{word}" for word in words]


def _values(command: str, current: str, folders: Sequence[Path], given: Sequence[str]) -> list[str]:
    """The word with each value that its key can have; of a sweep, `zeros,on`, the last value is completed."""
    typed, _, value = current.partition("=")
    key = typed.lstrip("+")
    if (files := _file_reader(command, key)) is not None:
        return [f"{typed}={path}" for path in files(value)]
    done = value[: value.rfind(",") + 1]
    chosen = set(done.split(","))
    return [f"{typed}={done}{option}" for option in _choices(command, key, folders, given) if option not in chosen]


def _file_reader(command: str, key: str) -> Callable[[str], list[str]] | None:
    """What lists the files that a key can name; None where it names none."""
    if key in ("results", "reports"):
        return partial(_paths, folders_only=True)
    names_file = key in PATHS or key.rpartition(".")[2].endswith("path") or key == "code"
    return _paths if command == "train" and names_file else None


def _choices(command: str, key: str, folders: Sequence[Path], given: Sequence[str]) -> list[str]:
    results = next((word.partition("=")[2] for word in given if word.startswith("results=")), "results")
    studies = PROJECT / expand_home(results)
    if key == "study":
        return _folders(studies)
    if command != "train":
        study = next((word.partition("=")[2] for word in given if word.startswith("study=")), "")
        arms = [arm for name in (study.split(",") if study else _folders(studies)) for arm in _folders(studies / name)]
        return arms if key == "baseline" else ["true", "false"] if key in ("figures", "mlflow", "follow") else []
    if key == "hydra/launcher":
        return [name for name, package in LAUNCHERS.items() if _is_installed(package)]
    options = [path.stem for folder in folders for path in (folder / key).glob("*.yaml")] if "." not in key else []
    if options:
        return options
    return list(VALUES.get(key, ("true", "false") if key_types().get(key) is bool else ()))


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _folders(place: Path) -> list[str]:
    try:
        return [path.name for path in place.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return []


def _paths(typed: str, folders_only: bool = False) -> list[str]:
    """The files and folders that a path can become; folders end with a slash; hidden ones need a dot."""
    head, slash, tail = typed.rpartition("/")
    folder = f"{head}{slash}"
    found = []
    try:
        with os.scandir(expand_home(folder) if folder else ".") as entries:
            for entry in entries:
                if entry.name.startswith(".") and not tail.startswith("."):
                    continue
                if entry.is_dir():
                    found.append(f"{folder}{entry.name}/")
                elif not folders_only:
                    found.append(f"{folder}{entry.name}")
    except OSError:
        return []
    return found

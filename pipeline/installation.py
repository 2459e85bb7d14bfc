"""Where the code lies: in a clone of the project, or installed as a package. What follows: folders, and what to type.

In a clone, `conf/` lies beside `pipeline/`, and the clone is the project: relative places of results, reports and
`mlflow.db` are in it, whatever the working directory. An installed package brings `conf/` along inside `pipeline/`, has
no project around, and the working directory at its start stands for one.
"""

import os
import re
import shutil
import site
import sys
import sysconfig
import textwrap
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
HELP_COLUMNS = 80  # of a line of help
SOURCE = PACKAGE.parent  # what the interpreter searches for `pipeline`
IS_CLONE = not (PACKAGE / "conf").is_dir()


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it is gone; a command says so when it begins
        return Path()


CONF = SOURCE / "conf" if IS_CLONE else PACKAGE / "conf"
PROJECT = SOURCE if IS_CLONE else _working_directory()


def command_words(name: str, *, uv: bool = True) -> list[str]:
    """What to type to run a command: `["bias-compare"]` for `compare`, where the script is installed and can be found.

    uv: whether a command in a clone begins with `uv run`, which finds the clone's environment.
    """
    if not IS_CLONE and (Path(sys.argv[0]).name.startswith("bias-") or shutil.which(f"bias-{name}")):
        return [f"bias-{name}"]
    return [*(["uv", "run"] if uv and IS_CLONE else []), "python", "-m", f"pipeline.{name}"]


def command_text(name: str, *, uv: bool = False) -> str:
    """`command_words` as one text: `python -m pipeline.compare`."""
    return " ".join(command_words(name, uv=uv))


def guide_text() -> str:
    """The file that describes every setting: `conf/README.md` of the project, else where the package has it."""
    return "conf/README.md" if IS_CLONE else str(CONF / "README.md")


def help_text(doc: str) -> str:
    """The help of a command, whose text is that of a clone: with console scripts if it was called as one.

    Its paragraphs are broken for the usual terminal; what stands in backticks stays in one piece, to be copied.
    """
    if Path(sys.argv[0]).name.startswith("bias-"):
        doc = re.sub(r"(?:uv run )?python -m pipeline\.(\w+)", r"bias-\1", doc)
    doc = doc.replace("conf/README.md", guide_text())
    parts = re.split(r"(\n\n|\n(?=Options, |Exit code ))", doc.strip())
    return "".join(part if part.startswith("\n") else _filled(part) for part in parts)


def _filled(paragraph: str) -> str:
    whole = re.sub(r"`[^`]*`", lambda match: match[0].replace(" ", "\xa0"), paragraph)
    lines = textwrap.wrap(whole, HELP_COLUMNS, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\xa0", " ")


def install_text(extra: str, package: str) -> str:
    """What to type to install an optional dependency: `uv sync --extra joblib`, or `pip install <package>`."""
    return f"uv sync --extra {extra}" if IS_CLONE else f"pip install '{package}'"


def module_command(module: str) -> list[str]:
    """The words that run a module of this package in a process beside; whatever else the working directory holds."""
    return [sys.executable, "-P", "-m", module]


def module_environment() -> dict[str, str]:
    """The environment for `module_command`: there `pipeline` is this one, not another that Python finds earlier."""
    found = {sysconfig.get_path("purelib"), *site.getsitepackages(), site.getusersitepackages()}
    if str(SOURCE) in found:
        return dict(os.environ)
    search_path = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": search_path}

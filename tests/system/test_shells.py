"""The Tab key in a real bash and a real zsh, each on a terminal, with the line that `--help` names."""

import os
import pty
import re
import select
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.schema import PROJECT

pytestmark = pytest.mark.slow

START = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
READY = {"bash": "PS1='$ '; bind 'set enable-bracketed-paste off' 'set bell-style none'",
         "zsh": "PS1='$ '; unsetopt zle_bracketed_paste beep; bindkey -e"}  # fmt: skip
LOADS = "[ -f /usr/share/bash-completion/bash_completion ] && . /usr/share/bash-completion/bash_completion"


class Shell:
    """A shell on a pseudo-terminal."""

    def __init__(self, name: str, folder: Path) -> None:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        self.name = name
        (folder / "bin").mkdir(exist_ok=True)
        for command in ("bias-train", "bias-prune"):  # none is run: the shell wants to know where they are
            if not (link := folder / "bin" / command).is_symlink():
                link.symlink_to(sys.executable)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            path = [folder / "bin", Path(sys.executable).parent, os.environ["PATH"]]
            environment = {"PATH": os.pathsep.join(map(str, path)), "HOME": str(folder), "TERM": "dumb"}
            environment["PYTHONPATH"] = str(PROJECT)
            os.execvpe(START[name][0], START[name], environment)
        self.run(READY[name])

    def run(self, line: str) -> str:
        """Run a line; what is printed until it has ended."""
        os.write(self.terminal, f"{line}; echo en''ded\n".encode())
        return self.read("ended\r\n")

    def read(self, end: str, seconds: float = 60) -> str:
        """What the terminal shows until a text has come."""
        shown, until = "", time.monotonic() + seconds
        while end not in shown:
            assert time.monotonic() < until, f"{end!r} did not come: {shown!r}"
            if select.select([self.terminal], [], [], 0.2)[0]:
                shown += os.read(self.terminal, 65536).decode(errors="replace")
        return shown

    def complete(self, line: str) -> list[str]:
        """The words that the line has become after one Tab."""
        os.write(self.terminal, f"{line}\t".encode())
        os.write(self.terminal, b"\x01printf '<%s>' \x05; echo en''ded\n")  # at the line's beginning and its end
        return re.findall(r"<([^<>]*)>", self.read("ended\r\n").split("en''ded")[-1])

    def choices(self, line: str, expected: str) -> str:
        """What is listed after Tab was pressed twice, until the expected word is there; then the line is dropped."""
        os.write(self.terminal, f"{line}\t\t".encode())
        shown = self.read(expected)
        os.write(self.terminal, b"\x03")
        return shown + self.run(":")


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell in a folder with a few files, which has evaluated the documented line."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "tables").mkdir()
    for name in ("tables/mine own.csv", "tables/script.py", "model.keras"):
        (folder / name).touch()
    shell = Shell(request.param, folder)
    if request.param == "bash":
        shell.run(LOADS)
    help_text = (PROJECT / "conf" / "commandline.yaml").read_text()
    documented = re.search(r"eval .*complete} bash.*", help_text)
    assert documented is not None
    line = documented[0].replace("${command:complete}", "python -m pipeline.complete").replace("$$", "$")
    line = line.replace("bash", request.param)
    assert "rror" not in shell.run(line)
    yield shell
    os.write(shell.terminal, b"\x04")
    os.close(shell.terminal)
    os.waitpid(shell.pid, 0)


PYTHON = "python -m pipeline.train"
LINES = [
    (f"{PYTHON} dat", "data"),  # data= and data. go on
    (f"{PYTHON} data=iri", "data=iris"),
    (f"{PYTHON} data=iris,win", "data=iris,wine"),
    (f"{PYTHON} -m optimizer.learning_r", "optimizer.learning_rate="),
    (f"{PYTHON} --pl", "--plan"),
    (f"{PYTHON} runtime.device=gp", "runtime.device=gpu"),
    (f"{PYTHON} data=file data.path=tab", "data.path=tables/"),
    (f"{PYTHON} data=file data.path=tables/mi", "data.path=tables/mine own.csv"),
    ("uv run python -m pipeline.train model=lst", "model=lstm"),
    ("uv run bias-train bias_initializer=ortho", "bias_initializer=orthogonal"),
    ("bias-train bias_initializer=ortho", "bias_initializer=orthogonal"),
    ("python -m pipeline.compare thre", "threshold="),
    ("python -m pipeline.extract mod", "model.keras"),
    (f"{PYTHON} 'model=lst", "model=lstm"),  # within a quote
    (f"{PYTHON} data=file data.path='tables/mi", "data.path=tables/mine own.csv"),
    (f'{PYTHON} data=file "data.path=tables/mi', "data.path=tables/mine own.csv"),
    ("bias-prune --dr", "--dry-run"),
    ("python tables/scr", "tables/script.py"),  # what is not ours is completed as before
]


@pytest.mark.parametrize(("line", "completed"), LINES)
def test_tab(shell: Shell, line: str, completed: str) -> None:
    """One Tab completes options, groups, keys, values, sweeps and file names; other lines as before."""
    assert shell.complete(line)[-1] == completed


def test_choices_are_listed(shell: Shell) -> None:
    """Where several words fit, they are listed."""
    shown = shell.choices("python -m pipeline.train optimizer=", "sgd")
    assert "adam" in shown and "rmsprop" in shown


def test_before_is_kept(shell: Shell) -> None:
    """A line of Python that is not ours is completed by what completed it before."""
    if shell.name == "bash" and not Path("/usr/share/bash-completion/bash_completion").is_file():
        pytest.skip("bash-completion is not installed")
    shown = shell.choices("python -", "-E")
    assert "--plan" not in shown

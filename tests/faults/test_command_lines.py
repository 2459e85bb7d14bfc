"""A thousand odd command lines: each is planned, or refused in one line, and writes nothing.

They are drawn over the schema: every key and every group of conf/ with values that fit, near misses, wrong types, odd
characters, huge numbers, nulls, interpolations, sweeps, deletions and additions, with options in odd places. The lines
are the same in every run. They go through `pipeline.train.main` with `--plan`, so that what is valid trains nothing.
"""

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from pipeline import train
from pipeline.config.schema import CONF, PROJECT, key_types
from pipeline.errors import printable
from pipeline.installation import command_text

pytestmark = [pytest.mark.slow, pytest.mark.faults]

EXAMPLES = 1000
BASE = {"data": "iris", "model": "linear", "training.epochs": "1", "seeds": "1", "tracking": "none"}
KEYS = [key for key in key_types() if not any(other.startswith(f"{key}.") for other in key_types())]
HYDRA_KEYS = ["hydra.run.dir", "hydra.sweep.dir", "hydra.verbose", "hydra.mode", "hydra.job.name", "hydra.searchpath",
              "hydra.sweeper.params", "hydra.sweeper.max_batch_size", "hydra.callbacks", "hydra.output_subdir",
              "hydra/launcher", "hydra.job_logging.handlers", "hydra.callbacks.validate_jobs._target_",
              "hydra.sweep.subdir", "hydra.job_logging.root.level", "hydra.hydra_logging.root.level", "hydra.job.chdir",
              "hydra"]  # fmt: skip
DOWNLOADED = ("mnist", "fashion_mnist", "cifar10")  # without a network, Keras looks for it for long
GROUPS = {
    folder.name: sorted(path.stem for path in folder.glob("*.yaml") if path.stem not in DOWNLOADED)
    for folder in sorted(CONF.iterdir())
    if folder.is_dir() and folder.name != "hydra"
}
VALID = {  # values that fit, by key
    "study": ["mine", "'a b'", "${data.name}_x", "a.b-c"],
    "use_bias": ["true", "false", "choice(true,false)"],
    "bias_layers": ["all", "output", "[output]"],
    "seeds": ["2", "[3,7]", "[2147483647]", "choice(1,2)", "999999"],
    "training.epochs": ["2", "range(1,3)", "${seeds}"],
    "training.batch_size": ["8", "100000"],
    "training.loss": ["auto", "sparse_categorical_crossentropy"],
    "training.metrics": ["auto", "[accuracy]"],
    "training.class_weight": ["balanced", "null", "[1,2,3]"],
    "training.xla": ["auto", "true", "False"],
    "optimizer.learning_rate": ["0.1", "1e-2", "0.1,0.01"],
    "optimizer.class_name": ["Adam", "SGD"],
    "optimizer.schedule": ["null", "{class_name:CosineDecay,config:{decay_steps:5}}"],
    "data.test_fraction": ["0.3", "null"],
    "data.standardize": ["true", "false"],
    "runtime.device": ["auto", "cpu"],
    "bias_initializer.class_name": ["Zeros", "HeNormal"],
    "model.layers": ["[{class_name:Dense}]", "[{class_name:Dense,config:{units:2}},{class_name:Dense}]"],
}  # fmt: skip
ODD_VALUES = [
    "", "null", "true", "maybe", "0", "-1", "1.5", "1e400", "nan", "inf", "-inf", "9" * 30, "[]", "{}", "[[1],{a:b}]",
    "{a:{b:[null]}}", "[null]", "a,b", "range(1,3)", "range(1,1000000000)", "range(3,1)", "choice(1)", "glob(*)",
    "glob(i*)", "interval(0,1)", "shuffle(1,2)", "sort(2,1)", "tag(t,choice(1))", "int(x)", "${seeds}", "${data.nme}",
    "${oc.env:HOME}", "'${oc.decode:${oc.env:HOME}}'", "${hydra:runtime.cwd}", "${now:%Y}", "${study}", "${", "${}",
    "${x", "\\", "'a", "'a b'", '"', "'\x1b[2J'", "\x1b]0;x\x07", "a\nb", "\u202eabc", "\ud800", "é", "😀", "x" * 3000,
    "[" * 500, "[" + "1," * 2000 + "1]", "../../x", "/proc/self/mem", "/dev/full/x", "???", "{class_name:Dense}",
    "{class_name:Lambda,config:{function:x}}", "[{class_name:Dense,config:{units:1e30}}]",
    "[{class_name:Dense,config:{units:true}},{class_name:Dense}]", "[{}]", "[{class_name:[]}]", "{?:1}", "a=b", "@",
    "~",
]  # fmt: skip
ODD_OPTIONS = [
    ["--foo"], ["--plan=true"], ["--plan"], ["-r"], ["-m", "-m"], ["--multirun=3"], ["--cfg", "job"], ["--cfg=jbo"],
    ["--cfg"], ["--cfg=all", "--resolve"], ["--resolve"], ["--package", "nix"], ["--cfg=job", "--package=nix"],
    ["--info"], ["--info", "config"], ["--info", "nix"], ["-5"], ["--"], ["-"], ["--help"], ["--hydra-help"],
    ["--version"], ["-h"], ["--config-dir=nowhere"], ["--config-dir"], ["--config-name=nix"], ["--config-path=nowhere"],
    ["-cd", "."], ["-sc"], ["--experimental-rerun=x"], ["--conf=x"], ["-mr"], ["--shell-completion", "query=bash"],
    ["--plan\x1b[2J"],
]  # fmt: skip


@st.composite
def misspelt(draw: Callable, words: list[str]) -> str:
    """A word with one letter gone, doubled or replaced."""
    word = draw(st.sampled_from(words))
    i = draw(st.integers(0, len(word) - 1))
    return word[:i] + draw(st.sampled_from(["", word[i] * 2, "_", ".", "/", "@"])) + word[i + 1 :]


odd_text = st.text(st.characters(codec=None, categories=None), max_size=20)
values = st.one_of(st.sampled_from(ODD_VALUES), st.sampled_from(ODD_VALUES), st.integers().map(str),
                   st.floats().map(repr), odd_text)  # fmt: skip
prefixes = st.sampled_from(["", "", "", "", "+", "++", "~"])


@st.composite
def override(draw: Callable) -> str:
    """An override: mostly of a known key or group, and odd in one of its parts."""
    kind = draw(st.sampled_from(["fits", "value", "value", "key", "group", "option", "hydra", "text"]))
    if kind == "fits":
        key = draw(st.sampled_from([*VALID, *GROUPS]))
        return f"{key}={draw(st.sampled_from(VALID.get(key) or GROUPS[key]))}"
    if kind == "text":
        return draw(st.one_of(odd_text, values)).lstrip("-")
    if kind == "option":
        group = draw(st.sampled_from(list(GROUPS)))
        options = st.lists(st.sampled_from(GROUPS[group]), max_size=3).map(lambda names: f"[{','.join(names)}]")
        value = draw(st.one_of(misspelt(GROUPS[group]), options))
        return f"{draw(prefixes)}{group}{draw(st.sampled_from(['', '', '@data', '@_global_', '@nix']))}={value}"
    keys = {"value": KEYS, "group": list(GROUPS), "hydra": HYDRA_KEYS, "key": KEYS}[kind]
    key = draw(misspelt(keys) if kind == "key" else st.sampled_from(keys))
    key += draw(st.sampled_from(["", "", "", "", ".config.x", ".0", ".x.y"])) if kind == "value" else ""
    value = draw(values)
    return draw(
        st.sampled_from([f"{draw(prefixes)}{key}={value}", f"~{key}"] if kind != "value" else [f"{key}={value}"])
    )


@st.composite
def command_line(draw: Callable) -> list[str]:
    """A command line: a quick request, up to three more overrides, and options anywhere."""
    more = draw(st.lists(override(), min_size=1, max_size=3))
    keys = {part.lstrip("+~").partition("=")[0] for part in more}
    arguments = [f"{key}={value}" for key, value in BASE.items() if key not in keys] + more
    is_sweep = draw(st.booleans())
    options = [["--plan"], *([["-m"]] if is_sweep else [])]
    if draw(st.integers(0, 9)) == 0:
        options.append(draw(st.sampled_from(ODD_OPTIONS)))
    if is_sweep and not keys & {"use_bias", "bias_initializer"}:
        arguments.append("use_bias=choice(true)")  # in place of the default sweep of six jobs
    for option in options:
        i = draw(st.integers(0, len(arguments)))
        arguments[i:i] = option
    return arguments


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, with the log handlers that Hydra replaces put back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # train.main sets it; monkeypatch restores it
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield tmp_path
    root.handlers[:], root.level = handlers, level


def run(arguments: list[str], results: Path) -> tuple[int, str, str]:
    """Run a command line in this process: exit code, standard output, standard error."""
    if not any(argument.lstrip("+~").startswith("results") for argument in arguments):
        arguments = [*arguments, f"results={results}"]
    out, err = io.StringIO(), io.StringIO()
    argv = sys.argv
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = ["pipeline.train", *arguments]
        try:
            code = train.main()
        finally:
            sys.argv = argv
    return code, out.getvalue(), err.getvalue()


def entries(folder: Path) -> set[Path]:
    """What is in a folder, besides the cache that hypothesis makes when it first draws a text."""
    return {path for path in folder.iterdir() if path.name != ".hypothesis"}


def check_refusal(arguments: list[str], line: str) -> None:
    """Hold that a refusal is one line that a terminal can show, and that it names something of the command line."""
    assert line.endswith("\n") and line[:-1].isprintable() and line[:-1], line
    message = line.partition(f"{command_text('train')} -m ")[0]  # the command to type instead is never cut
    assert len(message) <= 301, line
    assert "Traceback" not in line and "(log: " not in line, line
    words = {word for argument in arguments for word in argument.lstrip("+~-").replace("=", " ").split()[:1]}
    heads = {part for word in words for part in word.split(".")[0].split("@")} | {word[:20] for word in words}
    assert (
        any(head in line for head in heads)
        or any(printable(a.strip())[:20] in line for a in arguments)
        or line.startswith("-")
    ), line


def test_every_command_line_is_planned_or_refused_in_one_line(
    place: Path, tmp_path_factory: pytest.TempPathFactory, figure: Callable[[str], None]
) -> None:
    """Exit code 0 or 2; a refusal is one printable line that names the key; nothing is written anywhere."""
    results = tmp_path_factory.mktemp("elsewhere") / "results"
    before = entries(PROJECT)
    codes: Counter[int] = Counter()

    @seed(0)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
              suppress_health_check=list(HealthCheck), report_multiple_bugs=False)  # fmt: skip
    @given(command_line())
    def check(arguments: list[str]) -> None:
        code, _, err = run(arguments, results)
        assert code in (0, 2), (code, err)
        if code == 2:
            check_refusal(arguments, err)
        assert list(place.iterdir()) == [] and not results.exists() and entries(PROJECT) == before
        codes[code] += 1

    check()
    figure(f"{codes.total():,} command lines: {codes[2]} refused, {codes[0]} valid, 0 tracebacks")


TRAIN = "pipeline.train data=iris model=linear training.epochs=1 seeds=1 tracking=none ablation=false"
ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
PROCESSES = [  # command, what the shell does with it, environment, exit code, what standard error begins with
    (f"{TRAIN} -m", "> out.txt", ASCII, 0, ""),  # trains for real, the others find it done
    (f"{TRAIN} -m", "| head -1", {}, 0, ""),
    (f"{TRAIN} -m", ">&- 2>&-", {}, 0, ""),
    (f"{TRAIN} -m show_weights=true", "> /dev/full", {}, 1, "output: it cannot be written: No space left on device"),
    (f"{TRAIN} --foo", "", {}, 2, "unrecognized arguments: --foo"),
    (f"{TRAIN} hydra.run.dir=taken/outputs", "", {}, 2, "hydra.run.dir: "),
    (f"{TRAIN} study=\x1b[2J", "", {}, 2, "study"),
    ("pipeline.compare study=iris-linear mlflow=false figures=false reports={results}/../reports", "| head -1",
     ASCII, 0, ""),
    ("pipeline.compare study=${x}", "", {}, 2, "study: ${x} given"),
    ("pipeline.extract loop.keras", "", {}, 2, "loop.keras: no such file"),
    ("pipeline.sync uri=${x}", "", {}, 2, "uri: ${x} given"),
]  # fmt: skip


def test_real_processes_end_in_one_line_whatever_takes_their_output(
    place: Path, tmp_path_factory: pytest.TempPathFactory, figure: Callable[[str], None]
) -> None:
    """Output in ASCII, closed, full or cut off by its reader costs no result; exit code and line are as documented."""
    results = tmp_path_factory.mktemp("elsewhere") / "results"
    (place / "taken").touch()
    (place / "loop.keras").symlink_to("loop.keras")
    for command, redirection, environment, code, line in PROCESSES:
        module, *arguments = command.replace("{results}", str(results)).split(" ")
        if module != "pipeline.extract":
            arguments.append(f"results={results}")
        shell = [
            "bash",
            "-o",
            "pipefail",
            "-c",
            f'"$@" {redirection}',
            "bash",
            sys.executable,
            "-m",
            module,
            *arguments,
        ]
        search_path = {"PYTHONPATH": str(PROJECT)}
        done = subprocess.run(shell, env=os.environ | search_path | environment, capture_output=True, check=False)
        err = done.stderr.decode()
        assert (done.returncode, err.count("\n")) == (code, bool(line)) and err.startswith(line), (command, done)
        if "out.txt" in redirection:
            assert (place / "out.txt").read_text(encoding="ascii").strip()
    assert len(list(results.glob("iris-linear/*/seed=0/run.json"))) == 4
    figure(f"{len(PROCESSES)} processes with odd outputs: 0 tracebacks")

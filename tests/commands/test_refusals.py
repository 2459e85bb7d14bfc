"""The command refuses a request as a whole: exit code 2, one line on standard error, and nothing written."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import CommandResult, share

from pipeline.config.schema import PROJECT

QUICK = ("data=iris", "model=linear", "training.epochs=1", "seeds=1")

# One case for each step that finds a fault, in turn alone and as the last job of a sweep.
COMMAND_LINES = [
    ["seed=3"],  # parsing and checking the overrides
    ["-m", "bias_initializer=zeros,zeroz"],
    ["optimizer.schedule.class_name=CosineDecay"],  # composing
    ["-m", "training.epochs=1,0"],  # ranges
    ["bias_layers=[outptu]"],  # layers
    ["-m", "bias_initializer=zeros,orthogonal"],
    ["results={file}/results"],  # places
    ["study=" + 300 * "x"],
    ["-m", "data=iris,file", "data.path={file}"],  # rows
    ["data=iris", "model=lesson"],  # building the model
    ["-m", "model=linear,lstm"],
]


@pytest.mark.parametrize("arguments", COMMAND_LINES, ids=" ".join)
def test_one_bad_job_refuses_the_request(
    arguments: list[str], cli: Callable[..., CommandResult], tmp_path: Path
) -> None:
    """Whichever step finds the fault, the command ends with exit code 2 and one line, and has written nothing."""
    file = tmp_path / "empty.csv"
    file.touch()
    one_arm = ("use_bias=choice(true)",) if "-m" in arguments else ()  # in place of the six jobs of the default sweep
    chosen = {argument.split("=")[0] for argument in arguments}
    overrides = [override for override in (*QUICK, *one_arm) if override.split("=")[0] not in chosen]
    result = cli(*overrides, *(argument.format(file=file) for argument in arguments))
    assert (result.code, result.err.count("\n")) == (2, 1), result
    assert list(tmp_path.rglob("*")) == [file]


def test_model_file_of_the_user_is_checked(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """A model file in a folder of the user's is checked like those of the project, and taken if it is valid."""
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    text = "name: narrow\nlayers:\n  - class_name: Dense\n    config: {units: -4}\n  - class_name: Dense\n"
    (folder / "narrow.yaml").write_text(text)
    (folder / "wide.yaml").write_text(text.replace("-4", "4"))
    before = set(tmp_path.rglob("*"))
    mine = f"--config-dir={tmp_path / 'mine'}"
    refused = cli("-m", mine, *QUICK, "model=wide,narrow")
    assert (refused.code, set(tmp_path.rglob("*"))) == (2, before)
    assert refused.err == "model.layers.0.config.units: -4 given; allowed: whole numbers from 1 up\n"
    assert "units: 4" in cli(mine, *QUICK, "model=wide", "--cfg=job").out


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("layer: []", "model.layer: no such key; nearest: model.layers"),
        ("name: mine\nlayers: 3", "model.layers: 3 given; allowed: a list, [a,b]"),
        ("layers: []", "model.name: no value given"),
        ("defaults: [mpl]", "model: mpl given; nearest: mlp"),
        ("name: [x", "while parsing a flow sequence"),
        ("- 3", "In 'model/mine': "),
        ("name: ${oc.env:PATH}\nlayers: [{class_name: Dense}]", "model.name: ${oc.env:PATH} given, which reads ${oc"),
    ],
)
def test_broken_model_file_is_refused(
    content: str, line: str, cli: Callable[..., CommandResult], tmp_path: Path
) -> None:
    """What Hydra or OmegaConf say of a broken file comes out in one line, in their words where they are not known."""
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "mine.yaml").write_text(content)
    result = cli(f"--config-dir={tmp_path / 'mine'}", *QUICK, "model=mine")
    assert (result.code, result.err.count("\n")) == (2, 1), result
    assert result.err.startswith(line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    share(
        [
            (["training.loss=${hydra:runtime.cwd}"], "training.loss: ${hydra:runtime.cwd} given"),
            (["study=${data.nme}"], "study: ${data.nme} given"),
            (["hydra.run.dir=${nix}", "hydra.sweep.dir=${nix}"], "hydra."),
            (["hydra.run.dir={file}/outputs", "hydra.sweep.dir={file}/multirun"], "hydra."),
            (["hydra.sweeper.params=3"], "hydra.sweeper.params: "),
            (
                ["hydra.sweeper.max_batch_size=0"],
                "hydra.sweeper.max_batch_size: 0 given; allowed: a whole number from 1 up",
            ),
            (
                ["hydra.sweep.subdir=${oc.env:HOME}"],
                "hydra.sweep.subdir: ${oc.env:HOME} given, which reads ${oc.env:...}; ",
            ),
            (["hydra.job.name=${oc.env:HOME}"], "hydra.job.name: ${oc.env:HOME} given, which reads ${oc.env:...}; "),
            (["hydra.callbacks.validate_jobs.plan_only=maybe"], "hydra.callbacks.validate_jobs"),
            (["~hydra.callbacks.validate_jobs"], "~hydra.callbacks.validate_jobs"),
            (["hydra.job.name=a/b"], "hydra.job.name: a/b given; allowed: the name of a file, "),
            (["hydra.job.name=" + 252 * "x"], "hydra.job.name: xxx"),
            (["hydra.job.chdir=true"], "hydra.job.chdir: true given; allowed: false, "),
            (["hydra.output_subdir=/dev/null/x"], "hydra.output_subdir: /dev/null/x cannot be written: "),
            (["hydra.output_subdir={file}"], "hydra.output_subdir: "),
            (["hydra.sweep.subdir=/dev/null/x"], "hydra.sweep.subdir: /dev/null/x cannot be written: "),
            (["hydra.sweep.subdir=${hydra.job.override_dirname}_" + 230 * "x"], "hydra.sweep.subdir: "),
            (["hydra.sweep.subdir=???"], "hydra.sweep.subdir: "),
            (["hydra.sweep.dir=/dev/null/x"], "hydra.sweep.dir: /dev/null/x cannot be written: "),
            (
                ["hydra.job_logging.root.level=NIX"],
                "hydra.job_logging: Unable to configure root logger: Unknown level: 'NIX'",
            ),
            (["~hydra.job_logging.root"], "hydra.job_logging: root is missing; allowed: "),
            (
                ["hydra.job_logging.handlers.console.class=nix.Nix"],
                "hydra.job_logging: Unable to configure handler 'con",
            ),
            (["hydra.job_logging.handlers.file.filename=no/where.log"], "hydra.job_logging.handlers.file.filename: /"),
            (["hydra.job_logging.handlers.file.filename={file}/x.log"], "hydra.job_logging.handlers.file.filename: /"),
            (
                ["hydra.hydra_logging.root.level=NIX"],
                "hydra.hydra_logging: Unable to configure root logger: Unknown level",
            ),
            (["+hydra.launcher.nix=1"], "hydra.launcher: {"),
            (["hydra.sweeper._target_=nix"], "hydra.sweeper: {"),
            (["hydra.verbose=[1,1]"], "hydra.verbose: [1, 1] given; allowed: true, false, or names of loggers"),
            (["--cfg=job", "--package=nix"], "package 'nix' not found"),
            (["--run"], "--run and --multirun: given together"),
            (["--experimental-rerun=config.pickle"], "--experimental-rerun: "),
            (["-sc", "install=bash"], "--shell-completion: not supported; allowed: eval "),
            (["--plan=true"], "--plan=true: --plan takes no value; allowed: --plan alone"),
            (["--conf=config"], "unrecognized arguments: --conf=config"),
        ]
    ),
    ids=" ".join,
)
def test_nothing_opens_the_gate(
    arguments: list[str], line: str, cli: Callable[..., CommandResult], tmp_path: Path
) -> None:
    """What fails before or in the check ends the command with exit code 2 and one line: no job starts unchecked."""
    file = tmp_path / "file"
    file.touch()
    arguments = [argument.replace("{file}", str(file)) for argument in arguments]
    sweep = [] if "--cfg=job" in arguments else ["-m"]
    result = cli(*QUICK, *sweep, *arguments)
    assert (result.code, result.err.count("\n")) == (2, 1), result
    assert result.err.startswith(line) and "(log: " not in result.err
    assert list(tmp_path.rglob("*")) == [file]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["hydra.run.dir=/dev/null/x"], "hydra.run.dir: /dev/null/x cannot be written: "),
        (["hydra.run.dir={folder}"], "hydra.run.dir: {folder}/sweep.log is a folder; allowed: a file, or nothing"),
        (["hydra.run.dir={folder}", "hydra.job.name=job"], "hydra.job.name: {folder}/job.log is a folder"),
        (["hydra.run.dir={folder}", "hydra.output_subdir=."], "hydra.output_subdir: {folder}/config.yaml is a folder"),
        (["-m", "hydra.sweep.dir={folder}"], "hydra.sweep.dir: {folder}/multirun.yaml is a folder"),
    ],
    ids=str,
)
def test_what_is_in_the_way_of_hydras_files_is_found(
    arguments: list[str], line: str, cli: Callable[..., CommandResult], tmp_path: Path
) -> None:
    """A folder lies where Hydra, or a job, writes a file: the key and the path are named, and nothing is written."""
    folder = tmp_path / "taken"
    taken = line.partition(" is a folder")[0].rpartition("/")[2]
    (folder / taken).mkdir(parents=True) if "is a folder" in line else folder.mkdir()
    before = set(tmp_path.rglob("*"))
    result = cli(*QUICK, *(argument.format(folder=folder) for argument in arguments))
    assert (result.code, result.err.count("\n")) == (2, 1), result
    assert result.err.startswith(line.format(folder=folder))
    assert set(tmp_path.rglob("*")) == before


def experiment_file(tmp_path: Path, hydra: str) -> str:
    """The option that names a folder in which `experiment=mine` sets these keys of Hydra's."""
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "mine.yaml").write_text(f"# @package _global_\nhydra: {hydra}\n")
    return f"--config-dir={tmp_path / 'mine'}"


OTHER_CALLBACK = "{callbacks: {validate_jobs: {_target_: hydra.experimental.callback.Callback}}}"


@pytest.mark.parametrize("options", share([[], ["-m"], ["--plan"], ["-m", "hydra/launcher=joblib"]], 4), ids=" ".join)
@pytest.mark.parametrize(
    ("hydra", "line"),
    [
        (OTHER_CALLBACK, "hydra.callbacks.validate_jobs: {'_target_': 'hydra.experimental.callback.Callback'} given; "),
        ("{callbacks: {validate_jobs: null}}", "hydra.callbacks.validate_jobs: null given; allowed: the one of conf/"),
        ("{job: {env_set: {a=b: c}}}", "hydra.job.env_set: a=b given; allowed: names of environment variables"),
        ("{callbacks: {validate_jobs: {plan_only: true}}}", "hydra.callbacks.validate_jobs: {"),
        ("{verbose: [1]}", "hydra.verbose: [1] given; allowed: true, false, or names of loggers"),
    ],
)
def test_an_experiment_cannot_replace_the_check(
    options: list[str], hydra: str, line: str, cli: Callable[..., CommandResult], tmp_path: Path
) -> None:
    """One line, and nothing is left, since this is found before Hydra runs; with --plan too."""
    mine = experiment_file(tmp_path, hydra)
    before = set(tmp_path.rglob("*"))
    result = cli(mine, *QUICK, "experiment=mine", *options)
    assert (result.code, result.err.count("\n")) == (2, 1), result
    assert result.err.startswith(line)
    assert set(tmp_path.rglob("*")) == before


def test_a_launcher_of_a_single_job_is_refused(cli: Callable[..., CommandResult]) -> None:
    """Hydra would leave it out without a word."""
    result = cli(*QUICK, "hydra/launcher=joblib", "use_bias=true")
    assert result.code == 2 and result.err.startswith(
        "hydra/launcher: joblib given, which launches the jobs of a sweep; allowed: -m hydra/launcher=joblib"
    )


@pytest.mark.parametrize("option", ["hydra/launcher=basic", "hydra/launcher=joblib"])
@pytest.mark.slow
def test_no_job_trains_without_the_check(
    option: str, cli: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another callback gets in all the same, a job that was not checked trains nothing, in any process."""
    monkeypatch.setattr("pipeline.train.check_callbacks", lambda _: None)
    mine = experiment_file(tmp_path, OTHER_CALLBACK)
    result = cli("-m", mine, *QUICK, "experiment=mine", option, "use_bias=choice(true)")
    assert result.code == 2 and result.err.endswith(
        "hydra.callbacks: the request was not checked; allowed: those of conf/commandline.yaml\n"
    )
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_quick_answers_do_not_wait_for_tensorflow(small: list[str], tmp_path: Path) -> None:
    """Help and plain refusals come without the many seconds of importing TensorFlow or MLflow, or files of models."""
    codes = {
        "--help": 0,
        "--cfg job": 0,
        "training.epochs=0": 2,
        "bias_initializer=orthogonal": 2,
        "optimizer=adamm": 2,
        "model.layers=[{class_name:Dense,config:{unit:4}}]": 2,
    }
    script = (
        "import json, sys\n"
        "from pipeline import train\n"
        "codes, small = json.loads(sys.argv[1])\n"
        "for arguments in codes:\n"
        "    sys.argv[1:] = [*arguments.split(), *small]\n"
        "    try:\n        codes[arguments] = train.main()\n"
        "    except SystemExit as stop:\n        codes[arguments] = stop.code or 0\n"
        "heavy = ('tensorflow', 'keras', 'mlflow', 'pandas', 'altair', 'h5py')\n"
        "print(json.dumps(codes), [name for name in heavy if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", script, json.dumps([dict.fromkeys(codes), small])]
    environment = {"PYTHONPATH": str(PROJECT), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(f"{json.dumps(codes)} []\n"), done.stderr


@pytest.mark.parametrize("group", ["data", "hydra/launcher"])
def test_a_defaults_list_shows_nothing_of_the_environment(
    group: str, cli: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An experiment's file that chooses an option by a variable is refused, and the value is not in the message."""
    monkeypatch.setenv("PASSWORD", "secret")
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    defaults = f"# @package _global_\ndefaults:\n  - override /{group}: ${{oc.env:PASSWORD}}\n"
    (tmp_path / "mine" / "experiment" / "evil.yaml").write_text(defaults)
    result = cli("-m", f"--config-dir={tmp_path / 'mine'}", "model=linear", "seeds=1", "experiment=evil")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith(f"override / in evil.yaml: {group}: ${{oc.env:PASSWORD}} given")
    assert "secret" not in result.err


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (['hydra.output_subdir="${oc.env:PASSWORD}"'], "hydra.output_subdir"),
        (['hydra.run.dir="x/${oc.env:PASSWORD}"'], "hydra.run.dir"),
        (["-m", 'hydra.job.config.override_dirname.kv_sep="${oc.env:PASSWORD}"'], "hydra.job.config.override_dirname"),
        (['hydra.run.dir="${results}/logs"', 'results="${oc.env:PASSWORD}"'], "hydra.run.dir"),
        (["-m", "hydra.sweep.subdir=${hydra.job.override_dirname}", "seeds=1", 'results="${oc.env:PASSWORD}"'],
         "hydra.sweep.subdir"),
        (['hydra.job.name="${hydra:job.override_dirname}"', 'tracking.uri="${oc.env:PASSWORD}"'], "hydra.job.name"),
        (["hydra/launcher=${oc.env:PASSWORD}"], "hydra/launcher"),
        (["experiment=mine"], "hydra.job_logging.handlers.file.filename"),
        (["-m", "experiment=mine"], "hydra.job_logging.handlers.file.filename"),
    ],
    ids=str,
)  # fmt: skip
def test_hydras_own_keys_do_not_read_the_environment(
    arguments: list[str], key: str, cli: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra writes its settings to disk and names folders by them: none reads the environment, by whichever way."""
    monkeypatch.setenv("PASSWORD", str(tmp_path / "hunter2"))
    mine = experiment_file(tmp_path, "{job_logging: {handlers: {file: {filename: '${oc.env:PASSWORD}'}}}}")
    before = sorted(tmp_path.rglob("*"))
    places = [f"hydra.{place}.dir={tmp_path / place}" for place in ("run", "sweep") if key != "hydra.run.dir"]
    options = [a for a in arguments if a.startswith("-")]
    result = cli(mine, *options, "data=iris", "model=linear", *places, *(a for a in arguments if a not in options))
    assert (result.code, result.err.count("\n")) == (2, 1), result
    assert result.err.startswith(f"{key}") and " given, which reads ${oc.env:...}; allowed: " in result.err
    assert "hunter2" not in result.err and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("arguments", ["train seeds=1", "train -m", "train --plan", "compare", "extract x", "sync"])
def test_a_working_directory_that_is_gone_is_named(arguments: str, tmp_path: Path) -> None:
    """Exit code 2 and one line with its path, from a real shell, which knows it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    module, *options = arguments.split()
    command = shlex.join([sys.executable, "-m", f"pipeline.{module}", *options])
    script = f"cd {shlex.quote(str(gone))} && rmdir ../gone && {command}"
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    line = f"the working directory no longer exists: {gone}; change to another one (cd)\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argument", "encoding", "shown"),
    [(b"results=r\xff", "utf-8", r"results: r\udcff"), ("study=é".encode(), "ascii", r"study: \udcc3\udca9")],
)
@pytest.mark.parametrize("command", ["train", "train -m", "train --plan", "compare", "sync"])
def test_names_that_cannot_be_decoded_are_refused(
    command: str, argument: bytes, encoding: str, shown: str, tmp_path: Path
) -> None:
    """Exit code 2 and one line that says that the encoding is the cause."""
    module, *options = command.split()
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    if encoding == "ascii":
        environment |= {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", f"pipeline.{module}", *options, argument],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"{shown} given, which is not text in the encoding {encoding} of this environment; ")
    assert ("PYTHONUTF8=1" in done.stderr) == (encoding == "ascii")
    assert not any(tmp_path.iterdir())

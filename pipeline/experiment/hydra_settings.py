"""Check Hydra's own settings, `hydra.*`: where it writes and how it logs.

At the start of each job Hydra makes the job's folder, sets up logging and writes its settings there. What would fail
then is found here: before Hydra itself runs (`check_callbacks`), and for every job before the first (`JobChecker`).
"""

import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from pipeline.config.arguments import Arguments
from pipeline.config.interpolation import refuse_environment
from pipeline.config.overrides import check_verbose, parse_overrides
from pipeline.config.schema import CONF
from pipeline.errors import ConfigError, require
from pipeline.runtime.logs import kept_logging
from pipeline.store.files import check_writable
from pipeline.store.places import check_file

CALLBACK = {"_target_": "pipeline.experiment.hydra_callback.ValidateJobs"}  # as in conf/commandline.yaml
LOG = "sweep.log"  # in the folder of the request
LOGGING = "what logging.config.dictConfig of Python takes"
HELP = ("hydra.help", "hydra.hydra_help")  # which no job shows; long texts, looked at once for the request
LONGEST_NAME = 255  # bytes of a file's name


def check_callbacks(arguments: Arguments) -> None:
    """Refuse a config whose callbacks are not those that check the request, or by which Hydra itself cannot log.

    Composes what Hydra is about to compose, sweeps left out; where that fails, Hydra will say why. Raises ConfigError.
    """
    if arguments.only_shows:
        return
    overrides = [o for o in parse_overrides(arguments.overrides) if not o.is_sweep_override()]
    searched = [f"file://{folder.absolute()}" for folder in arguments.folders[1:]]
    for override in overrides:
        if override.key_or_group == "hydra.searchpath" and isinstance(places := override.value(), list):
            searched += map(str, places)
    given = [o.input_line or "" for o in overrides if o.key_or_group not in ("hydra.searchpath", "hydra.mode")]
    quoted = ",".join("'" + place.replace("'", "\\'") + "'" for place in searched)
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            config = compose(arguments.config_name, [*given, f"hydra.searchpath=[{quoted}]"], return_hydra_config=True)
    except Exception:
        return
    refuse_environment(config)
    callback = OmegaConf.to_container(config)["hydra"]["callbacks"].get("validate_jobs")  # type: ignore[index, call-overload]
    allowed = "the one of conf/commandline.yaml, which checks every job"
    require(callback == CALLBACK, "hydra.callbacks.validate_jobs", callback, allowed)
    verbose = config.hydra.verbose
    check_verbose(OmegaConf.to_container(verbose) if OmegaConf.is_config(verbose) else verbose)
    _try_logging(config, "hydra_logging")


class JobChecker:
    """Checks what Hydra does before its first job, and at the start of each one.

    config: of the request. is_written: whether the folders shall be writable, as for a plan they need not be.
    `folder` is that of the request's logs. Raises ConfigError, and what OmegaConf raises for an interpolation that
    cannot be resolved.
    """

    def __init__(self, config: DictConfig, is_sweep: bool, is_written: bool) -> None:
        refuse_environment(config)
        if not is_sweep:
            _refuse_launcher(config)
        self._key = "hydra.sweep.dir" if is_sweep else "hydra.run.dir"
        self._is_sweep, self._is_written = is_sweep, is_written
        self._logged: list[Any] = []  # the settings of logging that were tried: thousands of jobs mostly log alike
        self.folder = Path(str(OmegaConf.select(config, self._key, throw_on_missing=True))).absolute()
        if is_written:
            check_writable(self.folder, self._key)
        for name in (LOG, *(["multirun.yaml"] if is_sweep else [])):
            check_file(self.folder / name, self._key)
        self.launcher: Any = _try_launcher(config) if is_sweep else None

    def describe_launcher(self) -> list[str]:
        """Where the jobs would run, in a line; none where that is here, or where only Hydra's plugin knows."""
        return [f"{self.launcher.describe()}\n"] if hasattr(self.launcher, "describe") else []

    def check(self, config: DictConfig, number: int) -> None:
        """Check the job of this number, of which `config` is the composed config."""
        with as_job(config, number) as job:
            refuse_environment(job, but=HELP)
            key, output = self._key, self.folder
            if self._is_sweep:
                key = "hydra.sweep.subdir"
                output /= str(OmegaConf.select(job, key, throw_on_missing=True))
            with read_write(job.hydra.runtime), open_dict(job.hydra.runtime):
                job.hydra.runtime.output_dir = str(output)
            _check_names(job)
            if self._is_written:
                check_writable(output, key)
            _check_files(job, output, self._is_written)
            logged = OmegaConf.to_container(job.hydra.job_logging), job.hydra.job.name, job.hydra.verbose
            if logged not in self._logged:
                self._logged.append(logged)
                _try_logging(job, "job_logging", output)


def _refuse_launcher(config: DictConfig) -> None:
    """Refuse a launcher that is asked for on the command line of a single job, which Hydra starts without one."""
    for override in config.hydra.overrides.hydra:
        key, _, value = str(override).lstrip("+").partition("=")
        if key == "hydra/launcher" and value != "basic":
            allowed = f"-m {key}={value}; a job of its own needs no launcher"
            raise ConfigError(key, value, allowed, reason="which launches the jobs of a sweep")


def _check_names(job: DictConfig) -> None:
    """Check the name of a job's log, and what a job does to its process."""
    name = str(OmegaConf.select(job, "hydra.job.name", throw_on_missing=True))
    fits = not set(name) & {"/", "\0"} and len(f"{name}.log".encode(errors="replace")) <= LONGEST_NAME
    require(fits, "hydra.job.name", name, f"the name of a file, without / and of up to {LONGEST_NAME - 4} bytes")
    chdir = job.hydra.job.chdir
    require(not chdir, "hydra.job.chdir", chdir, "false, since paths are relative to the working directory")
    for variable in job.hydra.job.env_set:
        fits = variable and not set(variable) & {"=", "\0"}
        require(fits, "hydra.job.env_set", variable, "names of environment variables")


def _check_files(job: DictConfig, output: Path, is_written: bool) -> None:
    """Check the files that Hydra and the job write into the job's folder."""
    check_file(output / f"{job.hydra.job.name}.log", "hydra.job.name")
    if job.hydra.output_subdir is not None:
        subdir = output / job.hydra.output_subdir
        if is_written:
            check_writable(subdir, "hydra.output_subdir")
        for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
            check_file(subdir / name, "hydra.output_subdir")


@contextmanager
def as_job(config: DictConfig, number: int) -> Iterator[DictConfig]:
    """A copy of a job's config as Hydra has it at the job's start, when `${hydra:...}` reads it."""
    job, before = pickle.loads(pickle.dumps(config)), HydraConfig.instance().cfg  # faster than a deep copy
    OmegaConf.copy_cache(from_config=config, to_config=job)  # of ${now:...}
    with read_write(job.hydra.job), open_dict(job.hydra.job):
        job.hydra.job.id, job.hydra.job.num = str(number), number
    HydraConfig.instance().set_config(job)
    try:
        yield job
    finally:
        HydraConfig.instance().cfg = before


def _try_launcher(config: DictConfig) -> Any:
    """Make sweeper and launcher, as Hydra does before it launches; returns the launcher. Raises ConfigError."""
    loader, plugins = GlobalHydra.instance().config_loader(), Plugins.instance()
    context: Any = HydraContext(config_loader=loader, callbacks=None)  # type: ignore[arg-type]
    made = list[Any]()
    for key, make in (("launcher", plugins.instantiate_launcher), ("sweeper", plugins.instantiate_sweeper)):
        try:
            made.append(make(config=config, hydra_context=context, task_function=lambda _: None))
        except Exception as error:
            if isinstance(error.__cause__, ConfigError):  # a launcher's own, of pipeline.launchers
                raise error.__cause__ from error
            given = OmegaConf.to_container(config.hydra[key])
            raise ConfigError(f"hydra.{key}: {given} given, by which Hydra cannot launch: {error}") from error
    if hasattr(made[0], "check"):  # of pipeline.launchers, not of Hydra's plugins
        made[0].check()
    return made[0]


def _try_logging(config: DictConfig, key: str, output: Path | None = None) -> None:
    """Set up logging by `hydra.<key>`, with log files that are dropped. Raises ConfigError.

    output: the job's folder, which need not exist yet.
    """
    settings: Any = OmegaConf.to_container(config.hydra[key], resolve=True)
    handlers = settings.get("handlers")
    with tempfile.TemporaryDirectory() as aside:
        for name, handler in handlers.items() if isinstance(handlers, dict) else ():
            if isinstance(handler, dict) and isinstance(handler.get("filename"), str):
                _check_log(Path(handler["filename"]).absolute(), f"hydra.{key}.handlers.{name}.filename", output)
                handler["filename"] = str(Path(aside) / "log")
                if str(handler.get("class")).startswith("logging."):
                    handler["delay"] = True  # opens nothing
        try:
            if "root" not in settings:
                raise ValueError("root is missing")
            with kept_logging():
                configure_log(DictConfig(settings), config.hydra.verbose)
        except Exception as error:
            reason = ": ".join(str(e) for e in (error, error.__cause__) if e and str(e))
            raise ConfigError(f"hydra.{key}: {reason}; allowed: {LOGGING}") from error


def _check_log(file: Path, key: str, output: Path | None) -> None:
    """Refuse a log file whose folder neither exists nor will be made for the job."""
    if output is None or not output.is_relative_to(file.parent):
        require(file.parent.is_dir(), key, file, "a file in a folder that exists")
        check_writable(file.parent, key)
    check_file(file, key)

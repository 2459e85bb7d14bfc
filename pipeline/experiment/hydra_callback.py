"""Hydra callback that validates every job of a sweep before the first starts.

Hydra calls `ValidateJobs` (conf/commandline.yaml, hydra.callbacks) after composing and before it writes anything. One
invalid job aborts the whole sweep with exit code 2. Of the project, only this module, `hydra_settings`, `job` and
`pipeline.train` use Hydra beyond composing.
"""

import secrets
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from pipeline.config.load import load_config
from pipeline.config.made_options import describe_other_names
from pipeline.config.overrides import as_named_refusal, expand_sweep, parse_overrides, spell_sweep
from pipeline.config.user_classes import forget_user_classes
from pipeline.errors import ConfigError, require
from pipeline.experiment.check import FirstModels, check_plans
from pipeline.experiment.code import check_code
from pipeline.experiment.compositions import remember_compositions
from pipeline.experiment.dry_run import show_plan
from pipeline.experiment.hydra_settings import LOG, JobChecker
from pipeline.experiment.outcome import plans_by_arm
from pipeline.experiment.plan import Plan, describe_job, plan_and_read, seeds_to_train, shown_names
from pipeline.experiment.progress import SweepView, describe_start, passing_line
from pipeline.experiment.retraining import describe_twins, explain_retraining
from pipeline.experiment.status import print_status, read_state
from pipeline.experiment.until import declare_designs
from pipeline.experiment.validate import refuse_conflicting
from pipeline.runtime.gate import report_error
from pipeline.runtime.logs import forget_told, redirect_stderr
from pipeline.runtime.signals import raise_swallowed
from pipeline.runtime.wrapping import print_sentences
from pipeline.store.failures import Failure, read_failure
from pipeline.store.locks import forget_dead_holder
from pipeline.store.runs import DamagedRun, Run, RunStore
from pipeline.tracking.address import check_address
from pipeline.tracking.background import expect_study, start_upload, stop_uploads
from pipeline.tracking.client import lock_file, store_uri
from pipeline.tracking.places import check_tracking_places

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
UNCHECKED = ConfigError("hydra.callbacks: the request was not checked; allowed: those of conf/commandline.yaml")
Stored = dict[tuple[RunStore, str], tuple[list[Run], list[DamagedRun]]]  # of each arm the runs that count, the damaged
BIAS_KEYS = ("use_bias", "bias_initializer")  # a command line that sweeps one of them decides on both
VALIDATED = "validated"  # key of Hydra's JobRuntime: the identity of the request that was validated


@dataclass(frozen=True)
class Request:
    """What was asked for, as planned before the first job ran.

    plans: one per arm. to_train: for each, the seeds that have to be trained. log: messages of the launching process.
    isolate: whether each job should train in a process of its own (`runtime.isolate=auto`). failed_before: for each
    plan, the failure that another command had recorded already. unrecorded: the failures of jobs in this process that
    could not be recorded, by store and arm. earlier: the seeds of each store and arm that earlier looks of this command
    trained. view: shows how far it is. stored: where no job has anything to do, so that none is launched, the runs that
    are there; else None.
    """

    plans: list[Plan]
    to_train: list[tuple[int, ...]]
    log: Path
    isolate: bool = False
    failed_before: tuple[Failure | None, ...] = ()
    unrecorded: dict[tuple[RunStore, str], Failure] = field(default_factory=dict)
    earlier: dict[tuple[RunStore, str], tuple[int, ...]] = field(default_factory=dict)
    view: SweepView = field(default_factory=SweepView)
    stored: Stored | None = None
    identity: str = field(default_factory=lambda: secrets.token_hex(6))

    @property
    def trained(self) -> dict[tuple[RunStore, str], tuple[int, ...]]:
        """The seeds of each store and arm that this command was to train, in this look and before."""
        now = {(plan.store, plan.arm): seeds for plan, seeds in zip(self.plans, self.to_train, strict=True)}
        return {key: (*self.earlier.get(key, ()), *seeds) for key, seeds in now.items()}


_requests: list[Request] = []  # at most one: what this process validated and launches; empty in a launcher's workers


def current_request() -> Request | None:
    """The request that this process launches; None before it is validated, and in a launcher's worker process."""
    return _requests[-1] if _requests else None


def begin_request(plan_only: bool = False, is_next_look: bool = False, status_only: bool = False) -> None:
    """Forget the request of an earlier command in this process.

    plan_only: show the next one, and train nothing; status_only: show how far it is. is_next_look: it is the next look
    of the same command, so what was told stays told.
    """
    earlier = _requests[-1].trained if _requests and is_next_look else {}
    _requests.clear()
    if not is_next_look:
        forget_told()
        forget_user_classes()
    ValidateJobs.plan_only, ValidateJobs.is_next_look, ValidateJobs.earlier = plan_only, is_next_look, earlier
    ValidateJobs.status_only, ValidateJobs.status_code = status_only, None
    JobRuntime.instance().set(VALIDATED, "")


def validated_request() -> str:
    """The identity of the request that this job is part of, "" if none was validated.

    Launchers hand Hydra's JobRuntime to their workers.
    """
    return JobRuntime.instance().conf.get(VALIDATED) or ""


def task_overrides(hydra_config: Any) -> list[str]:
    """The overrides of a job or a sweep as they were typed, interpolations included."""
    return _as_typed(hydra_config.overrides.task)


def _as_typed(overrides: Any) -> list[str]:
    return [str(override) for override in OmegaConf.to_container(overrides) or ()]


class ValidateJobs(Callback):
    """Plan all jobs of a request, and end the process with exit code 2 where one of them is invalid.

    plan_only: show the plan and end the process with exit code 0. status_only: show what is stored of it, and end the
    process; `status_code` is then its exit code. is_next_look: say nothing that the look before said.
    """

    plan_only = False
    is_next_look = False
    earlier: ClassVar[dict[tuple[RunStore, str], tuple[int, ...]]] = {}
    status_only = False
    status_code: int | None = None

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Validate the single job of a run."""
        self._validate(config, is_sweep=False)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Validate all jobs of a sweep. A command line that sweeps biases itself replaces the default sweep."""
        self._validate(config, is_sweep=True)

    def _validate(self, config: DictConfig, is_sweep: bool) -> None:
        """Hydra turns an exception in a callback into a warning and trains all the same: none may leave here."""
        try:
            if self.status_only:
                ValidateJobs.status_code = self._show_status(config, is_sweep)
                sys.exit(0)
            request = self._plan_request(config, is_sweep)
        except Exception as error:
            raise_swallowed()
            try:
                stop_uploads()
                overrides = [*task_overrides(config.hydra), *_as_typed(config.hydra.overrides.hydra)]
                report_error(as_named_refusal(error, overrides), code=2)
            finally:
                sys.exit(2)
        if self.plan_only:
            sys.exit(0)
        JobRuntime.instance().set(VALIDATED, request.identity)
        _requests.append(request)
        if is_sweep and request.stored is not None:
            request.log.parent.mkdir(parents=True, exist_ok=True)  # as Hydra does when it launches
            sys.exit(0)
        if is_sweep and OmegaConf.select(config.hydra.launcher, "_target_") != BASIC_LAUNCHER:
            request.view.watch()  # the jobs run in other processes

    def _show_status(self, config: DictConfig, is_sweep: bool) -> int:
        """Print how far a request is; the exit code. Raises what `_plan_request` raises for an invalid config."""
        with passing_line("reading the settings of each job and what is stored ..."):
            plans = [describe_job(load_config(composed, job)) for composed, job in _compose_jobs(config, is_sweep)]
            refuse_conflicting(plans)
            states = [read_state(plan) for plan in plans_by_arm(plans)]
        return print_status(states)

    def _plan_request(self, config: DictConfig, is_sweep: bool) -> Request:
        """Plan and check every job. Raises ConfigError, and what Hydra and OmegaConf raise for an invalid config."""
        checker = JobChecker(config, is_sweep, is_written=not self.plan_only)
        plans, stored = [], Stored()
        with passing_line("reading the settings of each job and what is stored ..."):
            for number, (composed, job) in enumerate(_compose_jobs(config, is_sweep)):
                checker.check(composed, number)
                plan, read = plan_and_read(load_config(composed, job))
                plans.append(plan)
                stored.setdefault((plan.store, plan.arm), read)
        refuse_conflicting(plans)
        check_code([(plan.config, plan.settings) for plan in plans])
        declare_designs(plans_by_arm(plans), is_written=False)  # refuses a design before anything is said
        if not self.is_next_look:
            _report_redundant(plans, stored)
            print_sentences(describe_other_names([text for plan in plans for text in plan.config.overrides]))
        arms = plans_by_arm(plans)
        for plan in {(plan.store, plan.config.tracking.uri): plan for plan in arms}.values():
            check_address(plan.config.tracking)
            check_tracking_places(plan.config.tracking, plan.store)
            if plan.config.tracking.enabled and not self.plan_only:
                forget_dead_holder(lock_file(store_uri(plan.config.tracking), plan.store.results))
        to_train = [seeds_to_train(plan) for plan in arms]
        if not self.plan_only and (start := describe_start(arms, to_train, has_tensorflow=self.is_next_look)):
            print_sentences([start])
        failures = tuple(read_failure(plan.store, plan.arm) for plan in arms)
        with tempfile.TemporaryDirectory() as aside:
            noise = Path(aside) / "noise"
            with redirect_stderr(noise):
                models = FirstModels()
                isolate = self._check(plans, models)
                declared = declare_designs(arms, is_written=not self.plan_only)
                print_sentences(declared)
                if self.plan_only:
                    show_plan(arms, to_train, models)
                    print(*checker.describe_launcher(), sep="\n", end="")
            messages = noise.read_text(encoding="utf-8", errors="replace")
        is_done = not any(failures) and all(_is_done(plan, stored[plan.store, plan.arm][0]) for plan in plans)
        request = Request(arms, to_train, checker.folder / LOG, isolate, failures, earlier=self.earlier,
                          view=SweepView(arms, to_train), stored=stored if is_done else None)  # fmt: skip
        if not self.plan_only:
            _append_log(request.log, "while the request was checked", messages)
        return request

    def _check(self, plans: list[Plan], models: FirstModels) -> bool:
        """Do `check_plans` and return what it does, while MLflow is imported in a process beside."""
        training = [] if self.plan_only else [plan for plan in plans if plan.missing]
        for plan in training:
            start_upload(plan.config.tracking, plan.store.results)
        isolate = check_plans(plans, models)
        for plan in {plan.store: plan for plan in training}.values():
            expect_study(plan.config.tracking, plan.store)
        return isolate


def _is_done(plan: Plan, runs: list[Run]) -> bool:
    """Whether a job has nothing to do: every run is there, and none of another recipe, which it would retire."""
    return not plan.missing and all(run.meta["recipe"] in plan.recipe.digests for run in runs)


def _compose_jobs(config: DictConfig, is_sweep: bool) -> Iterator[tuple[DictConfig, list[str]]]:
    """The composed config of each job as a launcher will compose it, and the job's overrides."""
    overrides = task_overrides(config.hydra)
    if not is_sweep:
        yield config, overrides
        return
    loader = GlobalHydra.instance().config_loader()
    remember_compositions(loader)
    for job in _expand(config, overrides):
        yield loader.load_sweep_config(config, job), job


def _expand(config: DictConfig, overrides: list[str]) -> list[list[str]]:
    """The overrides of each job of a sweep; takes out of the default sweep what the command line sweeps itself."""
    params = config.hydra.sweeper.params or {}
    default: Any = OmegaConf.to_container(params) if OmegaConf.is_config(params) else params
    require(isinstance(default, dict), "hydra.sweeper.params", default, "named values, {key:values}")
    size = config.hydra.sweeper.get("max_batch_size")
    require(size is None or size >= 1, "hydra.sweeper.max_batch_size", size, "a whole number from 1 up, or null")
    swept = {o.get_key_element() for o in parse_overrides(overrides) if o.is_sweep_override()}
    replaced = swept | set(BIAS_KEYS if swept & set(BIAS_KEYS) else ())
    if replaced & default.keys():
        with open_dict(config):
            config.hydra.sweeper.params = default = {key: v for key, v in default.items() if key not in replaced}
    if (spelled := spell_sweep(default)) != default:
        with open_dict(config):
            config.hydra.sweeper.params = default = spelled
    return expand_sweep([*(f"{key}={value}" for key, value in default.items()), *overrides])


def _report_redundant(plans: list[Plan], stored: Stored) -> None:
    """Name jobs that ask for the same arm, and stored runs that do not count. stored: of each arm."""
    first: dict[tuple[Path, str], Plan] = {}
    several, twins = set[str](), list[tuple[str, str]]()
    for plan, name in zip(plans, shown_names(plans), strict=True):
        twin = first.setdefault((plan.store.folder, plan.arm), plan)
        if twin is not plan and twin.keys == plan.keys:
            bias = [o for o in plan.config.overrides if o.startswith(("use_bias", "bias_"))]
            twins.append((" ".join(bias), name))
        elif twin.config.seeds != plan.config.seeds:
            several.add(plan.arm)
    if twins:
        print_sentences([describe_twins(twins)])
    if several:
        told = "seeds: each arm gets those of all its jobs; 5 stands for the seeds 0 to 4, a list is seeds=[3,7]"
        print_sentences([told])
    plans = list(first.values())
    for plan, name in zip(plans, shown_names(plans), strict=True):
        print_sentences(explain_retraining(plan, name, stored[plan.store, plan.arm]))


def _append_log(path: Path, title: str, text: str) -> None:
    if text:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{title}:\n{text}\n")

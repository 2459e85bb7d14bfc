"""Plan a job: which arm it asks for, and which of its runs are missing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.config.naming import arm_name, bias_setting, block_name
from pipeline.config.schema import Config, Training
from pipeline.config.short_names import short_names
from pipeline.data.sources import data_identity
from pipeline.experiment.code import run_code, used_code
from pipeline.experiment.identity import Recipe, SeedKeys, identify
from pipeline.models.initializers.registry import check_bias_rank, initializer_defaults, resolved_initializer
from pipeline.models.source import in_layer_names
from pipeline.models.spec import bias_initializers, complete_layers
from pipeline.runtime.environment import package_versions
from pipeline.runtime.portable import is_portable
from pipeline.store.designs import seeds_now
from pipeline.store.meta import MODEL
from pipeline.store.places import check_places
from pipeline.store.replaced import adoptable_runs
from pipeline.store.runs import WEIGHTS, DamagedRun, Run, RunStore
from pipeline.store.whole_names import whole_names
from pipeline.training.optimizers import check_optimizer


@dataclass(frozen=True)
class Plan:
    """What one Hydra job asks for: an arm, and the seeds of it that no stored run covers.

    settings: the resolved settings as run.json keeps them. keys: seed -> the key that a new run gets, then the keys
    under which an earlier version of this project may have stored it. missing: the seeds without a stored run.
    """

    config: Config
    arm: str
    settings: dict[str, Any]
    recipe: Recipe
    keys: SeedKeys
    missing: tuple[int, ...]

    @property
    def bias_setting(self) -> str:
        """The bias setting alone, e.g. `zeros` of `zeros,optimizer.learning_rate=0.01`."""
        return self.settings["bias_setting"]

    @property
    def store(self) -> RunStore:
        """Where the runs of the arm belong."""
        return RunStore(self.config.results_dir, self.config.study)

    @property
    def portable(self) -> bool:
        """Whether the numbers are to be the same on other processors, see `runtime.portable`."""
        return is_portable(self.config.runtime.portable, self.config.runtime.device)

    @property
    def required_files(self) -> tuple[str, ...]:
        """What a run must have besides the usual files: the weights of small models are kept, but not required."""
        asked = {WEIGHTS: self.config.show_weights, MODEL: self.config.keep_model}
        return tuple(name for name, is_asked in asked.items() if is_asked)


def shown_names(plans: Sequence[Plan]) -> list[str]:
    """The name to show of each plan's arm: without what all arms share that its study has or gets."""
    asked: dict[RunStore, dict[str, Any]] = {}
    for plan in plans:
        described = {"arm": plan.arm, "study": plan.config.study, "config": plan.settings}
        asked.setdefault(plan.store, {})[plan.arm] = described | {"overrides": list(plan.config.overrides)}
    whole = {store: whole_names(store, arms) for store, arms in asked.items()}
    shown = {store: short_names(names, names) for store, names in whole.items()}
    return [shown[plan.store][plan.arm] for plan in plans]


def plan_job(config: Config) -> Plan:
    """Check a config and compare it with the stored runs. Raises ConfigError; imports TensorFlow only for `code`."""
    return plan_and_read(config)[0]


def plan_and_read(config: Config) -> tuple[Plan, tuple[list[Run], list[DamagedRun]]]:
    """What `plan_job` returns, and what it read for that: the runs of the arm that count, and the damaged ones."""
    plan = describe_job(config)
    runs, damaged = plan.store.read(plan.arm)
    covered = stored_seeds(plan, runs)
    plan = replace(plan, missing=tuple(seed for seed in plan.config.seeds if seed not in covered))
    check_places(plan.store, plan.arm, plan.missing)
    return plan, (runs, damaged)


def describe_job(config: Config) -> Plan:
    """Check a config; the plan of its arm with all seeds missing, as if no run was stored. See `plan_job`."""
    files = run_code(config)
    config = replace(config, bias_initializer=resolved_initializer(config.bias_initializer))
    defaults = initializer_defaults(config.bias_initializer.class_name)
    named = in_layer_names(config)
    layers = complete_layers(named)
    for path, class_name, bias_rank in bias_initializers(layers):
        check_bias_rank(class_name, path, bias_rank)
    check_optimizer(config.optimizer)
    data = data_identity(config.data)
    settings = {
        "bias_setting": bias_setting(named, defaults),
        "block": block_name(config),
        "use_bias": config.use_bias,
        "bias_initializer": _without_null(asdict(named.bias_initializer)) if config.use_bias else None,
        "bias_layers": named.bias_layers,
        "data": {"name": config.data.name} | data,
        "model": {"name": config.model.name, "layers": layers},
        "optimizer": asdict(config.optimizer),
        "training": _recorded(config.training),
    }
    code = used_code(config, layers, files)
    settings |= {"code": code} if code else {}
    settings |= {"claim": config.claim} if config.claim else {}
    portable = is_portable(config.runtime.portable, config.runtime.device)
    recipe = identify(layers, data, config.optimizer, config.training, package_versions(), portable,
                      [entry["digest"] for entry in code])  # fmt: skip
    arm = arm_name(named, defaults)
    if config.until is not None:
        store = RunStore(config.results_dir, config.study)
        config = replace(config, seeds=seeds_now(store, arm, config.design.looks, is_tuned=bool(config.tune)))
    keys = SeedKeys(recipe, config.seeds)
    return Plan(config, arm, settings, recipe, keys, config.seeds)


def _recorded(training: Training) -> dict[str, Any]:
    """The settings of a training as run.json has them: those that earlier versions had, and what is set besides."""
    left_out = ("seeds_at_once", *(() if training.stop else ("stop",)))
    return {name: value for name, value in asdict(training).items() if name not in left_out}


def _without_null(initializer: dict[str, Any]) -> dict[str, Any]:
    """The settings of an initializer, without `layers` where no layer has its own."""
    return {key: value for key, value in initializer.items() if value is not None}


def stored_seeds(plan: Plan, runs: Sequence[Run] | None = None) -> dict[int, Run]:
    """The runs in the arm's folder that are what the plan asks for, by seed. runs: those there, if they are read."""
    there = plan.store.runs(plan.arm) if runs is None else runs
    needed = set(plan.required_files)
    usable = [run for run in there if run.seed in plan.keys and needed <= run.meta["digests"].keys()]
    return {run.seed: run for run in usable if plan.keys.fits(run.seed, run.key)}


def seeds_to_train(plan: Plan) -> tuple[int, ...]:
    """The missing seeds that neither another arm nor the replaced runs can supply."""
    adoptable = adoptable_runs(plan.store, SeedKeys(plan.recipe, plan.missing), plan.required_files)
    return tuple(seed for seed in plan.missing if seed not in adoptable)

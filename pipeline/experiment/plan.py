"""Plan a job: which arm it asks for, and which of its runs are missing."""

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.naming import arm_name, bias_setting, block_name
from pipeline.config.schema import Config
from pipeline.data.sources import data_identity
from pipeline.experiment.identity import Recipe, identify
from pipeline.models.initializers.registry import check_bias_rank, check_initializer_arguments, initializer_defaults
from pipeline.models.spec import bias_initializers, complete_layers
from pipeline.runtime.environment import package_versions
from pipeline.store.files import check_writable
from pipeline.store.replaced import adoptable_runs
from pipeline.store.runs import WEIGHTS, Run, RunStore
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
    keys: dict[int, tuple[str, ...]]
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
    def required_files(self) -> tuple[str, ...]:
        """What a run must have besides the usual files: the weights of small models are kept, but not required."""
        return (WEIGHTS,) if self.config.show_weights else ()


def plan_job(config: Config) -> Plan:
    """Check a config and compare it with the stored runs. Raises ConfigError; imports no TensorFlow."""
    defaults = initializer_defaults(config.bias_initializer.class_name)
    check_initializer_arguments(config.bias_initializer)
    layers = complete_layers(config)
    for path, class_name, bias_rank in bias_initializers(layers):
        check_bias_rank(class_name, path, bias_rank)
    check_optimizer(config.optimizer)
    check_writable(config.results_dir, "results")
    data = data_identity(config.data)
    settings = {
        "bias_setting": bias_setting(config, defaults),
        "block": block_name(config),
        "use_bias": config.use_bias,
        "bias_initializer": asdict(config.bias_initializer) if config.use_bias else None,
        "bias_layers": config.bias_layers,
        "data": {"name": config.data.name} | data,
        "model": {"name": config.model.name, "layers": layers},
        "optimizer": asdict(config.optimizer),
        "training": {k: v for k, v in asdict(config.training).items() if k != "seeds_at_once"},
    }
    recipe = identify(layers, data, config.optimizer, config.training, package_versions())
    keys = {seed: recipe.keys(seed) for seed in config.seeds}
    plan = Plan(config, arm_name(config, defaults), settings, recipe, keys, config.seeds)
    covered = stored_seeds(plan)
    return Plan(config, plan.arm, settings, recipe, keys, tuple(seed for seed in keys if seed not in covered))


def stored_seeds(plan: Plan) -> dict[int, Run]:
    """The runs in the arm's folder that are what the plan asks for, by seed."""
    by_key = {run.key: run for run in plan.store.runs(plan.arm) if run.has(*plan.required_files)}
    matches = {seed: [by_key[key] for key in keys if key in by_key] for seed, keys in plan.keys.items()}
    return {seed: runs[0] for seed, runs in matches.items() if runs}


def seeds_to_train(plan: Plan) -> tuple[int, ...]:
    """The missing seeds that neither another arm nor the replaced runs can supply."""
    adoptable = adoptable_runs(plan.store, {seed: plan.keys[seed] for seed in plan.missing}, plan.required_files)
    return tuple(seed for seed in plan.missing if seed not in adoptable)


def retrained_because(plan: Plan) -> str:
    """Why stored runs with the very settings of a plan do not count for it, in a sentence; "" where there are none."""
    stale = [
        run
        for run in plan.store.runs(plan.arm)
        if run.meta.get("config") == plan.settings and run.meta["recipe"] not in plan.recipe.digests
    ]
    if not stale:
        return ""
    now, then = package_versions(), stale[0].meta.get("environment", {}).get("packages", {})
    changed = [f"{name} {then[name]}, now {now[name]}" for name in now if name in then and then[name] != now[name]]
    why = f"with {', '.join(changed)}" if changed else "by a version of this project that gave other numbers"
    return f"{plan.arm}: {len(stale)} stored runs were trained {why}; training again keeps them in .replaced"

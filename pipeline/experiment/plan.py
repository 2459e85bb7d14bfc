"""What a job asks for, and which of its runs are missing."""

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.naming import arm_name, bias_setting, block_name
from pipeline.config.schema import Config
from pipeline.data.sources import data_identity
from pipeline.experiment.identity import Recipe, identify
from pipeline.models.initializers.registry import check_bias_rank, check_initializer_arguments, initializer_defaults
from pipeline.models.spec import bias_initializers, complete_layers
from pipeline.runtime.environment import describe_environment
from pipeline.store.files import check_writable
from pipeline.store.replaced import adoptable_runs
from pipeline.store.runs import WEIGHTS, stored_runs
from pipeline.training.optimizers import check_optimizer


@dataclass(frozen=True)
class Plan:
    """What one Hydra job asks for: an arm, and the seeds of it that no stored run covers."""

    config: Config
    arm: str
    effective: dict[str, Any]
    recipe: Recipe
    keys: dict[int, tuple[str, ...]]  # by seed: the key of a new run, then those under which an older one may be stored
    missing: tuple[int, ...]

    @property
    def setting(self) -> str:
        """The bias setting alone, as in `zeros` of `zeros,optimizer.learning_rate=0.01`."""
        return self.effective["bias_setting"]


def plan_job(config: Config) -> Plan:
    """Check a config and compare it with what is stored. Raises ConfigError; imports no TensorFlow."""
    defaults = initializer_defaults(config.bias_initializer.class_name)
    check_initializer_arguments(config.bias_initializer)
    layers = complete_layers(config)
    for path, class_name, bias_rank in bias_initializers(layers):
        check_bias_rank(class_name, path, bias_rank)
    check_optimizer(config.optimizer)
    check_writable(config.results_dir, "results")
    identity = data_identity(config.data)
    effective = {
        "bias_setting": bias_setting(config, defaults),
        "block": block_name(config),
        "use_bias": config.use_bias,
        "bias_initializer": asdict(config.bias_initializer) if config.use_bias else None,
        "bias_layers": config.bias_layers,
        "data": {"name": config.data.name} | identity,
        "model": {"name": config.model.name, "layers": layers},
        "optimizer": asdict(config.optimizer),
        "training": {k: v for k, v in asdict(config.training).items() if k != "seeds_at_once"},
    }
    versions = describe_environment("")["packages"]
    recipe = identify(layers, identity, config.optimizer, config.training, versions)
    keys = {seed: recipe.keys(seed) for seed in config.seeds}
    arm = arm_name(config, defaults)
    done = {run.key for run in stored_runs(config.results_dir, config.study, arm) if run.has(*needed_files(config))}
    return Plan(config, arm, effective, recipe, keys, tuple(s for s, own in keys.items() if done.isdisjoint(own)))


def seeds_to_train(p: Plan) -> tuple[int, ...]:
    """The seeds that a job would have to train: those missing that no other arm has, and that were not replaced."""
    wanted = {seed: p.keys[seed] for seed in p.missing}
    found = adoptable_runs(p.config.results_dir, p.config.study, wanted, needed_files(p.config))
    return tuple(seed for seed in p.missing if seed not in found)


def needed_files(config: Config) -> tuple[str, ...]:
    """What a run must have besides the usual files. A small model's weights are kept, but not missed in older runs."""
    return (WEIGHTS,) if config.show_weights else ()

"""The data flow, from a config to stored and mirrored runs. `run_arm` is the whole of it.

`plan` says what a job asks for and what of it is missing, without TensorFlow; `check` finds, before anything is
trained, what would make it fail.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline import (
    biases,
    data,
    draws,
    evaluation,
    initializers,
    models,
    objectives,
    optimizers,
    runtime,
    store,
    tracking,
    training,
)
from pipeline.config import Config, arm_name, bias_setting, block_name
from pipeline.errors import ConfigError
from pipeline.identity import NUMERICS_VERSION, Recipe
from pipeline.identity import recipe as identify

MOST_WEIGHTS = 1_000_000  # of a model whose weights are kept unasked: 8 MB per run, before and after


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


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its finished runs, the seeds trained for them, and what MLflow did not take (or "")."""

    plan: Plan
    runs: list[store.Run]
    trained: tuple[int, ...]
    not_mirrored: str = ""


def run_arm(
    config: Config,
    progress: Callable[[str, int, int], None] = lambda arm, done, total: None,
    mirror: Callable[..., str] = tracking.mirror,
) -> Outcome:
    """Train what is missing of one arm, store it, and mirror it to MLflow. progress(arm, epochs done, in all)."""
    arm, results, study = plan(config).arm, config.results_dir, config.study
    with store.lock(results, study, arm):
        todo = plan(config)  # again: another process may have trained it while this one waited for the lock
        found = set()
        if todo.missing:
            wanted = {seed: todo.keys[seed] for seed in todo.missing}
            own = {"arm": arm, "config": todo.effective}
            found = store.adopt(results, study, wanted, own, _files(config))
        to_train = tuple(seed for seed in todo.missing if seed not in found)
        if to_train:
            device = runtime.start(config.runtime.device)
            dataset = data.load(config.data)
            rows = [data.split(dataset, config.data, seed) for seed in to_train]
            built = [_build(todo, dataset, one) for one in rows]
            draws.audit(built)
            before = [biases.extract_biases(model) for model in built]
            kernels = [_kernel_digest(model) for model in built]
            keep = config.show_weights or built[0].count_params() <= MOST_WEIGHTS
            weights = [_weights("before", model) if keep else {} for model in built]
            trained = training.train(
                built, rows, dataset, config.optimizer, config.training, biases.bias_variables,
                lambda done, total: progress(arm, done, total),
            )  # fmt: skip
            after = [biases.extract_biases(model) for model in built]
            for i, seed in enumerate(to_train):
                digests = {"initial_kernels": kernels[i], "data": dataset.digest()}
                if keep:
                    weights[i] |= _weights("after", built[i])
                _store(todo, seed, before[i], after[i], trained[i], digests, device, weights[i])
        for run in store.runs(results, study, arm):
            if run.meta["recipe"] not in todo.recipe.digests:  # a seed not asked for now, trained under other settings
                store.retire(results, run)
        runs = store.runs(results, study, arm)
        asked = [run for run in runs if run.seed in todo.keys]
        return Outcome(todo, asked, to_train, mirror(config.tracking, results, study, arm, runs))


def plan(config: Config) -> Plan:
    """Check a config and compare it with what is stored. Raises ConfigError; imports no TensorFlow."""
    defaults = initializers.defaults(config.bias_initializer.class_name)
    initializers.check_arguments(config.bias_initializer)
    layers = models.complete(config)
    for path, class_name, bias_rank in models.bias_initializers(layers):
        initializers.check_rank(class_name, path, bias_rank)
    optimizers.check(config.optimizer)
    store.check_writable(config.results_dir, "results")
    identity = data.identity(config.data)
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
    versions = runtime.environment("")["packages"]
    recipe = identify(layers, identity, config.optimizer, config.training, versions)
    keys = {seed: recipe.keys(seed) for seed in config.seeds}
    arm = arm_name(config, defaults)
    done = {run.key for run in store.runs(config.results_dir, config.study, arm) if run.has(*_files(config))}
    return Plan(config, arm, effective, recipe, keys, tuple(s for s, own in keys.items() if done.isdisjoint(own)))


def to_train(p: Plan) -> tuple[int, ...]:
    """The seeds that a job would have to train: those missing that no other arm has, and that were not replaced."""
    wanted = {seed: p.keys[seed] for seed in p.missing}
    found = store.adoptable(p.config.results_dir, p.config.study, wanted, _files(p.config))
    return tuple(seed for seed in p.missing if seed not in found)


def check(plans: Sequence[Plan]) -> None:
    """Load the data and build the model of every plan that has seeds to train. Raises ConfigError."""
    seen = []
    for p in plans:
        parts = (p.effective["data"], p.effective["model"], p.effective["optimizer"], p.config.data.path,
                 p.config.runtime, p.config.training)  # fmt: skip
        if p.missing and parts not in seen:
            seen.append(parts)
            dataset = data.load(p.config.data)
            objectives.check(p.config.training, dataset.task, len(dataset.classes))
            runtime.start(p.config.runtime.device)
            optimizers.check_values(p.config.optimizer)
            model, dataset, rows = first_model(p)
            outputs, classes = model.output_shape[-1], len(dataset.classes)
            if (outputs < classes and (outputs, classes) != (1, 2)) or (dataset.task == "regression" and outputs != 1):
                wanted = f"has {classes} classes" if classes else "is a regression"
                raise ConfigError(
                    f"model: {p.config.model.name} has {outputs} outputs, but {p.config.data.name} {wanted}; "
                    "allowed: a last Dense layer without units, which then follow from the data"
                )
            training.stacks_at_once(model, training.fitted(p.config.training, rows))  # refuses what does not fit


def ablate(outcomes: Sequence[Outcome]) -> list[str]:
    """Bring `ablation.csv` and `dead_units.csv` of the studies up to date; what of them is missing, a line each."""
    studies: dict[tuple[Any, str], list[Plan]] = {}
    for o in outcomes:
        if o.plan.config.ablation:
            studies.setdefault((o.plan.config.results_dir, o.plan.config.study), []).append(o.plan)
    lines = []
    for (results, study), plans in studies.items():
        files = {p.effective["data"]["file"]: p.config.data.path or "" for p in plans if "file" in p.effective["data"]}
        try:
            problems = evaluation.update(results, study, plans[0].config.runtime.device, files)
        except Exception as error:  # what is made from results must not cost any
            problems = [f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"]
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            lines.append(f"ablation of {study}: some rows are missing: {problems[0]}{more}")
    return lines


def first_model(p: Plan) -> tuple[Any, data.Dataset, data.Rows]:
    """The model that an arm's first seed starts with, and what it trains on. Raises ConfigError."""
    runtime.start(p.config.runtime.device)
    dataset = data.load(p.config.data)
    rows = data.split(dataset, p.config.data, p.config.seeds[0])
    return _build(p, dataset, rows), dataset, rows


def _build(p: Plan, dataset: data.Dataset, rows: data.Rows) -> Any:
    shape, layers = dataset.x.shape[1:], p.effective["model"]["layers"]
    labels = dataset.y[rows.train]
    if dataset.task == "regression":
        labels = (labels - rows.target_mean) / rows.target_scale
    return models.build(layers, shape, dataset.task, len(dataset.classes), rows.seed, labels)


def _files(config: Config) -> tuple[str, ...]:
    """What a run must have besides the usual files. A small model's weights are kept, but not missed in older runs."""
    return (store.WEIGHTS,) if config.show_weights else ()


def _weights(when: str, model: Any) -> dict[str, np.ndarray]:
    """All weights of a model in its order, by the paths that biases have everywhere else."""
    paths = biases.paths(model)
    names = [paths.get(id(v), v.path.removeprefix(f"{model.name}/")) for v in model.weights]
    return {f"{when}/{name}": np.array(v.value) for name, v in zip(names, model.weights, strict=True)}


def _kernel_digest(model: Any) -> str:
    """Digest of everything that the model starts with, its biases excepted: equal in all arms of one seed."""
    skipped = {id(v) for v in biases.bias_variables(model).values()}
    others = [v for v in model.variables if id(v) not in skipped]
    return runtime.digest(b"".join(f"{v.dtype}{v.shape}".encode() + np.asarray(v.value).tobytes() for v in others))


def _store(
    p: Plan, seed: int, before: dict, after: dict, trained: training.Trained, digests: dict[str, str], device: str,
    weights: dict[str, np.ndarray],
) -> None:  # fmt: skip
    arrays = {f"before/{path}": a for path, a in before.items()} | {f"after/{path}": a for path, a in after.items()}
    arrays |= {f"trajectory/{path}": a for path, a in trained.trajectory.items()}
    arrays["epoch"] = np.arange(p.config.training.epochs + 1)
    final = {name: _json_number(values[-1]) for name, values in trained.history.items()}
    meta = {
        "key": p.keys[seed][0],
        "recipe": p.recipe.current,
        "numerics_version": NUMERICS_VERSION,
        "arm": p.arm,
        "seed": seed,
        "status": "diverged" if trained.diverged else "complete",
        "metrics": final | {name: _json_number(value) for name, value in trained.test.items()},
        **{f"{name}_digest": value for name, value in digests.items()},
        "config": p.effective,
        "environment": runtime.environment(device),
    }
    store.write(p.config.results_dir, p.config.study, meta, arrays, trained.history, weights)


def _json_number(value: Any) -> float | None:
    """JSON has no nan and no infinity: a value that is not finite becomes null."""
    return float(value) if np.isfinite(value) else None

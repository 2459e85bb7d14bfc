"""What MLflow shows of a run: metrics by step, parameters, tags."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.biases.tables import bias_statistics
from pipeline.config.metrics import RUN_LENGTHS
from pipeline.models.functional import top_layers
from pipeline.stats.intervals import mean_interval
from pipeline.store.runs import Run

Point = tuple[str, float, int]  # metric, value, step


def seed_points(run: Run, arrays: Mapping[str, np.ndarray]) -> list[Point]:
    """Metrics of one run at every epoch, and statistics of each bias. arrays: as `Run.biases` gives them."""
    history = run.history()
    epochs = [int(epoch) for epoch in history.pop("epoch")]
    points = [(name, v, epoch) for name, values in history.items() for epoch, v in zip(epochs, values, strict=True)]
    # Test metrics have no epoch. MLflow draws a value that stands alone at step 0 as a bar, elsewhere as a lone dot.
    points += [(k, v, 0) for k, v in run.meta["metrics"].items() if _has_no_epoch(k) and v is not None]
    for name, trajectory in arrays.items():
        if name.startswith("trajectory/"):
            layer = name.removeprefix("trajectory/").removesuffix("/bias")
            for epoch, values in zip(epochs, trajectory, strict=True):
                statistics = bias_statistics(trajectory[0], values)
                points += [(f"bias/{layer}/{statistic}", value, epoch) for statistic, value in statistics.items()]
    return points


def _carry_on(points: list[Point], last: int, best: int) -> list[Point]:
    """The points of a seed that stopped early, and from there to the last step those of the model that it kept."""
    stopped = max(step for _, _, step in points)
    kept = [(name, value) for name, value, step in points if step == best and not _has_no_epoch(name)]
    return points + [(name, value, step) for step in range(stopped + 1, last + 1) for name, value in kept]


def _has_no_epoch(name: str) -> bool:
    return name.startswith("test_") or name in RUN_LENGTHS


def arm_points(runs: Sequence[Run]) -> list[Point]:
    """Mean over seeds of every metric and step; of the model's metrics also the spread and the 95 % interval.

    Diverged seeds are left out; `arm_tags` counts them. Seeds that stopped early count at later steps with the model
    that they kept.
    """
    values: dict[tuple[str, int], list[float]] = {}
    complete = [run for run in runs if run.complete]
    last = max((run.meta["metrics"].get("epochs_run") or 0 for run in complete), default=0)
    for run in complete:
        points = seed_points(run, run.biases())
        if run.best_epoch is not None:
            points = _carry_on(points, int(last), run.best_epoch)
        for name, value, step in points:
            values.setdefault((name, step), []).append(value)
    points: list[Point] = []
    for (name, step), over_seeds in values.items():
        mean, std, low, high = mean_interval(np.array(over_seeds))
        points.append((name, mean, step))
        if not name.startswith("bias/"):  # the prefix gives them charts of their own, beside those of the means
            spread = (("std", std), ("ci_low", low), ("ci_high", high))
            points += [(f"spread/{name}_{statistic}", value, step) for statistic, value in spread]
    return points


def parameters(run: Run) -> dict[str, str]:
    """Settings as flat parameters, so that MLflow can show them as columns and compare them."""
    config = run.meta["config"]
    initializer = config["bias_initializer"] or {"class_name": "none", "config": {}}
    flat = {
        "arm": run.arm,
        "use_bias": config["use_bias"],
        "bias_initializer": initializer["class_name"],
        **{f"bias_initializer.{k}": v for k, v in initializer["config"].items()},
        **{f"bias_initializer.layers.{k}": v for k, v in (initializer.get("layers") or {}).items()},
        "bias_layers": config["bias_layers"],
        "data": config["data"]["name"],
        **{f"data.{k}": v for k, v in config["data"].items() if k != "name" and v is not None},
        "model": config["model"]["name"],
        "model.layers": "-".join(layer["class_name"] for layer in top_layers(config["model"]["layers"])),
        "optimizer": config["optimizer"]["class_name"],
        "optimizer.learning_rate": config["optimizer"]["learning_rate"],
        "optimizer.schedule": config["optimizer"]["schedule"],
        **{f"optimizer.{k}": v for k, v in config["optimizer"]["config"].items()},
        **{f"training.{k}": v for k, v in config["training"].items()},
    }
    return {name: str(value) for name, value in flat.items()}


def seed_tags(run: Run) -> dict[str, str]:
    """Tags of the MLflow run of one seed; `key` identifies it."""
    environment = run.environment
    return {
        "key": run.key,
        "role": "seed",
        "arm": run.arm,
        "status": run.meta["status"],
        "device": environment["device"],
        **{name: str(environment[name]) for name in ("platform", "python") if name in environment},
        **environment["packages"],
        "initial_kernels_digest": run.meta["initial_kernels_digest"],
        **_resources(run),
        **source_tags(run),
    }


def source_tags(run: Run) -> dict[str, str]:
    """What MLflow shows as Source, Git commit and Created by, of a run that recorded it."""
    machine = run.machine
    commit, user = (str(machine.get(name, "")) for name in ("git_commit", "user"))
    tags = {"mlflow.source.name": machine.get("program", "pipeline.train"), "mlflow.source.type": "LOCAL"}
    tags |= {"mlflow.source.git.commit": commit.partition("+")[0]} if commit else {}
    return tags | ({"mlflow.user": user} if user else {})


def _resources(run: Run) -> dict[str, str]:
    """What a run took, and where, as far as it is recorded."""
    names = ("processor", "seconds", "peak_memory_bytes", "peak_gpu_memory_bytes", "git_commit")
    machine = run.machine | {"parameters": run.meta.get("parameters")}
    return {name: str(machine[name]) for name in (*names, "parameters") if machine.get(name) is not None}


def arm_tags(runs: Sequence[Run]) -> dict[str, str]:
    """Tags of the MLflow run of an arm, its key excepted: how many seeds there are, and which diverged."""
    diverged = [str(run.seed) for run in runs if not run.complete]
    return {
        "role": "arm",
        "arm": runs[0].arm,
        "device": runs[0].meta["environment"]["device"],
        "seeds": str(len(runs)),
        "diverged": f"{len(diverged)} (seeds {', '.join(diverged)})" if diverged else "0",
        **source_tags(runs[0]),
    }

"""How the cost of training grows: `uv run python -m tests.benchmarks.growth`, five minutes on two quiet cores.

One axis is varied at a time, seeds, arms, rows, parameters or epochs; the others stay at 20 seeds of one arm, digits,
the MLP and 5 epochs. Timed is what an arm takes once its program is compiled: models, splits and training.
Prints tables in Markdown, and writes `growth.json` and `growth.png` into `folder=`. `axes="seeds;rows"` measures only
these and keeps the others in the file; `sizes="1;3;10"` replaces the sizes of an axis.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.biases.extraction import bias_variables
from pipeline.config.options import parse_options
from pipeline.config.schema import PROJECT, Config
from pipeline.data.dataset import Dataset, classification
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.errors import require
from pipeline.models.build import build_model
from pipeline.models.spec import complete_layers
from pipeline.runtime.device import start_tensorflow
from pipeline.runtime.environment import describe_environment
from pipeline.runtime.machine import describe_machine
from pipeline.training.loop import train_seeds
from tests.benchmarks.growth_figure import draw
from tests.factories import compose_config
from tests.peak import peak_bytes

FEATURES, CLASSES = 64, 10  # of made-up rows, as of digits
FEWEST_TRIES, MOST_TRIES, LONG = 2, 5, 4.0  # of a point; after so many seconds only the fewest


@dataclass(frozen=True)
class Work:
    """What is trained. rows: made-up ones, or 0: digits. units: of the first hidden layer, twice the second."""

    arms: int = 1
    seeds: int = 20
    rows: int = 0
    units: int = 64
    epochs: int = 5

    @property
    def parameters(self) -> int:
        """Weights and biases of a model."""
        hidden = self.units // 2
        return (FEATURES + 1) * self.units + (self.units + 1) * hidden + (hidden + 1) * CLASSES


class Axis(NamedTuple):
    """What is varied.

    alone: each size in a process of its own, since programs of other sizes would hold memory too. fitted_from: the
    least size that a slope is fitted to. A stack trains all of its 20 places, so up to 40 seeds are no line.
    """

    field: str
    sizes: tuple[int, ...]
    alone: bool = True
    work: Work = Work()
    fitted_from: int = 0


AXES = {
    "seeds": Axis("seeds", (1, 10, 30, 100, 300, 1000), fitted_from=100),
    "arms": Axis("arms", (1, 2, 4, 8), alone=False),
    "rows": Axis("rows", (1000, 3000, 10_000, 30_000, 100_000), work=Work(epochs=2)),
    "parameters": Axis("units", (16, 64, 128, 256, 512)),
    "epochs": Axis("epochs", (1, 3, 10, 30, 100), alone=False),
}


@dataclass(frozen=True)
class GrowthOptions:
    """Which axes, the sizes in place of an axis's own, and the folder. measure: print the points of one axis alone."""

    axes: str = ";".join(AXES)
    sizes: str = ""
    folder: str = "reports"
    measure: bool = False


class Growth(NamedTuple):
    """seconds = fixed + factor * size ** slope, for sizes from `start` on."""

    fixed: float
    factor: float
    slope: float
    start: float

    def at(self, size: Any) -> Any:
        """The seconds of a size, or of an array of them."""
        return self.fixed + self.factor * np.asarray(size, float) ** self.slope


def main(arguments: list[str]) -> None:
    """Measure the axes that were asked for in processes of their own, and write the tables and the figure."""
    options = parse_options(arguments, GrowthOptions)
    if options is None:
        print(__doc__)
        return
    axes = options.axes.split(";")
    require(set(axes) <= set(AXES), "axes", options.axes, f"some of {';'.join(AXES)}")
    sizes = [int(size) for size in options.sizes.split(";") if size]
    if options.measure:
        print(json.dumps(measure(axes[0], sizes)))
        return
    path = Path(options.folder) / "growth.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    measured: dict[str, list[dict[str, Any]]] = json.loads(path.read_text()) if path.exists() else {}
    for axis in axes:
        chosen = sizes or list(AXES[axis].sizes)
        parts = [[size] for size in chosen] if AXES[axis].alone else [chosen]
        measured[axis] = [point for part in parts for point in _in_a_process(axis, part)]
        path.write_text(json.dumps(measured, indent=2) + "\n")
    measured = {axis: measured[axis] for axis in AXES if axis in measured}
    fits = {axis: [fit_points(axis, points, kind) for kind in ("elapsed", "cpu")] for axis, points in measured.items()}
    print("\n".join(tables(measured, fits)))
    (path.parent / "growth.png").write_bytes(draw(measured, fits))


def _in_a_process(axis: str, sizes: Sequence[int]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.benchmarks.growth", f"axes={axis}", "measure=true"]
    command.append(f"sizes={';'.join(map(str, sizes))}")
    print(*command[3:], file=sys.stderr)
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The points of an axis, smallest first: seconds of each try, and the peak memory of this process so far."""
    device = start_tensorflow("auto")
    machine = describe_environment(device) | describe_machine() | {"day": time.strftime("%Y-%m-%d")}
    axis, points = AXES[name], []
    for size in sorted(sizes):
        work = replace(axis.work, **{axis.field: size})
        configs, dataset = _configs(work), _dataset(work)
        _train(configs[:1], dataset, min(work.seeds, 40), 1)  # compiles
        begun, tries = time.perf_counter(), []
        while len(tries) < FEWEST_TRIES or (len(tries) < MOST_TRIES and time.perf_counter() - begun < LONG):
            wall, cpu = time.perf_counter(), time.process_time()
            built = _train(configs, dataset, work.seeds, work.epochs)
            tries.append((time.perf_counter() - wall, time.process_time() - cpu, built))
        elapsed, cpus, built = zip(*tries, strict=True)
        x = work.parameters if name == "parameters" else size
        point = {"size": x, "elapsed": elapsed, "cpu": cpus, "built": built, "peak": peak_bytes()}
        points.append(point | {"work": asdict(work), "machine": machine})
    return points


def _configs(work: Work) -> list[Config]:
    """A config per arm; they differ in their initial biases alone, so one program trains all."""
    layers = ",".join(
        f"{{class_name: Dense, config: {{units: {units}, activation: relu}}}}"
        for units in (work.units, work.units // 2)
    )
    model = f"model.layers=[{{class_name: Flatten}},{layers},{{class_name: Dense, config: {{name: output}}}}]"
    return [
        compose_config(f"bias_initializer=constant({arm / 100})", f"seeds={work.seeds}", "model.name=mlp", model)
        for arm in range(work.arms)
    ]


def _dataset(work: Work) -> Dataset:
    if not work.rows:
        return load_dataset(compose_config().data)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((work.rows, FEATURES)).astype(np.float32)
    return classification(x, np.arange(work.rows) % CLASSES, range(CLASSES))


def _train(configs: Sequence[Config], dataset: Dataset, seeds: int, epochs: int) -> float:
    """Build, split and train some seeds of each arm, arm after arm; returns the seconds before training."""
    before_training = 0.0
    for config in configs:
        begun = time.perf_counter()
        layers, shape, training = complete_layers(config), dataset.x.shape[1:], replace(config.training, epochs=epochs)
        models = [build_model(layers, shape, dataset.task, dataset.n_targets, seed) for seed in config.seeds[:seeds]]
        splits = [split_rows(dataset, config.data, seed) for seed in config.seeds[:seeds]]
        before_training += time.perf_counter() - begun
        train_seeds(models, splits, dataset, config.optimizer, training, bias_variables)
    return before_training


def fit_points(axis: str, points: Sequence[dict[str, Any]], kind: str) -> Growth:
    """How the fastest tries of an axis grow. kind: elapsed or cpu."""
    large = [point for point in points if point["size"] >= AXES[axis].fitted_from]
    chosen = large if len(large) > 1 else points
    return fit_growth([point["size"] for point in chosen], [min(point[kind]) for point in chosen])


def fit_growth(sizes: Sequence[float], seconds: Sequence[float]) -> Growth:
    """The fixed part, and the slope of what is beyond it in logarithms, that together leave the least relative error.

    What is beyond the fixed part has the error of the whole, and so counts by its share of it. Fewer than four points
    cannot tell a fixed part from a slope: it is taken for 0.
    """
    x, t = np.log(np.asarray(sizes, float)), np.asarray(seconds, float)
    fixed = np.linspace(0, 0.999 * t.min(), 1000)[:, None] if len(t) > 3 else np.zeros((1, 1))
    beyond, weights = np.log(t - fixed), ((t - fixed) / t) ** 2  # a row per fixed part that is tried
    mean_x, mean_y = (np.average(np.broadcast_to(v, weights.shape), 1, weights)[:, None] for v in (x, beyond))
    slopes = (weights * (x - mean_x) * (beyond - mean_y)).sum(1) / (weights * (x - mean_x) ** 2).sum(1)
    fits = np.stack([fixed[:, 0], np.exp(mean_y[:, 0] - slopes * mean_x[:, 0]), slopes], 1)
    growths = [Growth(*map(float, fit), start=sizes[0]) for fit in fits]
    return min(growths, key=lambda growth: float(np.sum(np.log(t / growth.at(sizes)) ** 2)))


def tables(measured: dict[str, list[dict[str, Any]]], fits: dict[str, list[Growth]]) -> list[str]:
    """Lines of Markdown: a row per axis, then a row per point."""
    lines = ["| axis | from, to | elapsed | slope | CPU | slope | peak memory |", "|---|---|---|---|---|---|---|"]
    for axis, points in measured.items():
        first, last = points[0], points[-1]
        spans = [f"{min(first[kind]):.3g}, {min(last[kind]):.3g} s" for kind in ("elapsed", "cpu")]
        slopes = [f"{fit.slope:.2f}" for fit in fits[axis]]
        peaks = f"{first['peak'] / 2**20:,.0f}, {last['peak'] / 2**20:,.0f} MB"
        cells = [axis, f"{first['size']:,}, {last['size']:,}", spans[0], slopes[0], spans[1], slopes[1], peaks]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| axis | size | elapsed, slowest try | of it before training | CPU, slowest try | peak memory |"]
    lines.append("|---|---|---|---|---|---|")
    for axis, points in measured.items():
        for point in points:
            elapsed, cpu = (f"{min(point[kind]):.3g} s, {max(point[kind]):.3g}" for kind in ("elapsed", "cpu"))
            built = f"{min(point['built']):.3g} s"
            cells = [axis, f"{point['size']:,}", elapsed, built, cpu, f"{point['peak'] / 2**20:,.0f} MB"]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])

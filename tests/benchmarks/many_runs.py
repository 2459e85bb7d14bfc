"""What commands cost where many runs are stored: `uv run python -m tests.benchmarks.many_runs arms=40 seeds=1000`.

Makes a results folder of copies of one trained run, each with a key, metrics and a seal of its own (`folder=` keeps it,
or measures one that is there), and prints the CPU seconds, of all processes, and the peak memory of each command. The
first reading hashes every file; later ones remember that, but for `compare`.
"""

import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.config.options import parse_options
from pipeline.experiment.plan import plan_job
from pipeline.experiment.run import run_arm
from pipeline.experiment.validate import compose_jobs
from pipeline.runtime.hashing import derive_seed
from pipeline.store.files import json_bytes
from pipeline.store.meta import MACHINE, RUN, seal_meta
from pipeline.store.runs import Run, RunStore

STUDY = "iris-linear"
REQUEST = ("data=iris", "model=linear", "training.epochs=5", "tracking=none", "ablation=false")


@dataclass(frozen=True)
class ManyRunsOptions:
    """How many arms and seeds, and where the results are; "" for a temporary folder."""

    arms: int = 40
    seeds: int = 1000
    folder: str = ""


def main(arguments: list[str]) -> None:
    """Make the runs where they are missing, and measure the commands."""
    options = parse_options(arguments, ManyRunsOptions)
    if options is None:
        print(__doc__)
        return
    with tempfile.TemporaryDirectory() as temporary:
        results = Path(options.folder or temporary) / "results"
        values = ",".join(["zeros", *(f"constant({number / 100})" for number in range(1, options.arms))])
        request = (*REQUEST, f"bias_initializer={values}", f"seeds={options.seeds}", f"results={results}")
        if not results.exists():
            make_runs(request, Path(temporary) / "one")
        measure(request, results)


def make_runs(request: tuple[str, ...], aside: Path) -> None:
    """Store a run for each arm and seed of a request: that of seed 0 of the first arm, with metrics of its own."""
    run_arm(compose_jobs([*REQUEST, "seeds=1", f"results={aside}"])[0])
    trained = RunStore(aside, STUDY).runs()[0]
    files = {name: (trained.path / name).read_bytes() for name in (*trained.meta["digests"], MACHINE)}
    for config in compose_jobs(request):
        plan = plan_job(config)
        for seed in config.seeds:
            folder = plan.store.run_folder(plan.arm, seed)
            folder.mkdir(parents=True)
            for name, content in files.items():
                (folder / name).write_bytes(content)
            meta = _own_meta(trained, plan.arm, seed) | {"key": plan.keys[seed][0], "config": plan.settings}
            (folder / RUN).write_bytes(json_bytes(seal_meta(meta | {"recipe": plan.recipe.current})))


def _own_meta(trained: Run, arm: str, seed: int) -> dict[str, object]:
    rng = np.random.default_rng(derive_seed(seed, arm))
    metrics = {name: value + 0.01 * rng.normal() for name, value in trained.meta["metrics"].items()}
    start = {"initial_kernels_digest": f"{seed:016x}", "metrics": metrics}
    return trained.meta | start | {"arm": arm, "seed": seed, "study": STUDY}


def measure(request: tuple[str, ...], results: Path) -> None:
    """Print a table of what each command takes."""
    train = ("pipeline.train", "-m", *request)
    compare = ("pipeline.compare", f"results={results}", f"reports={results.parent / 'reports'}", "mlflow=false")
    commands = {
        "`--status`": (*train, "--status"),
        "`--plan`, first reading": (*train, "--plan"),
        "`--plan`": (*train, "--plan"),
        "a finished sweep's second run": train,
        "`compare figures=false`": (*compare, "figures=false"),
        "`compare`": compare,
    }
    n = sum(1 for _ in results.glob("*/*/seed=*"))
    table = Table("command", "CPU s", "peak memory", "exit code", title=f"{n:,} runs")
    for name, command in commands.items():
        if "first" in name:
            shutil.rmtree(results / ".aside" / "known", ignore_errors=True)
        seconds, peak, code = _spend(command)
        table.add_row(name, f"{seconds:.1f}", f"{peak / 2**30:.2f} GiB", str(code))
    Console(width=100).print(table)


def _spend(command: tuple[str, ...]) -> tuple[float, int, int]:
    """CPU seconds of a command and the processes it waits for, the bytes that the largest took, and the exit code."""
    output = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, output, descriptor) for descriptor in (1, 2)]
    python = [sys.executable, "-m", *command]
    _, status, usage = os.wait4(os.posix_spawn(sys.executable, python, os.environ, file_actions=actions), 0)
    os.close(output)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main(sys.argv[1:])

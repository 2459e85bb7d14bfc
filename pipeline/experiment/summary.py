"""The table that a sweep ends with, and the weights of its first seeds."""

import sys

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from pipeline.experiment.run import Outcome
from pipeline.report.console import short_path
from pipeline.stats.intervals import mean_interval


def print_outcomes(outcomes: list[Outcome]) -> None:
    """A table arm by arm, and where the results are."""
    names = [name for name in ("test_accuracy", "test_mae", "test_loss")
             if any(name in run.meta["metrics"] for o in outcomes for run in o.runs)]  # fmt: skip
    arms: dict[tuple[str, str], list[Outcome]] = {}
    for o in outcomes:
        arms.setdefault((o.plan.config.study, o.plan.arm), []).append(o)
    several = len({study for study, _ in arms}) > 1
    table = Table(*(["study"] if several else []))
    table.add_column("arm", overflow="fold")
    for heading in ("seeds", "trained", "diverged", *(f"{name} (mean ± std)" for name in names)):
        table.add_column(heading)
    for (study, arm), same in arms.items():
        runs = {run.path: run for o in same for run in o.runs}.values()
        complete = [run.meta["metrics"] for run in runs if run.meta["status"] == "complete"]
        means = [mean_interval([m[name] for m in complete if name in m])[:2] for name in names]
        cells = [f"{mean:.4f} ± {std:.4f}" if std == std else f"{mean:.4f}" for mean, std in means]
        counts = (len(runs), sum(len(o.trained) for o in same), len(runs) - len(complete))
        table.add_row(*([study] if several else []), arm, *map(str, counts), *cells)
    Console(width=None if sys.stdout.isatty() else 200).print(table)

    for o in {(o.plan.config.study, o.plan.arm): o for o in outcomes if o.plan.config.show_weights}.values():
        print_weights(o)
    folders = sorted({short_path(o.plan.config.results_dir / o.plan.config.study) for o in outcomes})
    print(f"Results: {', '.join(folders)}")


def print_weights(outcome: Outcome) -> None:
    """The weights and biases of an arm's first seed before and after training, each marked with what it is."""
    run = outcome.runs[0]
    values, biases = run.weights(), {name.partition("/")[2] for name in run.biases()}
    epochs = run.meta["config"]["training"]["epochs"]
    table = Table(Column("layer", overflow="fold"), "what it is", "shape", "before", f"after epoch {epochs}",
                  show_lines=True, title=f"{run.arm}, seed {run.seed}", title_justify="left")  # fmt: skip
    for name in [name.removeprefix("before/") for name in values if name.startswith("before/")]:
        layer, _, variable = name.rpartition("/")
        shown = [np.array2string(values[f"{when}/{name}"], precision=3, suppress_small=True, threshold=60,
                                 max_line_width=27) for when in ("before", "after")]  # fmt: skip
        kind = "biases" if name in biases else f"weights:\n{variable}"
        table.add_row(layer, kind, str(values[f"before/{name}"].shape), *shown)
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)
    if not run.meta["config"]["use_bias"]:
        print("No biases: the layers are built with use_bias=False.")

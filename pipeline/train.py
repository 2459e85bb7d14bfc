"""Train one arm, or sweep over arms with `-m`; with `--plan`, only say what that would do: `--help` tells more.

Exit code 0: all done; 1: some run failed, and is named; 2: the request was refused before anything started.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from pipeline import experiment, sender, stats, tracking
from pipeline.config import CONF, load, register_schema
from pipeline.runtime import noise_to
from pipeline.sweep import explain

log = logging.getLogger(__name__)

PLAN_ONLY = "hydra.callbacks.before_the_first_job.plan_only=true"


def main() -> int:
    """Run Hydra over the command line; the exit code."""
    register_schema()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that errors arrive here, to be said in one line
    if "--plan" in sys.argv:
        sys.argv[1:] = [argument for argument in sys.argv[1:] if argument != "--plan"] + [PLAN_ONLY]
    outcomes: list[experiment.Outcome] = []
    failed: list[str] = []
    logs: list[Path] = []

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def job(composed: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        overrides = list(hydra_config.overrides.task)
        config = load(composed, overrides)
        output = Path(hydra_config.runtime.output_dir) / f"{hydra_config.job.name}.log"
        logs.append(output)
        try:
            outcomes.append(_train(config, output))
        except Exception as error:
            log.debug("job failed", exc_info=True)
            failed.append(f"{' '.join(overrides) or 'the default arm'}: {_first_line(error)} (log: {_short(output)})")

    try:
        try:
            job()
        except (HydraException, OmegaConfBaseException, ValueError) as error:  # a ConfigError is a ValueError
            print(explain(error, sys.argv[1:]), file=sys.stderr)
            sender.stop()
            return 2
        if outcomes:
            _report(outcomes)
            with noise_to(logs[-1]):
                incomplete = experiment.ablate(outcomes)
            for line in incomplete:
                print(line, file=sys.stderr)
        not_mirrored = sender.finish(logs[-1] if logs else None)
        if outcomes:
            _what_next(outcomes, not_mirrored)
    except KeyboardInterrupt:
        print(
            "interrupted: finished runs are kept and sent to MLflow; the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0


def _train(config: Any, output: Path) -> experiment.Outcome:
    """Train one arm, with a progress bar on a terminal and TensorFlow's noise in the job's log."""
    with noise_to(output), _progress_bar() as bar:
        task = bar.add_task("", total=None, visible=False)

        def progress(arm: str, done: int, total: int) -> None:
            bar.update(task, description=arm, completed=done, total=total, visible=True)

        return experiment.run_arm(config, progress, sender.mirror)


def _progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("epoch {task.completed}/{task.total}"))
    screen = Console()  # standard output: standard error goes to the log meanwhile
    return Progress(*columns, TimeRemainingColumn(), console=screen, transient=True, disable=not screen.is_terminal)


def _report(outcomes: list[experiment.Outcome]) -> None:
    """A table arm by arm, and where the results are."""
    names = [name for name in ("test_accuracy", "test_mae", "test_loss")
             if any(name in run.meta["metrics"] for o in outcomes for run in o.runs)]  # fmt: skip
    arms: dict[tuple[str, str], list[experiment.Outcome]] = {}
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
        means = [stats.mean_interval([m[name] for m in complete if name in m])[:2] for name in names]
        cells = [f"{mean:.4f} ± {std:.4f}" if std == std else f"{mean:.4f}" for mean, std in means]
        counts = (len(runs), sum(len(o.trained) for o in same), len(runs) - len(complete))
        table.add_row(*([study] if several else []), arm, *map(str, counts), *cells)
    Console(width=None if sys.stdout.isatty() else 200).print(table)

    for o in {(o.plan.config.study, o.plan.arm): o for o in outcomes if o.plan.config.show_weights}.values():
        _show_weights(o)
    folders = sorted({_short(o.plan.config.results_dir / o.plan.config.study) for o in outcomes})
    print(f"Results: {', '.join(folders)}")


def _show_weights(outcome: experiment.Outcome) -> None:
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


def _what_next(outcomes: list[experiment.Outcome], not_mirrored: list[str]) -> None:
    """What MLflow did not take, where to see the runs, and how to come to the answer."""
    config = outcomes[0].plan.config
    for reason in not_mirrored:
        print(f"{reason}\nThe results are safe. Send them later: python -m pipeline.sync", file=sys.stderr)
    if config.tracking.enabled and not not_mirrored:
        uri = tracking.store_uri(config.tracking)
        option = "" if uri == tracking.EMBEDDED else f" --backend-store-uri {uri}"
        print(f"In MLflow: {uri}" if uri.startswith("http") else f"In MLflow: uv run mlflow ui{option}")
    studies = ",".join(sorted({o.plan.config.study for o in outcomes}))
    print(f"The answer: uv run python -m pipeline.compare study={studies}")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())

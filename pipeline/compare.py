"""The answer, from stored results alone: `python -m pipeline.compare study=digits-mlp`.

Options, each `key=value`: study (one, or several with commas; default: the only one there is), baseline (zeros),
results (results), reports (reports). Writes, for each study, `<reports>/<study>/`: summary.csv, metrics.json (for DVC),
answer.md, figures/*.png and *.svg. Exit code 2: nothing to compare, or an option that does not exist.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from pipeline import figures, stats, store
from pipeline.config import PROJECT, parse_options
from pipeline.errors import ConfigError, closest

OPTIONS = {"study": "", "baseline": "zeros", "results": "results", "reports": "reports"}
INTERVAL = ["mean", "std", "ci_low", "ci_high"]


@dataclass(frozen=True)
class Arm:
    """One arm's stored runs. `block` is what else was set, as in `zeros,optimizer=sgd`."""

    name: str
    setting: str
    runs: tuple[store.Run, ...]

    @property
    def block(self) -> str:
        """The overrides besides the bias setting; empty for a plain arm."""
        return self.name.removeprefix(self.setting).lstrip(",")

    @property
    def complete(self) -> dict[int, store.Run]:
        """The runs that did not diverge, by seed."""
        return {run.seed: run for run in self.runs if run.meta["status"] == "complete"}

    @property
    def diverged(self) -> list[int]:
        """The seeds whose loss became infinite or nan: named, and in no mean."""
        return [run.seed for run in self.runs if run.meta["status"] == "diverged"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare each study that is asked for; the exit code."""
    try:
        options = parse_options(sys.argv[1:] if arguments is None else arguments, OPTIONS)
        if options is None:
            print(__doc__)
            return 0
        results, reports = PROJECT / options["results"], PROJECT / options["reports"]
        for study in store.chosen(results, options["study"]):
            compare(results, study, options["baseline"], reports / study)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def compare(results: Path, study: str, baseline: str, folder: Path) -> pd.DataFrame:
    """Write one study's answer into `folder` and print its table; the table. Raises ConfigError."""
    arms = load_arms(results, study)
    if baseline not in {arm.setting for arm in arms}:
        raise ConfigError(f"baseline: {study} has no arm {baseline}; {closest(baseline, [a.setting for a in arms])}")
    summary = summarize(arms, baseline)
    store.check_writable(folder, "reports")
    folder.mkdir(parents=True, exist_ok=True)
    summary.to_csv(folder / "summary.csv", index=False)
    (folder / "metrics.json").write_text(json.dumps(_nested(summary), indent=2) + "\n")
    sentences = describe(summary, arms, baseline)
    names, quantiles = [arm.name for arm in arms], bias_quantiles(arms)
    pictures = {"learning_curves": figures.learning_curves(curves(arms), names)}
    if not quantiles.empty:
        pictures["biases"] = figures.bias_distributions(quantiles, names)
    for name, chart in pictures.items():
        figures.save(chart, folder / "figures" / name)
    (folder / "answer.md").write_text(_markdown(study, summary, sentences, list(pictures)))
    _print(study, summary, sentences, folder)
    return summary


def load_arms(results: Path, study: str) -> list[Arm]:
    """The arms of a study, `no_bias` and the constants first. Raises ConfigError when it has no complete run."""
    by_arm: dict[str, list[store.Run]] = {}
    for run in store.runs(results, study):
        by_arm.setdefault(run.arm, []).append(run)
    arms = [Arm(name, runs[0].meta["config"]["bias_setting"], tuple(runs)) for name, runs in by_arm.items()]
    if not any(arm.complete for arm in arms):
        raise ConfigError(f"study: {study} has no complete run; train one: python -m pipeline.train -m study={study}")
    first = ["no_bias", "zeros", "ones"]
    return sorted(arms, key=lambda arm: (arm.block, first.index(arm.setting) if arm.setting in first else 3, arm.name))


def summarize(arms: list[Arm], baseline: str) -> pd.DataFrame:
    """A row per arm and final test metric.

    Columns: arm, metric, seeds, diverged, mean, std, ci_low, ci_high over seeds, and the same of the difference from
    the baseline arm of the same block, paired by seed (pairs, difference, difference_std, ...; empty for itself).
    """
    bases = {arm.block: arm for arm in arms if arm.setting == baseline}
    rows = []
    for arm in arms:
        base = bases.get(arm.block)
        for metric in _test_metrics(arm):
            values = {seed: run.meta["metrics"][metric] for seed, run in arm.complete.items()}
            row = {"arm": arm.name, "metric": metric, "seeds": len(values), "diverged": len(arm.diverged)}
            row |= dict(zip(INTERVAL, stats.mean_interval(np.array(list(values.values()))), strict=True))
            if base is not None and base is not arm:
                differences = np.array([
                    values[seed] - base.complete[seed].meta["metrics"][metric] for seed in _pairs(arm, base)
                ])  # fmt: skip
                row["pairs"] = len(differences)
                names = ["difference", *(f"difference_{name}" for name in INTERVAL[1:])]
                row |= dict(zip(names, stats.mean_interval(differences), strict=True))
            rows.append(row)
    return pd.DataFrame(rows).astype({"pairs": "Int64"}) if any("pairs" in row for row in rows) else pd.DataFrame(rows)


def describe(summary: pd.DataFrame, arms: list[Arm], baseline: str) -> list[str]:
    """What the table says, arm by arm, in words."""
    sentences = []
    primary = summary[summary["metric"] != "test_loss"]
    for row in primary.to_dict("records"):
        if pd.isna(row.get("difference")):
            continue
        low, high = row["difference_ci_low"], row["difference_ci_high"]
        text = f"{row['arm']} minus {baseline}: {row['difference']:+.4f} {row['metric']}"
        if np.isnan(low):
            sentences.append(f"{text}, from one seed: nothing can be said of its uncertainty.")
        elif low == high == 0:
            sentences.append(f"{text}: identical on all {row['pairs']} seeds.")
        else:
            zero = "includes" if low <= 0 <= high else "excludes"
            sentences.append(
                f"{text}, 95 % interval {low:+.4f} to {high:+.4f} over {row['pairs']} seeds, which {zero} 0."
            )
    for arm in arms:
        base = next((b for b in arms if b.block == arm.block and b.setting == baseline), None)
        if arm.diverged:
            sentences.append(f"{arm.name}: seeds {arm.diverged} diverged and are in no mean.")
        if base is not None and len(_pairs(arm, base)) < len(arm.complete):
            sentences.append(f"{arm.name}: only {len(_pairs(arm, base))} of its {len(arm.complete)} seeds are paired "
                             f"with {base.name} (the same seed, kernels, data and device).")  # fmt: skip
    return sentences


def curves(arms: list[Arm]) -> pd.DataFrame:
    """Learning curves over complete runs: columns arm, metric, epoch, mean, low, high."""
    parts = []
    for arm in arms:
        histories = [run.history() for run in arm.complete.values()]
        for metric in [name for name in histories[0] if name != "epoch"] if histories else []:
            mean, _, low, high = stats.band(np.array([h[metric] for h in histories]))
            part = {"epoch": np.arange(len(mean)), "mean": mean, "low": low, "high": high}
            parts.append(pd.DataFrame({"arm": arm.name, "metric": metric} | part))
    return pd.concat(parts, ignore_index=True)


def bias_quantiles(arms: list[Arm]) -> pd.DataFrame:
    """Quantiles of bias values over units and complete runs: columns arm, layer, moment, q05, q25, q50, q75, q95."""
    rows = []
    for arm in arms:
        values: dict[tuple[str, str], list[np.ndarray]] = {}
        for run in arm.complete.values():
            for key, array in run.biases().items():
                moment, _, path = key.partition("/")
                if moment in ("before", "after"):
                    values.setdefault((path, moment), []).append(array.ravel())
        for (path, moment), arrays in values.items():
            q = np.quantile(np.concatenate(arrays), [0.05, 0.25, 0.5, 0.75, 0.95])
            names = ("q05", "q25", "q50", "q75", "q95")
            rows.append({"arm": arm.name, "layer": path, "moment": moment} | dict(zip(names, q, strict=True)))
    return pd.DataFrame(rows)


def _pairs(arm: Arm, base: Arm) -> list[int]:
    """Seeds that both arms completed, from the very same kernels, on the very same data and the same device."""

    def proof(run: store.Run) -> tuple:
        return run.meta["initial_kernels_digest"], run.meta["data_digest"], run.meta["environment"]["device"]

    both = sorted(arm.complete.keys() & base.complete.keys())
    return [s for s in both if proof(arm.complete[s]) == proof(base.complete[s])]


def _test_metrics(arm: Arm) -> list[str]:
    """The arm's test metrics, the one that is not the loss first."""
    names = {name for run in arm.complete.values() for name in run.meta["metrics"] if name.startswith("test_")}
    return sorted(names, key=lambda name: (name == "test_loss", name))


def _nested(summary: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """The table as DVC reads metrics: arm -> metric -> statistic, without what is not known."""
    nested: dict[str, dict[str, dict[str, float]]] = {}
    for row in summary.to_dict("records"):
        numbers = {k: v for k, v in row.items() if k not in ("arm", "metric") and pd.notna(v)}
        nested.setdefault(row["arm"], {})[row["metric"]] = numbers
    return nested


def _cells(summary: pd.DataFrame) -> list[list[str]]:
    def interval(row: dict, mean: str, low: str, high: str, sign: str = "") -> str:
        if pd.isna(row.get(mean)):
            return "–"
        known = not pd.isna(row[low])
        return f"{row[mean]:{sign}.4f}" + (f" [{row[low]:{sign}.4f}, {row[high]:{sign}.4f}]" if known else "")

    return [
        [row["arm"], row["metric"], str(row["seeds"]) + (f" ({row['diverged']} diverged)" if row["diverged"] else ""),
         interval(row, "mean", "ci_low", "ci_high"), "–" if pd.isna(row["std"]) else f"{row['std']:.4f}",
         interval(row, "difference", "difference_ci_low", "difference_ci_high", "+")]
        for row in summary.sort_values("metric", key=lambda m: m == "test_loss", kind="stable").to_dict("records")
    ]  # fmt: skip


HEADINGS = ["arm", "metric", "seeds", "mean [95 %]", "std", "paired difference [95 %]"]


def _markdown(study: str, summary: pd.DataFrame, sentences: list[str], pictures: list[str]) -> str:
    table = [HEADINGS, ["---"] * len(HEADINGS), *_cells(summary)]
    return "\n".join([
        f"# {study}", "", *(f"- {sentence}" for sentence in sentences), "",
        *(f"| {' | '.join(row)} |" for row in table), "",
        "Means over seeds with Student's t 95 % intervals; differences are paired by seed, since a seed starts every",
        "arm from the same kernels, split and data order. They are not corrected for the number of arms.", "",
        *(f"![{name}](figures/{name}.svg)\n" for name in pictures),
    ])  # fmt: skip


def _print(study: str, summary: pd.DataFrame, sentences: list[str], folder: Path) -> None:
    table = Table(*HEADINGS, title=study, title_justify="left")
    for row in _cells(summary):
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    print(*sentences, sep="\n")
    print(f"Report: {folder.relative_to(PROJECT) if folder.is_relative_to(PROJECT) else folder}/answer.md")


if __name__ == "__main__":
    sys.exit(main())

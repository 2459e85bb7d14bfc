"""The answer, from stored results alone: `python -m pipeline.compare study=digits-mlp`.

Options, each `key=value`: study (one, or several with commas; default: the only one there is), baseline (zeros), metric
(what the verdict is about; test_accuracy, or test_mae), margin (a difference that does not matter; 0.005), results
(results), reports (reports). Writes, for each study, `<reports>/<study>/`: summary.csv, metrics.json (for DVC),
answer.md, figures/*.png and *.svg. Exit code 2: nothing to compare, or an option that does not exist.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from pipeline import decisions, figures, stats, store, verdicts
from pipeline.config import PROJECT, parse_options
from pipeline.errors import ConfigError, closest, require

OPTIONS = {
    "study": "",
    "baseline": "zeros",
    "metric": "",
    "margin": "0.005",
    "results": "results",
    "reports": "reports",
}
# Names of the statistics in the table.
NAMES = {"low": "ci_low", "high": "ci_high"}
MARGIN = float(OPTIONS["margin"])
AGAINST = {"low": "difference_ci_low", "high": "difference_ci_high"}


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
        margin = _number(options["margin"])
        require(margin is not None and margin > 0, "margin", options["margin"], "a positive number")
        for study in store.chosen(results, options["study"]):
            compare(results, study, options["baseline"], reports / study, options["metric"], margin)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def compare(
    results: Path, study: str, baseline: str, folder: Path, metric: str = "", margin: float = MARGIN
) -> pd.DataFrame:
    """Write one study's answer into `folder` and print its table; the table. Raises ConfigError."""
    arms = load_arms(results, study)
    if baseline not in {arm.setting for arm in arms}:
        raise ConfigError(f"baseline: {study} has no arm {baseline}; {closest(baseline, [a.setting for a in arms])}")
    known = list(dict.fromkeys(name for arm in arms for name in _test_metrics(arm)))
    metric = metric or known[0]
    if metric not in known:
        raise ConfigError(f"metric: no run of {study} has {metric}; {closest(metric, known)}")
    summary = summarize(arms, baseline, metric, margin)
    store.check_writable(folder, "reports")
    folder.mkdir(parents=True, exist_ok=True)
    summary.to_csv(folder / "summary.csv", index=False)
    (folder / "metrics.json").write_text(json.dumps(_nested(summary), indent=2) + "\n")
    sentences = verdicts.sentences(summary[summary["metric"] == metric], baseline, margin)
    sentences += remarks(arms, baseline)
    names, quantiles = [arm.name for arm in arms], bias_quantiles(arms)
    pictures = {"learning_curves": figures.learning_curves(curves(arms), names)}
    if not quantiles.empty:
        pictures["biases"] = figures.bias_distributions(quantiles, names)
    for name, chart in pictures.items():
        figures.save(chart, folder / "figures" / name)
    (folder / "answer.md").write_text(_markdown(study, summary, sentences, list(pictures)))
    _print(study, summary[summary["metric"] == metric], sentences, folder)
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


def summarize(arms: list[Arm], baseline: str, metric: str = "", margin: float = MARGIN) -> pd.DataFrame:
    """A row per arm and final test metric.

    Columns: arm, metric, seeds, diverged, and over seeds mean, median, iqm, std, ci_low, ci_high. Against the baseline
    arm of the same block (empty for itself): what `stats.paired` says, with pairs 0 where no seed could be paired,
    p_holm over the arms of a block, verdict and seeds_needed. Only `metric` has a margin within which arms are equal.
    """
    bases = {arm.block: arm for arm in arms if arm.setting == baseline}
    rows, families = [], {}
    for arm in arms:
        base = bases.get(arm.block)
        for name in _test_metrics(arm):
            values = {seed: run.meta["metrics"][name] for seed, run in arm.complete.items()}
            row = {"arm": arm.name, "metric": name, "seeds": len(values), "diverged": len(arm.diverged)}
            row |= {NAMES.get(k, k): v for k, v in stats.describe(np.array(list(values.values()))).items()}
            if base is not None and base is not arm and base.complete:
                other = {seed: run.meta["metrics"][name] for seed, run in base.complete.items()}
                row |= _against(values, other, _pairs(arm, base), name)
                families.setdefault((arm.block, name), []).append(row)
            rows.append(row)
    for (_, name), family in families.items():
        for row, p in zip(family, stats.holm([row["p"] for row in family]), strict=True):
            differences, higher = row.pop("differences"), _higher_is_better(name)
            equal = stats.equivalence(differences, margin) if name == metric and row["pairs"] else np.nan
            word, seeds = decisions.verdict(differences, p, equal, higher, margin if name == metric else 0, len(family))
            row |= {"p_holm": p, "p_equivalent": equal, "verdict": word, "seeds_needed": seeds, "family": len(family)}
    table = pd.DataFrame(rows)
    whole = [name for name in ("pairs", "seeds_needed", "family") if name in table]
    return table.astype(dict.fromkeys(whole, "Int64"))


def _against(values: dict[int, float], other: dict[int, float], pairs: list[int], metric: str) -> dict[str, Any]:
    """The columns that compare an arm with its baseline; `differences` are the paired ones, or else nothing."""
    higher = _higher_is_better(metric)
    if pairs:
        mine, theirs = (np.array([side[seed] for seed in pairs]) for side in (values, other))
        found = stats.paired(mine, theirs, higher) | {"differences": mine - theirs}
    else:
        mine, theirs = np.array(list(values.values())), np.array(list(other.values()))
        shift = mine.mean() - theirs.mean()  # all that can be said of differences that are no pairs
        found = stats.unpaired(mine, theirs, higher) | {"differences": np.array([shift])}
    return {AGAINST.get(k, k): v for k, v in found.items()}


def _higher_is_better(metric: str) -> bool:
    return metric.endswith(("accuracy", "auc"))


def remarks(arms: list[Arm], baseline: str) -> list[str]:
    """What a reader must know of the runs: diverged ones, and seeds that are no pairs."""
    sentences = []
    for arm in arms:
        base = next((b for b in arms if b.block == arm.block and b.setting == baseline), None)
        if arm.diverged:
            sentences.append(f"{arm.name}: seeds {arm.diverged} diverged and are in no mean.")
        if base is None or base is arm:
            continue
        paired = len(_pairs(arm, base))
        alike = "the same seed, kernels, data and device"
        if not paired and arm.complete and base.complete:
            sentences.append(f"{arm.name}: no run has a pair in {base.name} ({alike}), so it is compared unpaired.")
        elif paired < len(arm.complete):
            sentences.append(
                f"{arm.name}: only {paired} of its {len(arm.complete)} seeds are paired with {base.name} ({alike})."
            )
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


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


HEADINGS = ["arm", "seeds", "mean [95 %]", "difference [95 %]", "p", "verdict"]


def _cells(summary: pd.DataFrame) -> list[list[str]]:
    """The table's rows as text; one metric's."""
    rows = []
    for row in summary.to_dict("records"):
        verdict = row.get("verdict")
        seeds = str(row["seeds"]) + (f" ({row['diverged']} diverged)" if row["diverged"] else "")
        p = row.get("p_holm")
        rows.append([
            row["arm"], seeds, verdicts.interval(row["mean"], row["ci_low"], row["ci_high"], ""),
            verdicts.interval(row.get("difference"), row.get("difference_ci_low"), row.get("difference_ci_high")),
            "–" if pd.isna(p) else verdicts.p_value(p), verdict if isinstance(verdict, str) else "baseline",
        ])  # fmt: skip
    return rows


def _markdown(study: str, summary: pd.DataFrame, sentences: list[str], pictures: list[str]) -> str:
    tables = []
    for metric in dict.fromkeys(summary["metric"]):
        rows = [HEADINGS, ["---"] * len(HEADINGS), *_cells(summary[summary["metric"] == metric])]
        tables += [f"**{metric}**", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([
        f"# {study}", "", sentences[0], "", *(f"- {sentence}" for sentence in sentences[1:]), "", *tables,
        "Intervals of means are Student's t, those of differences are bootstrapped (BCa). Differences are paired by seed,",
        "since a seed starts every arm from the same kernels, split and data order; p is of all sign flips, after Holm.", "",
        *(f"![{name}](figures/{name}.svg)\n" for name in pictures),
    ])  # fmt: skip


def _print(study: str, summary: pd.DataFrame, sentences: list[str], folder: Path) -> None:
    """The metric's table, at most 100 columns wide, and what it says."""
    table = Table(*HEADINGS, title=f"{study}, {summary['metric'].iloc[0]}", title_justify="left")
    for row in _cells(summary):
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(table)
    print(*sentences, sep="\n")
    print(f"Report: {folder.relative_to(PROJECT) if folder.is_relative_to(PROJECT) else folder}/answer.md")


if __name__ == "__main__":
    sys.exit(main())

"""The answer, from stored results alone: `python -m pipeline.compare study=digits-mlp`.

Options, each `key=value`: study (one, or several with commas; default: the only one there is), baseline (zeros), metric
(what the verdict is about; test_accuracy, or test_mae), margin (a difference of that metric which does not matter;
0.005), results (results), reports (reports), mlflow (true: MLflow gets the answer, if it has the study). Writes,
for each study, `<reports>/<study>/`: summary.csv, metrics.json (for DVC), answer.md, figures/*.png and *.svg. Exit code
2: nothing to compare, or an option that does not exist.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import decisions, figures, gather, published, stats, store, verdicts
from pipeline.config import PROJECT, Tracking, parse_options
from pipeline.errors import ConfigError, closest, require

OPTIONS = {
    "study": "",
    "baseline": "zeros",
    "metric": "",
    "margin": "0.005",
    "results": "results",
    "reports": "reports",
    "mlflow": "true",
}
MARGIN = float(OPTIONS["margin"])
# What the statistics are called in the table.
OVER_SEEDS = {"low": "ci_low", "high": "ci_high"}
AGAINST = {"low": "difference_ci_low", "high": "difference_ci_high"}
HEADINGS = ["arm", "seeds", "mean ± 95 %", "difference [95 %]", "p (Holm)", "verdict"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare each study that is asked for; the exit code."""
    try:
        options = parse_options(sys.argv[1:] if arguments is None else arguments, OPTIONS)
        if options is None:
            print(__doc__)
            return 0
        results, reports = PROJECT / options["results"], PROJECT / options["reports"]
        margin = _number(options["margin"])
        require(0 < margin < np.inf, "margin", options["margin"], "a positive number")
        require(options["mlflow"] in ("true", "false"), "mlflow", options["mlflow"], "true, false")
        target = Tracking(enabled=options["mlflow"] == "true")
        for study in store.chosen(results, options["study"]):
            compare(results, study, options["baseline"], reports / study, options["metric"], margin)
            if problem := published.publish(target, results, study, reports / study):
                print(f"{problem}; python -m pipeline.sync sends it", file=sys.stderr)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def compare(
    results: Path, study: str, baseline: str, folder: Path, metric: str = "", margin: float = MARGIN
) -> pd.DataFrame:
    """Write one study's answer into `folder` and print its table; the table. Raises ConfigError."""
    arms = gather.load_arms(results, study)
    if baseline not in {arm.setting for arm in arms}:
        raise ConfigError(f"baseline: {study} has no arm {baseline}; {closest(baseline, [a.setting for a in arms])}")
    known = gather.final_metrics(arms)
    metric = metric or known[0]
    if metric not in known:
        raise ConfigError(f"metric: no run of {study} has {metric}; {closest(metric, known)}")
    gather.require_common_seeds(study, arms, baseline)
    store.check_writable(folder, "reports")
    summary = summarize(arms, baseline, metric, margin)
    folder.mkdir(parents=True, exist_ok=True)
    summary.to_csv(folder / "summary.csv", index=False)
    (folder / "metrics.json").write_text(json.dumps(_nested(summary), indent=2) + "\n")
    chosen = summary[summary["metric"] == metric]
    said = verdicts.sentences(chosen, baseline, margin) + verdicts.remarks(arms, baseline, metric)
    said += [f"Warning: {run} is damaged and left out." for run in gather.damaged(results, study, arms)]
    pictures = _draw(arms, folder / "figures")
    (folder / "answer.md").write_text(_markdown(study, summary, said, pictures))
    _print(f"{study}: {metric} against {baseline}, margin {margin:g}", chosen, said)
    print(f"Report: {folder.relative_to(PROJECT) if folder.is_relative_to(PROJECT) else folder}/answer.md")
    return summary


def summarize(arms: list[gather.Arm], baseline: str, metric: str = "", margin: float = MARGIN) -> pd.DataFrame:
    """A row per arm and final test metric.

    Columns: arm, metric, seeds, diverged, and over seeds mean, median, iqm, std, ci_low, ci_high. Against `baseline`,
    the arm with that setting in the same block (empty for itself): what `stats.paired` says, with pairs 0 where no seed
    could be paired, p_holm and p_equivalent over the arms of a block, family (how many those are), verdict,
    seeds_needed, same_curves. Only `metric` (empty: the first) has a margin within which arms
    are equal.
    """
    bases, names, rows = gather.baselines(arms, baseline), gather.final_metrics(arms), []
    for name in names:
        families: dict[str, list[dict[str, Any]]] = {}
        for arm in arms:
            values, base = arm.values(name), bases.get(arm.block)
            if arm.complete and not values:
                continue  # the remarks say so
            row = {"arm": arm.name, "metric": name, "seeds": len(values), "diverged": len(arm.diverged)}
            row |= {OVER_SEEDS.get(k, k): v for k, v in stats.describe(np.array(list(values.values()))).items()}
            rows.append(row)
            if base is not None and base is not arm and values and base.values(name):
                row |= _against(arm, base, name)
                families.setdefault(arm.block, []).append(row)
        for family in families.values():
            _judge(family, _higher_is_better(name), margin if name == (metric or names[0]) else 0.0)
    table = pd.DataFrame(rows)
    whole = [name for name in ("pairs", "seeds_needed", "family") if name in table]
    return table.astype(dict.fromkeys(whole, "Int64"))


def _against(arm: gather.Arm, base: gather.Arm, metric: str) -> dict[str, Any]:
    """The columns that compare an arm with its baseline; `differences` [pairs] for `_judge`."""
    mine, theirs, seeds = arm.values(metric), base.values(metric), gather.pairs(arm, base, metric)
    same = gather.same_curves(arm, base, seeds)
    function = stats.paired if seeds else stats.unpaired
    values = np.array([mine[seed] for seed in seeds or mine])
    others = np.array([theirs[seed] for seed in seeds or theirs])
    found = {AGAINST.get(k, k): v for k, v in function(values, others, _higher_is_better(metric)).items()}
    differences = stats.paired_differences(values, others)[0] if seeds else np.array([])
    return {"baseline": base.name} | found | {"same_curves": same, "differences": differences}


def _judge(family: list[dict[str, Any]], higher_is_better: bool, margin: float) -> None:
    """Correct the p of the arms that are compared with one baseline, and add what follows from them."""
    equal = [stats.equivalence(row["differences"], margin) if margin else np.nan for row in family]
    corrected = zip(family, stats.holm([row["p"] for row in family]), stats.holm(equal), strict=True)
    for row, p, p_equal in corrected:
        differences = row.pop("differences")
        if row["pairs"]:
            word, seeds = decisions.verdict(differences, p, p_equal, higher_is_better, margin, len(family))
        else:
            word, seeds = decisions.direction(row["difference"], p, higher_is_better), None
        row |= {"p_holm": p, "p_equivalent": p_equal, "family": len(family), "verdict": word, "seeds_needed": seeds}


def _higher_is_better(metric: str) -> bool:
    return metric.endswith(("accuracy", "auc"))


def _nested(summary: pd.DataFrame) -> dict[str, dict[str, dict[str, float | str]]]:
    """The table as DVC reads metrics: arm -> metric -> statistic, without what is not known."""
    nested: dict[str, dict[str, dict[str, float | str]]] = {}
    for row in summary.drop(columns=["baseline", "same_curves"], errors="ignore").to_dict("records"):
        known = {k: v for k, v in row.items() if k not in ("arm", "metric") and pd.notna(v)}
        nested.setdefault(row["arm"], {})[row["metric"]] = known
    return nested


def _number(text: str) -> float:
    """nan for what is no number."""
    try:
        return float(text)
    except ValueError:
        return np.nan


def _draw(arms: list[gather.Arm], folder: Path) -> list[str]:
    """Draw the figures into `folder`; their names."""
    names, quantiles = [arm.name for arm in arms], gather.bias_quantiles(arms)
    pictures = {"learning_curves": figures.learning_curves(gather.curves(arms), names)}
    if not quantiles.empty:
        pictures["biases"] = figures.bias_distributions(quantiles, names)
    for name, chart in pictures.items():
        figures.save(chart, folder / name)
    return list(pictures)


def _cells(summary: pd.DataFrame) -> list[list[str]]:
    """The table's rows as text; one metric's."""
    number = verdicts.number_format(summary)
    bases = set(summary["baseline"].dropna()) if "baseline" in summary else set()
    return [_row(row, number, row["arm"] in bases) for row in summary.to_dict("records")]


def _row(row: dict[str, Any], number: Callable, is_baseline: bool) -> list[str]:
    seeds, total = row["seeds"], row["seeds"] + row["diverged"]
    cells = [row["arm"], str(seeds) if seeds == total else f"{seeds} of {total}", number(row["mean"])]
    if np.isfinite(row["std"]):
        cells[-1] += f" ± {number(row['ci_high'] - row['mean'])}"
    if not isinstance(row.get("baseline"), str):
        return [*cells, "–", "–", "baseline" if is_baseline else "–" if seeds else "diverged"]
    difference = number(row["difference"], "+")
    if row["difference_ci_low"] < row["difference_ci_high"]:
        difference += f" [{number(row['difference_ci_low'], '+')}, {number(row['difference_ci_high'], '+')}]"
    p = "–" if pd.isna(row["p_holm"]) or row["pairs"] == 1 else verdicts.p_value(row["p_holm"])
    return [*cells, difference, p, row["verdict"]]


def _markdown(study: str, summary: pd.DataFrame, said: list[str], pictures: list[str]) -> str:
    tables = []
    for metric in dict.fromkeys(summary["metric"]):
        rows = [HEADINGS, ["---"] * len(HEADINGS), *_cells(summary[summary["metric"] == metric])]
        tables += [f"**{metric}**", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([
        f"# {study}", "", said[0], "", *(f"- {sentence}" for sentence in said[1:]), "", *tables,
        "± is the half width of Student's 95 % interval. Differences are paired by seed, since a seed starts every arm",
        "from the same kernels, split and data order; their interval is a bootstrap (BCa), nowhere narrower than",
        "Student's; p is of sign flips, after Holm over the arms.", "",
        *(f"![{name}](figures/{name}.svg)\n" for name in pictures),
    ])  # fmt: skip


def _print(title: str, summary: pd.DataFrame, said: list[str]) -> None:
    """The metric's table, at most 100 columns wide, and what it says."""
    table = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=heading != "arm", overflow="fold")
    for row in _cells(summary):
        table.add_row(*map(escape, row))
    Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(table)
    print(*said, sep="\n")


if __name__ == "__main__":
    sys.exit(main())

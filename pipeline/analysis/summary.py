"""The table of a study: what each arm's runs come to, metric by metric, and how the arm compares with the baseline."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.blocks import pooled_arms
from pipeline.analysis.curves import INITIAL, higher_is_better
from pipeline.analysis.study import EPOCHS_TO, Arm, baseline_arms, final_metrics, paired_seeds, same_curves
from pipeline.analysis.verdict import direction, judge
from pipeline.stats.intervals import describe_sample
from pipeline.stats.paired import compare_paired, compare_unpaired, equivalence, holm, paired_differences

MARGIN = 0.005  # a difference of the metric that does not matter, unless the user says otherwise
# What the statistics are called in the table.
OVER_SEEDS = {"low": "ci_low", "high": "ci_high"}
AGAINST = {"low": "difference_ci_low", "high": "difference_ci_high"}


def summarize(arms: list[Arm], baseline: str, metric: str = "", margin: float = MARGIN) -> pd.DataFrame:
    """A row per arm and metric; where there are several blocks, first the settings over all of them.

    Columns: arm, block, metric, seeds, diverged, censored (how many of the seeds never got there, for metrics that can
    be so), and over seeds mean, median, iqm, std, ci_low, ci_high. Against `baseline`,
    the arm with that setting in the same block (empty for itself): what `stats.paired` says, with pairs 0 where no seed
    could be paired, p_holm and p_equivalent over the arms of a block, family (how many those are), verdict,
    seeds_needed, same_curves. Only `metric` (empty: the first) has a margin within which arms are equal.
    """
    names, rows = final_metrics(arms), []
    arms = [*pooled_arms(arms, baseline), *arms]
    bases = baseline_arms(arms, baseline)
    for name in names:
        families: dict[str, list[dict[str, Any]]] = {}
        for arm in arms:
            values, base = arm.values(name), bases.get(arm.block)
            if arm.complete and not values:
                continue  # the remarks say so
            row = {"arm": arm.name, "block": arm.block, "metric": name, "seeds": len(values)}
            row |= {"diverged": len(arm.diverged)}
            row |= {"censored": len(arm.censored(name)) if name.startswith(EPOCHS_TO) else pd.NA}
            row |= {OVER_SEEDS.get(k, k): v for k, v in describe_sample(np.array(list(values.values()))).items()}
            rows.append(row)
            if base is not None and base is not arm and values and base.values(name):
                row |= _against(arm, base, name)
                families.setdefault(arm.family, []).append(row)
        for family in families.values():
            _judge(family, higher_is_better(name), margin if name == (metric or names[0]) else 0.0)
    table = pd.DataFrame(rows)
    whole = [name for name in ("censored", "pairs", "seeds_needed", "family") if name in table]
    return table.astype(dict.fromkeys(whole, "Int64"))


def _against(arm: Arm, base: Arm, metric: str) -> dict[str, Any]:
    """The columns that compare an arm with its baseline; `differences` [pairs] for `_judge`."""
    mine, theirs, seeds = arm.values(metric), base.values(metric), paired_seeds(arm, base, metric)
    same = same_curves(arm, base, seeds)
    function = compare_paired if seeds else compare_unpaired
    values = np.array([mine[seed] for seed in seeds or mine])
    others = np.array([theirs[seed] for seed in seeds or theirs])
    found = {AGAINST.get(k, k): v for k, v in function(values, others, higher_is_better(metric)).items()}
    differences = paired_differences(values, others)[0] if seeds else np.array([])
    return {"baseline": base.name} | found | {"same_curves": same, "differences": differences}


def _judge(family: list[dict[str, Any]], higher_is_better: bool, margin: float) -> None:
    """Correct the p of the arms that are compared with one baseline, and add what follows from them."""
    equal = [equivalence(row["differences"], margin) if margin else np.nan for row in family]
    corrected = zip(family, holm([row["p"] for row in family]), holm(equal), strict=True)
    for row, p, p_equal in corrected:
        differences = row.pop("differences")
        if row["pairs"]:
            # One number from before training is no luck: where it is the same, the arms began the same.
            same = row["same_curves"] or row["metric"] == INITIAL
            shown = (differences, p, p_equal, higher_is_better, margin, len(family), same)
            word, seeds = judge(*shown)
        else:
            word, seeds = direction(row["difference"], p, higher_is_better), None
        row |= {"p_holm": p, "p_equivalent": p_equal, "family": len(family), "verdict": word, "seeds_needed": seeds}


def seed_differences(arms: list[Arm], baseline: str) -> pd.DataFrame:
    """A row per arm, final metric and pair: arm, baseline (its arm), block, metric, seed, value, baseline_value,
    difference (value minus baseline_value). Seeds that could not be paired are absent.
    """
    bases, rows = baseline_arms(arms, baseline), []
    for name in final_metrics(arms):
        for arm in arms:
            base = bases.get(arm.block)
            if base is None or base is arm:
                continue
            mine, theirs = arm.values(name), base.values(name)
            for seed in paired_seeds(arm, base, name):
                row = {"arm": arm.name, "baseline": base.name, "block": arm.block, "metric": name, "seed": seed}
                rows.append(row | {"value": mine[seed], "baseline_value": theirs[seed]})
    table = pd.DataFrame(rows, columns=["arm", "baseline", "block", "metric", "seed", "value", "baseline_value"])
    return table.assign(difference=table["value"] - table["baseline_value"])

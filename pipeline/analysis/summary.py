"""The summary table: each arm by each metric, alone and compared with its baseline."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.arms import EPOCHS_TO, ComparedArm
from pipeline.analysis.curves import INITIAL, higher_is_better
from pipeline.analysis.pairing import have_same_curves
from pipeline.analysis.study import Study
from pipeline.analysis.verdict import direction, judge
from pipeline.stats.intervals import describe_sample
from pipeline.stats.paired import compare_paired, compare_unpaired, equivalence, holm, paired_differences

# Name in `stats` -> column of the table.
OVER_SEEDS = {"low": "ci_low", "high": "ci_high"}
AGAINST_BASELINE = {"low": "difference_ci_low", "high": "difference_ci_high"}


def summarize(study: Study) -> pd.DataFrame:
    """Make the table: a row per metric and arm; pooled arms first.

    Columns: arm, block, metric, seeds, diverged, censored (seeds that never reached the level, of `epochs_to_` metrics
    only); over seeds mean, median, iqm, std, ci_low, ci_high; and, for arms with a baseline, baseline, the columns of
    `stats.paired.compare_paired` (pairs is 0 where the arms were compared unpaired), p_holm and p_equivalent (corrected
    over the arms of a block), family (their number), verdict, seeds_needed, same_curves. Arms are tested for
    equivalence by `study.metric` alone, since the margin is in its unit.
    """
    rows = []
    for metric in study.metrics:
        families: dict[str, list[dict[str, Any]]] = {}
        for arm in study.compared_arms:
            values, base = arm.values(metric), study.baseline_of(arm)
            if arm.complete_seeds and not values:
                continue  # the warnings name it
            row = _describe(arm, metric)
            rows.append(row)
            if base is not None and values and base.values(metric):
                row |= _compare(study, arm, base, metric)
                families.setdefault(arm.family, []).append(row)
        for family in families.values():
            _judge_family(family, higher_is_better(metric), study.margin if metric == study.metric else 0.0)
    table = pd.DataFrame(rows)
    whole_numbers = [name for name in ("censored", "pairs", "seeds_needed", "family") if name in table]
    return table.astype(dict.fromkeys(whole_numbers, "Int64"))


def _describe(arm: ComparedArm, metric: str) -> dict[str, Any]:
    """The columns about an arm alone."""
    values = arm.values(metric)
    row: dict[str, Any] = {"arm": arm.name, "block": arm.block, "metric": metric}
    row |= {"seeds": len(values), "diverged": len(arm.diverged)}
    row |= {"censored": len(arm.censored(metric)) if metric.startswith(EPOCHS_TO) else pd.NA}
    return row | {OVER_SEEDS.get(k, k): v for k, v in describe_sample(np.array(list(values.values()))).items()}


def _compare(study: Study, arm: ComparedArm, base: ComparedArm, metric: str) -> dict[str, Any]:
    """The columns that compare an arm with its baseline, and `differences` [pairs] for `_judge_family`."""
    values, base_values, seeds = arm.values(metric), base.values(metric), study.paired_seeds(arm, metric)
    compare = compare_paired if seeds else compare_unpaired
    sample = np.array([values[seed] for seed in seeds or values])
    base_sample = np.array([base_values[seed] for seed in seeds or base_values])
    statistics = compare(sample, base_sample, higher_is_better(metric))
    columns = {AGAINST_BASELINE.get(name, name): value for name, value in statistics.items()}
    differences = paired_differences(sample, base_sample)[0] if seeds else np.array([])
    same_curves = have_same_curves(arm, base, seeds)
    return {"baseline": base.name} | columns | {"same_curves": same_curves, "differences": differences}


def _judge_family(family: list[dict[str, Any]], higher_is_better: bool, margin: float) -> None:
    """Correct the p of the arms compared together, and add what follows from it to their rows."""
    p_equivalent = [equivalence(row["differences"], margin) if margin else np.nan for row in family]
    corrected = zip(family, holm([row["p"] for row in family]), holm(p_equivalent), strict=True)
    for row, p, p_equal in corrected:
        differences = row.pop("differences")
        if row["pairs"]:
            # A number from before training involves no chance: where it is the same, the arms started the same.
            same = row["same_curves"] or row["metric"] == INITIAL
            verdict, seeds = judge(differences, p, p_equal, higher_is_better, margin, len(family), same)
        else:
            verdict, seeds = direction(row["difference"], p, higher_is_better), None
        row |= {
            "p_holm": p, "p_equivalent": p_equal, "family": len(family), "verdict": verdict, "seeds_needed": seeds,
        }  # fmt: skip


def seed_differences(study: Study) -> pd.DataFrame:
    """Make the table of pairs: a row per metric, arm and paired seed.

    Columns: arm, baseline (its arm), block, metric, seed, value, baseline_value, difference (value - baseline_value).
    """
    rows = []
    for metric in study.metrics:
        for arm in study.arms:
            base = study.baseline_of(arm)
            if base is None:
                continue
            values, base_values = arm.values(metric), base.values(metric)
            for seed in study.paired_seeds(arm, metric):
                row = {"arm": arm.name, "baseline": base.name, "block": arm.block, "metric": metric, "seed": seed}
                rows.append(row | {"value": values[seed], "baseline_value": base_values[seed]})
    table = pd.DataFrame(rows, columns=["arm", "baseline", "block", "metric", "seed", "value", "baseline_value"])
    return table.assign(difference=table["value"] - table["baseline_value"])

"""The summary table: each arm by each metric, alone and compared with its baseline."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.arms import EPOCHS_TO, ComparedArm
from pipeline.analysis.correction import EXPLORATORY, PRIMARY
from pipeline.analysis.curves import INITIAL, higher_is_better
from pipeline.analysis.earlier import correct_for_looks, corrected_equivalence
from pipeline.analysis.looks import LookedArm, judge_looks
from pipeline.analysis.pairing import have_same_curves
from pipeline.analysis.study import Study
from pipeline.analysis.tuning import TunedArm
from pipeline.analysis.verdict import direction, judge
from pipeline.stats.intervals import ALPHA, describe_sample
from pipeline.stats.paired import compare_paired, compare_unpaired, equivalence, holm, paired_differences
from pipeline.stats.power import MOST_SEEDS, seeds_range, seeds_to_decide
from pipeline.stats.tuning import compare_tuned, equivalent_tuned, hardest_differences

# Name in `stats` -> column of the table.
OVER_SEEDS = {"low": "ci_low", "high": "ci_high"}
AGAINST_BASELINE = {"low": "difference_ci_low", "high": "difference_ci_high"}


def summarize(study: Study) -> pd.DataFrame:
    """Make the table: a row per metric and arm; pooled arms first.

    Columns: arm, block, metric, role (primary, of `study.metric`, or exploratory), seeds, diverged, censored (seeds
    that never reached the level, of `epochs_to_` metrics only); over seeds mean, median, iqm (SciPy's trimmed mean,
    without the lowest and the highest quarter), std, ci_low, ci_high; and, for arms with a baseline, baseline, the
    columns of `stats.paired.compare_paired` (pairs is 0 where the arms were compared unpaired), largest_difference
    (of a pair, without its sign), p_uncorrected (of this arm at one look; p allows for several looks), p_holm and
    p_equivalent (corrected over the arms of a block), family (their number), verdict, seeds_needed, same_curves,
    construction. Arms are tested for equivalence by `study.metric` alone, since the margin is in its unit.

    Arms at their best (`tuning`) have rows of `study.metric` alone, by which they were chosen.

    Where that is the metric of a declared design, its arms are compared by the seeds of the looks they took part in,
    and p, p_holm, p_equivalent, the interval and the verdict are those of the design, see `looks`. Then there are
    besides: look (1 for the first), p_stagewise, difference_unbiased.
    """
    rows = []
    looked = judge_looks(study, study.progress.design, study.progress.judging_looks) if study.progress else {}
    before = len(study.progress.looks) - study.progress.judging_looks if study.progress else 0
    declared = {arm.name: arm.parts[0].folder for arm in study.judged_arms if study.progress}
    for metric in study.metrics:
        families: dict[str, list[dict[str, Any]]] = {}
        for arm in study.compared_arms:
            values, base = arm.values(metric), study.baseline_of(arm)
            if arm.complete_seeds and not values:
                continue  # the warnings name it
            row = _describe(arm, metric, _role(study, metric))
            rows.append(row)
            if base is not None and values and base.values(metric):
                is_declared = metric == study.metric and arm.name in declared
                seeds = looked[arm.parts[0].folder].seeds if is_declared else study.paired_seeds(arm, metric)
                if isinstance(arm, TunedArm) and isinstance(base, TunedArm):
                    row |= _compare_tuned(study, arm, base)
                else:
                    row |= _compare(arm, base, metric, list(seeds))
                if metric == study.metric and not is_declared and seeds and not isinstance(arm, TunedArm):
                    _account_for_looks(study, row, arm, base)
                row["construction"] = study.construction(arm, list(seeds))
                families.setdefault(arm.family, []).append(row)
        for family in families.values():
            if metric == study.metric and family[0]["arm"] in declared:
                for row in family:
                    _judge_by_design(row, looked[declared[row["arm"]]], before)
                continue
            _judge_family(family, higher_is_better(metric), study.margin if metric == study.metric else 0.0)
    table = pd.DataFrame(rows)
    whole_numbers = [
        name
        for name in ("censored", "pairs", "seeds_needed", "seeds_needed_low", "seeds_needed_high", "family", "look")
        if name in table
    ]
    return table.astype(dict.fromkeys(whole_numbers, "Int64"))


def _role(study: Study, metric: str) -> str:
    return PRIMARY if metric == study.primary else EXPLORATORY


def _describe(arm: ComparedArm, metric: str, role: str) -> dict[str, Any]:
    """The columns about an arm alone."""
    values = arm.values(metric)
    row: dict[str, Any] = {"arm": arm.name, "block": arm.block, "metric": metric, "role": role}
    row |= {"seeds": len(values), "diverged": len(arm.diverged)}
    row |= {"censored": len(arm.censored(metric)) if metric.startswith(EPOCHS_TO) else pd.NA}
    return row | {OVER_SEEDS.get(k, k): v for k, v in describe_sample(np.array(list(values.values()))).items()}


def _compare(arm: ComparedArm, base: ComparedArm, metric: str, seeds: list[int]) -> dict[str, Any]:
    """The columns that compare an arm with its baseline, and `differences` [pairs] for `_judge_family`.

    seeds: the pairs; where there are none, the arms are compared unpaired.
    """
    values, base_values = arm.values(metric), base.values(metric)
    compare = compare_paired if seeds else compare_unpaired
    sample = np.array([values[seed] for seed in seeds or values])
    base_sample = np.array([base_values[seed] for seed in seeds or base_values])
    statistics = compare(sample, base_sample, higher_is_better(metric))
    columns = {AGAINST_BASELINE.get(name, name): value for name, value in statistics.items()}
    differences = paired_differences(sample, base_sample)[0] if seeds else np.array([])
    same_curves = have_same_curves(arm, base, seeds)
    largest = float(np.abs(differences).max()) if seeds else np.nan
    columns |= {"largest_difference": largest, "same_curves": same_curves}
    return {"baseline": base.name} | columns | {"differences": differences}


def _compare_tuned(study: Study, arm: TunedArm, base: TunedArm) -> dict[str, Any]:
    """The same of an arm at its best, see `stats.tuning`. Several looks share the level evenly (Bonferroni)."""
    looks = study.earlier_looks(arm, arm.seeds)[1]
    statistics = compare_tuned(arm.result, base.result, study.higher_is_better, 1 - ALPHA / len(looks))
    columns = {AGAINST_BASELINE.get(name, name): value for name, value in statistics.items()}
    row = {"baseline": base.name} | columns | {"same_curves": arm.curve_digests() == base.curve_digests()}
    differences = paired_differences(arm.result.judged, base.result.judged)[0]
    row |= {"differences": differences, "largest_difference": float(np.abs(differences).max())}
    row |= {"p_margin": equivalent_tuned(arm.result, base.result, study.margin)}
    row |= {"hardest": hardest_differences(arm.result, base.result)}
    if len(looks) > 1:
        row |= {"p_uncorrected": row["p"], "p": min(1.0, row["p"] * len(looks)), "level": ALPHA / len(looks)}
        row |= {"looks": ", ".join(map(str, looks))}
    return row


def _account_for_looks(study: Study, row: dict[str, Any], arm: ComparedArm, base: ComparedArm) -> None:
    """Correct a row for the answers that were given before seeds were added, see `earlier`."""
    seeds, looks = study.earlier_looks(arm, study.paired_seeds(arm, study.metric))
    if len(looks) > 1:
        values, base_values = arm.values(study.metric), base.values(study.metric)
        pairs = paired_differences(np.array([values[s] for s in seeds]), np.array([base_values[s] for s in seeds]))
        correct_for_looks(row, *pairs, looks)


def _judge_family(family: list[dict[str, Any]], higher_is_better: bool, margin: float) -> None:
    """Correct the p of the arms compared together, and add what follows from it to their rows."""
    p_equivalent = [
        corrected_equivalence(_p_margin(row, margin), row.pop("level", ALPHA)) if margin else np.nan for row in family
    ]
    corrected = zip(family, holm([row["p"] for row in family]), holm(p_equivalent), strict=True)
    for row, p, p_equal in corrected:
        differences = row.pop("differences")
        if row["pairs"]:
            # A number from before training involves no chance: where it is the same, the arms started the same.
            same = row["same_curves"] or row["metric"] == INITIAL
            alike = bool(row["construction"])
            verdict, seeds = judge(differences, p, p_equal, higher_is_better, margin, len(family), same, alike)
            if "hardest" in row:
                differences = row.pop("hardest")
                seeds = seeds_to_decide(differences, margin, ALPHA / len(family)) if verdict == "undecided" else None
        else:
            verdict, seeds = direction(row["difference"], p, higher_is_better), None
        row |= {
            "p_uncorrected": row.get("p_uncorrected", row["p"]),
            "p_holm": p, "p_equivalent": p_equal, "family": len(family), "verdict": verdict, "seeds_needed": seeds,
        }  # fmt: skip
        if margin and verdict == "undecided" and len(differences) > 1:
            fewest, most = seeds_range(differences, margin, ALPHA / len(family))
            if fewest < MOST_SEEDS:
                row |= {"seeds_needed_low": fewest, "seeds_needed_high": most}


def _p_margin(row: dict[str, Any], margin: float) -> float:
    return row.pop("p_margin") if "p_margin" in row else equivalence(row["differences"], margin)


def _judge_by_design(row: dict[str, Any], looked: LookedArm, before: int) -> None:
    """Replace what a row says of chance by what the looks of the design say. before: the looks that judged nothing."""
    del row["differences"]
    result = looked.result
    row |= {
        "p_uncorrected": row["p"],
        "p": result.p if result else np.nan,
        "p_stagewise": result.p_stagewise if result else np.nan,
        "p_holm": looked.p_holm,
        "p_equivalent": looked.p_equivalent_holm,
        "difference_ci_low": _finite(looked.low),
        "difference_ci_high": _finite(looked.high),
        "difference_unbiased": looked.unbiased,
        "family": looked.family,
        "verdict": looked.verdict,
        "seeds_needed": None,
        "looks": ", ".join(map(str, looked.counts)),
        "look": before + looked.look + 1,
    }


def _finite(end: float) -> float:
    return end if np.isfinite(end) else np.nan


def seed_differences(study: Study) -> pd.DataFrame:
    """Make the table of pairs: a row per metric, arm and paired seed.

    Columns: arm, baseline (its arm), block, metric, role, seed, value, baseline_value, difference (value less
    baseline_value).
    """
    rows = []
    for metric in study.metrics:
        role = _role(study, metric)
        for arm in study.arms:
            base = study.baseline_of(arm)
            if base is None:
                continue
            values, base_values = arm.values(metric), base.values(metric)
            for seed in study.paired_seeds(arm, metric):
                row = {
                    "arm": arm.name,
                    "baseline": base.name,
                    "block": arm.block,
                    "metric": metric,
                    "role": role,
                    "seed": seed,
                }
                rows.append(row | {"value": values[seed], "baseline_value": base_values[seed]})
    columns = ["arm", "baseline", "block", "metric", "role", "seed", "value", "baseline_value"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(difference=table["value"] - table["baseline_value"])

"""How far an arm is from its baseline at every epoch, seed by seed."""

import numpy as np
import pandas as pd

from pipeline.analysis.study import Study
from pipeline.stats.intervals import band

COLUMNS = ["arm", "baseline", "metric", "epoch", "mean", "low", "high"]


def difference_curves(study: Study) -> pd.DataFrame:
    """Average the differences between paired learning curves, arm - baseline: `COLUMNS`, with 95 % intervals.

    A pair is compared as far as both of its curves go, and an epoch is drawn that all pairs reach. Of an arm that is
    compared unpaired there is no curve.
    """
    parts, trained = [], max((arm.longest for arm in study.arms), default=0) + 1
    for arm in study.arms:
        base = study.baseline_of(arm)
        seeds = [] if base is None or study.mismatches(arm) else sorted(arm.complete_seeds & base.complete_seeds)
        if base is None or not seeds:
            continue
        pairs = [(arm.histories[seed], base.parts[0].histories[seed]) for seed in seeds]
        for metric in [name for name in pairs[0][0] if name != "epoch" and all(name in h for p in pairs for h in p)]:
            length = min(trained, *(len(history[metric]) for pair in pairs for history in pair))
            differences = np.array([np.subtract(a[metric][:length], b[metric][:length]) for a, b in pairs])
            mean, _, low, high = band(differences)
            part = {"epoch": np.arange(length), "mean": mean, "low": low, "high": high}
            names = {"arm": arm.name, "baseline": base.name, "metric": metric}
            parts.append(pd.DataFrame(names | part))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)

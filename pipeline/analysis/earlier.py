"""Account for answers that were looked at before seeds were added, where no design declared those looks.

A p says how often chance alone shows such a difference at one look. Who adds seeds as long as nothing shows has several
looks, and p is too optimistic. `correct_for_looks` replaces it by the chance that any of these looks would have shown
as small a p, widens the interval as much, and makes p_equivalent stricter (`stats.sequential.undeclared_looks_p`).
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from pipeline.stats.intervals import ALPHA, bootstrap_interval
from pipeline.stats.sequential import undeclared_looks_p


def looks_at(seeds: Sequence[int], answers: Sequence[Collection[int]]) -> tuple[list[int], list[int]]:
    """Order the paired seeds of an arm by the answer that had them first: (seeds, how many each look had).

    answers: the seeds that each earlier answer had of the arm and of its baseline. The last look is the present one. An
    earlier answer counts if it had some of the seeds and not all of them.
    """
    ordered: list[int] = []
    counts: list[int] = []
    for answer in answers:
        new = sorted((set(answer) & set(seeds)) - set(ordered))
        ordered += new
        if new and len(ordered) < len(seeds):
            counts.append(len(ordered))
    ordered += sorted(set(seeds) - set(ordered))
    return ordered, [*counts, len(seeds)]


def correct_for_looks(row: dict[str, Any], differences: np.ndarray, resolution: float, looks: Sequence[int]) -> None:
    """Correct p and the interval of a row of the summary. differences [n]: in the order of `looks_at`.

    Adds looks, p_uncorrected, and `level`: what each look may have in the place of `ALPHA`.
    """
    p, level = undeclared_looks_p(differences, looks, resolution)
    low, high = bootstrap_interval(differences, 1 - level)
    row |= {
        "p_uncorrected": row["p"], "p": p, "level": level, "difference_ci_low": low, "difference_ci_high": high,
        "looks": ", ".join(map(str, looks)),
    }  # fmt: skip


def corrected_equivalence(p: float, level: float) -> float:
    """Return p of equivalence as strict as the level of each look asks for."""
    return min(1.0, p * ALPHA / level) if level > 0 else 1.0

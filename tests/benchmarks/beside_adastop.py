"""The same simulated studies for a paired design of this project and for AdaStop, which compares unpaired agents.

Source: Mathieu, Della Vecchia, Shilova, Centa de Medeiros, Kohler, Maillard and Preux 2024, "AdaStop: Adaptive
Statistical Testing for Sound Comparisons of Deep RL Agents".
"""

import warnings
from dataclasses import dataclass

import numpy as np

from pipeline.stats.intervals import ALPHA
from pipeline.stats.sequential import Design, toss_signs
from tests.benchmarks.simulated import DRIFT, SPENDINGS, looks_that_end

GROUP, GROUPS = 5, 6  # as AdaStop's authors use it
LOOKS = tuple(GROUP * k for k in range(1, GROUPS + 1))
EFFECT = DRIFT * np.sqrt(2 / LOOKS[-1])  # in standard deviations of an arm: 80 % power without looks, if uncorrelated
ADASTOP_ALPHA = ALPHA / 2  # version 0.1.3 holds an absolute difference to quantiles of signed ones: it spends it twice


@dataclass(frozen=True)
class Beside:
    """Of one test: the share of studies that find a difference, and the seeds per arm used on average."""

    found: float
    seeds: float


def beside_adastop(
    correlation: float, effect: float, studies: int, adastop_alpha: float = ADASTOP_ALPHA, paths: int = 2000
) -> dict[str, Beside]:
    """Simulate a baseline and an arm whose values of one seed are correlated: name of a test -> what it makes of them.

    All tests look after 5, 10, ..., 30 seeds. An arm's values have variance 1: a part `correlation` of it is the
    seed's, the same in both arms. `broken` is ours with the pairs broken up, so without what pairing adds.
    """
    rng, names = np.random.default_rng(25), (*SPENDINGS, *(f"{name}, broken" for name in SPENDINGS), "adastop")
    found: dict[str, list[tuple[bool, int]]] = {name: [] for name in names}
    for study in range(studies):
        values = np.sqrt(correlation) * rng.normal(size=LOOKS[-1]) + np.sqrt(1 - correlation) * rng.normal(
            size=(2, LOOKS[-1])
        )
        arm, base = values[0] + effect, values[1]
        for suffix, differences in (("", arm - base), (", broken", arm - rng.permutation(base))):
            tossed = toss_signs(differences, LOOKS, paths=paths, seed=study)
            for name in SPENDINGS:
                end = looks_that_end(tossed, Design(LOOKS, ALPHA, name), [ALPHA])[0]
                found[name + suffix].append((end < GROUPS, LOOKS[min(end, GROUPS - 1)]))
        found["adastop"].append(run_adastop(arm, base, adastop_alpha, study))
    return {name: Beside(*map(float, np.mean(rows, axis=0))) for name, rows in found.items()}


def run_adastop(arm: np.ndarray, base: np.ndarray, alpha: float, seed: int) -> tuple[bool, int]:
    """Run AdaStop on values [30] of two arms: whether it finds a difference, and the seeds per arm that it used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an escape in its source, where it is compiled anew
        from adastop import MultipleAgentsComparator

    test = MultipleAgentsComparator(n=GROUP, K=GROUPS, B=10_000, alpha=alpha, seed=seed)
    for n in LOOKS:
        test.partial_compare({"arm": arm[:n], "base": base[:n]}, verbose=False)
        if test.is_finished:
            break
    return "equal" not in test.decisions.values(), test.k * GROUP

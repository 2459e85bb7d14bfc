"""Several studies together: do the arms that all of them have differ from study to study in the same way?

Each study ranks its arms by their means, 1 the best, in the direction of its own metric. Friedman's test, as Iman and
Davenport corrected it, asks whether mean ranks differ at all; Nemenyi's critical difference, which of them do. Source:
Demsar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets".
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.curves import higher_is_better
from pipeline.analysis.formatting import p_value
from pipeline.errors import ConfigError
from pipeline.stats.friedman import fewest_studies, friedman
from pipeline.stats.intervals import ALPHA, RESOLUTION

FEW = 4  # names in a message


@dataclass(frozen=True)
class Ranking:
    """What several studies say together."""

    studies: list[str]
    said: list[str]
    table: pd.DataFrame  # a row per arm and study: arm, study, metric, mean, rank, mean_rank; best first; may be empty


def common_arms(answers: list[Comparison]) -> list[str]:
    """The arms that every study compares by its metric, or that diverged in it.

    Raises ConfigError when the studies have none in common: arms are the same if all that was set for them is.
    """
    names = [[name for name in found.names if name in set(found.chosen["arm"])] for found in answers]
    shared = [name for name in names[0] if all(name in others for others in names[1:])]
    if not shared:
        there = "; ".join(f"{found.study} has {_few(arms)}" for found, arms in zip(answers, names, strict=True))
        raise ConfigError(f"study: no arm is in every one of these studies: {there}")
    return shared


def _few(names: list[str]) -> str:
    rest = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {rest} more" if rest > 0 else "") if names else "none"


def rank_arms(answers: list[Comparison]) -> Ranking:
    """Rank the arms that two or more studies have in common. Raises ConfigError when there is none."""
    arms, studies = common_arms(answers), [found.study for found in answers]
    means = np.array([found.chosen.set_index("arm")["mean"].reindex(arms) for found in answers], np.float64)
    if len(arms) < 2:
        said = [f"Over {len(studies)} studies nothing is ranked: {arms[0]} is the only arm that all of them have."]
        return Ranking(studies, said, _table(answers, [], means, np.empty((len(studies), 0))))
    places = np.array([_places(row, higher_is_better(a.metric)) for row, a in zip(means, answers, strict=True)])
    found = friedman(places, higher_is_better=False)
    table = _table(answers, arms, means, np.array([_ranks(row) for row in places]))
    return Ranking(studies, [*_words(arms, len(studies), found), *_remarks(answers, arms)], table)


def _places(means: np.ndarray, higher: bool) -> np.ndarray:
    """Whole numbers [k] in the order of the means, less the better; equal where rounding alone tells means apart.

    An arm without a mean, since all its runs diverged, comes last.
    """
    worth = np.where(np.isnan(means), np.inf, -means if higher else means)
    order = np.argsort(worth, kind="stable")
    known = np.abs(means[~np.isnan(means)])
    with np.errstate(invalid="ignore"):  # of two that diverged
        gaps = np.diff(worth[order], prepend=worth[order][:1])
    steps = np.cumsum(np.nan_to_num(gaps, nan=0.0, posinf=np.inf) > RESOLUTION * known.max(initial=0))
    places = np.empty(len(means))
    places[order] = steps
    return places


def _ranks(places: np.ndarray) -> np.ndarray:
    """Ranks [k] from 1; equal places share the mean of theirs."""
    return np.array([np.sum(places < place) + (np.sum(places == place) + 1) / 2 for place in places])


def _table(answers: list[Comparison], arms: list[str], means: np.ndarray, placed: np.ndarray) -> pd.DataFrame:
    overall = placed.mean(0)
    rows = [
        {"arm": arms[j], "study": found.study, "metric": found.metric, "mean": means[i, j], "rank": placed[i, j],
         "mean_rank": overall[j]}
        for j in np.argsort(overall, kind="stable") for i, found in enumerate(answers)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _words(arms: list[str], n: int, found: dict) -> list[str]:
    """What Friedman's test and Nemenyi's difference say of n studies."""
    k, means, critical = len(arms), found["ranks"], found["critical_difference"]
    p = found["p"]
    order = np.argsort(means, kind="stable")
    listed = ", ".join(f"{arms[j]} {means[j]:.2f}" for j in order)
    ratio = f"{found['F']:.2f}" if np.isfinite(found["F"]) else "infinite, as all studies rank alike"
    tests = f"Friedman's chi2 = {found['chi2']:.2f}, Iman and Davenport's F = {ratio}, p {p_value(p, '= ')}"
    apart = [(i, j) for i, j in combinations(order, 2) if means[j] - means[i] >= critical]
    fewest = fewest_studies(k)
    if n < fewest:
        answer = f"Undecided: {n} studies can never show that two of {k} arms differ, {fewest} are the fewest"
    elif p > ALPHA:
        answer = f"Undecided: the mean ranks of {k} arms over {n} studies are no further apart than chance puts them"
    elif not apart:
        answer = f"The arms differ over {n} studies, but no two by as much as the critical difference"
    else:
        pairs = "; ".join(f"{arms[i]} is better than {arms[j]}" for i, j in apart)
        answer = f"Over {n} studies, by more than the critical difference: {pairs}"
    return [
        f"{answer}.",
        f"Mean ranks over {n} studies, 1 the best: {listed}.",
        f"{tests}; Nemenyi's critical difference of two mean ranks is {critical:.2f} at 5 %.",
    ]


def _remarks(answers: list[Comparison], arms: list[str]) -> list[str]:
    said = []
    for found in answers:
        runs = {arm.name: arm for arm in found.arms if arm.name in arms and arm.diverged}
        last = [name for name, arm in runs.items() if not arm.complete]
        some = [name for name, arm in runs.items() if arm.complete]
        if last:
            said.append(f"{found.study}: every run of {', '.join(last)} diverged, which ranks last.")
        if some:
            said.append(f"{found.study}: some runs of {', '.join(some)} diverged, and are in no mean that is ranked.")
    left = {found.study: [name for name in found.names if name not in arms] for found in answers}
    if out := "; ".join(f"{', '.join(names)} of {study}" for study, names in left.items() if names):
        said.append(f"Not ranked, since not every study has them: {out}.")
    return said

"""Rank the arms of several studies: do their mean ranks differ, and which of them?

Each study ranks its arms by their means, 1 the best, in the direction of its own metric. Friedman's test, with Iman and
Davenport's correction, asks whether mean ranks differ at all; Nemenyi's critical difference, which of them do. Source:
Demsar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets".
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.arms import Arm
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.formatting import p_value
from pipeline.config.short_names import shared_overrides, without
from pipeline.errors import ConfigError
from pipeline.stats.friedman import fewest_studies, friedman
from pipeline.stats.intervals import ALPHA, RESOLUTION

MOST_NAMED = 4  # arms of a study that an error message names
OF_DATA_AND_MODEL = ("data.", "model.", "data=", "model=")  # overrides in which studies differ anyway


@dataclass(frozen=True)
class Ranking:
    """The arms of several studies, ranked.

    table: a row per arm and study, best arm first: arm, study, metric, mean, rank, mean_rank; may be empty.
    """

    studies: list[str]
    sentences: list[str]
    table: pd.DataFrame


def common_arms(comparisons: list[Comparison]) -> list[str]:
    """The arms that every study compares by its metric, or that diverged in it.

    Arms are the same if they have the same overrides but for those of data and model, see `names_across`. Raises
    ConfigError when the studies have none in common.
    """
    across = zip(comparisons, names_across(comparisons), strict=True)
    names = [[names[name] for name in c.study.arm_names if name in set(c.chosen["arm"])] for c, names in across]
    shared = [name for name in names[0] if all(name in others for others in names[1:])]
    if not shared:
        _refuse_other_settings(comparisons)
        listed = "; ".join(f"{c.study.name} has {_few(arms)}" for c, arms in zip(comparisons, names, strict=True))
        raise ConfigError(f"study: no arm is in every one of these studies: {listed}")
    return shared


def _refuse_other_settings(comparisons: list[Comparison]) -> None:
    """Raise ConfigError where nothing but settings that all arms of a study share makes its arms others.

    Such a ranking would compare an arm at one setting with another arm at another one.
    """
    names = [{without(arm.whole.text, frozenset(c.study.shared)) for arm in c.study.arms} for c in comparisons]
    if not set.intersection(*names):
        return
    by_study = [{text for text in c.study.shared if not text.startswith(OF_DATA_AND_MODEL)} for c in comparisons]
    differing = sorted(set.union(*by_study) - set.intersection(*by_study))
    keys = dict.fromkeys(text.partition("=")[0] for text in differing)
    listed = ", ".join(f"{_few([_setting(c, key) for key in keys])} in {c.study.name}" for c in comparisons)
    raise ConfigError(f"study: all arms have {listed}; ranks take studies of the same settings; allowed: study=... for "
                      "each by itself, or one of them trained again with the other's")  # fmt: skip


def _setting(comparison: Comparison, key: str, arm: Arm | None = None) -> str:
    """A setting of a study, `training.epochs=5`, as an arm has it, by default the first; of a group, its class."""
    value: Any = (arm or comparison.study.arms[0]).runs[0].meta["config"]
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value = value.get("class_name") or value.get("name")
    return f"{key}={value}"


def names_across(comparisons: list[Comparison]) -> list[dict[str, str]]:
    """Per study: the name of an arm there -> its name among all these studies.

    That leaves out the overrides that all arms of all studies share, and those of data and model that all arms of its
    study share, in which studies differ anyway.
    """
    shared = shared_overrides(arm.whole.text for c in comparisons for arm in c.study.arms)
    names = []
    for c in comparisons:
        left_out = shared | {text for text in c.study.shared if text.startswith(OF_DATA_AND_MODEL)}
        names.append({arm.name: without(arm.whole.text, left_out) for arm in c.study.arms})
    return names


def _few(names: list[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "") if names else "none"


def rank_arms(comparisons: list[Comparison]) -> Ranking:
    """Rank the arms that two or more studies have in common. Raises ConfigError when there is none."""
    arms, studies = common_arms(comparisons), [c.study.name for c in comparisons]
    across = zip(comparisons, names_across(comparisons), strict=True)
    by_name = [c.chosen.set_index("arm")["mean"].rename(index=names) for c, names in across]
    means = np.array([column.reindex(arms) for column in by_name], np.float64)
    if len(arms) < 2:
        sentence = f"Over {len(studies)} studies nothing is ranked: {arms[0]} is the only arm that all of them have."
        return Ranking(studies, [sentence], _table(comparisons, [], means, np.empty((len(studies), 0))))
    rows = zip(means, comparisons, strict=True)
    places = np.array([_places(row, c.study.higher_is_better) for row, c in rows])
    tests = friedman(places, higher_is_better=False)
    table = _table(comparisons, arms, means, np.array([_ranks(row) for row in places]))
    sentences = [*_test_sentences(arms, len(studies), tests), *_remarks(comparisons, arms)]
    return Ranking(studies, sentences, table)


def _places(means: np.ndarray, higher: bool) -> np.ndarray:
    """Order means [k]: whole numbers [k], smaller is better, equal where rounding alone tells means apart.

    An arm without a mean, since all its runs diverged, comes last.
    """
    cost = np.where(np.isnan(means), np.inf, -means if higher else means)
    order = np.argsort(cost, kind="stable")
    sizes = np.abs(means[~np.isnan(means)])
    with np.errstate(invalid="ignore"):  # the gap between two arms that diverged
        gaps = np.diff(cost[order], prepend=cost[order][:1])
    steps = np.cumsum(np.nan_to_num(gaps, nan=0.0, posinf=np.inf) > RESOLUTION * sizes.max(initial=0))
    places = np.empty(len(means))
    places[order] = steps
    return places


def _ranks(places: np.ndarray) -> np.ndarray:
    """Ranks [k] from 1; equal places share the mean of their ranks."""
    return np.array([np.sum(places < place) + (np.sum(places == place) + 1) / 2 for place in places])


def _table(comparisons: list[Comparison], arms: list[str], means: np.ndarray, ranks: np.ndarray) -> pd.DataFrame:
    """The table of a `Ranking`. means, ranks: [studies, arms]."""
    mean_ranks = ranks.mean(0)
    rows = [
        {"arm": arms[j], "study": c.study.name, "metric": c.study.metric, "mean": means[i, j], "rank": ranks[i, j],
         "mean_rank": mean_ranks[j]}
        for j in np.argsort(mean_ranks, kind="stable") for i, c in enumerate(comparisons)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _test_sentences(arms: list[str], n: int, tests: dict) -> list[str]:
    """What Friedman's test and Nemenyi's difference say about n studies: the answer, the mean ranks, the tests."""
    k, mean_ranks, critical, p = len(arms), tests["ranks"], tests["critical_difference"], tests["p"]
    order = np.argsort(mean_ranks, kind="stable")
    apart = [(i, j) for i, j in combinations(order, 2) if mean_ranks[j] - mean_ranks[i] >= critical]
    fewest = fewest_studies(k)
    if n < fewest:
        answer = (
            f"Undecided: {n} studies are too few to show that any two of {k} arms differ; it takes {fewest} or more"
        )
    elif p > ALPHA:
        answer = f"Undecided: over {n} studies the mean ranks of {k} arms differ no more than by chance"
    elif not apart:
        answer = f"The arms differ over {n} studies, but no two by as much as the critical difference"
    else:
        pairs = "; ".join(f"{arms[i]} is better than {arms[j]}" for i, j in apart)
        answer = f"Over {n} studies, by more than the critical difference: {pairs}"
    listed = ", ".join(f"{arms[j]} {mean_ranks[j]:.2f}" for j in order)
    ratio = f"{tests['F']:.2f}" if np.isfinite(tests["F"]) else "infinite, as all studies rank alike"
    statistics = f"Friedman's chi2 = {tests['chi2']:.2f}, Iman and Davenport's F = {ratio}, p {p_value(p, '= ')}"
    return [
        f"{answer}.",
        f"Mean ranks over {n} studies, 1 the best: {listed}.",
        f"{statistics}; Nemenyi's critical difference of two mean ranks is {critical:.2f} at 5 %.",
    ]


def _remarks(comparisons: list[Comparison], arms: list[str]) -> list[str]:
    """Which arms diverged, and which are not ranked."""
    remarks, across = [], names_across(comparisons)
    for c, names in zip(comparisons, across, strict=True):
        diverged = [arm for arm in c.study.arms if names[arm.name] in arms and arm.diverged]
        all_runs = ", ".join(names[arm.name] for arm in diverged if not arm.complete)
        some_runs = ", ".join(names[arm.name] for arm in diverged if arm.complete)
        if all_runs:
            remarks.append(f"{c.study.name}: every run of {all_runs} diverged, which ranks last.")
        if some_runs:
            remarks.append(f"{c.study.name}: some runs of {some_runs} diverged; they enter no mean that is ranked.")
    unranked = {
        c.study.name: [name for name in names.values() if name not in arms]
        for c, names in zip(comparisons, across, strict=True)
    }
    if listed := "; ".join(f"{', '.join(names)} of {study}" for study, names in unranked.items() if names):
        remarks.append(f"Not ranked, since not every study has them: {listed}.")
    return [*remarks, *_other_settings(comparisons)]


def _other_settings(comparisons: list[Comparison]) -> list[str]:
    """The settings of training that one study has otherwise than another one, in a sentence."""
    configs = [c.study.arms[0].runs[0].meta["config"] for c in comparisons]
    groups = ("optimizer", "training")
    keys = dict.fromkeys(f"{group}.{name}" for config in configs for group in groups for name in config.get(group, {}))
    differing = [key for key in keys if len({_setting(c, key) for c in comparisons if not _sweeps(c, key)}) > 1]
    if not differing:
        return []
    listed = "; ".join(f"{c.study.name} has {_few([_setting(c, key) for key in differing])}" for c in comparisons)
    return [f"The studies were not trained alike, and each arm is ranked within its own study: {listed}."]


def _sweeps(comparison: Comparison, key: str) -> bool:
    """Whether the arms of a study differ in a setting, which then is in their names."""
    return len({_setting(comparison, key, arm) for arm in comparison.study.arms}) > 1

"""Several studies: ranks, Friedman's test and Nemenyi's difference of what is stored, and words that claim no more."""

import re
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from factories import DEMSAR, put

from pipeline import compare
from pipeline.analysis.across_studies import Ranking, rank_arms
from pipeline.analysis.comparison import compare_study
from pipeline.stats.friedman import fewest_studies, nemenyi
from pipeline.store.runs import RunStore

ARMS = ("zeros", "ones", "he_normal", "no_bias")


def put_table(results: Path, table: np.ndarray, arms: tuple[str, ...] = ARMS) -> list[str]:
    """A study per row of test accuracies, of one seed; their names."""
    names = [f"study{i:02d}" for i in range(len(table))]
    for name, row in zip(names, table, strict=True):
        for arm, accuracy in zip(arms, row, strict=False):
            put(results, arm, 0, float(accuracy), study=name)
    return names


def ranked(results: Path, names: list[str], metric: str = "") -> Ranking:
    return rank_arms([compare_study(RunStore(results, name), "zeros", metric) for name in names])


def mean_ranks(ranking: Ranking) -> dict[str, float]:
    return ranking.table.groupby("arm")["mean_rank"].first().to_dict()


def test_demsars_example_comes_out_of_stored_runs(tmp_path: Path) -> None:
    """Ranks, chi square, F, p and critical difference are the published ones."""
    ranking = ranked(tmp_path, put_table(tmp_path, DEMSAR))
    expected = dict(zip(ARMS, (3.143, 2.000, 2.893, 1.964), strict=True))
    assert mean_ranks(ranking) == pytest.approx(expected, abs=5e-4)
    assert ranking.sentences == [
        "The arms differ over 14 studies, but no two by as much as the critical difference.",
        "Mean ranks over 14 studies, 1 the best: no_bias 1.96, ones 2.00, he_normal 2.89, zeros 3.14.",
        "Friedman's chi2 = 9.28, Iman and Davenport's F = 3.69, p = 0.02; "
        "Nemenyi's critical difference of two mean ranks is 1.25 at 5 %.",
    ]


def test_arms_that_are_further_apart_are_named(tmp_path: Path) -> None:
    """The pairs of arms that differ by more than the critical difference are named, no others."""
    table = np.tile([0.9, 0.8, 0.7], (12, 1))
    table[::2, 1:] = table[::2, :0:-1]  # ones and he_normal take turns: mean ranks 1, 2.5, 2.5
    ranking = ranked(tmp_path, put_table(tmp_path, table, ARMS[:3]))
    assert nemenyi(12, 3) == pytest.approx(2.343 * (12 / (6 * 12)) ** 0.5, abs=1e-3)  # 0.957
    assert ranking.sentences[0] == (
        "Over 12 studies, by more than the critical difference: zeros is better than ones; "
        "zeros is better than he_normal."
    )


def test_each_study_ranks_in_the_direction_of_its_own_metric(tmp_path: Path) -> None:
    """A mean absolute error is ranked lowest first, an accuracy highest first."""
    for arm, accuracy, error in (("zeros", 0.9, 30.0), ("ones", 0.8, 20.0)):
        put(tmp_path, arm, 0, accuracy, study="classes")
        put(tmp_path, arm, 0, accuracy, study="numbers", metrics={"test_mae": error})
    by_metric = {"classes": "test_accuracy", "numbers": "test_mae"}
    ranking = rank_arms([compare_study(RunStore(tmp_path, s), "zeros", metric) for s, metric in by_metric.items()])
    ranks = ranking.table.set_index(["arm", "study"])["rank"]
    assert (ranks["zeros", "classes"], ranks["ones", "classes"]) == (1, 2)
    assert (ranks["zeros", "numbers"], ranks["ones", "numbers"]) == (2, 1)
    assert set(ranking.table["metric"]) == {"test_accuracy", "test_mae"}


def test_equal_and_diverged_arms_have_their_places(tmp_path: Path) -> None:
    """Means that only rounding tells apart share a rank, and an arm that diverged ranks last."""
    for study in ("first", "second"):
        put(tmp_path, "zeros", 0, float(np.float32(0.9)), study=study)
        put(tmp_path, "ones", 0, 0.9, study=study)
        put(tmp_path, "he_normal", 0, 0.9, study=study, status="diverged")
        put(tmp_path, "lecun_normal", 0, 0.9, study=study, status="diverged")
        put(tmp_path, "no_bias", 0, 0.8, study=study)
    put(tmp_path, "no_bias", 1, 0.8, study="second", status="diverged")
    put(tmp_path, "he_uniform", 0, 0.8, study="second")
    ranking = ranked(tmp_path, ["first", "second"])
    expected = {"zeros": 1.5, "ones": 1.5, "no_bias": 3, "he_normal": 4.5, "lecun_normal": 4.5}
    assert mean_ranks(ranking) == expected
    assert "first: every run of he_normal, lecun_normal diverged, which ranks last." in ranking.sentences
    assert "second: some runs of no_bias diverged; they enter no mean that is ranked." in ranking.sentences
    assert "Not ranked, since not every study has them: he_uniform of second." in ranking.sentences


def test_too_few_studies_are_said_to_be_too_few(tmp_path: Path) -> None:
    """Two studies that agree prove nothing, although F is infinite."""
    ranking = ranked(tmp_path, put_table(tmp_path, np.tile([0.9, 0.8, 0.7], (2, 1)), ARMS[:3]))
    assert (
        ranking.sentences[0]
        == "Undecided: 2 studies are too few to show that any two of 3 arms differ; it takes 3 or more."
    )
    assert "F = infinite, as all studies rank alike, p = 0.17" in ranking.sentences[2]  # 1 in 3!


@pytest.mark.parametrize(("k", "fewest"), [(2, 6), (3, 3), (4, 3)])
def test_the_fewest_studies_are_those_that_could_show_it(k: int, fewest: int) -> None:
    """With that many studies, but not with one less, arms that all studies rank alike can be told apart.

    By counting: how often do all n studies rank k arms alike, of all ways in which they could rank them?
    """
    assert fewest_studies(k) == fewest
    ways = list(permutations(range(k)))

    def alike(n: int) -> float:
        every = [len(set(chosen)) == 1 for chosen in product(ways, repeat=n)]
        return sum(every) / len(every)

    short = alike(fewest - 1) > 0.05 or nemenyi(fewest - 1, k) > k - 1
    assert alike(fewest) <= 0.05 and nemenyi(fewest, k) <= k - 1 and short


def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    capsys.readouterr()
    places = [f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}", "figures=false", "mlflow=false"]
    code = compare.main([*places, *options])
    return code, *capsys.readouterr()


def test_the_command_answers_each_study_and_all_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`study=a,b,a` reports each study once, and prints and writes their ranking within 100 columns."""
    names = put_table(tmp_path / "results", DEMSAR[:4])
    code, out, _ = run(tmp_path, capsys, f"study={','.join([*names, names[0]])}")
    assert code == 0
    for name in names:
        assert f"{name}: test_accuracy against zeros" in out and (tmp_path / "reports" / name / "answer.md").is_file()
    assert "Mean ranks over 4 studies, 1 the best: " in out
    assert max(len(line) for line in out.splitlines() if line[:1] in "┏┃┡│└") <= 100
    assert re.search(r"no_bias   │ 2\.\d\d      │ 0\.798\d* \(1\) ", out)
    written = (tmp_path / "reports" / "studies.md").read_text()
    assert "study00: test_accuracy" in written and "Nemenyi's critical difference" in written
    table = pd.read_csv(tmp_path / "reports" / "studies.csv")
    assert list(table.columns) == ["arm", "study", "metric", "mean", "rank", "mean_rank"] and len(table) == 16
    run(tmp_path, capsys, f"study={names[0]}")
    assert "Mean ranks" not in run(tmp_path, capsys, f"study={names[0]}")[1]


def test_studies_without_a_common_arm_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Arms of different blocks are not the same, and nothing is written before the refusal."""
    for study, arms in (("first", ("zeros", "ones")), ("second", ("zeros,optimizer=sgd", "zeros,optimizer=rmsprop"))):
        for arm in arms:
            put(tmp_path / "results", arm, 0, 0.5, study=study)
    code, out, err = run(tmp_path, capsys, "study=first,second")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err == (
        "study: no arm is in every one of these studies: first has zeros, ones; "
        "second has zeros,optimizer=rmsprop, zeros,optimizer=sgd\n"
    )
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("names", [("training.epochs=5", "training.epochs=10"), ("", "training.epochs=10")])
def test_studies_of_other_settings_are_refused_with_both(
    names: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting, its value in each study, and what to do; also where one of them has the default."""
    for study, block, epochs in zip(("first", "second"), names, (5, 10), strict=True):
        for arm in ("zeros", "ones"):
            name = ",".join(filter(None, [arm, block]))
            put(tmp_path / "results", name, 0, 0.5, study=study, training={"epochs": epochs})
    code, out, err = run(tmp_path, capsys, "study=first,second")
    assert (code, out) == (2, "") and not (tmp_path / "reports").exists()
    assert err == (
        "study: all arms have training.epochs=5 in first, training.epochs=10 in second; ranks take studies of the same "
        "settings; allowed: study=... for each by itself, or one of them trained again with the other's\n"
    )


def test_settings_that_no_name_tells_are_said(tmp_path: Path) -> None:
    """Names of arms made in Python hold none; data and model differ between studies anyway."""
    for study, rate in (("first", 0.1), ("second", 0.01)):
        for arm in ("zeros", "ones"):
            put(tmp_path, arm, 0, 0.5, study=study, optimizer={"learning_rate": rate})
    assert ranked(tmp_path, ["first", "second"]).sentences[-1] == (
        "The studies were not trained alike, and each arm is ranked within its own study: first has "
        "optimizer.learning_rate=0.1; second has optimizer.learning_rate=0.01."
    )


def test_one_common_arm_is_not_ranked(tmp_path: Path) -> None:
    """A single common arm gets no rank, and the answer says why."""
    for study in ("first", "second"):
        put(tmp_path, "zeros", 0, 0.5, study=study)
    answer = ranked(tmp_path, ["first", "second"]).sentences
    assert answer == ["Over 2 studies nothing is ranked: zeros is the only arm that all of them have."]


def test_overrides_of_data_that_a_study_shares_make_no_other_arm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Studies of two files, each with its own target, have their arms in common; other settings still tell arms."""
    for study, block in (("first", ",data.target=y"), ("second", ",data.target=label")):
        for arm in ("zeros", "ones"):
            put(tmp_path / "results", f"{arm}{block}", 0, 0.5, study=study)
            put(tmp_path / "results", f"{arm},optimizer=sgd{block}", 0, 0.5, study=study)
    code, out, _ = run(tmp_path, capsys, "study=first,second")
    assert code == 0
    assert "Not ranked" not in out and "data.target" not in out
    assert "ones,optimizer=sgd" in out

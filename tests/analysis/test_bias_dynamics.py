"""What training did to the biases: drift, angle, signs, half-life, distances between arms, against values by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factories import made_meta, settings

from pipeline.analysis.ablation import ablation_over_seeds, dead_shares
from pipeline.analysis.arms import Arm, load_arms
from pipeline.analysis.bias_dynamics import (
    MOST_EPOCHS,
    MOST_UNITS,
    Trajectories,
    arm_distances,
    bias_trajectories,
    drawn_trajectories,
    drift_table,
    dynamics_table,
    write_bias_values,
)
from pipeline.analysis.bias_wording import ablation_sentences, distance_sentences
from pipeline.store.replaced import write_run
from pipeline.store.runs import RunStore

LSTM = [{"class_name": "LSTM", "config": {"units": 2, "name": "lstm"}}]


def put(
    results: Path, arm: str, seed: int, trajectories: dict[str, Any], layers: list | None = None, **more: Any
) -> None:
    """Store a run with these biases at epoch 0, 1, ...: path -> [T, ...]."""
    arrays: dict[str, np.ndarray] = {}
    for path, values in trajectories.items():
        values = np.float32(values)
        arrays |= {f"before/{path}": values[0], f"after/{path}": values[-1], f"trajectory/{path}": values}
    length = max((len(values) for values in trajectories.values()), default=3)
    meta = made_meta(arm, seed, config=settings(bias_setting=arm.split(",")[0], model={"layers": layers or []}))
    write_run(RunStore(results, "s"), meta, arrays | {"epoch": np.arange(length)}, {"loss": np.zeros(length)})


def arms_of(results: Path) -> tuple[list[Arm], Trajectories]:
    arms = load_arms(RunStore(results, "s"))[0]
    return arms, bias_trajectories(arms)


def test_the_table_against_values_by_hand(tmp_path: Path) -> None:
    """Drift, cosine, sign flips and half-life are the numbers that their definitions give."""
    put(tmp_path, "zeros", 0, {"dense/bias": [[0, 0], [3, 0], [3, 4]]})  # drift 0, 3, 5: half of it by epoch 1
    put(tmp_path, "ones", 0, {"dense/bias": [[1, 1], [1, 1], [-1, 1]]})  # one of two signs; at a right angle
    put(tmp_path, "ones", 1, {"dense/bias": [[1, 1], [1, 1], [1, 1]]})  # not moved: no half-life, no flip, cosine 1
    put(tmp_path, "no_bias", 0, {})
    table = dynamics_table(arms_of(tmp_path)[1]).set_index("arm")
    assert list(table.index) == ["zeros", "ones"]
    assert table.loc["zeros", ["seeds", "drift", "half_life"]].tolist() == [1, 5, 1]
    assert table.loc["zeros", ["cosine", "sign_flips"]].isna().all()  # from zero there is no angle and no sign
    assert table.loc["ones"].drop("layer").tolist() == pytest.approx([2, 1.0, 0.5, 0.25, 2])


def test_drift_by_epoch_is_the_mean_over_seeds(tmp_path: Path) -> None:
    """The curve is the mean distance from the start, with Student's interval."""
    put(tmp_path, "zeros", 0, {"dense/bias": [[0, 0], [3, 4]]})
    put(tmp_path, "zeros", 1, {"dense/bias": [[0, 0], [0, 7]]})
    table = drift_table(arms_of(tmp_path)[1])
    assert table["epoch"].tolist() == [0, 1]
    assert table["drift"].tolist() == [0, 6]
    half = 12.706204736 * 1  # Student's t, 97.5 %, one degree of freedom; the standard error of 5 and 7 is 1
    assert table.iloc[1][["low", "high"]].tolist() == pytest.approx([6 - half, 6 + half])


def test_distances_between_arms_of_one_block(tmp_path: Path) -> None:
    """Distances are means over the seeds that both arms have, and only between arms of one block."""
    put(tmp_path, "zeros", 0, {"dense/bias": [[0, 0], [1, 1]]})
    put(tmp_path, "zeros", 1, {"dense/bias": [[0, 0], [9, 9]]})
    put(tmp_path, "ones", 0, {"dense/bias": [[3, 4], [1, 3]]})
    put(tmp_path, "ones,x=1", 0, {"dense/bias": [[3, 4], [1, 3]]})
    arms, trajectories = arms_of(tmp_path)
    table = arm_distances(trajectories, arms)
    assert table.to_dict("records") == [
        {"arm": "zeros", "other": "ones", "layer": "dense/bias", "seeds": 1, "before": 5.0, "after": 2.0}
    ]
    assert distance_sentences(table, ["zeros"]) == [
        "ones: its biases began 5 away from those of zeros and ended 2 away: training undid 60 % of the difference."
    ]


def test_biases_that_drew_apart_are_not_said_to_have_come_nearer(tmp_path: Path) -> None:
    """Where a distance grew, training undid none of it."""
    put(tmp_path, "zeros", 0, {"dense/bias": [[0, 0], [0, 0]]})
    put(tmp_path, "ones", 0, {"dense/bias": [[3, 4], [6, 8]]})
    put(tmp_path, "same", 0, {"dense/bias": [[0, 0], [0, 2]]})
    arms, trajectories = arms_of(tmp_path)
    assert distance_sentences(arm_distances(trajectories, arms), ["zeros"]) == [
        "ones: its biases began 5 away from those of zeros and ended 10 away: training undid none of the difference.",
        "same: its biases began where those of zeros did and ended 2 away.",
    ]


def test_the_parquet_file_is_tidy(tmp_path: Path) -> None:
    """Each number stands beside its own unit, gate, epoch and seed."""
    values = np.arange(2 * 8).reshape(2, 8)
    put(tmp_path, "zeros", 3, {"lstm/bias": values, "out/bias": [[0.5], [0.25]]}, LSTM)
    put(tmp_path, "no_bias", 3, {})
    path = tmp_path / "biases.parquet"
    write_bias_values(arms_of(tmp_path)[1], path)
    table = pd.read_parquet(path)
    assert list(table) == ["arm", "seed", "layer", "role", "gate", "unit", "epoch", "value"]
    assert len(table) == 2 * 8 + 2
    forget = table[(table["gate"] == "f") & (table["epoch"] == 1)]
    assert forget[["unit", "value"]].to_numpy().tolist() == [[0, 10], [1, 11]]
    assert set(table["seed"]) == {3}
    assert table[table["layer"] == "out/bias"][["gate", "epoch", "value"]].to_numpy().tolist() == [
        ["", 0, 0.5],
        ["", 1, 0.25],
    ]


def test_a_large_study_keeps_the_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a study too large for memory only the first and last epoch are kept, and the drift of all epochs."""
    monkeypatch.setattr("pipeline.analysis.bias_dynamics.MOST_VALUES", 1)
    put(tmp_path, "zeros", 0, {"dense/bias": [[0, 0], [3, 0], [3, 4]]})
    arms, trajectories = arms_of(tmp_path)
    write_bias_values(trajectories, tmp_path / "biases.parquet")
    table = pd.read_parquet(tmp_path / "biases.parquet")
    assert table[["epoch", "value"]].to_numpy().tolist() == [[0, 0], [0, 0], [2, 3], [2, 4]]
    assert drift_table(trajectories)["drift"].tolist() == [0, 3, 5]
    assert len(drawn_trajectories(arms)) == 6


def test_trajectories_are_thinned_for_drawing(tmp_path: Path) -> None:
    """A figure gets a limited number of units and epochs, of the same seed in each arm."""
    values = np.arange(300 * 200).reshape(300, 200)
    put(tmp_path, "zeros", 1, {"dense/bias": values})
    put(tmp_path, "zeros", 2, {"dense/bias": values})
    put(tmp_path, "ones", 2, {"dense/bias": values})
    table = drawn_trajectories(arms_of(tmp_path)[0])
    assert set(table["seed"]) == {2}
    one = table[table["arm"] == "ones"]
    assert (one["unit"].nunique(), one["epoch"].nunique()) == (MOST_UNITS, MOST_EPOCHS)
    assert {0, 299} <= set(one["epoch"])
    assert np.array_equal(one["value"], values[one["epoch"], one["unit"]])


def test_other_biases_are_compared_with_a_models_own(tmp_path: Path) -> None:
    """A change is the mean over seeds from the arm's own biases, and the sentence shows its significant digits."""
    rows = [("zeros", 0, "own", 0.9), ("zeros", 1, "own", 0.7), ("zeros", 0, "ones", 0.8), ("zeros", 1, "ones", 0.5)]
    rows += [("ones", 0, "own", 0.1), ("ones", 0, "zeroed", 0.1), ("ones", 0, "before", 0.0875)]
    table = pd.DataFrame(rows, columns=["arm", "seed", "biases", "test_accuracy"])
    averaged = ablation_over_seeds(table, "test_accuracy").set_index(["arm", "biases"])
    swapped = averaged.loc[("zeros", "ones")]
    assert swapped[["seeds", "mean", "change"]].tolist() == pytest.approx([2, 0.65, -0.15])
    half = 12.706204736 * 0.05  # Student's t, 97.5 %, one degree of freedom; changes of -0.1 and -0.2
    assert swapped[["low", "high"]].tolist() == pytest.approx([-0.15 - half, -0.15 + half])
    assert averaged.loc[("zeros", "own"), ["change", "low", "high"]].isna().all()
    put(tmp_path, "zeros", 0, {})
    put(tmp_path, "ones", 0, {})
    assert ablation_sentences(averaged.reset_index(), load_arms(RunStore(tmp_path, "s"))[0]) == [
        "zeros: test_accuracy 0.800 with its own biases; from ones -0.150.",
        "ones: test_accuracy 0.1000 with its own biases; set to zero 0, put back to where they began -0.0125.",
    ]


def test_biases_that_were_not_tested_are_not_spoken_of(tmp_path: Path) -> None:
    """A model without a test of its own biases, or a test that came to no number, gets no sentence."""
    rows = [
        ("zeros", 0, "ones", 0.8),
        ("ones", 0, "own", 0.1),
        ("ones", 0, "zeroed", np.nan),
        ("ones", 0, "before", 0.2),
    ]
    rows += [("twos", 0, "own", 0.1), ("twos", 1, "zeroed", 0.2)]
    table = pd.DataFrame(rows, columns=["arm", "seed", "biases", "test_accuracy"])
    for arm in ("zeros", "ones", "twos"):
        put(tmp_path, arm, 0, {})
    answer = ablation_sentences(ablation_over_seeds(table, "test_accuracy"), load_arms(RunStore(tmp_path, "s"))[0])
    assert answer == ["ones: test_accuracy 0.100 with its own biases; put back to where they began +0.100."]


def test_dead_units_are_shares_of_a_layer() -> None:
    """Dead units are means of shares, before and after training."""
    rows = [("zeros", seed, "dense", moment, 8, dead)
            for seed in (0, 1) for moment, dead in (("before", 0), ("after", 2 * seed))]  # fmt: skip
    table = dead_shares(pd.DataFrame(rows, columns=["arm", "seed", "layer", "moment", "units", "dead"]))
    assert table.to_dict("records") == [{"arm": "zeros", "layer": "dense", "units": 8, "before": 0, "after": 0.125}]

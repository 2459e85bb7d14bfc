"""`experiment=NAME` replays each published claim: run shortened, and held to formulas that are written down here."""

import math
from pathlib import Path

import numpy as np
import pytest

from pipeline import compare
from pipeline.store.runs import Run, RunStore

SHORT = ("seeds=2", "ablation=false", "training.xla=false")
pytestmark = pytest.mark.slow


@pytest.fixture
def replay(cli, tmp_path: Path, capfd):
    """Train an experiment and compare its studies; returns the page of the claim and the runs by arm."""

    def run(name: str, *words: str, studies: str = "") -> tuple[str, dict[str, list[Run]]]:
        trained = cli(f"experiment={name}", *SHORT, *words)
        assert trained.code == 0, trained.err
        capfd.readouterr()
        results, reports = tmp_path / "results", tmp_path / "out"
        places = [f"results={results}", f"reports={reports}", "mlflow=false", "figures=false"]
        assert compare.main([f"study={studies or name}", *places]) == 0
        out = capfd.readouterr().out
        assert all(word in out for word in ("published", "expected", "ours", "holds?", f"known/{name}.md"))
        runs: dict[str, list[Run]] = {}
        for study in (studies or name).split(","):
            for stored in RunStore(results, study).runs():
                setting = stored.meta["config"]["bias_setting"]
                runs.setdefault(f"{study}/{setting}" if studies else setting, []).append(stored)
        return (reports / "known" / f"{name}.md").read_text(), runs

    return run


def verdicts(page: str) -> list[str]:
    """The last column of the page's table of findings."""
    rows = page.split("holds? |\n|---|---|---|---|---|\n")[1].split("\n\n")[0].splitlines()
    return [row.split("|")[-2].strip() for row in rows]


def test_mean_target(replay) -> None:
    """Each bias follows b <- b - 2 lr (b - ybar), stepped in float64 from the targets of scikit-learn's file."""
    from sklearn.datasets import load_diabetes

    page, runs = replay("mean-target", "training.epochs=20")
    assert set(verdicts(page)) == {"yes"} and len(runs) == 4
    targets = load_diabetes().target
    for run in (run for of_arm in runs.values() for run in of_arm):
        mean = targets[run.rows()["train"]].mean()
        bias = run.biases()["trajectory/output/bias"].ravel()
        expected = [float(bias[0])]
        for _ in range(20):
            expected.append(expected[-1] - 2 * 0.05 * (expected[-1] - mean))
        np.testing.assert_allclose(bias, expected, rtol=1e-4, atol=1e-4)
    assert {round(float(of_arm[0].biases()["before/output/bias"][0])) for of_arm in runs.values()} >= {0, 1, 300}


def test_mean_target_is_not_tested_in_mini_batches(replay) -> None:
    """Where an epoch is several steps the formula does not apply, which is said, not called false."""
    page, _ = replay("mean-target", "training.epochs=2", "training.batch_size=32")
    assert set(verdicts(page)) == {"not tested"} and "an epoch is more than one step" in page


def test_prior_bias(replay) -> None:
    """The first losses are log 2 and the entropy of 1 %, which every seed's stratified training rows have."""
    page, runs = replay("prior-bias", "until=null", "training.epochs=2")
    assert verdicts(page) == ["yes", "yes", "yes", "yes", "undecided", "yes", "undecided"]
    share = 64 / 6400
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    for setting, loss in {"zeros": math.log(2), "class_prior": entropy}.items():
        assert len(runs[setting]) == 2
        for run in runs[setting]:
            assert run.history()["loss"][0] == pytest.approx(loss, abs=1e-6)
            assert len(run.rows()["train"]) == 6400


def test_prior_bias_needs_a_kernel_of_zeros(replay) -> None:
    """With another kernel the first loss is none of the formula's."""
    layers = "model.layers=[{class_name:Dense,config:{name:output}}]"
    page, _ = replay("prior-bias", "until=null", "training.epochs=1", layers)
    assert verdicts(page).count("not tested") == 3 and "does not start at zeros" in page


def test_need_a_bias(replay) -> None:
    """Half of the circles' points are wrong on every seed; the parabola's floor is that of a least-squares fit."""
    studies = "need-a-bias-circles,need-a-bias-parabola"
    page, runs = replay("need-a-bias", studies=studies)
    assert set(verdicts(page)) == {"yes"} and len(verdicts(page)) == 5
    assert page.count("rows are trained on, and the same rows are tested on") == 2
    for run in runs["need-a-bias-circles/no_bias"]:
        assert run.meta["metrics"]["test_accuracy"] == 0.5
    x = np.concatenate([np.arange(-100, 0), np.arange(1, 101)]) / 100
    basis = np.stack([np.maximum(x, 0), np.maximum(-x, 0)], axis=1)
    fit = basis @ np.linalg.lstsq(basis, x**2, rcond=None)[0]
    floor = float(((x**2 - fit) ** 2).mean())
    assert floor >= 1 / 80
    for run in runs["need-a-bias-parabola/no_bias"]:
        assert 1.1 * floor > run.meta["metrics"]["test_loss"] >= floor - 1e-7
    assert all(run.meta["metrics"]["test_loss"] < floor / 10 for run in runs["need-a-bias-parabola/zeros"])


def test_null_controls(replay) -> None:
    """All arms predict the same; the shifted ones keep their constant, and the page says identical by construction."""
    page, runs = replay("null-controls", "training.epochs=3")
    assert set(verdicts(page)) == {"yes"} and len(verdicts(page)) == 3
    assert page.count("identical by construction") >= 3
    for setting, of_arm in runs.items():
        for run, base in zip(of_arm, runs["zeros"], strict=True):
            np.testing.assert_allclose(run.history()["val_loss"], base.history()["val_loss"], atol=1e-5)
            shift = run.biases()["after/output/bias"] - base.biases()["after/output/bias"]
            np.testing.assert_allclose(
                shift, {"output=constant(1)": 1, "output=constant(-5)": -5}.get(setting, 0), atol=1e-4
            )
    assert {"output=constant(1)", "output=constant(-5)"} < set(runs)


def test_before_batchnorm(replay) -> None:
    """The moving mean of the arm is ahead by 1 - 0.99^T of the bias, and the layer itself, in Keras, loses as much."""
    import keras

    page, runs = replay("before-batchnorm", "training.epochs=2,40")
    assert set(verdicts(page)) == {"yes"} and len(verdicts(page)) == 12
    layer = keras.layers.BatchNormalization()
    x = np.random.default_rng(0).standard_normal((64, 1)).astype("float32")
    layer(x + 3, training=True)
    for _ in range(17):
        layer(x + 3, training=True)
    assert float(layer.moving_mean[0]) == pytest.approx((x.mean() + 3) * (1 - 0.99**18), rel=1e-5)
    by_epochs = {
        (setting, run.seed, run.meta["config"]["training"]["epochs"]): run for setting in runs for run in runs[setting]
    }
    for (setting, seed, epochs), run in by_epochs.items():
        base = by_epochs["zeros", seed, epochs]
        np.testing.assert_allclose(run.history()["loss"][1:], base.history()["loss"][1:], atol=1e-6)
        ahead = [next(v for k, v in one.weights().items() if k.startswith("after/") and "moving_mean" in k)
                 for one in (run, base)]  # fmt: skip
        bias = {"zeros": 0, "constant(1)": 1, "constant(3)": 3}[setting]
        np.testing.assert_allclose(ahead[0] - ahead[1], bias * (1 - 0.99 ** (9 * epochs)), atol=1e-4)


def test_framework_defaults(replay) -> None:
    """Every arm but zeros has a line per dataset, and the biases are those of each library's formula."""
    studies = "framework-defaults-wine,framework-defaults-diabetes"
    page, runs = replay("framework-defaults", "data=wine,diabetes", "training.epochs=1", studies=studies)
    assert set(verdicts(page)) == {"undecided"} and len(verdicts(page)) == 12
    for data, features in {"wine": 13, "diabetes": 10}.items():
        limits = {"fan_in_uniform": features**-0.5, "sklearn_uniform": (6 / (features + 64)) ** 0.5}
        for setting, limit in limits.items():
            for run in runs[f"framework-defaults-{data}/{setting}"]:
                bias = np.abs(run.biases()["before/dense/bias"])
                assert 0.8 * limit < bias.max() <= limit


def test_zero_kernels(replay) -> None:
    """With zeros no kernel ever moves; with a constant all units stay one; with random biases they differ."""
    page, runs = replay("zero-kernels", "training.epochs=10")
    assert set(verdicts(page)) == {"yes"} and len(verdicts(page)) == 12
    for setting, of_arm in runs.items():
        for run in of_arm:
            weights = run.weights()
            if np.any(weights["before/dense/kernel"]):
                continue
            after = weights["after/dense/kernel"]
            is_same = bool((after == after[:, :1]).all())
            assert is_same == (not setting.startswith("random_normal"))
            assert bool(np.any(after)) == (setting != "zeros")


def test_highway(replay) -> None:
    """The page's shares are those of the stored biases, and the layer computes H(x) T(x) + x (1 - T(x))."""
    import keras

    from pipeline.examples.highway import Highway

    page, runs = replay("highway", "training.epochs=3")
    assert len(verdicts(page)) == 5 and verdicts(page)[0] == "no claim"
    layer = Highway(bias_initializer=keras.initializers.Constant(-2.0))
    x = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
    y = np.array(layer(x))
    plain, gate = np.split(x @ np.array(layer.kernel), 2, axis=1)
    gate = 1 / (1 + np.exp(2 - gate))
    np.testing.assert_allclose(y, np.tanh(plain) * gate + x * (1 - gate), rtol=1e-4, atol=1e-6)
    for setting in ("constant(-2)", "constant(-4)"):
        shares = []
        for run in runs[setting]:
            arrays = run.biases()
            names = [
                k.removeprefix("before/") for k in arrays if k.startswith("before/highway") and k.endswith("/bias")
            ]
            assert len(names) == 10
            assert all((arrays[f"before/{name}"] == float(setting[9:-1])).all() for name in names)
            lower = [arrays[f"after/{name}"] < arrays[f"before/{name}"] for name in names]
            shares.append(np.mean(lower))
        assert f"gates of {setting}: share that is lower" in page and f"| {np.mean(shares):.4g} [" in page


def test_born_dead(replay) -> None:
    """Dead networks are those whose Keras model gives one output for all inputs; their share is the theory's."""
    page, runs = replay("born-dead", "seeds=30", studies="born-dead-narrow_2,born-dead-narrow_3")
    assert [word for word in verdicts(page) if word == "no"] == [] and len(verdicts(page)) == 6
    for width in (2, 3):
        of_arm = runs[f"born-dead-narrow_{width}/zeros"]
        dead = 0
        for run in of_arm:
            weights = {k.removeprefix("before/"): v for k, v in run.weights().items() if k.startswith("before/")}
            outputs = np.linspace(0.01, 1, 50)[:, None]
            for i in range(10):
                name = "dense" if i == 0 else f"dense_{i}"
                outputs = np.maximum(outputs @ weights[f"{name}/kernel"], 0)
            dead += not outputs.any()
        assert f"{dead} of 30" in page
        alive = (1 - 0.5**width) ** 10
        assert abs(dead / 30 - (1 - alive)) < 4 * (alive * (1 - alive) / 30) ** 0.5


def test_edge_of_chaos(replay) -> None:
    """Before training, the layers from the tenth on have the variance of a network simulated here, ten times wider."""
    sweep = "bias_initializer=zeros,mean_field(variance=0.5)"
    page, runs = replay("edge-of-chaos", "training.epochs=1", sweep, "seeds=3")
    assert verdicts(page)[::2] == ["yes", "yes"] and len(runs) == 2
    rng = np.random.default_rng(0)
    for setting, of_arm in runs.items():
        variance = 0.5 if setting.startswith("mean_field") else 0.0
        h = rng.standard_normal((20, 1280))
        for _ in range(15):
            z = h @ rng.normal(0, (1.5 / h.shape[1]) ** 0.5, (h.shape[1], 1280)) + rng.normal(0, variance**0.5, 1280)
            h = np.tanh(z)
        wide = float((z**2).mean())
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {setting}: variance before")]
        assert float(row.split("q* = ")[1].split(",")[0]) == pytest.approx(wide, rel=0.05)
        bias = np.concatenate([run.biases("before")["before/dense_3/bias"] for run in of_arm])
        assert bias.var() == pytest.approx(variance, rel=0.3)


def test_gates(replay) -> None:
    """Chrono is the first below nine tenths of log 8 on both seeds; biases of 0 never are within five epochs."""
    page, runs = replay("gates", "data=copying", "training.epochs=5", studies="gates-copying")
    beaten = {setting.split("/")[1]: [] for setting in runs}
    for setting, of_arm in runs.items():
        for run in of_arm:
            low = np.asarray(run.history()["val_loss"]) < 0.9 * math.log(8)
            beaten[setting.split("/")[1]].append(int(low.argmax()) if low.any() else None)
    assert beaten["zeros"] == [None, None] and None not in beaten["chrono"]
    steps = 64 * sorted(beaten["chrono"])[0]  # 3,200 training rows in batches of 50
    assert f"| {steps} |" in page and "| gates-copying | zeros | 0 of 2 | never | never | never |" in page
    assert len(verdicts(page)) == 2

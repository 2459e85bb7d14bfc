"""Metrics of stacked seeds are scikit-learn's, over all rows, whatever the batches."""

import warnings

import numpy as np
import pytest
import sklearn.metrics as reference
from factories import compose_config, put_all
from scipy.special import expit, softmax

from pipeline.analysis.curves import higher_is_better
from pipeline.analysis.study import load_study
from pipeline.config.metrics import METRICS, metrics_of
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows, standardized_inputs
from pipeline.errors import ConfigError
from pipeline.runtime.device import start_tensorflow
from pipeline.store.runs import RunStore
from pipeline.training.metrics import stacked_metric
from pipeline.training.objectives import check_objective

N, CLASSES = 301, 7
LABELS = np.arange(CLASSES)

BINARY = {
    "accuracy": lambda y, p: reference.accuracy_score(y, p > 0.5),
    "balanced_accuracy": lambda y, p: reference.balanced_accuracy_score(y, p > 0.5),
    "f1": lambda y, p: reference.f1_score(y, p > 0.5),
    "f1_macro": lambda y, p: reference.f1_score(y, p > 0.5, average="macro"),
    "precision": lambda y, p: reference.precision_score(y, p > 0.5),
    "recall": lambda y, p: reference.recall_score(y, p > 0.5),
    "auc": reference.roc_auc_score,
    "log_loss": reference.log_loss,
}
MULTICLASS = {
    "accuracy": lambda y, p: reference.accuracy_score(y, p.argmax(1)),
    "balanced_accuracy": lambda y, p: reference.balanced_accuracy_score(y, p.argmax(1)),
    "f1": lambda y, p: reference.f1_score(y, p.argmax(1), average="macro"),
    "f1_macro": lambda y, p: reference.f1_score(y, p.argmax(1), average="macro"),
    "precision": lambda y, p: reference.precision_score(y, p.argmax(1), average="macro", zero_division=0),
    "recall": lambda y, p: reference.recall_score(y, p.argmax(1), average="macro", zero_division=0),
    "top_5": lambda y, p: reference.top_k_accuracy_score(y, p, k=5, labels=LABELS),
    "top_2": lambda y, p: reference.top_k_accuracy_score(y, p, k=2, labels=LABELS),
    "log_loss": lambda y, p: reference.log_loss(y, p, labels=LABELS),
}
REGRESSION = {
    "mae": reference.mean_absolute_error,
    "mse": reference.mean_squared_error,
    "rmse": reference.root_mean_squared_error,
    "r2": reference.r2_score,
}
TASKS = {"binary": BINARY, "multiclass": MULTICLASS, "regression": REGRESSION}


def made(case):
    """(task, y, predictions) of a case, for three seeds that differ: [3, rows], [3, rows, outputs]."""
    random = np.random.default_rng(5)
    if case == "regression":
        y = random.normal(size=(3, N, 1)).astype(np.float32)
        return case, y, y + random.normal(size=y.shape).astype(np.float32) * 0.7
    if case == "several targets, far from 0":
        y = (2000 + np.array([1, 5, 20]) * random.normal(size=(3, N, 3))).astype(np.float32)
        return "regression", y, y + random.normal(size=y.shape).astype(np.float32)
    if case == "multiclass":
        y = random.integers(0, CLASSES - 1, (3, N, 1))  # of the last class there is no row
        scores = random.normal(size=(3, N, CLASSES)) * 2 + 2 * (y == LABELS)
        scores[..., 4] -= 20  # and this one is never predicted
        return case, y, np.float32(softmax(scores, -1))
    y = random.integers(0, 2, (3, N, 1))
    first = np.float32(expit(3 * random.normal(size=(3, N, 1)) + 4 * (y - 0.7)))
    return "binary", y, first if case == "binary" else np.concatenate([1 - first, first], -1)


@pytest.mark.parametrize("case", ["binary", "two units", "multiclass", "regression", "several targets, far from 0"])
def test_metrics_are_those_of_scikit_learn(case):
    """Every metric of the table, over rows that come in three batches, the last one padded."""
    import tensorflow as tf

    start_tensorflow("cpu")
    task, y, predictions = made(case)
    assert {"top_5" if name == "top_2" else name for name in TASKS[task]} == set(metrics_of(task))
    center = y.mean((0, 1)) if task == "regression" else 0.0
    for name, expected in TASKS[task].items():
        metric = stacked_metric(name, task, predictions.shape[-1], center)
        sums = np.zeros([3, metric.sums.size], np.float32)
        for batch in (slice(0, 128), slice(128, 256), slice(256, 384)):
            rows = np.arange(N)[batch]
            padded = np.pad(rows, (0, 128 - len(rows)))
            counts = tf.constant(np.float32(np.arange(128) < len(rows)))
            sums += metric.sums.add(tf.constant(y[:, padded]), tf.constant(predictions[:, padded]), counts).numpy()
        with warnings.catch_warnings():  # scikit-learn's, of classes that do not occur
            warnings.simplefilter("ignore")
            wanted = [expected(y[i, :, 0] if y.shape[-1] == 1 else y[i], np.squeeze(predictions[i, :, -1:], -1)
                               if case in ("binary", "two units") else predictions[i]) for i in range(3)]  # fmt: skip
        tolerance = 5e-3 if name == "auc" else 2e-6
        np.testing.assert_allclose(metric.result(sums, N), wanted, rtol=tolerance, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (("data=breast_cancer",), tuple(BINARY)),
        (("data=digits",), (*MULTICLASS, "top_3")),
        (("data=diabetes",), tuple(REGRESSION)),
        (("data=diabetes", "data.standardize_target=false"), tuple(REGRESSION)),
    ],
)
def test_a_stack_measures_what_scikit_learn_does(overrides, names):
    """Validation and test metrics of a trained seed are those of its own predictions, in the unit of the targets."""
    from reference import train

    config = compose_config(*overrides, "model=mlp", f"training.metrics=[{','.join(names)}]", "training.epochs=2",
                            "seeds=[0,3]")  # fmt: skip
    models, trained = train(config)
    dataset = load_dataset(config.data)
    split = split_rows(dataset, config.data, config.seeds[1])
    functions = TASKS[dataset.task] | (
        {"top_3": lambda y, p: reference.top_k_accuracy_score(y, p, k=3, labels=range(10)),
         "top_2": lambda y, p: reference.top_k_accuracy_score(y, p, k=2, labels=range(10)),
         "top_5": lambda y, p: reference.top_k_accuracy_score(y, p, k=5, labels=range(10)),
         "log_loss": lambda y, p: reference.log_loss(y, p, labels=range(10))}
        if dataset.task == "multiclass" else {}
    )  # fmt: skip
    measured = {"test": (split.test, trained[1].test)}
    measured["val"] = split.validation, {name: curve[-1] for name, curve in trained[1].history.items()}
    for part, (rows, values) in measured.items():
        outputs = np.asarray(models[1](standardized_inputs(dataset, split, rows)), np.float64)
        if dataset.task == "regression":
            outputs = outputs * split.target_scale + split.target_mean
        outputs = outputs[:, 0] if outputs.shape[1] == 1 else outputs / outputs.sum(1, keepdims=True)
        for name in names:
            wanted = functions[name](dataset.y[rows].reshape(len(rows)), outputs)
            tolerance = 5e-3 if name == "auc" else 2e-5
            np.testing.assert_allclose(values[f"{part}_{name}"], wanted, rtol=tolerance, err_msg=f"{part} {name}")


def test_directions_come_from_the_table():
    """Of whatever a run records, the table says which end is better."""
    for metric in METRICS.values():
        for prefix in ("", "test_", "val_", "best_val_", "area_under_val_"):
            assert higher_is_better(prefix + metric.name) == metric.higher, prefix + metric.name
        assert not higher_is_better(f"epochs_to_val_{metric.name}_0.5")
    lower = ("loss", "test_loss", "initial_loss", "best_val_loss", "epochs_run", "test_log_loss", "test_rmse")
    assert not any(map(higher_is_better, lower))
    assert all(map(higher_is_better, ("test_top_3", "val_top_10", "best_val_r2", "test_f1")))


@pytest.mark.parametrize(("metric", "margin"), [("test_rmse", 0.25), ("test_r2", 0.005), ("test_f1", 0.005)])
def test_errors_in_a_unit_have_a_margin_in_that_unit(tmp_path, metric, margin):
    """Half a percent of the baseline's mean; of shares and scores, 0.005."""
    for arm in ("no_bias", "zeros"):
        put_all(tmp_path, arm, [0.5] * 3, metrics={metric: 50.0})
    assert load_study(RunStore(tmp_path, "s"), "no_bias", metric).margin == margin


@pytest.mark.parametrize(
    ("metrics", "task", "n_classes", "message"),
    [
        (
            "[r2]",
            "multiclass",
            10,
            "training.metrics: r2 given; allowed: auto, or for a multiclass target",
        ),
        (
            "[accuracy,top_5]",
            "binary",
            2,
            "training.metrics: top_5 given; allowed: auto, or for a binary target",
        ),
        ("[top_k]", "multiclass", 10, "top_5"),
        ("[top_10]", "multiclass", 10, "training.metrics: top_10 given, which every prediction is among"),
        ("[auc]", "regression", 0, "mae, mse, rmse, r2"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(metrics, task, n_classes, message):
    """In one line that names those that do."""
    with pytest.raises(ConfigError) as refusal:
        check_objective(compose_config(f"training.metrics={metrics}").training, task, n_classes)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)

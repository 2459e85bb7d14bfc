"""Stacked training gives the numbers of `model.fit`, and the same bytes whoever trains and with whom."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import compose_config

from pipeline import biases, data, experiment, models, runtime, store, training
from pipeline.config import PROJECT
from pipeline.stack import Rows

EPOCHS = 3
METRIC = {"binary": "accuracy", "multiclass": "accuracy", "regression": "mae"}


def stack(config):
    """The models of a config's seeds, and what they train on."""
    runtime.start("cpu")
    dataset = data.load(config.data)
    layers = models.complete(config)
    shape = dataset.x.shape[1:]
    built = [models.build(layers, shape, dataset.task, len(dataset.classes), seed) for seed in config.seeds]
    rows = [data.split(dataset, config.data, seed) for seed in config.seeds]
    return dataset, built, rows


def train(config):
    dataset, built, rows = stack(config)
    trained = training.train(
        built,
        rows,
        dataset.x,
        dataset.y,
        dataset.task,
        len(dataset.classes),
        config.optimizer,
        config.training,
        biases.bias_variables,
    )
    return built, trained


def fit_alone(config, i):
    """What `model.fit` makes of seed number i on the same batches: (model, histories, biases by epoch)."""
    import keras

    dataset, built, rows = stack(config)
    model, r = built[i], rows[i]
    x = (dataset.x - r.mean) / r.scale
    y = np.float32((dataset.y - r.target_mean) / r.target_scale) if dataset.task == "regression" else dataset.y
    loss = {"binary": "binary_crossentropy", "multiclass": "sparse_categorical_crossentropy", "regression": "mse"}
    optimizer = {"Adam": keras.optimizers.Adam, "SGD": keras.optimizers.SGD, "RMSprop": keras.optimizers.RMSprop}
    model.compile(
        optimizer[config.optimizer.class_name](config.optimizer.learning_rate, **config.optimizer.config),
        loss="sparse_categorical_crossentropy" if model.output_shape[-1] > 1 else loss[dataset.task],
        metrics=[METRIC[dataset.task]],
    )
    size, histories, snapshots = config.training.batch_size, [], [biases.extract_biases(model)]
    before = model.evaluate(x[r.train], y[r.train], verbose=0)
    for epoch in range(1, config.training.epochs + 1):
        order = training.batch_order(r.seed, epoch, r.train)
        validation = (x[r.validation], y[r.validation])
        fitted = model.fit(
            x[order], y[order], batch_size=size, shuffle=False, verbose=0, validation_data=validation
        ).history
        histories.append({name: value[0] for name, value in fitted.items()})
        snapshots.append(biases.extract_biases(model))
    test = model.evaluate(x[r.test], y[r.test], verbose=0)
    return model, before, histories, snapshots, test


CASES = {
    "mlp on digits": ("model=mlp",),
    "mlp, sgd with momentum": ("model=mlp", "optimizer=sgd", "optimizer.config.momentum=0.9"),
    "cnn": ("model=cnn", "seeds=[0,3]"),
    "lstm": ("model=lstm",),
    "one sigmoid unit": ("model=mlp", "data=breast_cancer", "optimizer=rmsprop"),
    "two softmax units for two classes": ("model=lesson", "data=trial", "training.batch_size=10"),
    "regression": ("model=mlp", "data=diabetes"),
    "regularizers, batch and layer normalisation": (
        "model=mlp",
        "data=wine",
        "model.layers=[{class_name: Dense, config: {units: 8, kernel_regularizer: l2, bias_regularizer: l1}},"
        " {class_name: BatchNormalization}, {class_name: LayerNormalization}, {class_name: Dense}]",
    ),
}


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES.keys())
def test_the_stack_equals_fit_alone(overrides):
    """One seed of the stack would end elsewhere than `model.fit` on the same batches (relative 1e-5)."""
    config = compose_config("bias_initializer=glorot", "seeds=2", f"training.epochs={EPOCHS}", *overrides)
    built, trained = train(config)
    i = len(config.seeds) - 1
    model, before, histories, snapshots, test = fit_alone(config, i)
    for mine, alone in zip(built[i].variables, model.variables, strict=True):
        close(mine.value, alone.value)
    metric = METRIC[data.load(config.data).task]
    close(trained[i].history["loss"][0], before[0])
    close(trained[i].history[metric][0], before[1])
    for name in ("loss", metric, "val_loss", f"val_{metric}"):
        close(trained[i].history[name][1:], [h[name] for h in histories])
    close([trained[i].test["test_loss"], trained[i].test[f"test_{metric}"]], test)
    for path, trajectory in trained[i].trajectory.items():
        close(trajectory, np.stack([s[path] for s in snapshots]))


def close(mine, reference):
    """Equal to 1e-5 of the reference's largest value."""
    reference = np.asarray(reference, np.float64)
    np.testing.assert_allclose(np.asarray(mine), reference, rtol=1e-5, atol=1e-5 * max(np.abs(reference).max(), 1e-3))


@pytest.mark.parametrize("model", ["mlp", "cnn", "lstm"])
def test_who_trains_beside_a_seed_does_not_matter(model):
    """A seed's numbers would change, in the last bits, with the seeds it is trained together with."""
    common = (f"model={model}", "training.epochs=1")
    alone, _ = train(compose_config(*common, "seeds=[3]"))
    among, _ = train(compose_config(*common, "seeds=[0,1,2,3,9]"))
    for a, b in zip(alone[0].variables, among[3].variables, strict=True):
        np.testing.assert_array_equal(a.value, b.value)


def test_dropout_draws_differently_for_each_seed():
    """All seeds of the stack would drop the same units."""
    layers = "model.layers=[{class_name: Dropout, config: {rate: 0.5}}, {class_name: Dense}]"
    config = compose_config("data=iris", layers, "seeds=2", "training.epochs=1")
    dataset, built, rows = stack(config)
    built[1].set_weights(built[0].get_weights())
    same_rows = [rows[0], Rows(**{**vars(rows[1]), "train": rows[0].train, "seed": rows[0].seed})]
    arguments = (same_rows, dataset.x, dataset.y, dataset.task, len(dataset.classes), config.optimizer, config.training)
    training.train(built, *arguments, lambda model: {})
    assert not np.array_equal(built[0].get_weights()[0], built[1].get_weights()[0])


def test_a_model_that_xla_refuses_trains_without_it(caplog):
    """A layer that XLA cannot compile would end the sweep, or stay silent about it."""
    import tensorflow as tf

    class Refused(tf.errors.UnimplementedError):
        pass

    config = compose_config("data=iris", "model=linear", "seeds=2", "training.epochs=1")
    dataset, built, rows = stack(config)

    def on_epoch(done, total):
        if not caplog.records:
            raise Refused(None, None, "made up")

    with caplog.at_level("INFO", logger="pipeline.training"):
        arguments = (rows, dataset.x, dataset.y, dataset.task, len(dataset.classes), config.optimizer, config.training)
        trained = training.train(built, *arguments, biases.bias_variables, on_epoch)
    assert len(trained) == 2
    assert "trains without it" in caplog.text


def test_two_processes_write_the_same_bytes(tmp_path):
    """The same command in two processes would give results that differ in some byte."""

    def command(name):
        return [sys.executable, "-m", "pipeline.train", "bias_initializer=glorot", "seeds=2", "training.epochs=2",
                f"results={tmp_path / name}", "tracking=none", f"hydra.run.dir={tmp_path / name}-log"]  # fmt: skip

    both = [subprocess.Popen(command(name), cwd=PROJECT, stdout=subprocess.DEVNULL) for name in ("first", "second")]
    assert [process.wait() for process in both] == [0, 0]
    digests = []
    for name in ("first", "second"):
        runs = store.runs(tmp_path / name, "digits-mlp")
        assert [run.seed for run in runs] == [0, 1]
        files = sorted(p for run in runs for p in run.path.iterdir())
        digests.append([(p.parent.name, p.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in files])
    assert digests[0] == digests[1]


def test_what_is_stored_is_what_the_models_end_with(tmp_path):
    """The after-arrays would differ from the trained model's biases, or before from the first of the trajectory."""
    config = compose_config("data=iris", "seeds=2", "training.epochs=2", f"results={tmp_path}", "tracking=none")
    outcome = experiment.run_arm(config)
    built, _ = train(config)
    for run, model in zip(outcome.runs, built, strict=True):
        stored = run.biases()
        expected = {layer.name: np.asarray(layer.bias.value) for layer in model.layers if hasattr(layer, "bias")}
        assert {k for k in stored if k.startswith("after/")} == {f"after/{name}/bias" for name in expected}
        for name, bias in expected.items():
            np.testing.assert_array_equal(stored[f"after/{name}/bias"], bias)
            np.testing.assert_array_equal(stored[f"trajectory/{name}/bias"][-1], bias)
            np.testing.assert_array_equal(stored[f"trajectory/{name}/bias"][0], stored[f"before/{name}/bias"])
        np.testing.assert_array_equal(stored["epoch"], [0, 1, 2])
    assert Path(outcome.runs[0].path).name == "seed=0"

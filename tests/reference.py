"""Reference of the training tests: one seed trained alone by `model.fit`, on the same batches."""

from functools import partial

import numpy as np
from sklearn.utils import class_weight

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows, standardized_inputs, standardized_targets
from pipeline.models.build import build_model
from pipeline.models.spec import complete_layers
from pipeline.runtime.device import start_tensorflow
from pipeline.training.loop import batch_order, train_seeds

EPOCHS = 3


def metrics(config, task):
    """The names of the metrics that a config asks for."""
    names = config.training.metrics
    return ["mae" if task == "regression" else "accuracy"] if names == "auto" else names


def stack(config):
    """(dataset, models, splits) of a config's seeds, not trained."""
    start_tensorflow("cpu")
    dataset = load_dataset(config.data)
    layers = complete_layers(config)
    shape = dataset.x.shape[1:]
    built = [build_model(layers, shape, dataset.task, dataset.n_targets, seed) for seed in config.seeds]
    splits = [split_rows(dataset, config.data, seed) for seed in config.seeds]
    return dataset, built, splits


def train(config):
    """Train a config's seeds together: (models, what each recorded)."""
    dataset, built, splits = stack(config)
    trained = train_seeds(built, splits, dataset, config.optimizer, config.training, bias_variables)
    return built, trained


def compiled(config, i):
    """The i-th seed's model, compiled, and what it is fitted on: (model, split, x, y, weights of the classes)."""
    import keras

    dataset, built, splits = stack(config)
    model, split, rows = built[i], splits[i], np.arange(len(dataset.x))
    x = standardized_inputs(dataset, split, rows)
    y = standardized_targets(dataset, split, rows)
    labels = dataset.y
    if config.training.loss != "auto" and "label_smoothing" in str(config.training.loss):
        y = y if dataset.task == "binary" else keras.utils.to_categorical(y, len(dataset.classes))
        smoothing = config.training.loss["config"]["label_smoothing"]
        kind = "BinaryCrossentropy" if dataset.task == "binary" else "CategoricalCrossentropy"
        loss = getattr(keras.losses, kind)(label_smoothing=smoothing)
    elif config.training.loss == "auto":
        usual = {"binary": "binary_crossentropy", "multiclass": "sparse_categorical_crossentropy", "regression": "mse"}
        two_units = dataset.task == "binary" and model.output_shape[-1] > 1
        loss = "sparse_categorical_crossentropy" if two_units else usual[dataset.task]
    else:
        form = config.training.loss
        loss = form if isinstance(form, str) else getattr(keras.losses, form["class_name"])(**form["config"])
    rate = config.optimizer.learning_rate
    if config.optimizer.schedule:
        schedule = getattr(keras.optimizers.schedules, config.optimizer.schedule["class_name"])
        arguments = config.optimizer.schedule["config"]
        rate = schedule(**arguments) if "values" in arguments else schedule(rate, **arguments)
    weights = config.training.class_weight
    if weights == "balanced":
        weights = class_weight.compute_class_weight("balanced", classes=np.unique(labels), y=labels[split.train])
    names = metrics(config, dataset.task)
    model.compile(
        getattr(keras.optimizers, config.optimizer.class_name)(rate, **config.optimizer.config),
        loss=loss,
        metrics=[_keras_metric(name, dataset, split) for name in names],
    )
    return model, split, x, y, None if weights is None else dict(enumerate(weights))


def fit_alone(config, i):
    """Train the i-th seed by `model.fit`: (model, metrics before, history and biases per epoch, test metrics)."""
    model, split, x, y, weights = compiled(config, i)
    size, histories, snapshots = config.training.batch_size, [], [extract_biases(model)]
    before = model.evaluate(x[split.train], y[split.train], verbose=0)
    for epoch in range(1, config.training.epochs + 1):
        order = batch_order(split.seed, epoch, split.train)
        validation = (x[split.validation], y[split.validation])
        fitted = model.fit(
            x[order],
            y[order],
            batch_size=size,
            shuffle=False,
            verbose=0,
            validation_data=validation,
            class_weight=weights,
        ).history
        histories.append({name: value[0] for name, value in fitted.items()})
        snapshots.append(extract_biases(model))
    test = model.evaluate(x[split.test], y[split.test], verbose=0)
    return model, before, histories, snapshots, test


def fit_stopped(config, i, **early_stopping):
    """Train the i-th seed by one `model.fit` that Keras' EarlyStopping ends, on the same batches.

    Returns (model, best epoch, history, biases per epoch, test metrics).
    """
    import keras
    import tensorflow as tf

    model, split, x, y, weights = compiled(config, i)
    size = config.training.batch_size

    def batches():  # of one epoch after the other
        for epoch in range(1, config.training.epochs + 1):
            order = batch_order(split.seed, epoch, split.train)
            yield from ((x[order[at : at + size]], y[order[at : at + size]]) for at in range(0, len(order), size))

    form = tuple(tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in (x, y))
    steps = -(-len(split.train) // size)
    snapshots = [extract_biases(model)]
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: snapshots.append(extract_biases(model)))
    stop = keras.callbacks.EarlyStopping(restore_best_weights=True, **early_stopping)
    fitted = model.fit(
        tf.data.Dataset.from_generator(batches, output_signature=form), steps_per_epoch=steps, shuffle=False,
        epochs=config.training.epochs, verbose=0, class_weight=weights,
        validation_data=(x[split.validation], y[split.validation]), callbacks=[keep, stop],
    ).history  # fmt: skip
    test = model.evaluate(x[split.test], y[split.test], verbose=0)
    return model, stop.best_epoch + 1, fitted, snapshots, test


def _keras_metric(name, dataset, split):
    """A metric as `compile` takes it; of a regression, in the unit of the targets."""
    import keras

    if name == "auc":
        return keras.metrics.AUC(name="auc")
    if dataset.task != "regression":
        return name
    error = keras.losses.get(name)
    unit = np.float32(split.target_scale)
    return keras.metrics.MeanMetricWrapper(lambda y, outputs: error(y * unit, outputs * unit), name=name)


def assert_equal(config, tolerance=1e-5):
    """Train the seeds of a config together, and the last one alone, and compare all numbers."""
    close = partial(assert_close, tolerance=tolerance)
    built, trained = train(config)
    i = len(config.seeds) - 1
    model, before, histories, snapshots, test = fit_alone(config, i)
    for mine, alone in zip(built[i].variables, model.variables, strict=True):
        close(mine.value, alone.value)
    names = ["loss", *metrics(config, load_dataset(config.data).task)]
    close([trained[i].history[name][0] for name in names], before)
    for name in (*names, *(f"val_{name}" for name in names)):
        close(trained[i].history[name][1:], [h[name] for h in histories])
    close([trained[i].test[f"test_{name}"] for name in names], test)
    for path, trajectory in trained[i].trajectory.items():
        close(trajectory, np.stack([s[path] for s in snapshots]))


def assert_close(mine, reference, tolerance):
    """Equal to within a fraction of the reference's largest value."""
    reference = np.asarray(reference, np.float64)
    np.testing.assert_allclose(
        np.asarray(mine), reference, rtol=tolerance, atol=tolerance * max(np.abs(reference).max(), 1e-3)
    )

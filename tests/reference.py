"""The reference of the training tests: what `model.fit` makes of one seed alone, on the same batches."""

from functools import partial

import numpy as np
from sklearn.utils import class_weight

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.models.build import build_model
from pipeline.models.spec import complete_layers
from pipeline.runtime.device import start_tensorflow
from pipeline.training.loop import batch_order, train_seeds

EPOCHS = 3


def metrics(config, task):
    """The names of the metrics that a config asks for."""
    given = config.training.metrics
    return ["mae" if task == "regression" else "accuracy"] if given == "auto" else given


def stack(config):
    """The models of a config's seeds, and what they train on."""
    start_tensorflow("cpu")
    dataset = load_dataset(config.data)
    layers = complete_layers(config)
    shape = dataset.x.shape[1:]
    built = [build_model(layers, shape, dataset.task, len(dataset.classes), seed) for seed in config.seeds]
    rows = [split_rows(dataset, config.data, seed) for seed in config.seeds]
    return dataset, built, rows


def train(config):
    dataset, built, rows = stack(config)
    trained = train_seeds(
        built,
        rows,
        dataset,
        config.optimizer,
        config.training,
        bias_variables,
    )
    return built, trained


def fit_alone(config, i):
    """What `model.fit` makes of seed number i on the same batches: (model, histories, biases by epoch)."""
    import keras

    dataset, built, rows = stack(config)
    model, r = built[i], rows[i]
    x = (dataset.x - r.mean) / r.scale
    y = np.float32((dataset.y - r.target_mean) / r.target_scale) if dataset.task == "regression" else dataset.y
    labels = dataset.y
    if config.training.loss != "auto" and "label_smoothing" in str(config.training.loss):
        y = y if dataset.task == "binary" else keras.utils.to_categorical(y, len(dataset.classes))
        smoothing = config.training.loss["config"]["label_smoothing"]
        kind = "BinaryCrossentropy" if dataset.task == "binary" else "CategoricalCrossentropy"
        loss = getattr(keras.losses, kind)(label_smoothing=smoothing)
    elif config.training.loss == "auto":
        usual = {"binary": "binary_crossentropy", "multiclass": "sparse_categorical_crossentropy", "regression": "mse"}
        loss = "sparse_categorical_crossentropy" if model.output_shape[-1] > 1 else usual[dataset.task]
    else:
        given = config.training.loss
        loss = given if isinstance(given, str) else getattr(keras.losses, given["class_name"])(**given["config"])
    rate = config.optimizer.learning_rate
    if config.optimizer.schedule:
        schedule = getattr(keras.optimizers.schedules, config.optimizer.schedule["class_name"])
        own = config.optimizer.schedule["config"]
        rate = schedule(**own) if "values" in own else schedule(rate, **own)
    weights = config.training.class_weight
    if weights == "balanced":
        weights = class_weight.compute_class_weight("balanced", classes=np.unique(labels), y=labels[r.train])
    names = metrics(config, dataset.task)
    model.compile(
        getattr(keras.optimizers, config.optimizer.class_name)(rate, **config.optimizer.config),
        loss=loss,
        metrics=[keras.metrics.AUC(name="auc") if name == "auc" else name for name in names],
    )
    size, histories, snapshots = config.training.batch_size, [], [extract_biases(model)]
    before = model.evaluate(x[r.train], y[r.train], verbose=0)
    for epoch in range(1, config.training.epochs + 1):
        order = batch_order(r.seed, epoch, r.train)
        validation = (x[r.validation], y[r.validation])
        fitted = model.fit(
            x[order],
            y[order],
            batch_size=size,
            shuffle=False,
            verbose=0,
            validation_data=validation,
            class_weight=None if weights is None else dict(enumerate(weights)),
        ).history
        histories.append({name: value[0] for name, value in fitted.items()})
        snapshots.append(extract_biases(model))
    test = model.evaluate(x[r.test], y[r.test], verbose=0)
    return model, before, histories, snapshots, test


def assert_equal(config, tolerance=1e-5):
    """Train the seeds of a config together, and the last one alone: all numbers agree."""
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

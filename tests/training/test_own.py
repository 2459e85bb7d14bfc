"""Losses and metrics of the user's own code give the numbers of `model.fit`, or are refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from factories import compose_config
from reference import assert_close, compiled, fit_alone, stack, train

from pipeline.analysis.curves import higher_is_better
from pipeline.errors import ConfigError
from pipeline.models.user_code import load_code
from pipeline.runtime.device import start_tensorflow
from pipeline.training.loop import batch_order
from pipeline.training.objectives import check_objective, check_outputs

CODE = """
import keras
from keras import ops

@keras.saving.register_keras_serializable("mine")
class Asymmetric(keras.losses.Loss):
    def __init__(self, over=2.0, name="asymmetric", **kwargs):
        super().__init__(name=name, **kwargs)
        self.over = over

    def call(self, y_true, y_pred):
        error = y_pred - y_true
        return ops.mean(ops.where(error > 0, self.over * error, -error), axis=1)

@keras.saving.register_keras_serializable("mine")
class Mixing(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_pred - ops.mean(y_true)), axis=-1)

@keras.saving.register_keras_serializable("mine")
class WithinOne(keras.metrics.Metric):
    def __init__(self, width=1.0, name="within", **kwargs):
        super().__init__(name=name, **kwargs)
        self.width = width
        self.inside = self.add_weight(name="inside", initializer="zeros")
        self.all = self.add_weight(name="all", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        inside = ops.cast(ops.max(ops.abs(y_true - y_pred), -1) < self.width, "float32")
        weights = ops.ones_like(inside) if sample_weight is None else ops.cast(sample_weight, "float32")
        self.inside.assign_add(ops.sum(inside * weights))
        self.all.assign_add(ops.sum(weights))

    def result(self):
        return self.inside / self.all

@keras.saving.register_keras_serializable("mine")
class Unweighted(WithinOne):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred)

@keras.saving.register_keras_serializable("mine")
class Largest(WithinOne):
    def update_state(self, y_true, y_pred, sample_weight=None):
        self.all.assign(ops.maximum(self.all, ops.max(ops.abs(y_true - y_pred)[:, 0] * sample_weight)))

@keras.saving.register_keras_serializable("mine")
def cubed(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)

@keras.saving.register_keras_serializable("mine")
def hit(y_true, y_pred):
    return ops.cast(ops.cast(y_true[:, 0], "int64") == ops.cast(ops.argmax(y_pred, axis=-1), "int64"), "float32")

@keras.saving.register_keras_serializable("mine")
def wrapped(y_true, y_pred):
    return keras.metrics.sparse_categorical_accuracy(y_true, y_pred)

@keras.saving.register_keras_serializable("mine")
class Hits(keras.metrics.SparseCategoricalAccuracy):
    pass

@keras.saving.register_keras_serializable("mine")
def flip_aware(y_true, y_pred):
    likeliest = ops.cast(ops.argmax(y_pred, axis=-1), "float32")
    own = keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
    return ops.where(likeliest == ops.cast(y_true[:, 0], "float32"), own, 2 * own)

@keras.saving.register_keras_serializable("mine")
def bent(x):
    return ops.where(x > 0, x, 0.1 * ops.sin(x))

@keras.saving.register_keras_serializable("mine")
class Quartic(keras.regularizers.Regularizer):
    def __init__(self, factor=0.01):
        self.factor = factor

    def __call__(self, x):
        return self.factor * ops.sum(x**4)

    def get_config(self):
        return {"factor": self.factor}

@keras.saving.register_keras_serializable("mine")
class Mute(keras.regularizers.Regularizer):
    def __call__(self, x):
        return ops.sum(x)

@keras.saving.register_keras_serializable("mine")
class Centred(keras.constraints.Constraint):
    def __call__(self, w):
        return w - ops.mean(w, axis=0, keepdims=True)
"""
OWN = "{class_name: 'mine>WithinOne', config: {width: 50.0}, higher_is_better: true}"


@pytest.fixture
def code(tmp_path: Path):
    start_tensorflow("cpu")
    (tmp_path / "mine.py").write_text(CODE)
    (file,) = load_code([str(tmp_path / "mine.py")])
    return vars(file.module)


@pytest.mark.slow
def test_they_equal_fit(code):
    """A loss of its own, a metric from sums and one by row, of a regression in the unit of its target."""
    import keras

    config = compose_config(
        "data=diabetes", "model=mlp", "seeds=[0,2]", "training.epochs=3",
        "training.metrics=[" + OWN + ",'mine>cubed',r2]",
        "training.loss={class_name: 'mine>Asymmetric', config: {over: 3.0}}",
    )  # fmt: skip
    check_objective(config.training, "regression", 0)
    check_outputs(config.training, "regression", 1)
    assert higher_is_better("best_val_within_one") and not higher_is_better("test_cubed")
    built, trained = train(config)
    assert set(trained[1].test) == {"test_loss", "test_within_one", "test_cubed", "test_r2"}
    model, split, x, y, _ = compiled(compose_config("data=diabetes", "model=mlp", "seeds=[0,2]"), 1)
    model.compile(keras.optimizers.Adam(config.optimizer.learning_rate), loss=code["Asymmetric"](over=3.0))
    losses = []
    for epoch in range(1, 4):
        order = batch_order(split.seed, epoch, split.train)
        fitted = model.fit(x[order], y[order][:, None], batch_size=32, shuffle=False, verbose=0)
        losses.append(fitted.history["loss"][0])
    assert_close(trained[1].history["loss"][1:], losses, 1e-5)
    for ours, alone in zip(built[1].weights, model.weights, strict=True):
        assert_close(ours.value, alone.value, 1e-5)
    errors = (model.predict(x[split.test], verbose=0)[:, 0] - y[split.test]) * split.target_scale
    assert_close(trained[1].test["test_within_one"], np.mean(np.abs(errors) < 50), 1e-5)
    assert_close(trained[1].test["test_cubed"], np.mean(np.abs(errors) ** 3), 1e-4)


@pytest.mark.slow
def test_arguments_of_layers_equal_fit(code):
    """An activation, a regularizer with arguments and a constraint without."""
    own = "activation: 'mine>bent', kernel_regularizer: {class_name: 'mine>Quartic', config: {factor: 0.02}}"
    hidden = f"{{class_name: Dense, config: {{units: 6, {own}, kernel_constraint: 'mine>Centred'}}}}"
    layers = f"[{hidden}, {{class_name: Dense}}]"
    config = compose_config("data=iris", f"model.layers={layers}", "seeds=[0,2]", "training.epochs=3")
    built, trained = train(config)
    model, _, histories, _, _ = fit_alone(config, 1)
    assert_close(trained[1].history["loss"][1:], [history["loss"] for history in histories], 1e-5)
    for ours, alone in zip(built[1].weights, model.weights, strict=True):
        assert_close(ours.value, alone.value, 1e-5)
    kernel = np.asarray(built[1].weights[0].value)
    assert abs(kernel.mean(axis=0)).max() < 1e-6  # as the constraint has it


def test_an_argument_without_its_config_is_refused(code):
    """By which the programs of models are told apart."""
    layer = "{class_name: Dense, config: {units: 6, kernel_regularizer: 'mine>Mute'}}"
    with pytest.raises(ConfigError, match=r"^model: mine>Mute given, whose class has no get_config; allowed: one that"):
        stack(compose_config("data=iris", f"model.layers=[{layer}, {{class_name: Dense}}]", "seeds=1"))


@pytest.mark.slow
def test_what_cannot_be_vectorized_is_looped_over_seeds(code, capfd):
    """`argmax` of Keras has no vectorized form: the metric is looped over seeds, with the same value; the model is not.

    A loss with it trains too.
    """
    names = ["hit", "wrapped", "hits"]
    entries = ",".join(f"'mine>{name}'" for name in ("hit", "wrapped", "Hits"))
    config = compose_config(
        "data=digits", "model=mlp", "seeds=[0,2]", "training.epochs=2", "training.loss='mine>flip_aware'",
        f"training.metrics=[accuracy,{entries}]",
    )  # fmt: skip
    check_objective(config.training, "multiclass", 10)
    check_outputs(config.training, "multiclass", 10)
    _, trained = train(config)
    assert "seed by seed" not in "".join(capfd.readouterr())
    for run in trained:
        assert run.test["test_accuracy"] > 0.5
        assert_close([run.test[f"test_{name}"] for name in names], [run.test["test_accuracy"]] * 3, 1e-6)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.loss={class_name: 'mine>Mixing'}", "mine>Mixing given, which mixes the rows of a batch"),
        ("training.metrics=['mine>Unweighted']", "mine>Unweighted given, which does not leave out rows whose"),
        ("training.metrics=['mine>Largest']", "mine>Largest given, whose variables are no sums over rows"),
        ("training.metrics=['mine>Nothing']", "mine>Nothing given, which no file of code registers as a metric"),
        ("training.loss={class_name: 'mine>Nothing'}", "mine>Nothing given, which no file of code registers as a loss"),
        ("training.metrics=[{class_name: 'mine>WithinOne', config: {wide: 1}}]", "which raises "),
        ("training.metrics=[{class_name: 'mine>WithinOne', config: {name: r2}}]", "r2 given; allowed: another name"),
    ],
)  # fmt: skip
def test_what_cannot_be_stacked_is_refused(code, setting, message):
    """Before anything is trained, with the reason."""
    training = compose_config(setting).training
    with pytest.raises(ConfigError) as refusal:
        check_objective(training, "regression", 0)
        check_outputs(training, "regression", 1)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)

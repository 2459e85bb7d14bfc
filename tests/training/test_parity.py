"""Stacked training gives the numbers of `model.fit` on the same batches, to 1e-5, seed by seed.

The fast tier has a small case with XLA and few without; the slow tier has all of them as they run by default.
"""

import pytest
from factories import compose_config
from reference import EPOCHS, assert_equal

WHOLE = ("training.batch_size=383",)  # three whole batches of digits: a smaller fourth would be traced on its own
CASES = {
    "linear": ("model=linear", "data=iris"),
    "mlp on digits": ("model=mlp",),
    "mlp, sgd with momentum": ("model=mlp", "optimizer=sgd", "optimizer.config.momentum=0.9"),
    "cnn": ("model=cnn", "seeds=[0,3]", *WHOLE),
    "lstm": ("model=lstm", *WHOLE),
    "one sigmoid unit": ("model=mlp", "data=breast_cancer", "optimizer=rmsprop"),
    "two softmax units for two classes": ("model=lesson", "data=trial", "training.batch_size=10"),
    "regression": ("model=mlp", "data=diabetes"),
    "regression with a sigmoid": (
        "model=mlp",
        "data=diabetes",
        "training.loss=mae",
        "model.layers=[{class_name: Dense, config: {units: 8}}, "
        "{class_name: Dense, config: {units: 1, activation: sigmoid}}]",
    ),
    "a recurrent layer with a sigmoid last": (
        "model=lstm",
        "data=digits",
        *WHOLE,
        "training.xla=false",
        "model.layers=[{class_name: Reshape, config: {target_shape: [8, 8]}}, "
        "{class_name: SimpleRNN, config: {units: 10, activation: sigmoid}}]",
    ),
    "regression, huber": (
        "model=mlp",
        "data=diabetes",
        "training.loss={class_name: Huber, config: {delta: 0.5}}",
        "training.metrics=[mse,mae]",
        "+optimizer.config={clipnorm: 0.1}",
    ),
    "area under the curve, class weights": (
        "model=mlp",
        "data=breast_cancer",
        "training.metrics=[accuracy,auc]",
        "training.class_weight=[1,3]",
        "+optimizer.config={global_clipnorm: 0.2}",
    ),
    "label smoothing, balanced classes, a schedule": (
        "model=mlp",
        "data=wine",
        "training.loss={class_name: CategoricalCrossentropy, config: {label_smoothing: 0.1}}",
        "training.class_weight=balanced",
        "optimizer.schedule={class_name: ExponentialDecay, config: {decay_steps: 2, decay_rate: 0.5}}",
    ),
    "regularizers, batch and layer normalisation": (
        "model=mlp",
        "data=wine",
        "model.layers=[{class_name: Dense, config: {units: 8, kernel_regularizer: l2, bias_regularizer: l1}},"
        " {class_name: BatchNormalization}, {class_name: LayerNormalization}, {class_name: Dense}]",
    ),
}


FAST = ("one sigmoid unit",)


@pytest.mark.parametrize(
    ("name", "xla"),
    [
        ("linear", "auto"),
        *((name, "false") for name in FAST),
        *(pytest.param(name, "auto", marks=pytest.mark.slow) for name in CASES if name != "linear"),
    ],
)
def test_a_stack_equals_fit(name, xla):
    """Weights, biases at every epoch, losses and metrics are those of `model.fit`."""
    common = ("bias_initializer=glorot", "seeds=2", f"training.epochs={EPOCHS}")
    assert_equal(compose_config(*common, f"training.xla={xla}", *CASES[name]))


SMALL = ("data=iris", "model=linear", "seeds=2", f"training.epochs={EPOCHS}", "training.xla=false")


LOSSES = {
    "mean squared error": ("data=diabetes", "training.loss=mse", "training.metrics=[mae,mse]"),
    "mean absolute error": ("data=diabetes", "training.loss=mean_absolute_error"),
    "two classes, label smoothing": (
        "data=breast_cancer", "training.loss={class_name: BinaryCrossentropy, config: {label_smoothing: 0.2}}",
    ),
    "classes coded one-hot, class weights": (
        "data=wine", "training.loss={class_name: CategoricalCrossentropy, config: {label_smoothing: 0.0}}",
        "training.class_weight=[1,2,0.5]",
    ),
    "a batch larger than the training rows": ("data=wine", "training.batch_size=4000"),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [name if name == "mean squared error" else pytest.param(name, marks=pytest.mark.slow) for name in LOSSES],
)
def test_every_loss_equals_fit(name):
    """Every loss that a task allows is Keras' own, averaged over the same rows."""
    assert_equal(compose_config(*SMALL, *LOSSES[name]))


OPTIMIZERS = {
    "SGD": "{momentum: 0.9, nesterov: true, clipvalue: 0.01}",
    "AdamW": "{weight_decay: 0.1}",
    **dict.fromkeys(("RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion"), "{}"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_equals_fit(name):
    """An optimizer on stacked variables starts and steps as in `model.fit`."""
    options = (f"optimizer.class_name={name}", f"+optimizer.config={OPTIMIZERS[name]}")
    assert_equal(compose_config(*SMALL, *options))


SCHEDULES = {
    "CosineDecay": "{decay_steps: 9, alpha: 0.1, warmup_target: 0.2, warmup_steps: 3}",
    "CosineDecayRestarts": "{first_decay_steps: 4}",
    "InverseTimeDecay": "{decay_steps: 2, decay_rate: 0.5}",
    "PiecewiseConstantDecay": "{boundaries: [2, 7], values: [0.1, 0.01, 0.05]}",
    "PolynomialDecay": "{decay_steps: 7, power: 2.0, cycle: true}",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_equals_fit(name):
    """The learning rate follows its schedule step by step, whole and smaller last batches alike."""
    schedule = f"{{class_name: {name}, config: {SCHEDULES[name]}}}"
    common = (*SMALL, "optimizer=sgd", "optimizer.learning_rate=0.1")
    assert_equal(compose_config(*common, f"optimizer.schedule={schedule}"))

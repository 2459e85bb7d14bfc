"""Stacked training gives the numbers of `model.fit`, and the same bytes whoever trains and with whom."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from factories import compose_config
from reference import EPOCHS, assert_equal, fit_alone, stack, train

from pipeline.biases.extraction import bias_variables
from pipeline.config.schema import PROJECT
from pipeline.data.splits import Split
from pipeline.errors import ConfigError
from pipeline.experiment.run import run_arm
from pipeline.store.runs import RunStore
from pipeline.training.cache import programs
from pipeline.training.loop import train_seeds

WHOLE = ("training.batch_size=383",)  # three whole batches of digits: a smaller fourth would be traced on its own
CASES = {
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


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES.keys())
def test_the_stack_equals_fit_alone(overrides):
    """One seed of the stack would end elsewhere than `model.fit` on the same batches (relative 1e-5)."""
    assert_equal(compose_config("bias_initializer=glorot", "seeds=2", f"training.epochs={EPOCHS}", *overrides))


@pytest.mark.parametrize("model", ["mlp", "cnn", "lstm"])
def test_who_trains_beside_a_seed_does_not_matter(model):
    """A seed's numbers would change, in the last bits, with the seeds it is trained together with."""
    common = (f"model={model}", "training.epochs=1", *(() if model == "mlp" else WHOLE))
    alone, _ = train(compose_config(*common, "seeds=[3]"))
    among, _ = train(compose_config(*common, "seeds=[0,1,2,3,9]"))
    for a, b in zip(alone[0].variables, among[3].variables, strict=True):
        np.testing.assert_array_equal(a.value, b.value)


@pytest.mark.parametrize("own_streams", [True, False])
def test_dropout_draws_for_each_seed_of_a_stack(own_streams):
    """All seeds of a stack would drop the same units: with all else equal, only their streams tell two seeds apart."""
    layers = "model.layers=[{class_name: Flatten}, {class_name: Dropout, config: {rate: 0.5}}, {class_name: Dense}]"
    config = compose_config(layers, "seeds=2", "training.epochs=1", "training.batch_size=383")
    dataset, built, (first, _) = stack(config)
    for theirs, mine in zip(built[1].variables, built[0].variables, strict=True):
        if "kernel" in mine.path or not own_streams:
            theirs.assign(mine)
    both = [first, Split(**{**vars(first), "seed": 1})]  # another place in the same stack
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.training.loop.batch_order", lambda seed, epoch, rows: rows)
        train_seeds(built, both, dataset, config.optimizer, config.training, lambda model: {})
    equal = np.array_equal(built[0].get_weights()[0], built[1].get_weights()[0])
    assert equal != own_streams


def test_dropout_is_distributed_as_in_fit():
    """The share of units dropped, or the scale of the others, would be another than Keras' own."""
    layers = "model.layers=[{class_name: Flatten}, {class_name: Dropout, config: {rate: 0.3}}, {class_name: Dense}]"
    config = compose_config(layers, "seeds=20", "training.epochs=1", "optimizer=sgd", "training.batch_size=1200")
    dataset, built, rows = stack(config)
    train_seeds(built, rows, dataset, config.optimizer, config.training, lambda model: {})
    ours = np.array([model.get_weights()[0] for model in built])
    alone = []
    for seed in config.seeds:
        model, *_ = fit_alone(config, seed)
        alone.append(model.get_weights()[0])
    # One step: the expected change is the same, and its spread over seeds comes from split, kernel and dropout alike.
    start = np.array([model.get_weights()[0] for model in stack(config)[1]])
    steps, theirs = ours - start, np.array(alone) - start
    np.testing.assert_allclose(steps.mean(0), theirs.mean(0), atol=5 * theirs.std(0).max() / np.sqrt(len(start)))
    assert np.corrcoef(steps.ravel(), theirs.ravel())[0, 1] > 0.9
    assert np.linalg.norm(steps) == pytest.approx(np.linalg.norm(theirs), rel=0.03)


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
        arguments = (rows, dataset, config.optimizer, config.training)
        trained = train_seeds(built, *arguments, bias_variables, on_epoch)
    assert len(trained) == 2
    assert "trains without it" in caplog.text


def test_two_processes_write_the_same_bytes(tmp_path):
    """The same command in two processes would give results that differ in some byte."""
    overrides = ("bias_initializer=glorot", "seeds=2", "training.epochs=2", "tracking=none")
    there = [*overrides, f"results={tmp_path / 'first'}", f"hydra.run.dir={tmp_path / 'log'}"]
    other = subprocess.Popen([sys.executable, "-m", "pipeline.train", *there], cwd=PROJECT, stdout=subprocess.DEVNULL)
    run_arm(compose_config(*overrides, f"results={tmp_path / 'second'}"))  # in this one, beside other tests
    assert other.wait() == 0
    digests = []
    for name in ("first", "second"):
        runs = RunStore(tmp_path / name, "digits-mlp").runs()
        assert [run.seed for run in runs] == [0, 1]
        files = sorted(p for run in runs for p in run.path.iterdir())
        digests.append([(p.parent.name, p.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in files])
    assert digests[0] == digests[1]


def test_what_is_stored_is_what_the_models_end_with(tmp_path):
    """The after-arrays would differ from the trained model's biases, or before from the first of the trajectory."""
    config = compose_config("data=iris", "seeds=2", "training.epochs=2", f"results={tmp_path}", "tracking=none")
    outcome = run_arm(config)
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


OPTIMIZERS = {
    "SGD": "{momentum: 0.9, nesterov: true, clipvalue: 0.01}",
    "AdamW": "{weight_decay: 0.1}",
    **dict.fromkeys(("RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion"), "{}"),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_equals_its_own_alone(name):
    """An optimizer would mix the seeds, or start with another state than in `model.fit`."""
    options = (f"optimizer.class_name={name}", f"+optimizer.config={OPTIMIZERS[name]}")
    assert_equal(compose_config(*SMALL, *options))


SCHEDULES = {
    "CosineDecay": "{decay_steps: 9, alpha: 0.1, warmup_target: 0.2, warmup_steps: 3}",
    "CosineDecayRestarts": "{first_decay_steps: 4}",
    "InverseTimeDecay": "{decay_steps: 2, decay_rate: 0.5}",
    "PiecewiseConstantDecay": "{boundaries: [2, 7], values: [0.1, 0.01, 0.05]}",
    "PolynomialDecay": "{decay_steps: 7, power: 2.0, cycle: true}",
}
SMALL = ("data=iris", "model=linear", "seeds=2", f"training.epochs={EPOCHS}", "training.xla=false")


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_equals_its_own_alone(name):
    """A learning rate would not follow its schedule, or each stack would count its steps otherwise."""
    schedule = f"{{class_name: {name}, config: {SCHEDULES[name]}}}"
    assert_equal(
        compose_config(*SMALL, "optimizer=sgd", "optimizer.learning_rate=0.1", f"optimizer.schedule={schedule}")
    )


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


@pytest.mark.parametrize("overrides", LOSSES.values(), ids=LOSSES.keys())
def test_every_loss_equals_its_own_alone(overrides):
    """A loss would be another than Keras', or be averaged over other rows."""
    assert_equal(compose_config(*SMALL, *overrides))


def test_a_sweep_of_four_arms_compiles_twice(tmp_path):
    """XLA would compile an arm anew that has the structure of an earlier one, or recompile at every call."""
    where = [f"results={tmp_path / 'results'}", f"hydra.sweep.dir={tmp_path / 'log'}", "tracking=none"]
    small = ["data=iris", "model=linear", "seeds=22", "training.epochs=3", "runtime=cpu"]  # two stacks
    flags = {"XLA_FLAGS": f"--xla_dump_to={tmp_path / 'xla'} --xla_dump_hlo_as_text"}
    command = [sys.executable, "-m", "pipeline.train", "-m", *small, *where]
    subprocess.run(command, cwd=PROJECT, env=os.environ | flags, check=True, capture_output=True)
    compiled = [p.name for p in (tmp_path / "xla").iterdir() if p.name.endswith("before_optimizations.txt")]
    assert len(compiled) == 2, compiled


def test_arms_of_one_structure_share_a_program():
    """Every arm would be traced and compiled anew."""
    programs.clear()
    for arm in ("bias_initializer=zeros", "bias_initializer=ones", "bias_initializer=glorot", "use_bias=false"):
        train(compose_config("data=iris", "model=linear", "seeds=2", "training.epochs=1", arm))
    assert len(programs) == 2


def test_another_learning_rate_is_the_same_program():
    """Each learning rate of a sweep would be traced and compiled anew, or train at the first one's."""
    programs.clear()
    rates = ("0.001", "0.1")
    common = ("data=iris", "model=linear", "seeds=2", f"training.epochs={EPOCHS}")
    for rate in rates:
        assert_equal(compose_config(*common, f"optimizer.learning_rate={rate}"))
    assert len(programs) == 1


def test_a_second_attempt_starts_where_the_first_one_did():
    """After XLA's refusal, models that had been trained already would be trained further."""
    import tensorflow as tf

    config = compose_config(
        "data=iris", "model=linear", "seeds=[0,20]", "training.epochs=2", "training.seeds_at_once=1"
    )
    expected, _ = train(config)
    dataset, built, rows = stack(config)
    refused = []

    def on_epoch(done, total):
        if done == 3 and not refused:  # one of the two stacks has ended
            refused.append(done)
            raise tf.errors.UnimplementedError(None, None, "made up")

    train_seeds(built, rows, dataset, config.optimizer, config.training, bias_variables, on_epoch)
    assert refused
    for model, other in zip(built, expected, strict=True):
        np.testing.assert_allclose(model.get_weights()[0], other.get_weights()[0], rtol=1e-5)


def test_how_many_train_at_once_does_not_matter():
    """A result would depend on the memory or the cores of a machine."""
    common = ("model=mlp", "training.epochs=1", "seeds=[0,1,20,40,61]")  # three stacks
    once, _ = train(compose_config(*common))
    one_by_one, _ = train(compose_config(*common, "training.seeds_at_once=1"))
    for a, b in zip(once, one_by_one, strict=True):
        for mine, other in zip(a.variables, b.variables, strict=True):
            np.testing.assert_array_equal(mine.value, other.value)


def test_what_does_not_fit_is_refused(monkeypatch):
    """A model too large for the memory would bring the machine down, not give a line that says what to lower."""
    monkeypatch.setattr("pipeline.training.memory.free_memory", lambda: 2**20)
    with pytest.raises(ConfigError, match=r"^training.batch_size, model: .* need about .* GiB, but 0.0 GiB are free"):
        train(compose_config("data=iris", "model=mlp", "training.epochs=1", "training.batch_size=5000"))


PEAK = """
import resource, sys
import psutil
sys.path[:0] = [".", "tests"]
from reference import stack
from pipeline import biases, memory, training
config = compose_config(*sys.argv[1:], "seeds=2", "training.epochs=1")
dataset, built, rows = stack(config)
width = memory.places(built[0], config.training.batch_size)
before = psutil.Process().memory_info().rss
training.train(built, rows, dataset, config.optimizer, config.training, biases.bias_variables)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(memory.stack_bytes(built[0], width, config.training.batch_size), peak - before)
"""
LARGE = {
    "many weights": "{class_name: Flatten}, {class_name: Dense, config: {units: 2000}},"
    " {class_name: Dense, config: {units: 2000}}",
    "large pictures": "{class_name: UpSampling2D, config: {size: 6}},"
    " {class_name: Conv2D, config: {filters: 32, kernel_size: 3}}, {class_name: MaxPooling2D},"
    " {class_name: Conv2D, config: {filters: 64, kernel_size: 3}}, {class_name: Flatten}",
}


@pytest.mark.parametrize("layers", LARGE.values(), ids=LARGE.keys())
def test_the_memory_is_about_what_was_estimated(layers):
    """A stack that does not fit would be started, or one that fits be refused."""
    options = (f"model.layers=[{layers}, {{class_name: Dense}}]", "training.batch_size=128")
    command = [sys.executable, "-c", PEAK, *options]
    done = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True)
    estimated, measured = map(int, done.stdout.split()[-2:])
    assert 0.25 < estimated / measured < 4


@pytest.mark.gpu
def test_a_gpu_gives_the_numbers_of_the_cpu(tmp_path):
    """The same program on a GPU would compute something else, or not run there."""
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU here")
    losses = []
    for device in ("cpu", "gpu"):
        where = [f"runtime={device}", f"results={tmp_path / device}", f"hydra.run.dir={tmp_path / device}-log"]
        command = [sys.executable, "-m", "pipeline.train", "seeds=2", "training.epochs=2", "tracking=none", *where]
        subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
        runs = RunStore(tmp_path / device, "digits-mlp").runs()
        assert all((run.meta["environment"]["device"] == "CPU") == (device == "cpu") for run in runs)
        losses.append([run.meta["metrics"]["test_loss"] for run in runs])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)

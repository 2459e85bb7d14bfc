"""Models, optimizers, losses, metrics and initializers given as objects are the settings that YAML holds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from factories import compose_config
from own_classes import Squares, Within

from pipeline.api.arms import check_several, read_arms
from pipeline.api.classes import own_form
from pipeline.api.data import stage_data
from pipeline.api.losses import loss_settings, metric_settings
from pipeline.api.models import read_model
from pipeline.api.objects import optimizer_settings
from pipeline.api.settings import (
    Question,
    build_configs,
    check_names,
    check_question,
    has_tokens,
    setting_keys,
    standardizing_note,
)
from pipeline.api.stopping import stop_settings, with_callbacks
from pipeline.api.study import Study, UnknownArmError, Verdicts
from pipeline.api.wording import in_python
from pipeline.api.worker import check_metric
from pipeline.config.stopping import complete_stop
from pipeline.errors import ConfigError, PipelineError
from pipeline.experiment.plan import plan_job


@keras.saving.register_keras_serializable("tests")
class Steps(keras.initializers.Initializer):
    """Has no `get_config` of its own, and needs none."""

    def __init__(self, step: float = 0.1) -> None:
        self.step = step

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.cast(np.arange(shape[0]) * self.step, dtype or "float32")


class Forgetful(Steps):
    def get_config(self) -> dict[str, Any]:
        return {}


def dense(*more: Any) -> keras.Sequential:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="relu", name="hidden"), *more])


def test_an_optimizer_is_what_differs_from_its_defaults() -> None:
    """By name, as an object, with numbers as they were typed, and with a schedule."""
    adam = {"class_name": "Adam", "learning_rate": 0.001, "config": {}, "schedule": None}
    assert optimizer_settings("adam") == optimizer_settings(keras.optimizers.Adam()) == adam
    sgd = optimizer_settings(keras.optimizers.SGD(0.3, momentum=0.9, nesterov=True))
    assert sgd == {"class_name": "SGD", "learning_rate": 0.3, "config": {"momentum": 0.9, "nesterov": True},
                   "schedule": None}  # fmt: skip
    decay = keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=10, decay_rate=0.9)
    scheduled = optimizer_settings(keras.optimizers.RMSprop(decay))
    assert scheduled["learning_rate"] == 0.1
    assert scheduled["schedule"] == {"class_name": "ExponentialDecay", "config": {"decay_steps": 10, "decay_rate": 0.9}}


def test_losses_and_metrics() -> None:
    """A loss keeps what differs from its defaults; metrics have this project's names."""
    assert loss_settings("mse") == ("mse", False)
    assert loss_settings(keras.losses.Huber(delta=2.0)) == ({"class_name": "Huber", "config": {"delta": 2.0}}, False)
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert loss_settings(logits) == ("SparseCategoricalCrossentropy", True)
    given = ["acc", keras.metrics.AUC(), keras.metrics.SparseTopKCategoricalAccuracy(k=3), "f1"]
    assert metric_settings(given) == ["accuracy", "auc", "top_3", "f1"]


def test_a_compiled_model_brings_its_settings() -> None:
    """Its optimizer, loss and metrics; outputs that are logits get the activation that metrics need."""
    model = dense(keras.layers.Dense(3, bias_initializer="ones"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    read = read_model(model)
    assert read.compiled["optimizer"]["learning_rate"] == 0.01
    assert read.compiled["training"] == {"loss": "SparseCategoricalCrossentropy", "metrics": ["accuracy"]}
    assert [layer["class_name"] for layer in read.layers] == ["InputLayer", "Dense", "Dense"]
    assert read.layers[2]["config"] == {"units": 3, "activation": "softmax", "name": "dense",
                                        "bias_initializer": {"class_name": "Ones", "config": {}}}  # fmt: skip
    assert list(read.input_shape or ()) == [4]


def test_a_model_is_the_same_however_it_is_given() -> None:
    """Live, built or not, or by a function."""
    layers = read_model(dense()).layers
    assert read_model(lambda: dense()).layers == layers
    unbuilt = keras.Sequential([keras.layers.Dense(8, activation="relu", name="hidden")])
    assert read_model(unbuilt).layers == layers[1:]  # all but the shape of its input
    assert read_model("mlp").option == "mlp"


class Tokens(keras.layers.Layer):
    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.table = keras.layers.Embedding(20, 4)

    def call(self, x: Any) -> Any:
        return self.table(x)


def functional() -> keras.Model:
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Embedding(20, 4)(inputs)))


@pytest.mark.parametrize(("model", "tokens"), [
    (keras.Sequential([keras.Input((6,)), keras.layers.Embedding(20, 4), keras.layers.Dense(2)]), True),
    (keras.Sequential([keras.Input((6,)), Tokens(), keras.layers.Dense(2)]), True),
    (keras.Sequential([keras.Sequential([keras.Input((6,)), keras.layers.Embedding(20, 4)])]), True),
    (functional(), True),
    (dense(), False),
], ids=["first", "in an own layer", "nested", "Functional", "none"])  # fmt: skip
def test_token_ids_stay_whole_numbers(tmp_path: Path, model: Any, tokens: bool) -> None:
    """Wherever the Embedding is that looks them up."""
    x, y = np.arange(120).reshape(20, 6) % 20, np.arange(20) % 2
    read = read_model(model)
    for values in (x, x.astype(np.float32)):
        assert has_tokens(read, stage_data({"data": (values, y)}, None, None, tmp_path)) is tokens


@pytest.mark.slow
def test_the_answer_says_whether_x_was_standardized(tmp_path: Path) -> None:
    """By itself, a Keras user expects, it reaches the model as it is."""
    x, y = np.arange(120).reshape(20, 6) % 20, np.arange(20) % 2
    data = stage_data({"data": (x, y)}, None, None, tmp_path)
    for model, said in ((functional(), "x was left as it is, since"), (dense(), "x was standardized")):
        (config,) = build_configs(read_model(model), data, read_arms(["zeros"]), {}, tmp_path / "results", "")
        assert config.data.standardize is (said == "x was standardized")
        assert standardizing_note(read_model(model), data, config)[0].startswith(f"data: {said}")


class Subclass(keras.Model):
    def call(self, x: Any) -> Any:
        return x


def broken() -> None:
    raise RuntimeError("no data\nhere")


@pytest.mark.parametrize(("model", "line"), [
    (3, "model: int given; allowed: a keras.Sequential or a Functional model, a function that returns one"),
    ("mlpp", "model: mlpp is no .keras or .json file and no name of conf/model; nearest: mlp"),
    ("gone.keras", "model.path: there is no file gone.keras"),
    (broken, "model: broken() raised RuntimeError: no data here"),
    (lambda: None, "model: <lambda>() returned None; allowed: a keras.Sequential"),
    (keras.Sequential(), "model: a model without layers; allowed: a keras.Sequential"),
    (keras.layers.Dense(3), "model: Dense given; allowed: a keras.Sequential"),
    (Subclass(), "model: "),
])  # fmt: skip
def test_what_is_no_model_is_refused(model: Any, line: str) -> None:
    """In one line."""
    with pytest.raises(ConfigError) as refusal:
        read_model(model)
    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)


def test_two_inputs_are_refused() -> None:
    """A study has one array of inputs."""
    a, b = keras.Input((2,)), keras.Input((2,))
    with pytest.raises(ConfigError, match=r"^model: a Functional model with several inputs; allowed: "):
        read_model(keras.Model([a, b], keras.layers.Dense(1)(keras.layers.Concatenate()([a, b]))))


def test_arms() -> None:
    """Names, calls, initializers of Keras and of one's own, no bias, and layers."""
    given = ["no_bias", "zeros", "constant(0.1)", keras.initializers.RandomNormal(stddev=0.2), Steps(0.5), False,
             {"hidden": "ones", "output": keras.initializers.Constant(0.1)}]  # fmt: skip
    arms = read_arms(given)
    assert [arm.use_bias for arm in arms] == [False, True, True, True, True, False, True]
    assert [arm.initializer for arm in arms[:3]] == [None, "zeros", "constant(0.1)"]
    assert arms[3].initializer == {"class_name": "RandomNormal", "config": {"stddev": 0.2}}
    assert arms[4].initializer == {"class_name": "tests>Steps", "config": {"step": 0.5}}
    assert [known.object for known in arms[4].classes] == [Steps]
    output = {"class_name": "Constant", "config": {"value": 0.1}}
    assert arms[6].initializer == {"hidden": "ones", "output": output}


@pytest.mark.parametrize(("arms", "line"), [
    ("zeros", "arms: zeros given; allowed: a list of names such as zeros"),
    ([], "arms: [] given; allowed: a list of names"),
    ([0.1], 'arms: 0.1 given; allowed: "constant(0.1)"'),
    ([None], "arms: None given; allowed: names"),
    ([np.zeros], "arms: zeros given; allowed: names, initializers of Keras, or an object of your own subclass"),
    ([Forgetful(0.3)], "arms: Forgetful loses its step, which is not in its config; allowed: a get_config"),
])  # fmt: skip
def test_what_are_no_arms_is_refused(arms: Any, line: str) -> None:
    """Also an initializer that another process would make with other arguments."""
    with pytest.raises(ConfigError) as refusal:
        read_arms(arms)
    assert str(refusal.value).startswith(line)


def test_a_class_that_changes_is_another() -> None:
    """Its methods, and the values that they read, are part of its digest."""

    def make(scale: float, change: bool = False) -> Any:
        class Own(keras.initializers.Initializer):
            def __call__(self, shape: Any, dtype: Any = None) -> Any:
                return keras.ops.ones(shape) * scale

        if change:
            Own.__call__ = lambda self, shape, dtype=None: keras.ops.zeros(shape) * scale
        return Own()

    digests = [own_form(make(*of), "arms")[1].digest for of in ((0.1,), (0.1,), (0.2,), (0.1, True))]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_messages_speak_of_arguments() -> None:
    """Not of keys, files or values of the command line."""
    line = "training.epochs: 0 given; allowed: a whole number from 1 up"
    assert in_python(line) == "epochs: 0 given; allowed: a whole number from 1 up"
    line = "data.missing: refuse given, but 1f.npz holds 3 missing values (NaN); allowed: data.missing=drop or null"
    assert in_python(line, {"1f.npz": "data"}) == ("data: 3 missing values (NaN); allowed: missing='drop' or None")
    assert in_python("bias_initializer: x given; allowed: use_bias=false") == "arms: x given; allowed: the arm no_bias"


def test_arguments_are_known() -> None:
    """Each is the last word of one key; another one is refused with its nearest."""
    keys = setting_keys()
    assert len(set(keys.values())) == len(keys)
    assert keys["batch_size"] == "training.batch_size" and keys["standardize"] == "data.standardize"
    with pytest.raises(ConfigError, match=r"^batchsize: no such argument; nearest: batch_size"):
        check_names({"batchsize": 3}, ["seeds"])


def test_logits_of_a_functional_model_get_their_softmax() -> None:
    """As those of a Sequential do; only where the last layer is a Dense layer that is called once."""
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(4)(inputs)
    outputs = keras.layers.Dense(3, name="last")(keras.layers.Add()([inputs, hidden]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for model, fits in ((keras.Model(inputs, outputs), True), (keras.Model(inputs, outputs * 2.0), False)):
        model.compile("sgd", loss=loss)
        if not fits:
            with pytest.raises(ConfigError, match="it after a last Dense layer"):
                read_model(model)
            continue
        given = read_model(model)
        (last,) = [x for x in given.layers[0]["config"]["layers"] if x["config"]["name"] == "last"]
        assert last["config"]["activation"] == "softmax" and given.input_shape == (4,)


@pytest.mark.parametrize(("name", "hint"), [
    ("epoch", "nearest: epochs"), ("lr", "allowed: learning_rate"),
    ("validation_split", "allowed: validation_fraction, drawn anew for each seed"),
    ("verbose", "allowed: progress=False"),
    ("patience", 'allowed: stop={"patience": 5}'), ("early_stopping", 'allowed: stop={"patience": 5}'),
])  # fmt: skip
def test_what_keras_calls_otherwise_is_answered_with_the_name_here(name: str, hint: str) -> None:
    """Each name once."""
    with pytest.raises(ConfigError) as refusal:
        check_names({name: 3}, ["epochs", "seeds"])
    assert str(refusal.value).startswith(f"{name}: no such argument; {hint}")
    assert str(refusal.value).count("epochs") <= 1


def test_early_stopping_of_keras_is_a_setting() -> None:
    """As `stop` or among the callbacks, with its arguments."""
    callback = keras.callbacks.EarlyStopping("val_accuracy", 0.01, 3, mode="max", restore_best_weights=True)
    assert with_callbacks({"callbacks": [callback], "lr": 1}) == {"stop": callback, "lr": 1}
    assert with_callbacks({"callbacks": []}) == {}
    stop = {"patience": 3, "monitor": "val_accuracy", "min_delta": 0.01, "mode": "max", "start_from_epoch": 0}
    assert stop_settings(callback) == complete_stop(stop) == stop
    assert stop_settings({"patience": 1}) == {"patience": 1}


@pytest.mark.parametrize(("settings", "line"), [
    ({"callbacks": keras.callbacks.TerminateOnNaN()}, "callbacks: TerminateOnNaN given; allowed: one keras.callbacks."),
    ({"callbacks": [keras.callbacks.EarlyStopping()] * 2}, "callbacks: several ways to stop given"),
    ({"callbacks": [keras.callbacks.EarlyStopping()], "stop": {"patience": 3}}, "callbacks: several ways to stop"),
    ({"callbacks": [keras.callbacks.EarlyStopping()]}, "stop: EarlyStopping(restore_best_weights=False) given"),
    ({"stop": keras.callbacks.EarlyStopping(baseline=1, restore_best_weights=True)}, "stop: EarlyStopping(baseline=1)"),
])  # fmt: skip
def test_a_callback_that_would_do_otherwise_is_refused(settings: dict[str, Any], line: str) -> None:
    """In one line."""
    with pytest.raises(ConfigError) as refusal:
        stop_settings(with_callbacks(settings)["stop"])
    assert str(refusal.value).startswith(line)


@pytest.mark.parametrize("metric", [
    keras.metrics.BinaryAccuracy(threshold=0.9), keras.metrics.Precision(thresholds=0.9),
    keras.metrics.AUC(curve="PR"), keras.metrics.F1Score(average="micro"), keras.metrics.Recall(class_id=1),
])  # fmt: skip
def test_a_metric_with_arguments_that_make_it_another_is_refused(metric: Any) -> None:
    """They would be dropped without a word."""
    with pytest.raises(ConfigError, match=rf"^metrics: {type(metric).__name__}\(\w+=.* with Keras' default of "):
        metric_settings([metric])


def test_arguments_of_metrics_that_change_nothing_are_fine() -> None:
    """Defaults, names, and what the table's metrics do."""
    given = [keras.metrics.BinaryAccuracy("acc", threshold=0.5), keras.metrics.Precision(name="p"),
             keras.metrics.F1Score(average="macro"), keras.metrics.AUC(), keras.metrics.R2Score(),
             keras.metrics.SparseCategoricalCrossentropy()]  # fmt: skip
    assert metric_settings(given) == ["accuracy", "precision", "f1", "auc", "r2", "log_loss"]


@pytest.mark.parametrize(("more", "line"), [
    ({"loss_weights": [3.0]}, "loss_weights: [3.0] given; allowed: none"),
    ({"weighted_metrics": ["acc"]}, "weighted_metrics: "),
])  # fmt: skip
def test_what_compile_weights_is_refused(more: dict[str, Any], line: str) -> None:
    """A weight of 1 is none."""
    model = dense(keras.layers.Dense(1))
    model.compile("adam", "mse", loss_weights=[1.0])
    assert read_model(model).compiled["training"] == {"loss": "mse"}
    model.compile("adam", "mse", **more)
    with pytest.raises(ConfigError) as refusal:
        read_model(model)
    assert str(refusal.value).startswith(line)


@pytest.mark.parametrize(("question", "mlflow", "line"), [
    (Question(margin=-1), False, "margin: -1 given; allowed: a positive number"),
    (Question(margin=float("nan")), False, "margin: "),
    (Question(threshold="a"), False, "threshold: a given; allowed: a number"),  # pyright: ignore
    (Question(), 3, "mlflow: 3 given; allowed: True, False or the address of a server"),
    (Question(), "htp://x", "mlflow: htp://x given; allowed: "),
])  # fmt: skip
def test_a_question_is_checked_first(question: Question, mlflow: Any, line: str) -> None:
    """By the rules of the commands."""
    with pytest.raises(ConfigError) as refusal:
        check_question(question, mlflow)
    assert str(refusal.value).startswith(line)
    check_question(Question(margin=0.1, threshold=0.9), True)


def test_verdicts_name_each_arm_once() -> None:
    """A sentence begins with its arm."""
    verdict = SimpleNamespace(sentence="ones is worse.", verdict="worse")
    bare = SimpleNamespace(sentence="", verdict="baseline")
    shown = repr(Verdicts({"ones": verdict, "zeros": bare}, {}))  # pyright: ignore
    assert shown == "ones is worse.\nzeros: baseline"


def test_the_notes_are_all_that_is_printed() -> None:
    """What is to be known about the runs, in the words of Python, then about the data, then what came later."""
    corrected = SimpleNamespace(sentence="p is corrected.")
    comparison: Any = SimpleNamespace(
        warnings=[SimpleNamespace(text="data.missing=drop: a warning", foremost=False)], correction=corrected, advice=""
    )
    study = Study(comparison, SimpleNamespace(), {}, ["data: 3 rows"])  # pyright: ignore
    study.add_notes(["sent"])
    assert study.notes == ("p is corrected.", "missing='drop': a warning", "data: 3 rows", "sent")


def test_an_arm_that_is_not_there_is_refused_in_a_line() -> None:
    """With the library's error, and with that of a mapping."""
    verdicts = Verdicts({"ones": SimpleNamespace(), "zeros": SimpleNamespace()}, {})  # pyright: ignore
    for kind in (PipelineError, KeyError, UnknownArmError):
        with pytest.raises(kind) as refusal:
            verdicts["onse"]
        assert str(refusal.value) == "verdicts: no arm onse; nearest: ones"
    assert "onse" not in verdicts and verdicts.get("onse") is None


def test_a_comparison_needs_two_arms() -> None:
    """Arms given twice are one, which is said."""
    assert check_several(["zeros", "ones"], ["zeros,a", "ones,a"], ["zeros", "ones"]) == []
    given = ["zeros", "ones", keras.initializers.Zeros()]
    said = check_several(given, ["zeros,a", "ones,a", "zeros,a"], ["zeros", "ones", "zeros"])
    assert said == ["arms: zeros is given 2 times and trained once"]
    with pytest.raises(ConfigError, match=r"^arms: ones is the only one; allowed: two or more, of which one is "):
        check_several(["ones"], ["ones,a"], ["ones"])
    with pytest.raises(ConfigError, match=r"^arms: ones is the only one, given 2 times; allowed: two or more"):
        check_several(["ones"] * 2, ["ones,a"] * 2, ["ones"] * 2)


def test_losses_and_metrics_of_ones_own() -> None:
    """By their registered names, with their arguments, also where Keras counts their names up."""
    loss = {"class_name": "Custom>Squares", "config": {"factor": 0.9}}
    assert loss_settings(Squares(0.9)) == (loss, False)
    metric = {"class_name": "Custom>Within", "config": {"width": 2.0}, "higher_is_better": True}
    assert metric_settings([Within(2.0)]) == metric_settings([Within(2.0)]) == [metric]
    model = dense(keras.layers.Dense(1))
    model.compile("adam", Squares(0.9), metrics=[Within(2.0), "mae"])
    assert read_model(model).compiled["training"] == {"loss": loss, "metrics": [metric, "mae"]}
    with pytest.raises(ConfigError, match=r"^loss: broken given; allowed: a loss of Keras, .* of your own subclass"):
        loss_settings(broken)
    with pytest.raises(ConfigError, match=r"^metrics: broken given; allowed: names such as accuracy, .* subclass"):
        metric_settings([broken])


@pytest.mark.parametrize(("line", "said"), [
    ("code: the initializer of dense/bias draws values of shape (3,)", "arms: the initializer of dense/bias draws"),
    ("model: dense has activation linear, x; allowed: softmax, or a last Dense(3), or one without units, which then "
     "follow from the data", "model: dense has activation linear, x; allowed: softmax, or from_logits=True"),
    ("model: net has 2 outputs; allowed: a last Dense(3), or one without units, which then follow from the data",
     "model: net has 2 outputs; allowed: a last Dense(3)"),
    ("metric: no run of arrays-mlp-1 has it", "metric: no run of arrays-mlp-1 has it"),
    ("data: the target of arrays has one class only", "data: the target of data has one class only"),
    ("bias_layers: all given, but no layer of net takes the choice: x; y", "model: no layer leaves its bias"),
    ("model: code; allowed: what Keras has by name, and functions that a file of code=[...] registers",
     "model: code; allowed: what Keras has by name, and a layer of your own class"),
])  # fmt: skip
def test_messages_know_no_command_line(line: str, said: str) -> None:
    """A program has no files of code, and no bias_layers that it did not give."""
    assert in_python(line).startswith(said)


@pytest.mark.parametrize(("metric", "known"), [
    ("", True), ("accuracy", True), ("best_val_accuracy", True), ("test_loss", True), ("initial_loss", True),
    ("nope", False), ("test_f1", False), ("epochs_run", False), ("r2", False),
])  # fmt: skip
def test_a_metric_that_no_run_will_have_is_refused_before_training(metric: str, known: bool) -> None:
    """Afterwards, all that was trained would be lost with a temporary folder."""
    plan = plan_job(compose_config("data=iris", "model=linear"))
    if known:
        check_metric(plan, metric)
        return
    with pytest.raises(ConfigError, match=rf"^metric: {metric} given; allowed: accuracy, loss; others where metrics="):
        check_metric(plan, metric)


@pytest.mark.slow
def test_a_kernel_initializer_may_be_an_object(tmp_path: Path) -> None:
    """Of Keras or of the user's own; of another setting, an object is refused in a line."""
    data = stage_data({"data": "iris"}, None, None, tmp_path)

    def kernel(**given: Any) -> Any:
        (config,) = build_configs(read_model(dense()), data, read_arms(["zeros"]), given, tmp_path, "")
        return config.kernel_initializer

    assert kernel(kernel_initializer=keras.initializers.HeNormal()) == {"class_name": "HeNormal", "config": {}}
    assert kernel(kernel_initializer=Steps(0.5)) == {"class_name": "tests>Steps", "config": {"step": 0.5}}
    with pytest.raises(ConfigError, match=r"^batch_size: HeNormal given; allowed: a number, a text"):
        kernel(batch_size=keras.initializers.HeNormal())


def test_an_unregistered_class_is_asked_for_itself() -> None:
    """A program has the class; only a command line needs the file that registers it."""
    allowed = "allowed: code=[mine.py], the file that registers it"
    assert in_python(f"bias_initializer.class_name: mine>My given, which is no class of Keras; {allowed}") == (
        "arms: mine>My given, which is no class of Keras; allowed: the class itself, or an instance of it"
    )

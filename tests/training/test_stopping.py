"""Early stopping of each seed within its stack is that of `model.fit` with Keras' EarlyStopping."""

import numpy as np
import pytest
from factories import compose_config, layer, wide
from reference import assert_close, fit_stopped, train

from pipeline.config.stopping import complete_stop
from pipeline.errors import ConfigError
from pipeline.training.stopping import EarlyStopping


def keras_epochs(values, stop):
    """(epochs run, best epoch) of Keras' callback on given values, one per epoch."""
    import keras

    class Model:
        stop_training = False

        def get_weights(self):
            return []

        def set_weights(self, _):
            pass

    arguments = {"mode": "min"} | dict(stop) | {"monitor": "val_loss"}
    callback = keras.callbacks.EarlyStopping(restore_best_weights=True, **arguments)
    callback.set_model(Model())
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_loss": value})
        if callback.model.stop_training:
            break
    return epoch + 1, callback.best_epoch + 1


STOPS = [
    {"patience": 0}, {"patience": 1}, {"patience": 3}, {"patience": 2, "min_delta": 0.037},
    {"patience": 2, "mode": "max"},
    {"patience": 1, "start_from_epoch": 4}, {"patience": 2, "min_delta": 0.1, "mode": "max", "start_from_epoch": 2},
]  # fmt: skip


@pytest.mark.parametrize("stop", STOPS, ids=str)
def test_each_place_stops_where_keras_does(stop):
    """On 40 made curves, some with nan and equal values: the same length, best epoch and weights kept."""
    random = np.random.default_rng(3)
    curves = np.round(np.cumsum(random.normal(-0.02, 0.1, (40, 25)), 1), 2) + 3
    curves[5, 3:], curves[6, 0], curves[7] = np.nan, np.nan, 1.0
    stopping = EarlyStopping(complete_stop(stop) or {}, 40)
    for epoch in range(1, 26):
        weights = [np.full((40, 2), float(epoch))]
        if stopping.update(epoch, curves[:, epoch - 1], lambda weights=weights: weights):
            break
    kept = stopping.best_weights(lambda: weights)[0][:, 0]
    for place, curve in enumerate(curves):
        expected = keras_epochs(curve, stop)
        assert (stopping.last_epoch[place], stopping.best_epoch[place]) == expected, place
        assert kept[place] == expected[1]


def test_before_the_first_epoch_that_counts_the_last_weights_are_kept():
    """Where training ends sooner, there is nothing to restore, as in Keras."""
    stopping = EarlyStopping({"patience": 1, "start_from_epoch": 9}, 2)
    assert not stopping.update(1, np.zeros(2), list)
    assert [list(v) for v in stopping.best_weights(lambda: [np.array([5.0, 6.0])])] == [[5.0, 6.0]]
    assert stopping.best_epoch.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("5", "training.stop: 5 given; allowed: null, or {patience: 5} with monitor"),
        ("{monitor:val_loss}", "training.stop: {'monitor': 'val_loss'} given; allowed: null, or {patience: 5}"),
        ("{patience:-1}", "training.stop.patience: -1 given; allowed: a whole number of epochs from 0 up"),
        ("{patience:2,min_delta:-1}", "training.stop.min_delta: -1 given; allowed: a number from 0 up"),
        ("{patience:2,mode:up}", "training.stop.mode: up given; allowed: auto, min, max"),
        ("{patience:2,patients:3}", "training.stop.patients: no such argument; nearest: patience"),
        ("{patience:2,restore_best_weights:false}", "the best weights are always restored"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(given, message):
    """In one line that says what is allowed."""
    with pytest.raises(ConfigError) as refusal:
        compose_config(f"training.stop={given}")
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


def test_what_is_not_recorded_cannot_be_monitored():
    """The refusal lists what is."""
    from pipeline.training.objectives import check_objective

    training = compose_config("training.stop={patience:2,monitor:val_auc}").training
    with pytest.raises(ConfigError, match="val_auc given; allowed: val_loss, val_accuracy, loss, accuracy"):
        check_objective(training, "multiclass", 10)


MODELS = {
    "dense": ("model=mlp", "data=digits", "training.stop={patience:2}"),
    "an odd min_delta": ("model=mlp", "data=digits", "training.stop={patience:1,min_delta:0.0237}"),
    # Masks of a real dropout are drawn apart from those of `fit`, see test_loop.py.
    "batch normalization, and dropout of rate 0": (
        *wide([layer("Flatten"), layer("Dense", units=16, activation="relu"), layer("BatchNormalization"),
               layer("Dropout", rate=0.0)]),
        "data=digits", "training.stop={patience:2,min_delta:0.013}",
    ),
    "a metric that shall rise": ("model=linear", "data=iris", "training.stop={patience:2,monitor:val_accuracy}"),
    "a training metric": ("model=linear", "data=wine", "training.stop={patience:1,monitor:loss,min_delta:0.05}"),
    "a regression": ("model=mlp", "data=diabetes", "training.stop={patience:2,monitor:val_mae,start_from_epoch:2}"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_seed_stops_as_in_fit(name):
    """Curves, biases at every epoch, restored weights and test metrics, of two seeds that stop apart."""
    config = compose_config(*MODELS[name], "training.epochs=30", "bias_initializer=glorot", "seeds=[0,1,4]",
                            f"optimizer.learning_rate={0.02 if 'rise' in name else 0.005}")  # fmt: skip
    tolerance = 3e-4 if "normalization" in name else 2e-5  # which blows up last bits, epoch by epoch
    stop = config.training.stop
    assert stop is not None
    built, trained = train(config)
    mode = "max" if "accuracy" in stop["monitor"] else "min"
    for i, mine in enumerate(trained):
        model, best, history, snapshots, test = fit_stopped(config, i, **stop | {"mode": mode})
        assert (mine.epochs, mine.best_epoch) == (len(history["loss"]), best)
        for ours, alone in zip(built[i].weights, model.weights, strict=True):
            assert_close(ours.value, alone.value, tolerance)
        for metric, values in history.items():
            assert_close(mine.history[metric][1:], values, tolerance)
        assert_close(list(mine.test.values()), test, tolerance)
        assert mine.final["val_loss"] == mine.history["val_loss"][best]
        for path, trajectory in mine.trajectory.items():
            assert_close(trajectory, np.stack([s[path] for s in snapshots]), tolerance)
    assert len({one.epochs for one in trained}) > 1, "all seeds stopped together, which tests too little"
    assert min(one.epochs for one in trained) < 30


@pytest.mark.slow
def test_a_seed_does_not_depend_on_those_beside_it():
    """The same bytes whether a seed stops alone or in a stack that goes on for others."""
    overrides = ("model=mlp", "data=digits", "training.epochs=12", "training.stop={patience:1,min_delta:0.0237}")
    models, together = train(compose_config(*overrides, "seeds=[0,1,2,3,4,7]"))
    (model,), (alone,) = train(compose_config(*overrides, "seeds=[2]"))
    assert together[2].epochs == alone.epochs < max(one.epochs for one in together)
    assert all((together[2].history[name] == values).all() for name, values in alone.history.items())
    assert together[2].test == alone.test
    for ours, own in zip(models[2].weights, model.weights, strict=True):
        assert (np.asarray(ours.value) == np.asarray(own.value)).all()

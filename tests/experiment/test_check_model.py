"""Models that do not fit the data are refused with what would, and layers that keep their own bias are named."""

import json

import pytest
from factories import compose_config

from pipeline.data.sources import load_dataset
from pipeline.errors import ConfigError
from pipeline.experiment.check_model import check_input, check_output_layer
from pipeline.experiment.plan import plan_job
from pipeline.models.build import build_model
from pipeline.models.source import model_layers
from pipeline.models.spec import complete_layers, own_biases


def dense(units, **config):
    return {"class_name": "Dense", "config": {"units": units, **config}}


@pytest.fixture
def saved(tmp_path):
    """A function that saves layers as a model's JSON, under a name that a shell would tear apart."""

    def save(*layers, shape=None):
        first = [] if shape is None else [{"class_name": "InputLayer", "config": {"batch_shape": [None, *shape]}}]
        path = tmp_path / "mine, ö #1 (2).json"
        path.write_text(json.dumps({"class_name": "Sequential", "config": {"layers": [*first, *layers]}}))
        return ["model=file", f"model.path='{path}'"]

    return save


def test_the_study_is_called_by_the_file(saved):
    """As with data.path."""
    config = compose_config("data=iris", *saved(dense(3, activation="softmax")))
    assert config.study == "iris-mine, ö _1 _2_"


@pytest.mark.parametrize("shape", [(5,), (4, 1), (None, 4)])
def test_an_input_of_another_shape_is_refused_with_both(saved, shape):
    """Whatever its number of axes."""
    plan = plan_job(compose_config("data=iris", *saved(dense(3, activation="softmax"), shape=shape)))
    with pytest.raises(
        ConfigError, match=r"takes rows of shape \(.*but dataset iris has rows of shape \(4,\); allowed: "
    ):
        check_input(plan, load_dataset(plan.config.data))


def test_an_input_of_the_same_shape_fits(saved):
    """Or of an open one, or one that the model does not say."""
    for shape in ((4,), (None,), None):
        plan = plan_job(compose_config("data=iris", *saved(dense(3, activation="softmax"), shape=shape)))
        check_input(plan, load_dataset(plan.config.data))


@pytest.mark.parametrize(
    ("data", "layer", "words"),
    [
        ("iris", dense(2, activation="softmax"), "mine.* has 2 outputs, but dataset iris has 3 classes"),
        ("iris", dense(3), "output layer dense has activation linear, whose outputs are no probabilities.*: softmax"),
        ("iris", dense(3, activation="sigmoid"), "has activation sigmoid, .*; allowed: softmax"),
        ("breast_cancer", dense(1, activation="softmax"), "of one unit, which is 1 for every row; allowed: sigmoid"),
        ("diabetes", dense(1, activation="relu"), "cannot reach every target of diabetes.*: linear, or data.stand"),
        ("diabetes", dense(2), "has 2 outputs, but dataset diabetes is a regression"),
    ],
)
def test_an_output_layer_that_does_not_fit_the_task_is_refused(saved, data, layer, words):
    """In one line that says which layer it is and what it should have."""
    plan = plan_job(compose_config(f"data={data}", *saved(layer)))
    dataset = load_dataset(plan.config.data)
    model = build_model(complete_layers(plan.config), dataset.x.shape[1:], dataset.task, dataset.n_targets, 0)
    with pytest.raises(ConfigError, match=words):
        check_output_layer(plan, model, dataset)


def test_layers_that_keep_their_own_bias_are_named(saved):
    """With what they set, layers of one setting together."""
    layers = [dense(4, use_bias=False), dense(4, use_bias=False), dense(2, bias_initializer="ones"), dense(3)]
    assert own_biases(compose_config("data=iris", *saved(*layers))) == [
        "model: dense, dense_1 have no bias in any arm",
        "model: dense_2 keeps its own bias in every arm: ones",
    ]


def test_a_model_has_one_source(saved):
    """A path beside layers, or none at all, is refused with the words to type."""
    for overrides, words in (
        (["model.path=mine.keras"], "model.path: mine.keras given, but mlp has layers.*: model=file model.path"),
        (["model=file"], "model: neither layers, nor a path or function"),
        (["model=file", "model.path=no.keras"], "model.path: there is no file no.keras"),
    ):
        with pytest.raises(ConfigError, match=words):
            model_layers(compose_config(*overrides))

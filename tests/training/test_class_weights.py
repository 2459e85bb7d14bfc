"""A mapping of classes to weights is understood as Keras takes it, and by the names of classes."""

import numpy as np
import pytest
from factories import compose_config

from pipeline.errors import ConfigError
from pipeline.experiment.plan import plan_job
from pipeline.training.class_weights import class_weights, listed_weights


@pytest.mark.parametrize(
    ("setting", "classes", "listed"),
    [
        ({"0": 1, "1": 2.5}, ("no", "yes"), [1, 2.5]),
        ({"yes": 2.5}, ("no", "yes"), [1, 2.5]),
        ({0: 3, 1: 2}, ("0", "1"), [3, 2]),
        ({"1": 3, "2": 2}, ("1", "2", "3"), [3, 2, 1]),  # labels, where they are all such
        ({"0": 3, "1": 2, "2": 4}, ("1", "2", "3"), [3, 2, 4]),
        ({"2": 5, "10": 6}, ("0", "10", "2"), [1, 6, 5]),
        ({True: 2, False: 1}, ("False", "True"), [1, 2]),
        ({"true": 2}, ("False", "True"), [1, 2]),
        ({"1.0": 2}, ("0", "1"), [1, 2]),
        ([1, 2], ("no", "yes"), [1, 2]),
        ("balanced", ("no", "yes"), "balanced"),
    ],
)
def test_a_mapping_is_a_list(setting, classes, listed):
    """By labels first; by numbers where it has all of them. What is left out weighs 1."""
    assert listed_weights(setting, classes) == listed
    y = np.array([0, 1, 1])
    np.testing.assert_array_equal(class_weights(setting, y, classes), class_weights(listed, y, classes))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"no": 1, "maybe": 2},
            "training.class_weight: maybe given, which is no class; allowed: no, yes; or all numbers",
        ),
        ({"1": 2}, "training.class_weight: 1 given, which is no class; allowed: no, yes; or all numbers from 0 to 1"),
        ({"no": -1}, "training.class_weight.no: -1 given; allowed: a number from 0 to 3e38"),
        ({"no": "much"}, "training.class_weight.no: much given; allowed: a number from 0 to 3e38"),
        ({"no": 1e40}, "training.class_weight.no: 1e+40 given; allowed: a number from 0 to 3e38"),
        (
            {"no": 0, "yes": 0},
            "training.class_weight: {'no': 0, 'yes': 0} given, so that no row counts; allowed: a weight above 0",
        ),
        ({"0": 0, "1": 1e-50}, "training.class_weight: {'0': 0, '1': 1e-50} given, so that no row counts; allowed: "),
        ({"1": 1, "1.0": 2}, "training.class_weight: {'1': 1, '1.0': 2} given; allowed: each class once: no, yes"),
    ],
)
def test_what_is_no_class_or_no_weight_is_refused(setting, message):
    """With the classes."""
    with pytest.raises(ConfigError) as refusal:
        listed_weights(setting, ("no", "yes"))
    assert str(refusal.value).startswith(message)


def test_any_order_makes_one_key():
    """The names are kept as texts, as run.json has them."""
    keys = [
        plan_job(compose_config("data=iris", "model=linear", f"training.class_weight={{{text}}}")).keys
        for text in ("0: 1, 1: 2, 2: 3", "2: 3, 1: 2, 0: 1")
    ]
    assert keys[0][0] == keys[1][0]


@pytest.mark.slow
def test_it_trains_as_the_list_does():
    """On the same rows, with the same numbers."""
    from reference import train

    common = ("data=iris", "model=linear", "seeds=2", "training.epochs=2")
    by_form = [
        train(compose_config(*common, f"training.class_weight={weights}"))[1][0].history["loss"].tolist()
        for weights in ("[1,2,3]", "{0: 1, 1: 2, 2: 3}", "{virginica: 3, versicolor: 2}", "null")
    ]
    assert by_form[0] == by_form[1] == by_form[2] != by_form[3]

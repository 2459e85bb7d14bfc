"""This project's initializers draw what their formulas say, know their layer, and come back with a saved model."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from factories import FLAT, LSTM_LAYERS, build, compose_config, draws, layer, wide

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.errors import ConfigError
from pipeline.models.initializers.audit import check_drawn_values
from pipeline.models.initializers.distributions import expected_distribution
from pipeline.models.initializers.registry import initializer_names, is_custom_initializer
from pipeline.models.spec import complete_layers


class Row(NamedTuple):
    """A custom initializer: its file in conf/, a model that it is meant for, and arguments to draw with."""

    option: str
    model: str
    arguments: dict[str, Any]


CUSTOM = {
    "FanInUniform": Row("fan_in_uniform", "model=mlp", {"fan_in": 9}),
    "SklearnUniform": Row("sklearn_uniform", "model=mlp", {"fan_in": 9, "fan_out": 5}),
    "RandomAsymmetric": Row("random_asymmetric", "model=cnn", {"fan_in": 4}),
    "MeanField": Row("mean_field", "model=mlp", {}),
    "ReluSmall": Row("relu_small", "model=mlp", {}),
    "Chrono": Row("chrono", "model=lstm", {"t_max": 50, "gates": "ifco"}),
    "ForgetGate": Row("forget_gate", "model=lstm", {"gates": "ifco"}),
    "ClassPrior": Row("class_prior", "model=mlp", {"values": [0.1, 0.2, 0.3]}),
}

FANS = {  # what feeds a unit of the layer, and how many units an input feeds
    "dense": ([FLAT, layer("Dense", name="it", units=4000)], 64, 4000),
    "conv": ([layer("Conv2D", name="it", filters=4000, kernel_size=8), FLAT], 64, 256_000),
    "transposed": ([layer("Conv2DTranspose", name="it", filters=4000, kernel_size=2), FLAT], 4, 16_000),
    "einsum": (
        [layer("Reshape", target_shape="[8, 8]"),
         layer("EinsumDense", name="it", equation="'abc,cde->abde'", output_shape="[8, 20, 200]", bias_axes="de"),
         FLAT],
        8, 4000,
    ),
    "depthwise": ([layer("DepthwiseConv2D", name="it", kernel_size=8, depth_multiplier=4000), FLAT], 64, 256_000),
    "separable": ([layer("SeparableConv2D", name="it", filters=4000, kernel_size=8), FLAT], 1, 4000),
}  # fmt: skip


@pytest.mark.parametrize("name", FANS)
def test_uniform_limits_follow_from_the_kernels_fans(name):
    """Both uniform initializers have the limits of the kernel's fans. U(-a, a) has std a/sqrt(3)."""
    body, fan_in, fan_out = FANS[name]
    for initializer, limit in (
        ("fan_in_uniform", 1 / np.sqrt(fan_in)),
        ("sklearn_uniform", np.sqrt(6 / (fan_in + fan_out))),
    ):
        model, _ = build(*wide(body), f"bias_initializer={initializer}")
        bias = extract_biases(model)["it/bias"]
        assert 0.99 * limit < np.abs(bias).max() <= limit * (1 + 1e-6)
        assert bias.std() == pytest.approx(limit / np.sqrt(3), rel=0.04)


def test_sklearn_uniform_is_scikit_learns_own():
    """The limit is the one that scikit-learn's MLP draws its intercepts with."""
    from sklearn.neural_network import MLPClassifier

    for activation, factor in (("relu", 6), ("logistic", 2)):
        network = MLPClassifier(activation=activation)
        network._random_state = np.random.RandomState(0)
        _, intercepts = network._init_coef(64, 4000, np.float64)
        model, _ = build(
            *wide(FANS["dense"][0]), "bias_initializer=sklearn_uniform", f"bias_initializer.config.factor={factor}"
        )
        ours = extract_biases(model)["it/bias"]
        assert np.abs(ours).max() == pytest.approx(np.abs(intercepts).max(), rel=0.01)


def test_random_asymmetric_is_a_mixture_of_beta_and_normal():
    """Share and mean of Beta(2, 1) and the normal's deviation are those of Lu et al."""
    body = [layer("Conv2D", filters=1, kernel_size=8), FLAT, layer("Dense", name="it", units=20_000)]  # fan_in 1
    bias = extract_biases(build(*wide(body), "bias_initializer=random_asymmetric")[0])["it/bias"]
    assert bias.mean() == pytest.approx(0.5 * 2 / 3, abs=0.015)
    assert (bias**2).mean() == pytest.approx(0.5 * 0.5 + 0.5 * 0.6007**2, rel=0.03)  # E[Beta(2, 1)^2] = 1/2
    assert bias[bias < 0].std() == pytest.approx(0.6007 * np.sqrt(1 - 2 / np.pi), rel=0.04)  # half a normal


def test_mean_field_has_the_chosen_variance():
    """The variance is the one chosen, and not its square or root."""
    options = ("bias_initializer=mean_field", "bias_initializer.config.variance=0.3")
    bias = extract_biases(build(*wide(FANS["dense"][0]), *options)[0])["it/bias"]
    assert bias.var() == pytest.approx(0.3, rel=0.06) and abs(bias.mean()) < 0.03


def test_relu_small_is_a_small_constant():
    """It is 0.01 unless another value is chosen."""
    for options, value in (((), 0.01), (("bias_initializer.config.value=0.1",), 0.1)):
        model, _ = build("model=mlp", "bias_initializer=relu_small", *options)
        assert all(np.allclose(bias, value) for bias in extract_biases(model).values())


@pytest.mark.parametrize("dataset", ["digits", "breast_cancer", "diabetes"])
def test_class_prior_starts_at_the_shares_of_the_training_labels(dataset):
    """Without input, the model puts out each class's share in training, or the mean target."""
    model, labels = build("model=mlp", f"data={dataset}", "bias_initializer=class_prior")
    biases = extract_biases(model)
    bias = biases.pop("output/bias").astype(np.float64)
    assert all(not other.any() for other in biases.values())
    if dataset == "diabetes":
        assert bias == pytest.approx([labels.mean()], abs=1e-6)
    elif dataset == "breast_cancer":
        assert 1 / (1 + np.exp(-bias)) == pytest.approx([np.mean(labels)], rel=1e-5)
    else:
        assert np.exp(bias) / np.exp(bias).sum() == pytest.approx(np.bincount(labels) / len(labels), rel=1e-5)


def recurrent(class_name, *overrides, **config):
    config = {"name": "it", "units": 2000, "kernel_initializer": "zeros", "recurrent_initializer": "zeros"} | config
    return build("model.name=one", f"model.layers={LSTM_LAYERS % layer(class_name, **config)}", *overrides)[0]


def test_chrono_spreads_the_memories_of_an_lstm_over_its_steps():
    """b_f is log U(1, t_max - 1), b_i its negative, and the other gates are zero."""
    model = recurrent("LSTM", "bias_initializer=chrono", "bias_initializer.config.t_max=50")
    i, f, c, o = np.split(extract_biases(model)["it/bias"], 4)
    np.testing.assert_array_equal(i, -f)
    assert not c.any() and not o.any()
    memory = np.exp(f)
    assert 1 <= memory.min() < 1.5 and 48.5 < memory.max() <= 49 + 1e-4
    assert memory.mean() == pytest.approx(25, rel=0.04)


@pytest.mark.parametrize("reset_after", ["true", "false"])
def test_chrono_lets_a_gru_keep_its_state(reset_after):
    """With b_z = log u, a unit without input keeps u / (1 + u) of its state."""
    model = recurrent("GRU", "bias_initializer=chrono", "bias_initializer.config.t_max=50", reset_after=reset_after)
    bias = extract_biases(model)["it/bias"]
    total = bias.sum(0) if bias.ndim == 2 else bias
    memory = np.exp(total[:2000])
    assert memory.min() >= 1 and memory.max() <= 49 + 1e-4 and not total[2000:].any()
    kept, _ = model.get_layer("it").cell(np.zeros((1, 8), np.float32), [np.ones((1, 2000), np.float32)])
    np.testing.assert_allclose(np.asarray(kept)[0], memory / (1 + memory), rtol=1e-4)


def test_forget_gate_is_set_alone():
    """Only the gate that keeps the old state is set, and Keras' ones do not stay."""
    options = ("bias_initializer=forget_gate", "bias_initializer.config.value=2.5")
    i, f, c, o = np.split(extract_biases(recurrent("LSTM", *options))["it/bias"], 4)
    assert (f == 2.5).all() and not i.any() and not c.any() and not o.any()
    z, r, h = np.split(extract_biases(recurrent("GRU", *options))["it/bias"].sum(0), 3)
    assert (z == 2.5).all() and not r.any() and not h.any()


@pytest.mark.parametrize("class_name", ["LSTM", "GRU"])
def test_chrono_takes_the_steps_of_its_input(class_name):
    """Without a t_max, the memories are those of the 8 steps that the layer sees."""
    left_open = extract_biases(recurrent(class_name, "bias_initializer=chrono"))
    eight = extract_biases(recurrent(class_name, "bias_initializer=chrono", "bias_initializer.config.t_max=8"))
    np.testing.assert_array_equal(left_open["it/bias"], eight["it/bias"])
    assert left_open["it/bias"].any()


@pytest.mark.parametrize("class_name", ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"])
def test_convolutional_gates_are_gates(class_name):
    """A ConvLSTM's bias has the gates of an LSTM."""
    axes = int(class_name[-2])
    shape = {1: [4, 4, 4], 2: [4, 4, 2, 2], 3: [4, 2, 2, 2, 2]}[axes]
    body = [layer("Reshape", target_shape=shape), layer(class_name, name="it", filters=2, kernel_size=1), FLAT]
    model, _ = build(*wide(body), "bias_initializer=forget_gate", "bias_initializer.config.value=3")
    np.testing.assert_array_equal(extract_biases(model)["it/bias"], [0, 0, 3, 3, 0, 0, 0, 0])


def test_gates_of_a_model_file_are_set_too():
    """A model file's own gate initializer is not overwritten by Keras' ones, and refused on a layer without gates."""
    body = LSTM_LAYERS % layer("LSTM", name="it", units=2, bias_initializer="chrono")
    model, _ = build("model.name=one", f"model.layers={body}", "bias_initializer=ones")
    i, f, *_ = np.split(extract_biases(model)["it/bias"], 4)
    np.testing.assert_array_equal(i, -f)
    dense = f"model.layers=[{layer('Dense', units=2, bias_initializer='chrono')}, {layer('Dense')}]"
    with pytest.raises(ConfigError, match=r"Chrono given, but it fills the gates .* and dense has none"):
        complete_layers(compose_config("data=iris", "model.name=one", dense))


def test_a_prior_in_front_of_a_softmax_layer_knows_its_outputs():
    """The prior has a value per class also where the output layer is followed by a Softmax."""
    model, labels = build(*wide([FLAT])[:1], f"model.layers=[{FLAT}, {layer('Dense', units=10)}, {layer('Softmax')}]",
                          "bias_initializer=class_prior")  # fmt: skip
    shares = np.bincount(labels, minlength=10) / len(labels)
    np.testing.assert_allclose(extract_biases(model)["dense/bias"], np.log(shares), rtol=1e-5)


def test_a_model_without_hidden_layers_has_none_to_choose_for():
    """`bias_layers=hidden` is refused for a model without hidden layers."""
    with pytest.raises(ConfigError, match=r"^bias_layers: hidden given, but no layer of linear takes the choice"):
        complete_layers(compose_config("data=iris", "model=linear", "bias_layers=hidden", "bias_initializer=ones"))


@pytest.mark.parametrize("choice", ["bias_initializer=class_prior", "use_bias=false"])
def test_a_choice_that_reaches_no_layer_is_refused(choice):
    """A choice is refused when every layer sets its own bias."""
    output = layer("Dense", name="output", bias_initializer="zeros", use_bias="true")
    config = compose_config("data=iris", "model.name=one", f"model.layers=[{output}]", choice)
    with pytest.raises(ConfigError, match=r"^bias_layers: all given, but no layer of one takes the choice"):
        complete_layers(config)


def test_an_initializer_on_its_own_says_what_it_needs():
    """Outside of this project's models, the error names the argument that is missing."""
    from pipeline.models.initializers.custom import Chrono, ClassPrior, FanInUniform

    for made, name in ((FanInUniform(), "fan_in"), (Chrono(), "gates"),
                       (ClassPrior(), "values")):  # fmt: skip
        with pytest.raises(ValueError, match=f"{name} is not known to it"):
            made((8,))
    assert FanInUniform(fan_in=4, seed=0)((8,)).shape == (8,)


def test_chrono_refuses_too_few_steps():
    """Two steps are too few for the formula, which takes the logarithm of U(1, t_max - 1)."""
    two = "{class_name: Reshape, config: {target_shape: [2, 32]}}"
    model = (f"model.layers=[{two}, {layer('LSTM', units=4)}, {layer('Dense')}]", "model.name=two")
    with pytest.raises(ConfigError, match=r"lstm sees 2 steps; allowed: 3 or more, or a t_max"):
        build(*model, "bias_initializer=chrono", "bias_layers=[lstm]")


@pytest.mark.parametrize(("option", "model", "arguments"), CUSTOM.values(), ids=CUSTOM.keys())
def test_kernels_are_those_of_zeros_and_a_saved_model_loads(option, model, arguments, tmp_path):
    """The choice changes biases alone, and Keras loads a saved model with its initializers and values."""
    import keras

    built, _ = build(model, f"bias_initializer={option}", seed=3)
    zeros, _ = build(model, "bias_initializer=zeros", seed=3)
    bias_ids = {id(v) for v in bias_variables(built).values()}
    for ours, other in zip(built.variables, zeros.variables, strict=True):
        if id(ours) not in bias_ids:
            np.testing.assert_array_equal(ours.value, other.value)
    built.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    before = extract_biases(built)
    for path, bias in extract_biases(loaded).items():
        np.testing.assert_array_equal(bias, before[path])
    for ours, other in zip(built.layers, loaded.layers, strict=True):
        assert ours.get_config().get("bias_initializer") == other.get_config().get("bias_initializer")


@pytest.mark.parametrize("class_name", CUSTOM)
def test_each_draws_from_its_expected_distribution(class_name):
    """Mean, spread and limits of 60 draws fit `expected`, gate by gate, and each draw passes the audit."""
    arguments = CUSTOM[class_name].arguments
    gates = arguments.get("gates", "")
    n = len(arguments.get("values", gates or range(50)))
    initializer, values = draws(class_name, arguments, (n * (40 if gates else 1),))
    parts = dict(zip(gates, np.split(values, len(gates), axis=1), strict=True)) if gates else {"": values}
    for gate, part in parts.items():
        expected = expected_distribution(initializer, part.shape[1:], "", gate)
        figures = expected.figures()
        assert part.mean() == pytest.approx(figures["mean"], abs=max(5 * figures["std"] / part.size**0.5, 1e-6))
        assert part.std() == pytest.approx(figures["std"], rel=0.1, abs=1e-6)
        slack = 1e-5 * max(abs(figures["low"]), 1) if np.isfinite(figures["low"]) else 0
        assert figures["low"] - slack <= part.min() and part.max() <= figures["high"] + slack
        for one in part:
            check_drawn_values("bias", expected, one)


def test_every_custom_initializer_has_its_row():
    """CUSTOM names each initializer of custom.py."""
    assert set(CUSTOM) == {name for name in initializer_names() if is_custom_initializer(name)}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("model=mlp", "bias_initializer=forget_gate"), ("ForgetGate", "gates", "dense")),
        (("model=lstm", "bias_initializer=chrono", "bias_initializer.config.t_max=8.5"), ("t_max", "from 3 up")),
        (("model=lstm", "bias_initializer=chrono", "bias_initializer.config.t_max=2"), ("t_max", "2 given")),
        (("model=lstm", "bias_initializer=forget_gate", "bias_layers=[output]"), ("ForgetGate", "output")),
        (("model=mlp", "bias_initializer=fan_in_uniform", "+bias_initializer.config.fan_in=3"), ("fan_in", "no such")),
        (("model=mlp", "bias_initializer=mean_field", "bias_initializer.config.variance=-1"), ("variance", "positive")),
    ],
)
def test_what_cannot_work_is_refused(overrides, words, tmp_path):
    """An initializer that does not fit the model, or a wrong argument, is refused before TensorFlow is imported."""
    from pipeline.experiment.plan import plan_job

    with pytest.raises(ConfigError) as refused:
        plan_job(compose_config(*overrides, f"results={tmp_path}"))
    assert all(word in str(refused.value) for word in words), refused.value

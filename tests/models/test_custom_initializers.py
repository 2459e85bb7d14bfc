"""The project's own initializers draw what their formulas say, know their layer, and come back with a saved model."""

import numpy as np
import pytest
from factories import FLAT, LSTM_LAYERS, build, compose_config, layer, wide

from pipeline.biases.extraction import bias_variables, extract_biases
from pipeline.errors import ConfigError
from pipeline.models.spec import complete_layers

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
    """PyTorch's or scikit-learn's limit would be that of other fans. U(-a, a) has std a/sqrt(3)."""
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
    """The limit would not be the one that scikit-learn's MLP draws its intercepts with."""
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
    """The share of Beta(2, 1), its mean 2/3, or the normal's deviation would be another than in Lu et al."""
    body = [layer("Conv2D", filters=1, kernel_size=8), FLAT, layer("Dense", name="it", units=20_000)]  # fan_in 1
    bias = extract_biases(build(*wide(body), "bias_initializer=random_asymmetric")[0])["it/bias"]
    assert bias.mean() == pytest.approx(0.5 * 2 / 3, abs=0.015)
    assert (bias**2).mean() == pytest.approx(0.5 * 0.5 + 0.5 * 0.6007**2, rel=0.03)  # E[Beta(2, 1)^2] = 1/2
    assert bias[bias < 0].std() == pytest.approx(0.6007 * np.sqrt(1 - 2 / np.pi), rel=0.04)  # half a normal


def test_mean_field_has_the_chosen_variance():
    """The variance would be a standard deviation, or not the one chosen."""
    options = ("bias_initializer=mean_field", "bias_initializer.config.variance=0.3")
    bias = extract_biases(build(*wide(FANS["dense"][0]), *options)[0])["it/bias"]
    assert bias.var() == pytest.approx(0.3, rel=0.06) and abs(bias.mean()) < 0.03


def test_relu_small_is_a_small_constant():
    """It would not be 0.01, or not what is chosen instead."""
    for options, value in (((), 0.01), (("bias_initializer.config.value=0.1",), 0.1)):
        model, _ = build("model=mlp", "bias_initializer=relu_small", *options)
        assert all(np.allclose(bias, value) for bias in extract_biases(model).values())


@pytest.mark.parametrize("dataset", ["digits", "breast_cancer", "diabetes"])
def test_class_prior_starts_at_the_shares_of_the_training_labels(dataset):
    """A model's first output, without input, would not be each class's share in training, or the mean target."""
    model, labels = build("model=mlp", f"data={dataset}", "bias_initializer=class_prior")
    found = extract_biases(model)
    bias = found.pop("output/bias").astype(np.float64)
    assert all(not other.any() for other in found.values())
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
    """b_f would not be log U(1, t_max - 1), b_i not its negative, or the other gates not zero."""
    model = recurrent("LSTM", "bias_initializer=chrono", "bias_initializer.config.t_max=50")
    i, f, c, o = np.split(extract_biases(model)["it/bias"], 4)
    np.testing.assert_array_equal(i, -f)
    assert not c.any() and not o.any()
    memory = np.exp(f)
    assert 1 <= memory.min() < 1.5 and 48.5 < memory.max() <= 49 + 1e-4
    assert memory.mean() == pytest.approx(25, rel=0.04)


@pytest.mark.parametrize("reset_after", ["true", "false"])
def test_chrono_lets_a_gru_keep_its_state(reset_after):
    """The gate would be the wrong way round: with b_z = log u a unit without input keeps u / (1 + u) of its state."""
    model = recurrent("GRU", "bias_initializer=chrono", "bias_initializer.config.t_max=50", reset_after=reset_after)
    bias = extract_biases(model)["it/bias"]
    total = bias.sum(0) if bias.ndim == 2 else bias
    memory = np.exp(total[:2000])
    assert memory.min() >= 1 and memory.max() <= 49 + 1e-4 and not total[2000:].any()
    kept, _ = model.get_layer("it").cell(np.zeros((1, 8), np.float32), [np.ones((1, 2000), np.float32)])
    np.testing.assert_allclose(np.asarray(kept)[0], memory / (1 + memory), rtol=1e-4)


def test_forget_gate_is_set_alone():
    """Another gate than the forget gate would be set, or ones would stay where Keras puts them."""
    options = ("bias_initializer=forget_gate", "bias_initializer.config.value=2.5")
    i, f, c, o = np.split(extract_biases(recurrent("LSTM", *options))["it/bias"], 4)
    assert (f == 2.5).all() and not i.any() and not c.any() and not o.any()
    z, r, h = np.split(extract_biases(recurrent("GRU", *options))["it/bias"].sum(0), 3)
    assert (z == 2.5).all() and not r.any() and not h.any()


@pytest.mark.parametrize("class_name", ["LSTM", "GRU"])
def test_chrono_takes_the_steps_of_its_input(class_name):
    """Without a t_max, the memories would be those of another number of steps than the layer sees."""
    left_open = extract_biases(recurrent(class_name, "bias_initializer=chrono"))
    given = extract_biases(recurrent(class_name, "bias_initializer=chrono", "bias_initializer.config.t_max=8"))
    np.testing.assert_array_equal(left_open["it/bias"], given["it/bias"])
    assert left_open["it/bias"].any()


@pytest.mark.parametrize("class_name", ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"])
def test_convolutional_gates_are_gates(class_name):
    """The initializers of gates would be refused on a layer that has them."""
    axes = int(class_name[-2])
    shape = {1: [4, 4, 4], 2: [4, 4, 2, 2], 3: [4, 2, 2, 2, 2]}[axes]
    body = [layer("Reshape", target_shape=shape), layer(class_name, name="it", filters=2, kernel_size=1), FLAT]
    model, _ = build(*wide(body), "bias_initializer=forget_gate", "bias_initializer.config.value=3")
    np.testing.assert_array_equal(extract_biases(model)["it/bias"], [0, 0, 3, 3, 0, 0, 0, 0])


def test_gates_of_a_model_file_are_set_too():
    """A model's own choice would be overwritten by Keras' ones on the forget gate, or fail to build."""
    body = LSTM_LAYERS % layer("LSTM", name="it", units=2, bias_initializer="chrono")
    model, _ = build("model.name=one", f"model.layers={body}", "bias_initializer=ones")
    i, f, *_ = np.split(extract_biases(model)["it/bias"], 4)
    np.testing.assert_array_equal(i, -f)
    dense = f"model.layers=[{layer('Dense', units=2, bias_initializer='chrono')}, {layer('Dense')}]"
    with pytest.raises(ConfigError, match=r"Chrono given, but it fills the gates .* and dense has none"):
        complete_layers(compose_config("data=iris", "model.name=one", dense))


def test_a_prior_in_front_of_a_softmax_layer_knows_its_outputs():
    """The prior would be that of one output where the last layer has no units."""
    model, labels = build(*wide([FLAT])[:1], f"model.layers=[{FLAT}, {layer('Dense', units=10)}, {layer('Softmax')}]",
                          "bias_initializer=class_prior")  # fmt: skip
    shares = np.bincount(labels, minlength=10) / len(labels)
    np.testing.assert_allclose(extract_biases(model)["dense/bias"], np.log(shares), rtol=1e-5)


def test_a_model_without_hidden_layers_has_none_to_choose_for():
    """`bias_layers=hidden` would train Keras' default under the choice's name."""
    with pytest.raises(ConfigError, match=r"^bias_layers: hidden given, but no layer of linear takes the choice"):
        complete_layers(compose_config("data=iris", "model=linear", "bias_layers=hidden", "bias_initializer=ones"))


@pytest.mark.parametrize("choice", ["bias_initializer=class_prior", "use_bias=false"])
def test_a_choice_that_reaches_no_layer_is_refused(choice):
    """An arm would carry the name of a choice that none of its layers took."""
    own = layer("Dense", name="output", bias_initializer="zeros", use_bias="true")
    config = compose_config("data=iris", "model.name=one", f"model.layers=[{own}]", choice)
    with pytest.raises(ConfigError, match=r"^bias_layers: all given, but no layer of one takes the choice"):
        complete_layers(config)


def test_an_initializer_on_its_own_says_what_it_needs():
    """Outside of this project's models it would end in an error that names nothing."""
    from pipeline.models.initializers.custom import Chrono, ClassPrior, FanInUniform

    for made, name in ((FanInUniform(), "fan_in"), (Chrono(), "gates"),
                       (ClassPrior(), "values")):  # fmt: skip
        with pytest.raises(ValueError, match=f"{name} is not known to it"):
            made((8,))
    assert FanInUniform(fan_in=4, seed=0)((8,)).shape == (8,)


def test_chrono_refuses_too_few_steps():
    """Of two steps the formula takes the logarithm of less than nothing."""
    two = "{class_name: Reshape, config: {target_shape: [2, 32]}}"
    model = (f"model.layers=[{two}, {layer('LSTM', units=4)}, {layer('Dense')}]", "model.name=two")
    with pytest.raises(ConfigError, match=r"lstm sees 2 steps; allowed: 3 or more, or a t_max"):
        build(*model, "bias_initializer=chrono", "bias_layers=[lstm]")


OWN = {
    "fan_in_uniform": "model=mlp", "sklearn_uniform": "model=mlp", "class_prior": "model=mlp",
    "random_asymmetric": "model=cnn", "mean_field": "model=mlp", "relu_small": "model=mlp",
    "chrono": "model=lstm", "forget_gate": "model=lstm",
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_kernels_are_those_of_zeros_and_a_saved_model_loads(name, tmp_path):
    """A kernel would differ between the arms, or Keras not load a model that was saved with one of ours."""
    import keras

    model, _ = build(OWN[name], f"bias_initializer={name}", seed=3)
    zeros, _ = build(OWN[name], "bias_initializer=zeros", seed=3)
    skipped = {id(v) for v in bias_variables(model).values()}
    for ours, other in zip(model.variables, zeros.variables, strict=True):
        if id(ours) not in skipped:
            np.testing.assert_array_equal(ours.value, other.value)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    before = extract_biases(model)
    for path, bias in extract_biases(loaded).items():
        np.testing.assert_array_equal(bias, before[path])
    for ours, other in zip(model.layers, loaded.layers, strict=True):
        assert ours.get_config().get("bias_initializer") == other.get_config().get("bias_initializer")


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
    """A chrono initializer on Dense layers alone, or without its number of steps, would be found only in training."""
    from pipeline.experiment.plan import plan_job

    with pytest.raises(ConfigError) as refused:
        plan_job(compose_config(*overrides, f"results={tmp_path}"))
    assert all(word in str(refused.value) for word in words), refused.value

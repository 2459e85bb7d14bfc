"""`--plan` says what a sweep would do, does none of it, and what it says is so."""

import re

import numpy as np
import pytest
from factories import compose_config
from reference import train

from pipeline import train as cli_train
from pipeline.store.runs import RunStore

IRIS = ("data=iris", "model=linear")
NORMALISED = (
    "data=iris",
    "model.name=normalised",
    "model.layers=[{class_name: Dense, config: {units: 8}}, {class_name: BatchNormalization},"
    " {class_name: Dense, config: {name: output}}]",
)


def test_a_plan_trains_and_writes_nothing(cli, tmp_path):
    """Asking for the plan would train, leave a folder, a log or an MLflow store behind, or start the first job."""
    said = cli("-m", "--plan", *IRIS)
    assert said.code == 0
    assert "40 runs to train, in roughly " in said.out
    assert "Launching" not in said.out + said.err
    assert list(tmp_path.iterdir()) == []


def test_the_plan_counts_what_is_done(cli):
    """Runs that are stored would be listed as missing, or others as done."""
    assert cli("-m", *IRIS, "seeds=2", "bias_initializer=zeros,ones").code == 0
    said = cli("-m", "--plan", *IRIS, "seeds=5")
    first = said.out.partition("runs to train")[0]
    counts = {row[0]: row[1:] for row in re.findall(r"│ (\w+) +│ (\d+) +│ (\d+) +│ (\d+) +│", first)}
    assert counts == {
        "zeros": ("5", "2", "3"),
        "ones": ("5", "2", "3"),
        "glorot_uniform": ("5", "0", "5"),
        "no_bias": ("5", "0", "5"),
    }
    assert "16 runs to train" in said.out
    assert "Nothing to train" in cli("--plan", *IRIS, "seeds=2").out


def test_the_plan_says_what_is_drawn(cli):
    """A row would name other limits or another spread than the initializer has at that layer's shape."""
    said = cli("-m", "--plan", "bias_initializer=glorot,he_normal,constant")
    limit = np.sqrt(3 / 64)  # Keras takes both fans of a bias from its length
    row = rf"glorot_uniform +│ dense/bias +│ +│ \(64,\) │ uniform +│ 0 +│ {limit / np.sqrt(3):.3g} +│ -{limit:.3g} +│"
    assert re.search(row, said.out)
    assert re.search(rf"output/bias +│ +│ \(10,\) │ truncated normal +│ 0 +│ {np.sqrt(2 / 10):.3g} +│", said.out)
    assert re.search(r"constant +│ dense/bias +│ +│ \(64,\) │ constant +│ 0 +│ 0 +│ 0 +│ 0 +│", said.out)


def test_the_plan_shows_whole_names_and_a_layers_own_values(cli):
    """A name in brackets would be taken for a colour, a long arm be cut off, or a list of values end in a traceback."""
    own = "bias_initializer: {class_name: Constant, config: {value: [1, 2, 3]}}"
    layers = f"[{{class_name: Dense, config: {{units: 3, name: '[red]x', {own}}}}}, {{class_name: Dense}}]"
    said = cli("--plan", "data=iris", "model.name=m", f"model.layers={layers}")
    assert said.code == 0
    assert re.search(r"│ \[red\]x", said.out)
    first = said.out.partition("runs to train")[0]
    arm = "".join(row.split("│")[1].strip() for row in first.splitlines() if row.startswith("│"))
    assert re.fullmatch(r"zeros,model.layers=.*~[0-9a-f]{8}", arm)


def test_the_plan_shows_gates(cli):
    """A reader of an LSTM's plan would not see Keras' ones on the forget gate."""
    said = cli("--plan", "model=lstm", "bias_initializer=zeros")
    gates = re.findall(r"│ ([ifco]) +│ \(16,\) │ constant +│ (\d)", said.out)
    assert gates == [("i", "0"), ("f", "1"), ("c", "0"), ("o", "0")]


def trained(*overrides):
    """The weights that every arm ends with, the biases in `idle` left out."""
    models, _ = train(compose_config(*overrides, "seeds=2", "training.epochs=2", "optimizer=sgd"))
    return models


def test_arms_that_are_the_same_are_named_and_are_the_same(cli):
    """Two names of one distribution would pass for two arms, or two arms for one."""
    said = cli("-m", "--plan", *IRIS, "bias_initializer=glorot_uniform,lecun_uniform,he_uniform,zeros")
    assert "The same by construction, bit for bit: glorot_uniform; lecun_uniform.\n" in said.out
    ours, other = (trained(*IRIS, f"bias_initializer={name}") for name in ("glorot_uniform", "lecun_uniform"))
    for mine, theirs in zip(ours, other, strict=True):
        for a, b in zip(mine.variables, theirs.variables, strict=True):
            np.testing.assert_array_equal(a.value, b.value)
    rates = cli("-m", "--plan", *IRIS, "bias_initializer=glorot_uniform", "optimizer.learning_rate=0.1,0.01")
    assert "The same" not in rates.out


def test_a_bias_in_front_of_batch_normalisation_cannot_matter_in_training(cli):
    """The plan would not warn of it, or call arms the same whose evaluation differs."""
    options = (*NORMALISED, "bias_layers=hidden")
    said = cli("-m", "--plan", *options, "bias_initializer=zeros,ones,glorot")
    words = " ".join(said.out.split())
    matters = re.search(r"Cannot matter \((zeros.*glorot_uniform.*)\): dense/bias, in training: batch_norm", words)
    assert matters and matters[1].count("bias_layers=hidden") == 3
    assert "The same" not in words
    for mine, theirs in zip(*(trained(*options, f"bias_initializer={n}") for n in ("zeros", "ones")), strict=True):
        np.testing.assert_allclose(mine.layers[0].kernel, theirs.layers[0].kernel, atol=1e-5)
        np.testing.assert_allclose(mine.layers[2].kernel, theirs.layers[2].kernel, atol=1e-5)


MATTERS = {
    "frozen statistics": ("{class_name: BatchNormalization, config: {trainable: false}}", ()),
    "an optimizer that looks at the weights": ("{class_name: Activation, config: {activation: tanh}}",
                                               ("optimizer.class_name=Ftrl",)),
}  # fmt: skip


@pytest.mark.parametrize(("between", "more"), MATTERS.values(), ids=MATTERS.keys())
def test_what_can_matter_is_not_called_idle(cli, between, more):
    """A bias would be dismissed that changes what is learnt."""
    layers = (
        f"[{{class_name: Dense, config: {{units: 8}}}}, {between}, {{class_name: Dense, config: {{name: output}}}}]"
    )
    options = ("data=iris", "model.name=m", f"model.layers={layers}", *more)
    layer = "hidden" if not more else "output"
    said = cli("-m", "--plan", *options, f"bias_layers={layer}", "bias_initializer=ones,relu_small")
    assert said.code == 0
    assert "dense/bias, " not in said.out and ("Cannot matter" not in said.out or not more)


def test_equal_priors_and_forget_gates_are_seen_through(cli):
    """Arms that start alike by another road would pass for two."""
    prior = cli("-m", "--plan", *IRIS, "bias_initializer=zeros,class_prior")
    assert "only rounding tells them apart: zeros; class_prior." in prior.out
    gates = cli("-m", "--plan", "model=lstm", "bias_initializer=zeros,forget_gate")
    assert "bit for bit: zeros; forget_gate." in gates.out


SHORT = ("experiment=lesson", "study=trial-lesson", "seeds=1", "hydra.mode=RUN", "show_weights=false")
LONG = ("data=trial", "model=lesson", "study=trial-lesson", "seeds=1")  # the same arm, of other epochs


def test_what_was_replaced_is_not_missing(cli):
    """The plan would announce training that a run then finds done."""
    for command in (LONG, SHORT):
        assert "│ zeros │ 1     │ 1 " in cli(*command).out
    assert "Nothing to train" in cli("--plan", *LONG).out
    assert "│ zeros │ 1     │ 0 " in cli(*LONG).out


def test_replaced_runs_keep_their_weights(cli, monkeypatch):
    """Of two runs of one key, the one without weights would be kept, and the other trained again."""
    monkeypatch.setattr("pipeline.experiment.run.MAX_KEPT_WEIGHTS", 0)
    for command in (LONG, (*LONG, "show_weights=true"), SHORT):
        assert "│ zeros │ 1     │ 1 " in cli(*command).out
    assert "│ zeros │ 1     │ 0 " in cli(*LONG, "show_weights=true").out


def test_a_constant_on_all_logits_cannot_matter(cli):
    """`ones` on a softmax would pass for a choice."""
    said = cli("-m", "--plan", *IRIS, "bias_initializer=zeros,ones,glorot")
    assert "Cannot matter (zeros; ones): output/bias, since a constant added to all logits" in " ".join(
        said.out.split()
    )
    assert "only rounding tells them apart: zeros; ones." in " ".join(said.out.split())
    for mine, theirs in zip(*(trained(*IRIS, f"bias_initializer={n}") for n in ("zeros", "ones")), strict=True):
        np.testing.assert_allclose(mine.layers[-1].kernel, theirs.layers[-1].kernel, atol=1e-5)
    regression = cli("-m", "--plan", "data=diabetes", "model=linear", "bias_initializer=zeros,ones")
    assert "Cannot matter" not in regression.out


def test_what_cannot_work_is_refused_by_the_plan_too(cli):
    """A plan would be shown of a sweep that cannot run."""
    said = cli("-m", "--plan", "bias_initializer=zeros,orthogonal")
    assert (said.code, said.out) == (2, "")
    assert "it fills matrices" in said.err


@pytest.mark.parametrize(
    "command", [("--plan", "-m", "bias_initializer=zeros,ones"), ("-m", "bias_initializer=ones", "--plan")]
)
def test_the_flag_may_stand_anywhere(command, small, monkeypatch, tmp_path, capfd):
    """`--plan -m` would be taken for something else than `-m --plan`."""
    monkeypatch.setattr("sys.argv", ["pipeline.train", *command, *small, *IRIS])
    with pytest.raises(SystemExit) as stop:
        cli_train.main()
    assert stop.value.code == 0
    assert "runs to train" in capfd.readouterr().out


def test_the_lesson_prints_weights_and_biases_before_and_after(cli, tmp_path):
    """The lesson would show one arm alone, unmarked numbers, or others than those stored."""
    said = cli("experiment=lesson", "seeds=2")
    assert (said.code, said.err) == (0, "")
    for arm in ("zeros", "ones", "glorot_uniform", "no_bias"):
        assert re.search(rf"^{arm}, seed 0 *$", said.out, re.MULTILINE)
    assert said.out.count("biases ") == 2 * 3
    assert said.out.count("weights: ") == said.out.count("kernel ") == 2 * 4
    assert "No biases: the layers are built with use_bias=False." in said.out
    run = RunStore(tmp_path / "results", "lesson").runs("ones")[0]
    weights, biases = run.weights(), run.biases()
    np.testing.assert_array_equal(weights["before/dense/bias"], np.ones(4))
    np.testing.assert_array_equal(weights["after/dense/bias"], biases["after/dense/bias"])
    assert not np.array_equal(weights["before/dense/kernel"], weights["after/dense/kernel"])
    shown = np.array2string(weights["after/dense/bias"], precision=3, suppress_small=True, max_line_width=27)
    assert shown.splitlines()[0] in said.out


def test_weights_of_a_large_model_are_kept_where_they_are_asked_for(cli, tmp_path, monkeypatch):
    """Runs done before would print nothing, or a run without weights come back from those that were replaced."""
    monkeypatch.setattr("pipeline.experiment.run.MAX_KEPT_WEIGHTS", 14)  # of the linear model's 15
    small = (*IRIS, "seeds=2")
    assert cli(*small).code == 0
    folder = tmp_path / "results" / "iris-linear" / "zeros" / "seed=1"
    plain = (folder / "biases.npz").read_bytes()
    assert not (folder / "weights.npz").exists()
    said = cli(*small, "show_weights=true")
    assert "output\n" in said.out or "output " in said.out
    assert (folder / "weights.npz").exists()
    assert (folder / "biases.npz").read_bytes() == plain
    assert cli(*small, "study=iris-linear", "training.epochs=1", "show_weights=false").code == 0
    again = cli(*small, "show_weights=true")
    assert re.search(r"│ zeros +│ 2 +│ 0 +│", again.out)
    assert re.search(r"│ zeros +│ 2 +│ 0 +│", cli(*small).out)


def test_weights_of_a_small_model_are_kept_unasked_and_not_missed(cli, tmp_path, monkeypatch):
    """The biases of a trained model could not be put to the test, or older runs would be trained again for it."""
    folder = tmp_path / "results" / "iris-linear" / "zeros" / "seed=0"
    with monkeypatch.context() as earlier:
        earlier.setattr("pipeline.experiment.run.MAX_KEPT_WEIGHTS", 0)
        assert cli(*IRIS, "seeds=1").code == 0
    assert not (folder / "weights.npz").exists()
    said = cli(*IRIS, "seeds=2")
    assert re.search(r"│ zeros +│ 2 +│ 1 +│", said.out)
    assert "what it is" not in said.out
    assert not (folder / "weights.npz").exists()
    with np.load(folder.with_name("seed=1") / "weights.npz") as kept:
        assert list(kept) == [f"{when}/output/{name}" for when in ("before", "after") for name in ("kernel", "bias")]

"""Arms of one structure share a compiled program, and a model that XLA refuses trains without it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from factories import compose_config
from reference import EPOCHS, assert_equal, stack, train

from pipeline.biases.extraction import bias_variables
from pipeline.config.schema import PROJECT
from pipeline.models.build import build_model
from pipeline.models.spec import complete_layers
from pipeline.training.cache import model_structure, programs, use_xla
from pipeline.training.loop import train_seeds

SMALL = ("data=iris", "model=linear", "training.epochs=1")
PLAIN = (*SMALL, "training.xla=false", "seeds=2")


@pytest.fixture(autouse=True)
def _no_programs():
    programs.clear()  # XLA's refusal in one test would leave a program without it to the next


@pytest.mark.slow
def test_a_sweep_of_four_arms_compiles_twice(tmp_path):
    """XLA compiles one program with biases and one without, for two stacks and four arms."""
    where = [f"results={tmp_path / 'results'}", f"hydra.sweep.dir={tmp_path / 'log'}", "tracking=none"]
    small = ["data=iris", "model=linear", "seeds=22", "training.epochs=3", "runtime=cpu"]  # two stacks
    flags = {"XLA_FLAGS": f"--xla_dump_to={tmp_path / 'xla'} --xla_dump_hlo_as_text"}
    command = [sys.executable, "-m", "pipeline.train", "-m", *small, *where]
    subprocess.run(command, cwd=PROJECT, env=os.environ | flags, check=True, capture_output=True)
    compiled = [p.name for p in (tmp_path / "xla").iterdir() if p.name.endswith("before_optimizations.txt")]
    assert len(compiled) == 2, compiled


@pytest.mark.slow
def test_arms_of_one_structure_share_a_program():
    """Four arms need two programs, one with biases and one without."""
    for arm in ("bias_initializer=zeros", "bias_initializer=ones", "bias_initializer=glorot", "use_bias=false"):
        train(compose_config(*PLAIN, arm))
    assert len(programs) == 2


@pytest.mark.slow
def test_nested_models_of_one_structure_are_the_same():
    """Though Keras counts up the names of the inputs within them."""
    nested = "model.layers=[{class_name: Sequential, config: {layers: [{class_name: Flatten}]}}, {class_name: Dense}]"
    layers = complete_layers(compose_config("model.name=nested", nested))
    one, other = (build_model(layers, (4,), "multiclass", 3, seed).get_config() for seed in (0, 1))
    assert one != other and model_structure(one) == model_structure(other)


@pytest.mark.slow
def test_another_learning_rate_is_the_same_program():
    """Learning rates share a program, and each trains at its own."""
    for rate in ("0.001", "0.1"):
        assert_equal(compose_config(*PLAIN, f"training.epochs={EPOCHS}", f"optimizer.learning_rate={rate}"))
    assert len(programs) == 1


def test_a_model_that_xla_refuses_trains_without_it(caplog, capsys):
    """An error of XLA is logged and said, and the models are trained without it."""
    import tensorflow as tf

    class Refused(tf.errors.UnimplementedError):
        pass

    config = compose_config(*SMALL, "seeds=2")
    dataset, built, splits = stack(config)

    def on_epoch(done, total):
        if not caplog.records:
            raise Refused(None, None, "made up")

    with caplog.at_level("INFO", logger="pipeline.training"):
        arguments = (splits, dataset, config.optimizer, config.training)
        trained = train_seeds(built, *arguments, bias_variables, on_epoch)
    assert len(trained) == 2
    assert "made up" in caplog.text
    assert capsys.readouterr().err.startswith("training without XLA, which cannot compile this model; ")


def test_after_a_stack_has_ended_an_error_is_no_refusal_of_xla():
    """Its seed is handed over once, trained; the error is raised, and nothing is trained again."""
    import tensorflow as tf

    config = compose_config(*SMALL, "seeds=[0,20]", "training.epochs=2", "training.seeds_at_once=1")
    expected, _ = train(config)
    dataset, built, splits = stack(config)
    finished = []

    def on_epoch(done, total):
        if done == 3:  # one of the two stacks has ended
            raise tf.errors.UnimplementedError(None, None, "made up")

    arguments = (splits, dataset, config.optimizer, config.training, bias_variables, on_epoch)
    with pytest.raises(tf.errors.UnimplementedError):
        train_seeds(built, *arguments, on_trained=lambda i, trained: finished.append(i))
    assert finished == [0]
    np.testing.assert_array_equal(built[0].get_weights()[0], expected[0].get_weights()[0])


@pytest.mark.parametrize(("steps", "auto"), [(8, True), (9, False), (None, False)])
def test_long_sequences_train_without_xla(steps, auto):
    """`auto` leaves XLA out for more than eight steps, or an unknown number of them; true and false are obeyed."""
    import keras

    model = keras.Sequential([keras.Input((steps, 3)), keras.layers.LSTM(2)])
    settings = {xla: compose_config(*SMALL, f"training.xla={xla}").training for xla in ("auto", "true", "false")}
    assert [use_xla(model, settings[xla]) for xla in ("auto", "true", "false")] == [auto, True, False]

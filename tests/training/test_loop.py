"""Seeds train together: the same bytes whoever trains and with whom, and their own dropout."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from factories import compose_config
from reference import fit_alone, stack, train

from pipeline.config.schema import PROJECT
from pipeline.data.splits import Split
from pipeline.experiment.run import run_arm
from pipeline.store.runs import RunStore
from pipeline.training.loop import train_seeds

WHOLE = ("training.batch_size=383",)  # three whole batches of digits: a smaller fourth would be traced on its own


COMPANY = {
    "small": ("data=iris", "model=mlp", "training.xla=false"),
    "mlp": ("model=mlp",),
    "cnn": ("model=cnn",),
    "large cnn": ("model=cnn", *WHOLE),  # each seed in a stack of its own
    "lstm": ("model=lstm", *WHOLE),
}


@pytest.mark.parametrize("name", ["small", *(pytest.param(m, marks=pytest.mark.slow) for m in COMPANY if m != "small")])
def test_who_trains_beside_a_seed_does_not_matter(name):
    """A seed ends with the same bits alone and among other seeds."""
    common = (*COMPANY[name], "training.epochs=1")
    alone, _ = train(compose_config(*common, "seeds=[3]"))
    among, _ = train(compose_config(*common, "seeds=[0,1,2,3,9]"))
    for a, b in zip(alone[0].variables, among[3].variables, strict=True):
        np.testing.assert_array_equal(a.value, b.value)


@pytest.mark.parametrize("own_streams", [True, False])
def test_dropout_draws_for_each_seed_of_a_stack(own_streams):
    """With all else equal, two seeds of a stack differ if and only if their dropout streams do."""
    layers = "model.layers=[{class_name: Flatten}, {class_name: Dropout, config: {rate: 0.5}}, {class_name: Dense}]"
    config = compose_config(layers, "seeds=2", "training.epochs=1", "training.xla=false", *WHOLE)
    dataset, built, (split, _) = stack(config)
    for theirs, mine in zip(built[1].variables, built[0].variables, strict=True):
        if "kernel" in mine.path or not own_streams:
            theirs.assign(mine)
    both = [split, Split(**{**vars(split), "seed": 1})]  # in the next slot of the same stack
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.training.loop.batch_order", lambda seed, epoch, rows: rows)
        train_seeds(built, both, dataset, config.optimizer, config.training, lambda model: {})
    equal = np.array_equal(built[0].get_weights()[0], built[1].get_weights()[0])
    assert equal != own_streams


@pytest.mark.slow
def test_dropout_is_distributed_as_in_fit():
    """The share of units dropped and the scale of the others are those of `model.fit`."""
    layers = "model.layers=[{class_name: Flatten}, {class_name: Dropout, config: {rate: 0.3}}, {class_name: Dense}]"
    config = compose_config(layers, "seeds=20", "training.epochs=1", "optimizer=sgd", "training.batch_size=1200")
    dataset, built, splits = stack(config)
    train_seeds(built, splits, dataset, config.optimizer, config.training, lambda model: {})
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


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path):
    """The same command gives the same bytes in two processes."""
    overrides = ("bias_initializer=glorot", "seeds=2", "training.epochs=2", "tracking=none")
    command = [*overrides, f"results={tmp_path / 'first'}", f"hydra.run.dir={tmp_path / 'log'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.train", *command], cwd=PROJECT, stdout=subprocess.DEVNULL
    )
    run_arm(compose_config(*overrides, f"results={tmp_path / 'second'}"))  # in this one, beside other tests
    assert process.wait() == 0
    digests = []
    for name in ("first", "second"):
        runs = RunStore(tmp_path / name, "digits-mlp").runs()
        assert [run.seed for run in runs] == [0, 1]
        files = sorted(p for run in runs for p in run.path.iterdir() if p.name != "machine.json")  # has seconds
        digests.append([(p.parent.name, p.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in files])
    assert digests[0] == digests[1]


def test_what_is_stored_is_what_the_models_end_with(tmp_path):
    """After-arrays are the trained model's biases; before and after are the ends of the trajectory."""
    config = compose_config(
        "data=iris", "seeds=2", "training.epochs=2", "training.xla=false", f"results={tmp_path}", "tracking=none"
    )
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


def test_how_many_train_at_once_does_not_matter():
    """Three stacks give the same bits side by side and one after the other."""
    common = (
        "data=iris",
        "model=mlp",
        "training.epochs=1",
        "seeds=[0,1,20,40,61]",
        "training.xla=false",
    )  # three stacks
    once, _ = train(compose_config(*common))
    one_by_one, _ = train(compose_config(*common, "training.seeds_at_once=1"))
    for a, b in zip(once, one_by_one, strict=True):
        for mine, other in zip(a.variables, b.variables, strict=True):
            np.testing.assert_array_equal(mine.value, other.value)


@pytest.mark.gpu
def test_a_gpu_gives_the_numbers_of_the_cpu(tmp_path):
    """The same program gives the losses of the CPU on a GPU, to 1e-3."""
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

"""Nothing falls back silently: what differs from what was asked for is said on the terminal, not only in a log.

Each test breaks when the message is taken out. That of runs without a seal is in tests/store and tests/commands, those
of MLflow's outages are in tests/faults/test_outages.py.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from factories import CommandResult, compose_config

from pipeline.data.dataset import REST, TEST, Dataset, classification
from pipeline.data.sources import SOURCES
from pipeline.data.splits import split_rows
from pipeline.errors import ConfigError
from pipeline.experiment.validate import validate
from pipeline.runtime.device import _start
from pipeline.training.memory import stack_bytes, stack_width, stacks_at_once

QUICK = ("data=iris", "model=linear", "training.epochs=1", "seeds=1", "training.xla=false")
WITHOUT_STACK_OR_XLA = (  # TensorFlow has no bicubic interpolation for either
    "data=digits",
    "model.name=bicubic",
    "model.layers=[{class_name: Resizing, config: {height: 4, width: 4, interpolation: bicubic}},"
    "{class_name: Flatten}, {class_name: Dense}]",
)


@pytest.mark.slow
@pytest.mark.parametrize("isolate", ["false", "true"])
def test_a_model_that_neither_stacks_nor_compiles(isolate: str, cli: Callable[..., CommandResult]) -> None:
    """Under `training.xla=auto` it trains seed by seed and without XLA, which is said once, from any process."""
    sweep = ("-m", "bias_initializer=zeros,ones", "training.epochs=1", "seeds=1", f"runtime.isolate={isolate}")
    done = cli(*WITHOUT_STACK_OR_XLA, *sweep)
    assert done.code == 0
    assert done.err.splitlines() == [
        "training seed by seed, which takes longer: TensorFlow cannot stack a layer of this model",
        "training without XLA, which cannot compile this model; the job's log says why",
    ]


@pytest.mark.slow
def test_xla_that_is_asked_for_is_never_left_out(cli: Callable[..., CommandResult]) -> None:
    """With `training.xla=true` the job fails instead."""
    done = cli(*WITHOUT_STACK_OR_XLA, "training.xla=true", "training.epochs=1", "seeds=1")
    assert done.code == 1 and "training without XLA" not in done.err
    assert done.err.splitlines()[-1].startswith("failed: ")


@pytest.mark.slow
def test_a_long_recurrence(cli: Callable[..., CommandResult]) -> None:
    """Under `training.xla=auto` it is not compiled, and that is said."""
    layers = "{class_name: Reshape, config: {target_shape: [16, 4]}}, {class_name: SimpleRNN, config: {units: 2}}"
    model = ("data=digits", "model.name=long", f"model.layers=[{layers}, {{class_name: Dense}}]")
    done = cli(*model, "training.epochs=1", "seeds=1")
    assert done.code == 0
    assert done.err == "training without XLA, which takes long to compile recurrent layers of more than 8 steps\n"


def test_a_batch_of_more_rows_than_there_are(cli: Callable[..., CommandResult]) -> None:
    """An epoch is then one step of all rows, and that is said."""
    done = cli(*QUICK, "training.batch_size=1000")
    assert done.code == 0
    assert done.err == "training.batch_size: 1000 given, but 96 rows train, so an epoch is one step\n"


def test_more_seeds_at_once_than_memory_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer train at once, and that is said; `auto` asked for as many as fit."""
    from reference import stack

    config = compose_config(*QUICK, "training.seeds_at_once=60")
    _, (model,), _ = stack(config)
    needed = stack_bytes(model, stack_width(model, 32), 32)
    monkeypatch.setattr("pipeline.training.memory.free_memory", lambda: int(2.5 * needed))
    assert stacks_at_once(model, config.training) == 2
    said = "training.seeds_at_once: 60 given, but 40 train at once: memory is short\n"
    assert capsys.readouterr().err == said
    monkeypatch.setattr("pipeline.training.memory.n_cores", lambda: 3)
    assert stacks_at_once(model, compose_config(*QUICK).training) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("asked", "together", "stacks"), [(3, 20, 1), (30, 20, 1), (40, 40, 2)])
def test_seeds_at_once_that_are_no_whole_stacks(
    asked: int, together: int, stacks: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stacks of one width train, never less than one: where that is another number, it is said, in a line."""
    from reference import stack

    config = compose_config(*QUICK, f"training.seeds_at_once={asked}")
    _, (model,), _ = stack(config)
    monkeypatch.setattr("pipeline.training.memory.free_memory", lambda: 2**40)
    assert stacks_at_once(model, config.training) == stacks
    said = f"training.seeds_at_once: {asked} given, but {together} train at once: seeds train in stacks of 20, which "
    assert capsys.readouterr().err == ("" if asked == together else f"{said}changes no number\n")


@pytest.mark.parametrize(
    ("device", "hidden", "is_said"), [("auto", None, True), ("auto", "-1", False), ("cpu", None, False)]
)
def test_a_gpu_that_tensorflow_does_not_see(
    device: str, hidden: str | None, is_said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Under `runtime.device=auto` the CPU trains, and that is said, unless the user has hidden the GPU."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees a GPU")
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr("pipeline.runtime.device.DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert _start.__wrapped__(device) == "CPU"
    said = "training on the CPU: TensorFlow sees no GPU here; uv sync --extra gpu installs what it needs for one\n"
    assert capsys.readouterr().err == (said if is_said else "")
    (tmp_path / "nvidia0").unlink()
    assert _start.__wrapped__("auto") == "CPU"
    assert capsys.readouterr().err == ""


def test_a_gpu_that_is_asked_for_is_refused_where_there_is_none(cli: Callable[..., CommandResult]) -> None:
    """`runtime=gpu` never trains on the CPU."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees a GPU")
    done = cli(*QUICK, "runtime=gpu")
    assert done.code == 2
    assert done.err == "runtime: gpu given, but TensorFlow sees no GPU here; allowed: auto, cpu\n"


def test_rows_that_cannot_be_split_by_class(capsys: pytest.CaptureFixture[str]) -> None:
    """They are split regardless of classes, and that is said once for all seeds."""
    x, y = np.zeros((30, 2), np.float32), np.array([0] * 15 + [1] * 13 + [2] * 2)
    data = compose_config("data=iris").data
    for seed in (0, 1):
        split_rows(classification(x, y, "abc"), data, seed)
    said = capsys.readouterr().err
    assert said == "splitting rows regardless of classes, since one of them has too few for a share in each part\n"
    split_rows(classification(x, y % 2, "ab"), data, 0)
    assert capsys.readouterr().err == ""


def test_a_test_set_that_the_dataset_has_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Asking for another share of test rows is refused, not ignored."""

    def own_test_rows(_: object) -> Dataset:
        x, parts = np.random.default_rng(0).random((90, 4)), np.repeat(np.array([REST, TEST], np.int8), [60, 30])
        return classification(x, np.arange(90) % 3, "abc", parts=parts)

    monkeypatch.setitem(SOURCES, "own", own_test_rows)
    request = [*QUICK, "tracking=none", f"results={tmp_path}", "data.source=own"]
    assert validate([*request, "data.test_fraction=null"])
    with pytest.raises(ConfigError, match=r"^data.test_fraction: 0.3 given, but iris has its own test rows; "):
        validate([*request, "data.test_fraction=0.3"])


def test_an_ablation_without_weights(cli: Callable[..., CommandResult]) -> None:
    """Models of a million parameters keep none unasked, so they are not tested with other biases: that is said."""
    wide = ("model.name=wide", "model.layers=[{class_name: Dense, config: {units: 130000}}, {class_name: Dense}]")
    done = cli(*QUICK, *wide)
    assert done.code == 0
    assert done.err == (
        "ablation of iris-wide: none for 1 runs without stored weights, which are kept of models up to 1,000,000 "
        "parameters, or with show_weights=true\n"
    )
    assert cli(*QUICK, *wide, "ablation=false").err == ""

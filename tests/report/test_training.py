"""What a report says of studies with blocks and early stopping: every setting, no arm for a way, the best epoch."""

from pathlib import Path

import pytest
from factories import change_meta, put

from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.analysis.formatting import number_format
from pipeline.report.format import interval_texts
from pipeline.report.html import render_page
from pipeline.report.methods import render_methods
from pipeline.report.reviewer import reviewer_facts
from pipeline.store.runs import RunStore

ADAM = {"class_name": "Adam", "learning_rate": 0.1, "config": {}, "schedule": None}


def dense(kernels: str, biases: str) -> dict[str, object]:
    """A model of one layer with these initializers."""
    config = {"units": 3, "kernel_initializer": kernels, "bias_initializer": biases}
    return {"layers": [{"class_name": "Dense", "config": config}]}


@pytest.fixture
def stopped(tmp_path: Path) -> Comparison:
    """Two settings with two learning rates, whose runs may stop early."""
    for rate, setting, seed in ((rate, setting, seed) for rate in (0.01, 0.05) for setting in ("zeros", "ones")
                                for seed in range(3)):  # fmt: skip
        metrics = {"epochs_run": 6.0 + 6 * seed, "best_epoch": 1.0}
        put(tmp_path, f"{setting},optimizer.learning_rate={rate}", seed, 0.5 + seed / 10, metrics=metrics,
            optimizer=ADAM | {"learning_rate": rate},
            training={"epochs": 30, "batch_size": 32, "stop": {"patience": 2, "monitor": "val_loss"}})  # fmt: skip
    for run in RunStore(tmp_path, "s").read()[0]:
        block = run.arm.partition(",")[2]
        change_meta(run.path, lambda meta, block=block: meta["config"].update(block=block))
    return compare_study(RunStore(tmp_path, "s"), "zeros")


def test_the_methods_tell_blocks_from_ways_and_when_training_stopped(stopped: Comparison) -> None:
    """Two ways, not four arms; both learning rates; the epochs that runs trained, not those asked for."""
    text = render_methods(stopped)
    assert "2 ways to initialize the biases (zeros, ones) of one model on one dataset" in text
    assert "in 2 blocks that differ in optimizer.learning_rate" in text
    assert "learning rate 0.01 or 0.05, batch size 32 for at most 30 epochs" in text
    assert "(patience 2, by val_loss) runs trained 6 to 18 epochs, and each was tested with the weights of its" in text
    assert "all arms of a block shared the initial kernels" in text
    facts = dict(reviewer_facts(stopped))
    assert facts["optimizer"] == "Adam, learning rate 0.01 or 0.05, batch size 32"
    assert facts["epochs"].startswith("at most 30; ") and "6 to 18" in facts["epochs"]


def test_the_page_tells_blocks_from_ways_and_the_best_epoch_from_the_last(stopped: Comparison) -> None:
    """The same on the page, and that an epoch was chosen."""
    text = " ".join(render_page(stopped, {}, "").split())
    assert "2 ways to do it were trained in 2 blocks that differ in optimizer.learning_rate (4 arms)" in text
    assert "everything else within a block held equal" in text and "every arm of a block starts from" in text
    assert "those of the last epoch" not in text and "those of each run&#39;s best epoch" in text
    assert "Every arm trained" not in text and "One learning rate for all" not in text
    assert "Adam at learning rate 0.01 or 0.05 for at most 30 epochs" in text


def test_blocks_may_differ_in_their_kernels_and_models(tmp_path: Path) -> None:
    """Other initializers of kernels make no other model; other units do. Biases differ in each block anyway."""
    for kernels in ("HeNormal", "GlorotUniform"):
        for setting in ("zeros", "ones"):
            put(tmp_path, f"{setting},kernel_initializer={kernels}", 0, 0.5, model=dense(kernels, setting))
    text = render_methods(compare_study(RunStore(tmp_path, "s"), "zeros"))
    assert "of one model on" in text and "in 2 blocks that differ in the kernels' initializers" in text
    layers = dense("HeNormal", "zeros") | {"name": "n"}
    layers["layers"][0]["config"]["units"] = 5  # type: ignore[index]
    put(tmp_path, "zeros,model=n", 0, 0.5, model=layers)
    text = render_methods(compare_study(RunStore(tmp_path, "s"), "zeros"))
    assert "of 2 models on" in text and "in 3 blocks that differ in the model" in text


def test_one_block_without_early_stopping_stays_simple(tmp_path: Path) -> None:
    """No word of blocks or of stopping where there are none."""
    put(tmp_path, "zeros", 0, 0.5)
    put(tmp_path, "ones", 0, 0.5)
    comparison = compare_study(RunStore(tmp_path, "s"), "zeros")
    text, page = render_methods(comparison), render_page(comparison, {}, "")
    assert "for 2 epochs. For one seed all arms shared" in text and "block" not in text
    assert (
        "those of the last epoch" in page and "Every arm trained with Adam at learning rate 0.1 for 2 epochs." in page
    )


def test_every_table_of_the_page_scrolls_in_a_box_of_its_own(stopped: Comparison) -> None:
    """A table is never wider than a narrow page; a box that scrolls holds each."""
    page = render_page(stopped, {}, "")
    before = [part.rstrip().rpartition("<div")[2] for part in page.split("<table")[:-1]]
    assert len(before) > 4 and all('class="wide' in opening for opening in before)


def test_a_bound_that_leaves_out_zero_is_not_shown_as_zero() -> None:
    """The bound gets the digits that show its sign; 0 itself and rounding dust stay 0."""
    number = number_format([{"mean": 0.5, "ci_low": 0.45, "ci_high": 0.55}])
    shown = [number(bound, "+") for bound in (-0.05, -0.0002, 0.0, 1e-12)]
    assert shown == ["-0.050", "-0.0002", "0.000", "0.000"] and number(0.0002) == "0.000"
    assert interval_texts([(-0.025, -0.05, -0.0002)]) == ["-0.025 [-0.050, -0.0002]"]

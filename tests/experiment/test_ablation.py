"""Stored models come back as they were trained, are tested with other biases, and their dead ReLU units are counted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import CommandResult, change_config, compose_config

from pipeline.analysis.ablation import load_ablation, load_dead_units, relu_layers, wanted_rows
from pipeline.biases.extraction import bias_variables
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.experiment.ablation import ablate_studies
from pipeline.experiment.outcome import Outcome
from pipeline.experiment.run import run_arm
from pipeline.models.build import build_model
from pipeline.store.replaced import retire_run
from pipeline.store.runs import RunStore
from pipeline.store.tables import ABLATION, DEAD_UNITS

QUICK = ("data=iris", "model=mlp", "training.epochs=2", "training.xla=false", "tracking=none", "study=s")
NORMALISED = (
    "model.name=normalised",
    "model.layers=[{class_name: Dense, config: {units: 8, bias_regularizer: l2, kernel_regularizer: l1}},"
    "{class_name: BatchNormalization}, {class_name: ReLU}, {class_name: Dropout, config: {rate: 0.5}},"
    "{class_name: Dense, config: {name: output}}]",
)
MASKED = (
    "model.name=masked",
    "model.layers=["  # each flower's four measurements as words; the 0 that is masked is a petal under 1 cm wide
    "{class_name: Embedding, config: {input_dim: 17, output_dim: 3, mask_zero: true}},"
    "{class_name: SimpleRNN, config: {units: 3}}, {class_name: Dense, config: {name: output}}]",
)
NESTED = (
    "model.name=nested",
    "model.layers=[{class_name: Sequential, config: {name: inner, layers: [{class_name: Dense, config: {units: 5,"
    "activation: relu}}, {class_name: Dense, config: {units: 3}}, {class_name: Activation,"
    "config: {activation: relu}}]}}, {class_name: Dense, config: {name: output}}]",
)

ARM_NAME = "zeros,data=iris,model=mlp,training.epochs=2,training.xla=False"


def train(results: Path, *overrides: str, block: tuple[str, ...] = (), **changes: Any) -> Outcome:
    """Train an arm, named by its bias setting and the overrides in `block`. changes: fields of its config."""
    config = compose_config(*QUICK, "seeds=2", *overrides, *block)
    return run_arm(change_config(config, results=str(results), overrides=block, **changes))


def initialized(results: Path, *names: str, **changes: Any) -> list[Outcome]:
    """An arm per initializer."""
    return [train(results, f"bias_initializer={name}", **changes) for name in names]


def ablate(*outcomes: Outcome) -> list[str]:
    return ablate_studies([outcome.plan for outcome in outcomes])


@pytest.mark.parametrize(
    "overrides",
    [  # batch sizes that divide the training rows: a smaller last batch would be traced on its own
        ("model=mlp", "bias_initializer=glorot"),
        ("data=diabetes", "model=linear", "training.metrics=[mae,mse]", "training.batch_size=94"),
        ("data=breast_cancer", "model=linear", "training.metrics=[accuracy,auc]", "training.batch_size=91",
         "bias_initializer=class_prior"),
        pytest.param(
            ("data=digits", "model=cnn", "training.epochs=1", "training.batch_size=383",
             "bias_initializer=random_asymmetric"), marks=pytest.mark.slow
        ),
        pytest.param(
            ("data=digits", "model=lstm", "training.epochs=1", "bias_initializer=chrono"), marks=pytest.mark.slow
        ),
        pytest.param(("data.standardize=false", *MASKED), marks=pytest.mark.slow),
        pytest.param(
            ("data=wine", "training.class_weight=balanced", "training.batch_size=113", "optimizer=sgd", *NESTED),
            marks=pytest.mark.slow
        ),
    ],
    ids=["mlp", "regression", "binary", "convolution", "recurrent", "masked", "nested"],
)  # fmt: skip
def test_a_stored_model_comes_back_as_it_was_trained(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    """With its own biases, a model restored from its weights has the test metrics stored when it was trained."""
    outcome = train(tmp_path, *overrides)
    assert [run.meta["status"] for run in outcome.runs] == ["complete", "complete"]
    assert ablate(outcome) == []
    own = load_ablation(RunStore(tmp_path, "s")).query("biases == 'own'").set_index("seed")
    for run in outcome.runs:
        stored = {name: value for name, value in run.meta["metrics"].items() if name.startswith("test_")}
        assert own.loc[run.seed, list(stored)].to_dict() == pytest.approx(stored, rel=1e-6)
        assert list(own) == ["arm", "biases", *stored]


@pytest.mark.slow
def test_only_biases_change_places(tmp_path: Path) -> None:
    """Each row is what Keras' `evaluate` gives with the biases it names; offsets of normalization layers stay."""
    arms = [train(tmp_path, *NORMALISED, "training.epochs=20", f"bias_initializer={b}") for b in ("ones", "zeros")]
    assert ablate(*arms) == []
    table = load_ablation(RunStore(tmp_path, "s")).set_index(["arm", "seed", "biases"])
    assert len(table) == 2 * 2 * 4
    for outcome, other in (arms, arms[::-1]):
        data, layers = outcome.plan.config.data, outcome.plan.settings["model"]["layers"]
        dataset = load_dataset(data)
        for run in outcome.runs:
            split, weights = split_rows(dataset, data, run.seed), run.weights()
            x = (dataset.x[split.test] - split.mean) / split.scale
            model = build_model(layers, dataset.x.shape[1:], dataset.task, 3, run.seed)
            model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
            trained = other.runs[run.seed].weights()
            sources = {"own": {}, "before": weights, "zeroed": dict.fromkeys(trained, 0.0), other.plan.arm: trained}
            for name, source in sources.items():
                moment = "before" if name == "before" else "after"
                model.set_weights([array for path, array in weights.items() if path.startswith("after/")])
                for path, variable in bias_variables(model).items():
                    if source and "beta" not in path:
                        variable.assign(np.broadcast_to(source[f"{moment}/{path}"], variable.shape))
                expected = model.evaluate(x, dataset.y[split.test], verbose=0)
                assert table.loc[run.arm, run.seed, name].to_list() == pytest.approx(expected, rel=1e-5), name
            stored = [run.meta["metrics"][name] for name in ("test_loss", "test_accuracy")]
            assert table.loc[run.arm, run.seed, "own"].to_list() == pytest.approx(stored, rel=1e-6)
    assert table["test_loss"].round(4).nunique() > 8


def test_dead_units_are_zero_for_every_test_row(tmp_path: Path) -> None:
    """Biases of -1e6 kill all units and 1e6 none; of an ordinary model as many as its stored weights say."""
    wide = ("bias_layers=[dense]", "bias_initializer=constant")
    low = train(tmp_path, *wide, "bias_initializer.config.value=-1e6")
    high = train(tmp_path, *wide, "bias_initializer.config.value=1e6")
    some = train(tmp_path, "bias_initializer=zeros", seeds=(0,))
    assert ablate(low, high, some) == []
    table = load_dead_units(RunStore(tmp_path, "s")).set_index(["arm", "seed", "layer", "moment"])
    for moment in ("before", "after"):
        assert table.loc[low.plan.arm, 1, "dense", moment].to_list() == [64, 64]
        assert table.loc[high.plan.arm, 1, "dense", moment].to_list() == [64, 0]
    dataset = load_dataset(some.plan.config.data)
    split, weights = split_rows(dataset, some.plan.config.data, 0), some.runs[0].weights()
    outputs = (dataset.x[split.test] - split.mean) / split.scale
    for layer in ("dense", "dense_1"):
        outputs = np.maximum(outputs @ weights[f"after/{layer}/kernel"] + weights[f"after/{layer}/bias"], 0)
        dead = (outputs.max(0) == 0).sum()
        assert table.loc[some.plan.arm, 0, layer, "after"].to_list() == [outputs.shape[1], dead]
    assert dead > 0


def test_relu_layers_are_those_whose_output_is_a_relus() -> None:
    """ReLU, Dense, Activation and convolutions count, also nested; leaky, recurrent and channels-first ones do not."""

    def layer(class_name: str, name: str, **config: Any) -> dict[str, Any]:
        return {"class_name": class_name, "config": {"name": name, **config}}

    inner = layer("Sequential", "inner", layers=[layer("Conv2D", "conv", filters=2, activation="relu")])
    layers = [
        inner, layer("Dense", "a", activation="relu"), layer("Dense", "b", activation="tanh"), layer("Dense", "c"),
        layer("ReLU", "d"), layer("ReLU", "e", negative_slope=0.1), layer("Activation", "f", activation="relu"),
        layer("SimpleRNN", "g", activation="relu"), layer("LSTM", "h", activation="relu"),
        layer("ConvLSTM2D", "i", activation="relu"),
        layer("TimeDistributed", "j", layer=layer("Dense", "k", activation="relu")),
        layer("Conv2D", "l", activation="relu", data_format="channels_first"),
    ]  # fmt: skip
    assert relu_layers(layers) == ["inner/conv", "a", "d", "f"]


def test_what_cannot_be_tested_has_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Biases come neither from an arm without any, nor from another block, nor from a diverged run."""
    with monkeypatch.context() as earlier:
        earlier.setattr("pipeline.experiment.run.MAX_KEPT_WEIGHTS", 0)
        (without_weights,) = initialized(tmp_path, "lecun_normal")
    outcomes = [
        train(tmp_path, "bias_initializer=zeros"),
        train(tmp_path, "use_bias=false"),
        train(tmp_path, "bias_initializer=ones", seeds=(0,)),
        train(tmp_path, "bias_initializer=zeros", block=("optimizer.learning_rate=0.1",)),
        train(tmp_path, "bias_initializer=ones", block=("optimizer.learning_rate=1e30",)),
    ]
    assert outcomes[-1].runs[0].meta["status"] == "diverged"
    (line,) = ablate(without_weights, *outcomes)
    assert line.startswith("ablation of s: none for 2 runs without stored weights, ")
    table = load_ablation(RunStore(tmp_path, "s"))
    tested = {run: rows["biases"].to_list() for run, rows in table.groupby(["arm", "seed"], sort=False)}
    own, rate = ["own", "zeroed", "before"], "optimizer.learning_rate=0.1"
    assert tested == {
        ("zeros", 0): [*own, "lecun_normal", "ones"], ("zeros", 1): [*own, "lecun_normal"],
        ("ones", 0): [*own, "lecun_normal", "zeros"],
        ("no_bias", 0): ["own"], ("no_bias", 1): ["own"],
        (f"zeros,{rate}", 0): own, (f"zeros,{rate}", 1): own,
    }  # fmt: skip


def test_many_arms_exchange_biases_with_the_first_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a block of more than MOST_ARMS arms, only `zeros` gives its biases to all and gets those of all."""
    monkeypatch.setattr("pipeline.analysis.ablation.MOST_ARMS", 2)
    arms = initialized(tmp_path, "glorot", "ones", "zeros", seeds=(0,))
    pairs = [(row["arm"], row["biases"]) for row in wanted_rows([o.runs[0] for o in arms])[ABLATION]]
    assert [pair for pair in pairs if pair[1] not in ("own", "zeroed", "before")] == [
        ("glorot_uniform", "zeros"),
        ("ones", "zeros"),
        ("zeros", "glorot_uniform"),
        ("zeros", "ones"),
    ]


def test_only_missing_rows_are_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables do not depend on the order in which runs came; rows of runs that are gone are dropped."""
    once = initialized(tmp_path / "once", "zeros", "ones", seeds=(0, 2))
    assert ablate(*once) == []
    for name, seeds in (("zeros", (0,)), ("ones", (0,)), ("zeros", (1,)), ("ones", (0, 2)), ("zeros", (0, 2))):
        assert ablate(*initialized(tmp_path / "later", name, seeds=seeds)) == []
    later = RunStore(tmp_path / "later", "s")
    for run in later.runs():
        if run.seed == 1:
            retire_run(later.results, run)
    (again,) = initialized(later.results, "zeros", seeds=(0, 2))
    assert ablate(again) == []
    for name in (ABLATION, DEAD_UNITS):
        assert (later.folder / name).read_bytes() == (tmp_path / "once" / "s" / name).read_bytes()
    with monkeypatch.context() as never:
        never.setattr("pipeline.experiment.ablation.Evaluator", None)  # computing any row now fails
        assert ablate(again) == []
        (later.folder / DEAD_UNITS).unlink()
        assert len(ablate(again)) == 1
    assert load_dead_units(later).columns.to_list() == [
        "arm", "seed", "layer", "moment", "units", "dead"]  # fmt: skip
    assert ablate(again) == []
    assert len(load_dead_units(later)) == 2 * 2 * 2 * 2


def test_rows_of_replaced_runs_are_not_read(tmp_path: Path) -> None:
    """When an arm is trained with other settings, its old rows, and those with its old biases, no longer count."""
    assert ablate(*initialized(tmp_path, "zeros", "ones")) == []
    assert len(load_ablation(RunStore(tmp_path, "s"))) == 2 * 2 * 4
    initialized(tmp_path, "ones", training={"batch_size": 16})
    assert load_ablation(RunStore(tmp_path, "s"))[["arm", "biases"]].to_numpy().tolist() == [
        ["zeros", name] for _ in range(2) for name in ("own", "zeroed", "before")]  # fmt: skip


def test_without_the_files_the_tables_are_empty(tmp_path: Path) -> None:
    """A study without ablation.csv and dead_units.csv has tables of the usual columns and no rows."""
    assert load_ablation(RunStore(tmp_path, "s")).columns.to_list() == ["arm", "seed", "biases", "test_loss"]
    assert load_dead_units(RunStore(tmp_path, "s")).empty


def test_a_model_that_misses_its_stored_loss_gets_no_rows(
    cli: Callable[..., CommandResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs one line on stderr; the sweep, whose runs are done, succeeds."""
    monkeypatch.setattr("pipeline.experiment.ablation.TOLERANCE", -1.0)
    output = cli(*QUICK, "seeds=2")
    assert (output.code, output.err) == (
        0,
        "ablation of s: some rows are missing: zeros, seed 0: does not reproduce its stored test loss (and 1 more)\n",
    )
    assert "Results:" in output.out
    assert not (tmp_path / "results" / "s" / ABLATION).exists()


def test_ablation_can_be_left_out(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """`ablation=false` makes no tables, and neither another arm nor another key, so nothing is trained again."""
    assert cli(*QUICK, "seeds=1", "ablation=false").code == 0
    assert [path.name for path in (tmp_path / "results" / "s").iterdir()] == [ARM_NAME]
    output = cli(*QUICK, "seeds=1")
    assert (output.code, output.err) == (0, "")
    assert output.out.split("│")[3].strip() == "0"
    assert len(load_ablation(RunStore(tmp_path / "results", "s"))) == 3
    refused = cli(*QUICK, "ablation=maybe")
    assert (refused.code, refused.err) == (2, "ablation: maybe given; allowed: true or false\n")


def test_runs_on_a_data_file_are_tested_where_the_plan_names_it(tmp_path: Path) -> None:
    """A file is found by its content: models trained on another file get rows only when a plan names that file."""
    rng = np.random.default_rng(0)
    for name in ("mine", "other"):
        x = rng.normal(size=(60, 3))
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.int32(x[:, 0] > 0))
    store = RunStore(tmp_path / "r", "s")
    quick = ("model=linear", "training.batch_size=60", "data=file")
    mine = train(store.results, *quick, f"data.path={tmp_path / 'mine.npz'}")
    other = train(store.results, *quick, f"data.path={tmp_path / 'other.npz'}", "bias_initializer=ones")
    assert ablate(mine) == []
    assert set(load_ablation(store)["arm"]) == {mine.plan.arm}
    assert ablate(mine, other) == []
    assert set(load_ablation(store)["arm"]) == {mine.plan.arm, other.plan.arm}

"""Stored models come back as they were trained, are tested with other biases, and their dead ReLU units are counted."""

from dataclasses import replace

import numpy as np
import pytest
from factories import compose_config

from pipeline.analysis.ablation import load_ablation, load_dead_units, relu_layers, wanted_rows
from pipeline.biases.extraction import bias_variables
from pipeline.data.sources import load_dataset
from pipeline.data.splits import split_rows
from pipeline.experiment.ablation import ablate_studies
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
    "model.layers=[{class_name: Flatten},"
    "{class_name: Embedding, config: {input_dim: 17, output_dim: 3, mask_zero: true}},"
    "{class_name: LSTM, config: {units: 3}}, {class_name: Dense, config: {name: output}}]",
)
NESTED = (
    "model.name=nested",
    "model.layers=[{class_name: Sequential, config: {name: inner, layers: [{class_name: Dense, config: {units: 5,"
    "activation: relu}}, {class_name: Dense, config: {units: 3}}, {class_name: Activation,"
    "config: {activation: relu}}]}}, {class_name: Dense, config: {name: output}}]",
)


LONG_NAME = "zeros,data=iris,model=mlp,training.epochs=2,training.xla=false"


def train(tmp_path, *overrides, block=()):
    """One arm, trained; its outcome. It is named by its bias setting, and by the overrides in `block`."""
    config = compose_config(*QUICK, "seeds=2", f"results={tmp_path}", *overrides, *block)
    return run_arm(replace(config, overrides=block))


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=mlp", "bias_initializer=glorot"),
        ("data=diabetes", "training.metrics=[mae,mse]", *NORMALISED),
        ("data=breast_cancer", "training.metrics=[accuracy,auc]", "bias_initializer=class_prior"),
        ("data=digits", "model=cnn", "bias_initializer=random_asymmetric"),
        ("data=digits", "model=lstm", "bias_initializer=chrono"),
        ("data=digits", "data.standardize=false", "training.epochs=1", *MASKED),
        ("data=wine", "training.class_weight=balanced", "optimizer=sgd", *NESTED),
    ],
    ids=["mlp", "regression", "binary", "convolution", "recurrent", "masked", "nested"],
)  # fmt: skip
def test_a_stored_model_comes_back_as_it_was_trained(tmp_path, overrides):
    """What is tested would not be the model that was trained."""
    outcome = train(tmp_path, *overrides)
    assert ablate_studies([outcome.plan]) == []
    own = load_ablation(RunStore(tmp_path, "s")).query("biases == 'own'").set_index("seed")
    for run in outcome.runs:
        stored = {name: value for name, value in run.meta["metrics"].items() if name.startswith("test_")}
        assert own.loc[run.seed, list(stored)].to_dict() == pytest.approx(stored, rel=1e-6)
        assert list(own) == ["arm", "biases", *stored]


def test_biases_change_places_and_nothing_else_does(tmp_path):
    """A row would be about other biases than it says, or about more than biases (as the beta of a normalisation)."""
    arms = [
        train(tmp_path, *NORMALISED, "training.epochs=20", f"bias_initializer={name}") for name in ("ones", "zeros")
    ]
    assert ablate_studies([outcome.plan for outcome in arms]) == []
    found = load_ablation(RunStore(tmp_path, "s")).set_index(["arm", "seed", "biases"])
    assert len(found) == 2 * 2 * 4
    for outcome in arms:
        config, effective = outcome.plan.config, outcome.plan.settings
        dataset = load_dataset(config.data)
        for run in outcome.runs:
            rows, weights = split_rows(dataset, config.data, run.seed), run.weights()
            model = build_model(effective["model"]["layers"], dataset.x.shape[1:], dataset.task, 3, run.seed)
            model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
            other = next(o for o in arms if o is not outcome)
            trained = other.runs[run.seed].weights()
            expected = {"own": {}, "before": weights, "zeroed": dict.fromkeys(trained, 0.0), other.plan.arm: trained}
            for name, taken in expected.items():
                when = "before" if name == "before" else "after"
                model.set_weights([a for path, a in weights.items() if path.startswith("after/")])
                for path, variable in bias_variables(model).items():
                    if taken and "beta" not in path:
                        variable.assign(np.broadcast_to(taken[f"{when}/{path}"], variable.shape))
                tested = model.evaluate(
                    (dataset.x[rows.test] - rows.mean) / rows.scale, dataset.y[rows.test], verbose=0
                )
                assert found.loc[run.arm, run.seed, name].to_list() == pytest.approx(tested, rel=1e-5), name
    assert found["test_loss"].round(4).nunique() > 8


def test_dead_units_are_those_that_never_put_out_anything(tmp_path):
    """A unit that is dead would pass for one that lives, or the other way round."""
    wide = ("bias_layers=[dense]", "bias_initializer=constant")
    low = train(tmp_path, *wide, "bias_initializer.config.value=-1e6")
    high = train(tmp_path, *wide, "bias_initializer.config.value=1e6")
    some = train(tmp_path, "bias_initializer=zeros", "seeds=1")
    assert ablate_studies([low.plan, high.plan, some.plan]) == []
    found = load_dead_units(RunStore(tmp_path, "s")).set_index(["arm", "seed", "layer", "moment"])
    for moment in ("before", "after"):
        assert found.loc[low.plan.arm, 1, "dense", moment].to_list() == [64, 64]
        assert found.loc[high.plan.arm, 1, "dense", moment].to_list() == [64, 0]
    dataset = load_dataset(some.plan.config.data)
    rows, weights = split_rows(dataset, some.plan.config.data, 0), some.runs[0].weights()
    h = (dataset.x[rows.test] - rows.mean) / rows.scale
    for layer in ("dense", "dense_1"):
        h = np.maximum(h @ weights[f"after/{layer}/kernel"] + weights[f"after/{layer}/bias"], 0)
        assert found.loc[some.plan.arm, 0, layer, "after"].to_list() == [h.shape[1], (h.max(0) == 0).sum()]
    assert (h.max(0) == 0).sum() > 0


def test_relu_layers_are_found_where_their_output_is_that_of_a_relu():
    """Units of another activation would be called dead, or a ReLU layer not be looked at."""

    def layer(class_name, name, **config):
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


def test_what_cannot_be_tested_has_no_rows(tmp_path, monkeypatch):
    """Biases would come from an arm that has none, from another block, or from a run that diverged."""
    with monkeypatch.context() as earlier:
        earlier.setattr("pipeline.experiment.run.MAX_KEPT_WEIGHTS", 0)
        old = train(tmp_path, "bias_initializer=lecun_normal")
    outcomes = [
        train(tmp_path, "bias_initializer=zeros"),
        train(tmp_path, "use_bias=false"),
        train(tmp_path, "bias_initializer=ones", "seeds=[0]"),
        train(tmp_path, "bias_initializer=zeros", block=("optimizer.learning_rate=0.1",)),
        train(tmp_path, "bias_initializer=ones", "data=diabetes", block=("optimizer.learning_rate=1e20",)),
    ]
    assert outcomes[-1].runs[0].meta["status"] == "diverged"
    assert ablate_studies([outcome.plan for outcome in (old, *outcomes)]) == []
    found = {}
    for row in load_ablation(RunStore(tmp_path, "s")).itertuples():
        found.setdefault((row.arm, row.seed), []).append(row.biases)
    own, rate = ["own", "zeroed", "before"], "optimizer.learning_rate=0.1"
    assert found == {
        ("zeros", 0): [*own, "lecun_normal", "ones"], ("zeros", 1): [*own, "lecun_normal"],
        ("ones", 0): [*own, "lecun_normal", "zeros"],
        ("no_bias", 0): ["own"], ("no_bias", 1): ["own"],
        (f"zeros,{rate}", 0): own, (f"zeros,{rate}", 1): own,
    }  # fmt: skip


def test_many_arms_exchange_biases_with_the_first_alone(tmp_path, monkeypatch):
    """The rows of a study of many arms would be as many as their square."""
    monkeypatch.setattr("pipeline.analysis.ablation.MOST_ARMS", 2)
    arms = [train(tmp_path, f"bias_initializer={name}", "seeds=1") for name in ("glorot", "ones", "zeros")]
    pairs = [(row["arm"], row["biases"]) for row in wanted_rows([o.runs[0] for o in arms])[ABLATION]]
    assert [pair for pair in pairs if pair[1] not in ("own", "zeroed", "before")] == [
        ("glorot_uniform", "zeros"),
        ("ones", "zeros"),
        ("zeros", "glorot_uniform"),
        ("zeros", "ones"),
    ]


def test_only_what_is_missing_is_computed_and_the_bytes_are_the_same(tmp_path, monkeypatch):
    """Rows of runs that are gone would stay, others be computed anew, or the files depend on what was asked first."""
    once = [train(tmp_path / "once", f"bias_initializer={name}", "seeds=[0,2]") for name in ("zeros", "ones")]
    ablate_studies([outcome.plan for outcome in once])
    for name, seeds in (("zeros", "[0]"), ("ones", "[0]"), ("zeros", "[1]"), ("ones", "[0,2]"), ("zeros", "[0,2]")):
        ablate_studies([train(tmp_path / "later", f"bias_initializer={name}", f"seeds={seeds}").plan])
    for seed in RunStore(tmp_path / "later", "s").runs():
        if seed.seed == 1:
            retire_run(tmp_path / "later", seed)
    ablate_studies(once_more := [train(tmp_path / "later", "bias_initializer=zeros", "seeds=[0,2]").plan])
    for name in (ABLATION, DEAD_UNITS):
        assert (tmp_path / "later" / "s" / name).read_bytes() == (tmp_path / "once" / "s" / name).read_bytes()
    with monkeypatch.context() as never:
        never.setattr("pipeline.experiment.ablation.Evaluator", None)  # it would be called for any row
        assert ablate_studies(once_more) == []
        (tmp_path / "later" / "s" / DEAD_UNITS).unlink()
        assert len(ablate_studies(once_more)) == 1
    assert load_dead_units(RunStore(tmp_path / "later", "s")).columns.to_list() == [
        "arm", "seed", "layer", "moment", "units", "dead"]  # fmt: skip
    assert ablate_studies(once_more) == []
    assert len(load_dead_units(RunStore(tmp_path / "later", "s"))) == 2 * 2 * 2 * 2


def test_rows_of_a_run_that_was_replaced_are_not_read(tmp_path):
    """Numbers of an earlier run would be shown as those of today's."""
    ablate_studies([train(tmp_path, f"bias_initializer={name}").plan for name in ("zeros", "ones")])
    assert len(load_ablation(RunStore(tmp_path, "s"))) == 2 * 2 * 4
    train(tmp_path, "bias_initializer=ones", "training.batch_size=16")
    assert load_ablation(RunStore(tmp_path, "s"))[["arm", "biases"]].to_numpy().tolist() == [
        ["zeros", name] for _ in range(2) for name in ("own", "zeroed", "before")]  # fmt: skip


def test_without_the_files_the_tables_are_empty(tmp_path):
    """Whoever reads them would have to know whether they are there."""
    assert load_ablation(RunStore(tmp_path, "s")).columns.to_list() == ["arm", "seed", "biases", "test_loss"]
    assert load_dead_units(RunStore(tmp_path, "s")).empty


def test_a_model_that_does_not_come_to_its_stored_loss_costs_a_line(cli, tmp_path, monkeypatch):
    """Numbers of a model that was put together wrongly would be stored, or a sweep fail whose runs are done."""
    monkeypatch.setattr("pipeline.experiment.ablation.TOLERANCE", -1.0)
    said = cli(*QUICK, "seeds=2")
    assert (said.code, said.err) == (
        0,
        f"ablation of s: some rows are missing: {LONG_NAME}, seed 0: does not reproduce its stored test loss "
        "(and 1 more)\n",
    )
    assert "Results:" in said.out
    assert not (tmp_path / "results" / "s" / ABLATION).exists()


def test_it_can_be_left_out_and_makes_no_other_runs(cli, tmp_path):
    """The setting would do nothing, join the name of the arm, or train again."""
    assert cli(*QUICK, "seeds=1", "ablation=false").code == 0
    assert [path.name for path in (tmp_path / "results" / "s").iterdir()] == [LONG_NAME]
    said = cli(*QUICK, "seeds=1")
    assert (said.code, said.err) == (0, "")
    assert said.out.split("│")[3].strip() == "0"
    assert len(load_ablation(RunStore(tmp_path / "results", "s"))) == 3
    refused = cli(*QUICK, "ablation=maybe")
    assert (refused.code, refused.err) == (2, "ablation: maybe given; allowed: true or false\n")


def test_data_from_a_file_is_found_by_what_is_in_it(tmp_path):
    """Models of one's own data would not be tested, or on another file."""
    rng = np.random.default_rng(0)
    for name in ("mine", "other"):
        x = rng.normal(size=(60, 3))
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.int32(x[:, 0] > 0))
    on_file = ("data=file", f"data.path={tmp_path / 'mine.npz'}")
    mine = train(tmp_path / "r", *on_file)
    other = train(tmp_path / "r", "data=file", f"data.path={tmp_path / 'other.npz'}", "bias_initializer=ones")
    assert ablate_studies([mine.plan]) == []
    assert set(load_ablation(RunStore(tmp_path / "r", "s"))["arm"]) == {mine.plan.arm}
    assert ablate_studies([mine.plan, other.plan]) == []
    assert set(load_ablation(RunStore(tmp_path / "r", "s"))["arm"]) == {mine.plan.arm, other.plan.arm}

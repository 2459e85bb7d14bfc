"""`until=decided` with `tune`: the first look chooses, and other seeds judge what it chose."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from factories import CommandResult, put

from pipeline.analysis.comparison import compare_study
from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.experiment.plan import Plan, plan_job
from pipeline.experiment.until import declare_designs, take_looks
from pipeline.experiment.validate import compose_jobs
from pipeline.report.document import comparison_document
from pipeline.report.write import write_report
from pipeline.store.designs import (
    DeclaredArm,
    DeclaredDesign,
    Look,
    Progress,
    declare_design,
    read_design,
    read_progress,
    write_looks,
)
from pipeline.store.runs import RunStore
from pipeline.tracking.comparison import prepare_upload

RATE = "optimizer.learning_rate"
TUNE = {RATE: [0.001, 0.01]}
ARMS = tuple(DeclaredArm(f"{name},{RATE}={rate}", name, "") for name in ("zeros", "ones") for rate in TUNE[RATE])
DESIGN = DeclaredDesign("test_accuracy", "zeros", 0.005, (10, 20, 40), "pocock", 0.05, ARMS, tune=TUNE)
CHOSEN = (ARMS[0].arm, ARMS[3].arm)
TUNED = (f"{RATE}=0.001,0.01", f"tune={{{RATE}:[0.001,0.01]}}")
SWEEP = ("data=iris", "model=linear", "training.epochs=2", "until=decided", "bias_initializer=zeros,ones",
         "design.looks=[10,20,40]", "design.spending=pocock")  # fmt: skip


def plans_of(*overrides: str) -> list[Plan]:
    """The plans of a sweep."""
    return [plan_job(config) for config in compose_jobs([*SWEEP, *TUNED, *overrides])]


def test_only_the_chosen_values_get_more_seeds() -> None:
    """All arms have the first look's; then the chosen ones have more, until they are decided."""
    progress = Progress(DESIGN)
    assert [len(progress.seeds(arm.arm)) for arm in ARMS] == [10, 10, 10, 10] and progress.judging_looks == 0
    progress = Progress(DESIGN, (Look(10, {}, CHOSEN),))
    assert [len(progress.seeds(arm.arm)) for arm in ARMS] == [20, 10, 10, 20] and not progress.finished
    progress = Progress(DESIGN, (Look(10, {}, CHOSEN), Look(20, {CHOSEN[1]: "worse"})))
    assert [len(progress.seeds(arm.arm)) for arm in ARMS] == [20, 10, 10, 20] and progress.finished
    late = replace(DESIGN, seeds_before=2025)  # seeds of any number may be stored: the first look stays as it is
    assert Progress(late).seeds(ARMS[0].arm) == tuple(range(10)) and late.tests == DESIGN.tests
    progress = Progress(late, (Look(10, {}, CHOSEN),))
    assert progress.seeds(CHOSEN[0]) == (*range(10), *range(2025, 2035))
    assert progress.seeds(ARMS[1].arm) == tuple(range(10))
    assert DESIGN.tests.looks == (10, 30) and replace(DESIGN, tune=None).tests.looks == (10, 20, 40)


def test_the_design_holds_what_is_tuned(tmp_path: Path) -> None:
    """Keys and values are in design.json, what was chosen in looks.json; other values are another study."""
    store = RunStore(tmp_path, "s")
    declare_design(store, DESIGN)
    assert json.loads((store.folder / "design.json").read_text())["tune"] == TUNE
    assert read_design(store) == DESIGN
    write_looks(store, DESIGN, [Look(10, {}, CHOSEN)])
    assert read_progress(store) == Progress(DESIGN, (Look(10, {}, CHOSEN),))
    line = rf"^tune: null given; allowed: {{{RATE}:\[0.001,0.01\]}}, as s declared before .*, or a new study=NAME$"
    with pytest.raises(ConfigError, match=line):
        declare_design(store, replace(DESIGN, tune=None))
    assert "tune" not in replace(DESIGN, tune=None).content  # designs without it keep their digest


def test_one_look_cannot_choose_and_judge() -> None:
    """The first look chooses; without another one nothing would judge."""
    with pytest.raises(ConfigError, match=r"^design.looks: \[10\] given with tune, where the first look chooses"):
        compose_jobs([*SWEEP[:-2], *TUNED, "design.looks=[10]"])


def test_the_first_look_chooses_and_other_seeds_judge(tmp_path: Path) -> None:
    """Its own seeds have no part in the verdict: on them ones is far better at what it chose, on the others worse."""
    rng, store = np.random.default_rng(0), RunStore(tmp_path, "iris-linear")
    plans = plans_of(f"results={tmp_path}")
    said = declare_designs(plans, is_written=True)
    assert said[0].startswith(f"The first look trains 10 seeds of each arm at 2 values of {RATE}, 40 runs, and chooses")
    assert said[1].startswith("Later looks train the chosen values alone, with other seeds: 60 runs at most")
    assert said[2].startswith("Looks with 10, 30 seeds; test_accuracy, against zeros")
    names = {(plan.bias_setting, plan.config.optimizer.learning_rate): plan.arm for plan in plans}
    means = {("zeros", 0.001): 0.8, ("zeros", 0.01): 0.7, ("ones", 0.001): 0.7, ("ones", 0.01): 0.95}

    def train(key: tuple[str, float], seeds: range, mean: float) -> None:
        for seed in seeds:
            accuracy = mean + rng.normal(0, 0.005)
            put(tmp_path, names[key], seed, accuracy, study=store.study, optimizer={"learning_rate": key[1]})

    for key, mean in means.items():
        train(key, range(10), mean)
    lines, goes_on = take_looks(plans)
    assert goes_on
    assert lines == [f"look 1 of 3, 10 seeds: {RATE} chosen, zeros 0.001, ones 0.01; other seeds judge"]
    with pytest.raises(ConfigError, match="no seed beyond it has judged yet; allowed: after the same command"):
        compare_study(store, "")
    assert take_looks(plans) == ([], True)
    train(("zeros", 0.001), range(10, 20), 0.8)
    train(("ones", 0.01), range(10, 20), 0.7)
    lines, goes_on = take_looks(plans)
    assert not goes_on and re.fullmatch(r"look 2 of 3, 10 other seeds: ones 0.01 worse \(p .*\)", lines[0])
    assert take_looks(plans) == ([], False)
    comparison = compare_study(store, "", tune={RATE: ()})  # what the end of a training advises
    ones = next(verdict for verdict in comparison.compared if verdict.tuned)
    assert (ones.arm, ones.verdict, ones.pairs, ones.look, ones.looks) == (f"ones at {RATE}=0.01", "worse", 10, 2, "10")
    assert "worse than zeros, decided by look 2 of 3 (10 pairs of seeds): " in ones.sentence
    (answer,) = comparison.tunings
    assert answer.by_first_look and answer.points == ((0.001,), (0.01,)) and answer.shared == (0.001,)
    assert comparison.answer[0].startswith(f"With each arm at the {RATE} that the first look chose, keep zeros")
    assert comparison.answer[1].startswith(f"On the 10 seeds of the first look, at the shared {RATE}=0.001, keep zeros")
    document = json.loads(json.dumps(comparison_document(comparison), allow_nan=False))
    schema = json.loads((PROJECT / "pipeline" / "report" / "comparison.schema.json").read_text())
    jsonschema.validate(document, schema, jsonschema.Draft202012Validator)
    write_report(comparison, tmp_path / "report", figures=False)
    upload = prepare_upload(tmp_path / "report")  # MLflow has an arm with all its seeds, and the verdict of the chosen
    assert upload is not None and upload.arms[names["ones", 0.01]].tags["verdict"] == "worse"
    for arm, of_arm in upload.arms.items():
        stored = [run.meta["metrics"]["test_accuracy"] for run in store.runs(arm)]
        assert of_arm.mean == pytest.approx(np.mean(stored), rel=1e-12)
    (edge,) = [warning.sentence for warning in comparison.warnings if warning.kind == "edge of the grid"]
    assert "study=iris-linear-wider" in edge
    with pytest.raises(ConfigError, match=f"^tune: training.epochs given .* declared with tune={RATE}; allowed: "):
        compare_study(store, "", tune={"training.epochs": ()})


QUICK = ("-m", "data=iris", "model=linear", "training.epochs=1", "training.xla=false", "ablation=false",
         "until=decided", "bias_initializer=zeros,constant(30)", "use_bias=true", "design.looks=[4,8,12]",
         "design.spending=pocock", f"tune={{{RATE}:[0.01,0.1]}}")  # fmt: skip


@pytest.mark.slow
def test_a_finished_design_trains_nothing(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """The first look trains all values, later ones the chosen; typed again, nothing; other values, one line."""
    planned = cli(*QUICK, "--plan")
    assert planned.code == 0 and "4 seeds of each arm at 2 values" in planned.out and "16 runs to train" in planned.out
    first = cli(*QUICK)
    assert first.code == 0, first.err
    assert re.search(rf"^look 1 of 3, 4 seeds: {RATE} chosen, zeros ", first.out, re.MULTILINE)
    assert re.search(r"^look 2 of 3, 4 other seeds: ", first.out, re.MULTILINE)
    study = tmp_path / "results" / "iris-linear"
    runs = {str(path.relative_to(study)): path.read_bytes() for path in study.glob("*/seed=*/run.json")}
    assert len(runs) in (16 + 8, 16 + 16)
    again = cli(*QUICK)
    assert again.code == 0 and "to train" not in again.out and "look " not in again.out
    assert {str(path.relative_to(study)): path.read_bytes() for path in study.glob("*/seed=*/run.json")} == runs
    refused = cli(*QUICK[:-1], f"tune={{{RATE}:[0.01,0.3]}}")
    assert (
        refused.code == 2
        and refused.err.startswith("until: iris-linear declared its arms")
        and refused.err.count("\n") == 1
    )

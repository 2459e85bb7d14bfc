"""`until=decided`: a design declared before the first run, and looks that decide arms for good."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import CommandResult, put_all

from pipeline.analysis.comparison import compare_study
from pipeline.analysis.look_wording import look_sentence
from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.experiment.declared import describe_progress, most_to_train
from pipeline.experiment.plan import Plan, plan_job
from pipeline.experiment.until import declare_designs, describe_design, take_looks
from pipeline.experiment.validate import compose_jobs
from pipeline.store.designs import (
    DeclaredArm,
    DeclaredDesign,
    Look,
    Progress,
    declare_design,
    read_design,
    read_progress,
    seeds_now,
    write_looks,
)
from pipeline.store.runs import RunStore

ARMS = tuple(DeclaredArm(name, name, "") for name in ("zeros", "ones", "glorot_uniform"))
DESIGN = DeclaredDesign("test_accuracy", "zeros", 0.005, (10, 20, 40), "pocock", 0.05, ARMS)
SWEEP = ("data=iris", "model=linear", "training.epochs=2", "until=decided", "bias_initializer=zeros,ones")


def plans_of(overrides: Sequence[str]) -> list[Plan]:
    """The plans of a sweep."""
    return [plan_job(config) for config in compose_jobs(list(overrides))]


def test_seeds_follow_from_the_looks() -> None:
    """A decided arm keeps the seeds of its look; the baseline has as many as any open arm of its block."""
    progress = Progress(DESIGN)
    assert [len(progress.seeds(arm.arm)) for arm in ARMS] == [10, 10, 10]
    progress = Progress(DESIGN, (Look(10, {"ones": "worse"}),))
    assert [len(progress.seeds(arm.arm)) for arm in ARMS] == [20, 10, 20]
    assert not progress.finished
    progress = Progress(DESIGN, (Look(10, {"ones": "worse"}), Look(20, {"glorot_uniform": "better"})))
    assert [len(progress.seeds(arm.arm)) for arm in ARMS] == [20, 10, 20]
    assert progress.finished
    looks = tuple(Look(n, {}) for n in DESIGN.looks)
    assert [len(Progress(DESIGN, looks).seeds(arm.arm)) for arm in ARMS] == [40, 40, 40]
    assert Progress(DESIGN, looks).finished


def test_each_block_has_a_baseline_of_its_own() -> None:
    """A block whose arms are decided trains no more, whatever goes on in another one."""
    arms = tuple(DeclaredArm(f"{s}{b}", s, b) for b in ("", ",lr=1") for s in ("zeros", "ones"))
    progress = Progress(DeclaredDesign("m", "zeros", 1, (10, 20), "pocock", 0.05, arms), (Look(10, {"ones": "worse"}),))
    assert [len(progress.seeds(arm.arm)) for arm in arms] == [10, 10, 20, 20]


def test_a_design_is_kept_and_any_change_of_it_is_named(tmp_path: Path) -> None:
    """The first one is written; the same again is well; each other entry is refused in a line that names it."""
    store = RunStore(tmp_path, "s")
    assert read_progress(store) is None and seeds_now(store, "ones", (10, 20)) == tuple(range(10))
    declare_design(store, DESIGN)
    declare_design(store, DESIGN)
    assert read_design(store) == DESIGN
    changes = {"looks": (10, 30), "spending": "obrien_fleming", "alpha": 0.01, "margin": 0.1, "metric": "test_f1",
               "baseline": "ones"}  # fmt: skip
    for name, value in changes.items():
        other = replace(DESIGN, **{name: value})
        with pytest.raises(ConfigError, match=f"^design.{name}: .*declared before its first run, or a new study=NAME$"):
            declare_design(store, other)
    for arms, how in ((ARMS[:2], "with glorot_uniform"), ((*ARMS, DeclaredArm("x", "x", "")), "without x")):
        with pytest.raises(ConfigError, match=f"^until: s declared its arms before its first run, {how}; "):
            declare_design(store, replace(DESIGN, arms=arms))
    with pytest.raises(ConfigError, match="without he_normal; allowed: the same arms, or a new study=NAME"):
        seeds_now(store, "he_normal", (10,))


@pytest.mark.parametrize("damage", ["{", "[]", "{}", "changed", "looks of another design"])
def test_a_changed_design_is_refused(tmp_path: Path, damage: str) -> None:
    """A file that is not as it was written gives one line, and nothing is judged by it."""
    store = RunStore(tmp_path, "s")
    declare_design(store, DESIGN)
    write_looks(store, DESIGN, [Look(10, {"ones": "worse"})])
    assert read_progress(store) == Progress(DESIGN, (Look(10, {"ones": "worse"}),))
    path = store.folder / ("looks.json" if "looks" in damage else "design.json")
    content = json.loads(path.read_text())
    changed = {"changed": content | {"alpha": 0.2}, "looks of another design": content | {"design": "0"}}
    path.write_text(json.dumps(changed[damage]) if damage in changed else damage)
    with pytest.raises(ConfigError, match=f"^until: .*{path.name} (was changed|cannot be read)"):
        read_progress(store)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["seeds=5"], "seeds: given with until=decided, which finds out how many it takes; "),
        (["design.looks=[20,10]"], r"design.looks: \[20, 10\] given; allowed: a list of numbers of seeds, ascending"),
        (["design.looks=[]"], r"design.looks: \[\] given; "),
        (["design.looks=[1,5]"], r"design.looks: \[1, 5\] given; "),
        (["design.most_seeds=1"], "design.most_seeds: 1 given; "),
        (
            ["design.looks=[3,4]"],
            r"design.looks: \[3, 4\] given, but so few seeds can never show a difference of an arm",
        ),
        (["design.margin=5"], "design.margin: 5.0 given; allowed: a number below 1, since test_accuracy is a share"),
        (["design.spending=flat"], "design.spending: flat given; allowed: one of obrien_fleming, pocock"),
        (["design.alpha=0"], "design.alpha: 0.0 given; "),
        (["design.margin=-1"], "design.margin: -1.0 given; "),
        (["design.metric=test_acc"], "design.metric: test_acc given; nearest: test_accuracy"),
        (["design.baseline=he_normal"], "until: decided given, but there is only zeros, ones; allowed: a sweep"),
        (["bias_initializer=zeros"], "until: decided given, but there is only zeros; allowed: a sweep"),
        (["until=sometimes"], "until: sometimes given; allowed: decided, or null"),
        (["until=null", "design.alpha=0.1"], "design.alpha: given without until=decided"),
        (["data=diabetes"], "design.margin: test_mae is in a unit, so say which difference does not matter"),
    ],
)
def test_what_cannot_be_a_design_is_one_line(tmp_path: Path, overrides: Sequence[str], line: str) -> None:
    """Nothing is written for it."""
    given = {override.partition("=")[0] for override in overrides}
    kept = [override for override in SWEEP if override.partition("=")[0] not in given]
    with pytest.raises(ConfigError, match=f"^{line}"):
        declare_designs(plans_of([*kept, *overrides, f"results={tmp_path}"]), is_written=True)
    assert not list(tmp_path.iterdir())


def test_what_a_design_cannot_do_is_said() -> None:
    """Looks that may spend too little, and seeds that were there before."""
    late = DeclaredDesign("m", "zeros", 0.005, (10, 20, 40, 80, 160), "obrien_fleming", 0.05, ARMS, seeds_before=10)
    lines = " ".join(describe_design(late))
    assert "Earlier looks than that with 40 seeds may spend too little" in lines
    assert "Runs of seeds up to 9 are stored" in lines
    assert len(describe_design(DESIGN)) == 1
    early = DeclaredDesign("m", "zeros", 0.005, (10, 20), "pocock", 0.05, ARMS)
    assert "No look can find an arm equivalent, since that takes 29 seeds" in describe_design(early)[-1]


@pytest.mark.parametrize("before", [0.2, 0.9])
def test_seeds_stored_before_a_design_judge_nothing(tmp_path: Path, before: float) -> None:
    """Whoever has seen an answer declares looks with other seeds: what they find does not depend on that answer."""
    rng, store = np.random.default_rng(0), RunStore(tmp_path, "iris-linear")
    sweep = [*SWEEP, f"results={tmp_path}", "design.looks=[10,20]", "design.spending=pocock"]
    base = 0.9 + rng.normal(0, 0.02, 23)
    names = [plan.arm for plan in plans_of(sweep)]
    values = dict(zip(names, [base, base - 0.05 + rng.normal(0, 0.005, 23)], strict=True))
    put_all(tmp_path, names[0], list(base[:3]), study=store.study)
    put_all(tmp_path, names[1], [before] * 3, study=store.study)
    plans = plans_of(sweep)
    assert [list(plan.keys) for plan in plans] == [list(range(3, 13))] * 2
    lines = declare_designs(plans, is_written=True)
    assert "Runs of seeds up to 2 are stored" in lines[-1] and "they judge nothing" in lines[-1]
    assert declare_designs(plans, is_written=False) == []  # the same design again
    with pytest.raises(ConfigError, match=r"^until: seeds up to 2 of iris-linear were stored before"):
        compare_study(store, "")
    for name in names:
        put_all(tmp_path, name, list(values[name][:13]), study=store.study)
    put_all(tmp_path, names[1], [before] * 3, study=store.study)
    lines, goes_on = take_looks(plans)
    assert not goes_on and re.fullmatch(r"look 1 of 2, 10 other seeds: ones worse \(p .*\)", lines[0])
    (one,) = (comparison := compare_study(store, "")).compared
    expected = np.mean((values[names[1]] - base)[3:13])
    assert (one.verdict, one.pairs, one.difference) == ("worse", 10, pytest.approx(expected))
    (said,) = [warning.sentence for warning in comparison.warnings if warning.kind == "looks"]
    assert "declared when seeds up to 2 were stored, which judge nothing: before the first run of other seeds" in said


def test_looks_decide_arms_for_good(tmp_path: Path) -> None:
    """One arm is worse at the first look, one is equivalent at a later one; a look waits until it is whole."""
    rng, store = np.random.default_rng(0), RunStore(tmp_path, "iris-linear")
    plans = plans_of([*SWEEP[:-1], "bias_initializer=zeros,ones,he_normal", f"results={tmp_path}",
                      "design.looks=[10,40]", "design.spending=pocock", "design.margin=0.01"])  # fmt: skip
    names = [plan.arm for plan in plans]
    assert len(declare_designs(plans, is_written=True)) == 1
    base = 0.9 + rng.normal(0, 0.02, 40)
    noise = rng.normal(0, 0.005, (2, 40))
    values = {names[0]: base, names[1]: base - 0.05 + noise[0], names[2]: base + noise[1]}

    def train(arm: str, n: int) -> None:
        put_all(tmp_path, arm, list(values[arm][:n]), study=store.study)

    train(names[0], 10)
    assert take_looks(plans) == ([], True)
    train(names[1], 10)
    train(names[2], 10)
    lines, goes_on = take_looks(plans)
    assert goes_on and re.fullmatch(r"look 1 of 2, 10 seeds: ones worse \(p .*\); he_normal undecided yet", lines[0])
    assert take_looks(plans) == ([], True)
    assert [seeds_now(store, name, ()) for name in names] == [tuple(range(n)) for n in (40, 10, 40)]
    train(names[0], 40)
    train(names[2], 40)
    lines, goes_on = take_looks(plans)
    assert not goes_on and re.fullmatch(r"look 2 of 2, 40 seeds: he_normal equivalent \(p .*\)", lines[0])
    assert take_looks(plans) == ([], False)
    comparison = compare_study(store, "")
    worse, equivalent = comparison.compared
    assert (worse.verdict, worse.pairs, worse.look, worse.looks) == ("worse", 10, 1, "10")
    assert worse.p_uncorrected == pytest.approx(2 / 2**10) and worse.p_uncorrected < worse.p_holm <= 0.05
    assert worse.difference <= worse.difference_unbiased < 0 and worse.difference_ci_high < 0
    assert "worse than zeros, decided by look 1 of 2 (10 pairs of seeds): " in worse.sentence
    progress = read_progress(store)
    assert progress is not None and "overstates" not in worse.sentence
    said = look_sentence(replace(worse, difference_unbiased=-0.03), lambda value, sign="": f"{value:.2f}", progress)
    assert (
        "; ending early overstates a difference: allowing for that it is -0.03, right on average over all studies, "
        in said
    )
    assert (equivalent.verdict, equivalent.pairs, equivalent.looks) == ("equivalent", 40, "10, 40")
    assert -0.01 < equivalent.difference_ci_low < equivalent.difference_ci_high < 0.01
    assert any(read_design(store).digest in warning.sentence for warning in comparison.warnings)
    other = compare_study(store, "", metric="test_loss")
    assert [one.kind for one in other.warnings if one.serious] == ["other question than declared"]
    assert other.correction.primary == "test_accuracy" and "test_loss" in other.correction.exploratory
    assert set(other.chosen["role"]) == {"exploratory"}


@pytest.mark.slow
def test_what_the_looks_rested_on_must_still_be_there(tmp_path: Path) -> None:
    """Looks were taken at runs of one setting; to go on with another would leave them without what they decided by."""
    store = RunStore(tmp_path, "iris-linear")
    plans = plans_of([*SWEEP, f"results={tmp_path}", "design.looks=[6,12]"])
    declare_designs(plans, is_written=True)
    for plan in plans:
        put_all(tmp_path, plan.arm, [0.9] * 6, study=store.study)
    assert declare_designs(plans, is_written=True) == []  # no look was taken yet
    design = read_design(store)
    assert design is not None
    write_looks(store, design, [Look(6, {plans[1].arm: "worse"})])
    line = r"^until: iris-linear took its looks at 6 runs of zeros with other settings, data or versions; allowed: "
    with pytest.raises(ConfigError, match=line):
        declare_designs(plans, is_written=True)


@pytest.mark.slow
def test_how_far_a_design_has_come_and_what_it_may_take_is_said(tmp_path: Path) -> None:
    """Looks taken, arms decided, what is next; and the runs that are to come at most."""
    assert describe_progress(Progress(DESIGN)) == "0 of 3 looks taken, 0 of 2 arms decided; the next look has 10 seeds."
    ended = Progress(DESIGN, (Look(10, {"ones": "worse"}), Look(20, {"glorot_uniform": "better"})))
    assert describe_progress(ended) == "2 of 3 looks taken, 2 of 2 arms decided: there is nothing more to train."
    assert [len(ended.seeds_seen(arm.arm)) for arm in ARMS] == [20, 10, 20]
    overrides = [*SWEEP, f"results={tmp_path}", "design.looks=[6,12,30]"]
    plans = plans_of(overrides)
    assert most_to_train(plans, [6, 2]) == [30, 26]
    declare_designs(plans, is_written=True)
    store, design = plans[0].store, read_design(plans[0].store)
    assert design is not None
    for looks, most in (([Look(6, {})], [30, 30]), ([Look(6, {plans[1].arm: "worse"})], [0, 0])):
        write_looks(store, design, looks)
        later = plans_of(overrides)
        assert most_to_train(later, [len(plan.missing) for plan in later]) == [n or len(later[0].missing) for n in most]


@pytest.mark.slow
def test_a_look_names_the_arm_of_each_block(tmp_path: Path) -> None:
    """An arm of two blocks is decided twice, and each time it is said in which one."""
    plans = plans_of([*SWEEP[:2], *SWEEP[3:], "training.epochs=2,3", f"results={tmp_path}", "design.looks=[8,40]",
                      "design.spending=pocock"])  # fmt: skip
    declare_designs(plans, is_written=True)
    rng = np.random.default_rng(0)
    for plan in plans:
        worse = 0.1 if plan.bias_setting == "ones" and "training.epochs=3" in plan.arm else 0.0
        put_all(tmp_path, plan.arm, list(0.9 + rng.normal(0, 0.01, 8) - worse), study=plan.store.study)
    ((line,), goes_on) = take_looks(plans)
    assert (
        goes_on and "ones,training.epochs=3 worse" in line and line.endswith("; ones,training.epochs=2 undecided yet")
    )


@pytest.mark.parametrize(("alpha", "verdict"), [(0.05, "worse"), (0.01, "undecided")])
def test_the_declared_level_decides(tmp_path: Path, alpha: float, verdict: str) -> None:
    """Nine of ten seeds lose 0.02 and one gains it, p = 22 / 2^10 = 0.021: enough for a level of 0.05, not of 0.01."""
    store, design = RunStore(tmp_path, "s"), replace(DESIGN, arms=ARMS[:2], looks=(10,), alpha=alpha)
    declare_design(store, design)
    base = 0.9 + np.arange(10) / 1000
    put_all(tmp_path, "zeros", list(base), study="s")
    put_all(tmp_path, "ones", list(base + np.array([0.02, *[-0.02] * 9])), study="s")
    write_looks(store, design, [Look(10, {})])
    (arm,) = compare_study(store, "").compared
    assert (arm.verdict, arm.pairs) == (verdict, 10) and 0.02 < arm.p <= 0.03


QUICK = ("-m", "data=iris", "model=linear", "training.epochs=1", "training.xla=false", "ablation=false",
         "until=decided", "bias_initializer=zeros,ones", "use_bias=true", "design.looks=[4,8,12]",
         "design.spending=pocock")  # fmt: skip


@pytest.mark.slow
def test_the_same_command_goes_on_and_then_trains_nothing(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """A look per pass, a table at the end; again: no run; another design or arm: one line, exit 2."""
    first = cli(*QUICK)
    assert first.code == 0, first.err
    looks = re.findall(r"^look (\d) of 3, (\d+) seeds: ones (.*)$", first.out, re.MULTILINE)
    assert [look[:2] for look in looks] == [("1", "4"), ("2", "8"), ("3", "12")][: len(looks)]
    assert first.out.count("┏") == 1 and first.out.count("loading TensorFlow") == 1
    assert re.search(
        rf"│ zeros +│ {looks[-1][1]} +│ {looks[-1][1]} +│", first.out
    )  # all are new since the command began
    taken = (tmp_path / "results" / "iris-linear" / "looks.json").read_text()
    again = cli(*QUICK)
    assert again.code == 0 and "to train" not in again.out and "look " not in again.out
    assert (tmp_path / "results" / "iris-linear" / "looks.json").read_text() == taken
    for other, line in (("design.alpha=0.01", "design.alpha: 0.01 given; allowed: 0.05, as iris-linear declared"),
                        ("bias_initializer=zeros,ones,he_normal", "until: iris-linear declared its arms")):  # fmt: skip
        refused = cli(*QUICK, other)
        assert refused.code == 2 and refused.err.startswith(line) and refused.err.count("\n") == 1
    planned = cli(*QUICK, "--plan")
    assert planned.code == 0 and "Looks with 4, 8, 12 seeds; " in planned.out
    assert re.search(r"^\d of 3 looks taken, \d of 1 arms decided: there is nothing more", planned.out, re.MULTILINE)


@pytest.mark.slow
def test_a_plan_tells_looks_seeds_and_cost(cli: Callable[..., CommandResult]) -> None:
    """What the first look trains and takes, and what all looks can."""
    planned = cli(*QUICK, "--plan")
    assert planned.code == 0 and "Looks with 4, 8, 12 seeds; " in planned.out
    assert "8 runs to train, in roughly " in planned.out
    assert "All looks together, if no arm is decided before the last one: 24 runs to train, in roughly" in planned.out


@pytest.mark.slow
def test_every_block_of_a_sweep_is_decided_by_itself(cli: Callable[..., CommandResult], tmp_path: Path) -> None:
    """Two numbers of epochs are two families, each with its baseline; typed again, nothing is trained."""
    sweep = [
        *(word for word in QUICK if not word.startswith("training.epochs")),
        "training.epochs=2,4",
        "tracking=none",
    ]
    assert cli(*sweep).code == 0
    (study,) = (tmp_path / "results").glob("iris-*")
    progress = read_progress(RunStore(tmp_path / "results", study.name))
    assert progress is not None and progress.finished
    assert [len(progress.design.arms_of(block)) for block in {arm.block for arm in progress.design.arms}] == [1, 1]
    again = cli(*sweep)
    assert again.code == 0 and "to train" not in again.out


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")], ids=["here", "joblib"])
def test_a_killed_command_goes_on_from_its_last_look(tmp_path: Path, launcher: Sequence[str]) -> None:
    """Killed after its first look, it ends as one that was not: the same looks, the same decisions, the same runs.

    With a launcher too, whose jobs run in other processes: as without one and not killed.
    """

    def start(name: str) -> subprocess.Popen[str]:
        places = (f"results={tmp_path / name}", f"hydra.sweep.dir={tmp_path}/logs-{name}-{time.time_ns()}")
        options = launcher if name == "killed" else ()
        command = [sys.executable, "-m", "pipeline.train", *QUICK, "tracking=none", *options, *places]
        return subprocess.Popen(command, cwd=PROJECT, text=True, stdout=subprocess.DEVNULL)

    whole = start("whole")
    killed = start("killed")
    looks = tmp_path / "killed" / "iris-linear" / "looks.json"
    deadline = time.monotonic() + 180
    while not looks.exists():
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert whole.wait(180) == 0 and start("killed").wait(180) == 0
    ends = [tmp_path / name / "iris-linear" for name in ("whole", "killed")]
    for name in ("design.json", "looks.json"):
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes()
    runs = [{str(path.relative_to(end)): path.read_bytes() for path in end.glob("*/seed=*/run.json")} for end in ends]
    assert runs[0] == runs[1] and len(runs[0]) >= 8

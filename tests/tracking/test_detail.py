"""`tracking.detail=arms`: MLflow gets a run per arm and none per seed."""

from pathlib import Path

import pytest
from factories import CommandResult, MLflowStore, TrainedStudy, multiply_run

from pipeline import compare, sync
from pipeline.config.schema import Tracking
from pipeline.store.runs import RunStore
from pipeline.tracking.background import sync_command
from pipeline.tracking.client import EMBEDDED
from pipeline.tracking.runs import mirror_arm, up_to_date
from pipeline.tracking.steps import PARENT, Held, MirroredRun, next_steps

ARM = "glorot_uniform,training.epochs=2"
ME = "results_folder/me"


@pytest.mark.slow
def test_arms_alone_are_sent_and_grow_and_seeds_can_follow(
    trained_study_files: TrainedStudy, tmp_path: Path, mlflow_store: str
) -> None:
    """One run per arm, with the mean over its seeds; a second time nothing new; one more seed replaces it. Asked for
    runs, MLflow gets all seeds below that same run; asked for arms again, it keeps them.
    """
    store = multiply_run(trained_study_files.results, RunStore(tmp_path / "results", "few"), ARM, range(3))
    arms, all_runs, mlflow = (
        Tracking(True, mlflow_store, detail="arms"),
        Tracking(True, mlflow_store),
        MLflowStore(mlflow_store),
    )

    def send(tracking: Tracking) -> dict[str, str]:
        """Send the arm; the ids of all active runs by name."""
        assert mirror_arm(tracking, store, ARM, store.runs(ARM)) == ""
        assert up_to_date(tracking, store, ARM, store.runs(ARM))
        return {name: run.info.run_id for name, run in mlflow.by_name("few").items()}

    first = send(arms)
    assert set(first) == {ARM} and send(arms) == first
    run = mlflow.by_name("few")[ARM]
    assert run.data.tags["seeds"] == "3" and "spread/test_accuracy_ci_low" in run.data.metrics
    multiply_run(trained_study_files.results, store, ARM, [3])
    assert not up_to_date(arms, store, ARM, store.runs(ARM))
    grown = send(arms)
    assert set(grown) == {ARM} and mlflow.by_name("few")[ARM].data.tags["seeds"] == "4"
    completed = send(all_runs)
    assert set(completed) == {ARM, *(f"{ARM}-s{seed}" for seed in range(4))} and completed[ARM] == grown[ARM]
    assert {run.data.tags.get(PARENT) for run in mlflow.active("few")} == {None, grown[ARM]}
    assert send(arms) == completed
    multiply_run(trained_study_files.results, store, ARM, [4])
    regrown = send(arms)
    assert regrown | {ARM: ""} == completed | {ARM: ""} and regrown[ARM] != completed[ARM]
    assert {run.data.tags.get(PARENT) for run in mlflow.active("few")} == {None, regrown[ARM]}


def test_a_mean_stays_while_a_seed_is_damaged() -> None:
    """Without the seeds' runs nobody can tell whether the damaged one is in the mean; without a mean, one is made."""
    mean = MirroredRun("a", 1, "", {"role": "arm", "arm": "zeros", "key": "three", ME: ""})
    held = Held(ME, {"0": "k0", "1": "k1"}, "two", damaged=frozenset({"2"}), sends_seeds=False)
    assert not next_steps([mean], held)
    assert next_steps([], held).arm_run is None
    whole = Held(ME, {"0": "k0", "1": "k1"}, "two", sends_seeds=False)
    assert next_steps([mean], whole).released == ("a",)


@pytest.mark.slow
def test_the_commands_keep_to_the_arms(
    trained_study: TrainedStudy, mlflow_store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sync detail=arms` sends them; a comparison puts its verdicts on them, and making such a run anew for another
    baseline sends no seed; `sync` adds the seeds.
    """
    arms, mlflow = set(trained_study.arms), MLflowStore(mlflow_store)
    places = [f"results={trained_study.results}", f"reports={tmp_path / 'reports'}", f"uri={mlflow_store}"]
    assert sync.main([*places, "detail=arms"]) == 0
    assert "has the arms of: " in capsys.readouterr().out
    for baseline in ("zeros", "glorot_uniform"):
        assert compare.main([*places, f"study={trained_study.name}", f"baseline={baseline}"]) == 0
        runs = mlflow.by_name(trained_study.name)
        assert set(runs) == arms and all("verdict" in run.data.tags for run in runs.values())
    assert sync.main(places) == 0
    assert len(mlflow.by_name(trained_study.name)) == len(arms) * 4


@pytest.mark.slow
def test_a_sweep_sends_arms_alone(cli, mlflow_store: str, tmp_path: Path) -> None:
    """The process beside the sweep does as the sweep was told."""
    done: CommandResult = cli(
        "data=iris", "model=linear", "training.epochs=2", "training.xla=false", "seeds=2", "study=few",
        f"results={tmp_path}", f"tracking.uri={mlflow_store}", "tracking.detail=arms",
    )  # fmt: skip
    assert done.code == 0
    assert [run.data.tags["role"] for run in MLflowStore(mlflow_store).active("few")] == ["arm"]


def test_another_detail_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """`sync detail=` takes what there is, and the command that sends the rest names it."""
    assert sync.main(["detail=some"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "detail" in line and "some" in line and "runs, arms" in line
    assert sync_command(EMBEDDED, Path("/r"), detail="arms").endswith("results=/r detail=arms")

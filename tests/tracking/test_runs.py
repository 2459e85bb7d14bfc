"""The MLflow mirror, read back through MLflow's own client from real stores and a real server."""

import csv
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from factories import compose_config
from scipy import stats as reference

from pipeline import sync
from pipeline.analysis.study import load_arms
from pipeline.config.schema import PROJECT, Tracking
from pipeline.experiment.run import Outcome, run_arm
from pipeline.store.replaced import write_run
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.background import _senders
from pipeline.tracking.runs import mirror_arm, up_to_date

STUDY, SEEDS, EPOCHS = "iris-linear", 3, 2
TINY = ("data=iris", "model=linear", f"training.epochs={EPOCHS}")
GLOROT, NO_BIAS = "glorot_uniform,training.epochs=2", "no_bias,training.epochs=2"
ARMS = {GLOROT: ("bias_initializer=glorot",), NO_BIAS: ("use_bias=false",)}

# Sends in an interpreter of its own, and says what MLflow's telemetry was told by the time MLflow was imported.
SENDER = """
import os, sys
said = []
sys.addaudithook(lambda event, args: said.append(os.environ.get("MLFLOW_DISABLE_TELEMETRY"))
                 if event == "import" and args[0] == "mlflow" else None)
from pipeline import sync
code = sync.main(sys.argv[1:])
from mlflow.telemetry.client import get_telemetry_client
print("telemetry", said[0], get_telemetry_client())
sys.exit(code)
"""


class Trained(NamedTuple):
    """A tiny study that was really trained and mirrored."""

    results: Path
    uri: str

    @property
    def database(self) -> Path:
        return Path(self.uri.removeprefix("sqlite:///"))


def train(results: Path, uri: str, *overrides: str) -> Outcome:
    return run_arm(compose_config(*TINY, f"results={results}", f"tracking.uri={uri}", *overrides))


@pytest.fixture(scope="module", autouse=True)
def _no_store_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module", autouse=True)
def _server_starts_while_the_study_trains(starting_server: tuple[str, Path]) -> None:
    """The server takes a while."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    tmp = tmp_path_factory.mktemp("tracking")
    study = Trained(tmp / "results", f"sqlite:///{tmp / 'mlflow.db'}")
    for arm, overrides in ARMS.items():
        outcome = train(*study, f"seeds={SEEDS}", *overrides)
        assert (outcome.plan.arm, outcome.trained, outcome.upload_problem) == (arm, (0, 1, 2), "")
    return study


@pytest.fixture(scope="module")
def client(trained: Trained) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(trained.uri)


def active(client: Any, study: str) -> list[Any]:
    """All runs of a study that are not deleted."""
    return client.search_runs([client.get_experiment_by_name(study).experiment_id], max_results=1000)


def by_name(client: Any, study: str) -> dict[str, Any]:
    runs = active(client, study)
    names = [run.info.run_name for run in runs]
    assert len(set(names)) == len(names), f"sent twice: {sorted(names)}"
    return dict(zip(names, runs, strict=True))


def curve(client: Any, run: Any, name: str) -> list[tuple[int, float]]:
    """(step, value) of every value that MLflow holds of one metric."""
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]


def parent(run: Any) -> str | None:
    return run.data.tags.get("mlflow.parentRunId")


def history(run: Run) -> dict[str, list[float]]:
    with (run.path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def arrays(run: Run) -> dict[str, np.ndarray]:
    with np.load(run.path / "biases.npz") as file:
        return dict(file)


def copied(trained: Trained, results: Path, study: str, seeds: range, arms: tuple[str, ...] = (GLOROT,)) -> None:
    """Some of the trained runs, as another study."""
    for arm in arms:
        for seed in seeds:
            shutil.copytree(trained.results / STUDY / arm / f"seed={seed}", results / study / arm / f"seed={seed}")


def multiplied(trained: Trained, results: Path, study: str, count: int) -> None:
    """One trained run as an arm of many seeds, enough to be caught while it is being sent."""
    run = RunStore(trained.results, STUDY).runs(GLOROT)[0]
    columns = {name: values for name, values in history(run).items() if name != "epoch"}
    for seed in range(count):
        write_run(RunStore(results, study), run.meta | {"seed": seed, "key": f"{study}{seed}"}, arrays(run), columns)


def mirror(results: Path, study: str, uri: str, arm: str = GLOROT) -> str:
    return mirror_arm(Tracking(True, uri), RunStore(results, study), arm, RunStore(results, study).runs(arm))


def start_sending(*options: str) -> subprocess.Popen:
    """`pipeline.sync` in another process, with no variable left that would silence MLflow's telemetry anyway."""
    silencing = ("MLFLOW_", "DO_NOT_TRACK", "PYTEST_", "CI", "GITHUB_ACTIONS")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(silencing)}
    environment["HTTPS_PROXY"] = "http://127.0.0.1:9"  # should telemetry be on, it still gets nowhere
    return subprocess.Popen(
        [sys.executable, "-c", SENDER, *options], cwd=PROJECT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_until_sending(database: Path, study: str, process: subprocess.Popen) -> None:
    """Return while the process is in the midst of it: a seed is finished, and another run is not."""
    query = """SELECT count(*) FILTER (WHERE status = 'FINISHED'), count(*) FILTER (WHERE status = 'RUNNING')
               FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = ?"""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        finished, running = connection.execute(query, [study]).fetchone()
        connection.close()
        if finished and running:
            return
        time.sleep(0.02)
    raise TimeoutError(f"never seen sending: {process.communicate(timeout=5)}")


def test_arms_are_top_level_runs_and_seeds_their_children(trained: Trained, client: Any) -> None:
    """A study is not an experiment, an arm is not a top-level run, or a seed is not its child `<arm>-s<seed>`."""
    runs = by_name(client, STUDY)
    assert {name for name, run in runs.items() if parent(run) is None} == set(ARMS)
    for arm in ARMS:
        children = {name for name, run in runs.items() if parent(run) == runs[arm].info.run_id}
        assert children == {f"{arm}-s{seed}" for seed in range(SEEDS)}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_parameters_are_flat_and_those_of_the_run(client: Any, trained: Trained) -> None:
    """A setting that tells two runs apart cannot be read, filtered or compared in MLflow."""
    runs = by_name(client, STUDY)
    expected = {
        "use_bias": "True", "bias_initializer": "GlorotUniform", "seed": "2", "data": "iris", "model": "linear",
        "optimizer": "Adam", "optimizer.learning_rate": "0.001", "training.epochs": "2", "training.batch_size": "32",
    }  # fmt: skip
    params = runs[f"{GLOROT}-s2"].data.params
    assert {name: params.get(name) for name in expected} == expected
    assert runs[f"{NO_BIAS}-s0"].data.params["use_bias"] == "False"
    assert runs[NO_BIAS].data.params["use_bias"] == "False"
    assert "seed" not in runs[GLOROT].data.params


@pytest.mark.parametrize("arm", ARMS)
def test_curves_equal_the_stored_history_from_step_0(client: Any, trained: Trained, arm: str) -> None:
    """A value of history.csv is missing in MLflow, rounded, doubled, or stands at another epoch."""
    runs = by_name(client, STUDY)
    for run in RunStore(trained.results, STUDY).runs(arm):
        columns = history(run)
        steps = [int(epoch) for epoch in columns.pop("epoch")]
        assert steps == [0, 1, 2] and set(columns) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        for name, values in columns.items():
            assert curve(client, runs[f"{arm}-s{run.seed}"], name) == list(zip(steps, values, strict=True))
        for name in ("test_loss", "test_accuracy"):
            sent = curve(client, runs[f"{arm}-s{run.seed}"], name)
            assert sent == [(0, run.meta["metrics"][name])]


def test_bias_curves_describe_the_stored_arrays(client: Any, trained: Trained) -> None:
    """Mean, spread, length or drift of a bias in MLflow is not that of the array on disk, or is there without one."""
    runs = by_name(client, STUDY)
    for run in RunStore(trained.results, STUDY).runs(GLOROT):
        trajectory = np.float64(arrays(run)["trajectory/output/bias"])
        expected = {
            "mean": trajectory.mean(1),
            "std": np.sqrt(((trajectory - trajectory.mean(1, keepdims=True)) ** 2).mean(1)),
            "l2": np.sqrt((trajectory**2).sum(1)),
            "drift": np.sqrt(((trajectory - trajectory[0]) ** 2).sum(1)),
        }
        assert expected["drift"][-1] > 0
        for what, values in expected.items():
            sent = curve(client, runs[f"{GLOROT}-s{run.seed}"], f"bias/output/{what}")
            assert [step for step, _ in sent] == [0, 1, 2]
            assert [value for _, value in sent] == pytest.approx(values.tolist(), rel=1e-12, abs=1e-15)
    assert not [name for name in runs[f"{NO_BIAS}-s0"].data.metrics if name.startswith("bias/")]


@pytest.mark.parametrize("name", ["loss", "val_accuracy", "test_accuracy"])
def test_an_arm_shows_mean_spread_and_interval_over_its_seeds(client: Any, trained: Trained, name: str) -> None:
    """An arm's curve is not the mean of its seeds' values, or its interval not Student's t."""
    arm = by_name(client, STUDY)[GLOROT]
    runs = RunStore(trained.results, STUDY).runs(GLOROT)
    if name.startswith("test_"):
        steps, values = [0], np.array([[run.meta["metrics"][name]] for run in runs])
    else:
        steps, values = [0, 1, 2], np.array([history(run)[name] for run in runs])
    mean, error = values.mean(0), reference.sem(values, 0)
    half = reference.t.ppf(0.975, SEEDS - 1) * error
    expected = {"": mean, "_std": error * SEEDS**0.5, "_ci_low": mean - half, "_ci_high": mean + half}
    for suffix, per_step in expected.items():
        sent = curve(client, arm, f"spread/{name}{suffix}" if suffix else name)
        assert [step for step, _ in sent] == steps
        assert [value for _, value in sent] == pytest.approx(per_step.tolist(), rel=1e-9, abs=1e-12)


def test_artifacts_are_the_arrays_and_the_settings_on_disk(client: Any, trained: Trained, tmp_path: Path) -> None:
    """What can be downloaded from MLflow differs from the results, or a run's settings are not there."""
    runs = by_name(client, STUDY)
    for run in RunStore(trained.results, STUDY).runs():
        folder = tmp_path / run.arm / str(run.seed)
        folder.mkdir(parents=True)
        run_id = runs[f"{run.arm}-s{run.seed}"].info.run_id
        for name in ("biases", "config.yaml"):
            client.download_artifacts(run_id, name, str(folder))
        sent = {}
        for moment in ("before", "after", "trajectory"):
            with np.load(folder / "biases" / f"{moment}.npz") as file:
                sent |= {f"{moment}/{path}": array for path, array in file.items()}
        stored = {name: array for name, array in arrays(run).items() if name != "epoch"}
        assert sent.keys() == stored.keys()
        assert all(np.array_equal(sent[name], array) for name, array in stored.items())
        assert yaml.safe_load((folder / "config.yaml").read_text()) == run.meta["config"]


def test_a_run_names_its_data_its_key_and_its_device(client: Any, trained: Trained) -> None:
    """It cannot be told from MLflow which data, which stored run and which device a run stands for."""
    runs = by_name(client, STUDY)
    for run in RunStore(trained.results, STUDY).runs():
        sent = runs[f"{run.arm}-s{run.seed}"]
        (dataset,) = [given.dataset for given in sent.inputs.dataset_inputs]
        assert (dataset.name, dataset.digest) == ("iris", run.meta["data_digest"])
        assert sent.data.tags["key"] == run.key
        assert sent.data.tags["device"] == run.meta["environment"]["device"]
        assert sent.data.tags["status"] == "complete"
    assert runs[GLOROT].data.tags["device"]
    assert runs[GLOROT].inputs.dataset_inputs


def test_sending_again_changes_nothing(client: Any, trained: Trained) -> None:
    """A second mirror, sync or training of what is there makes another run."""
    before = {name: run.info.run_id for name, run in by_name(client, STUDY).items()}
    assert mirror(trained.results, STUDY, trained.uri) == ""
    assert sync.main([f"results={trained.results}", f"study={STUDY}", f"uri={trained.uri}"]) == 0
    assert train(*trained, f"seeds={SEEDS}", *ARMS[GLOROT]).trained == ()
    assert {name: run.info.run_id for name, run in by_name(client, STUDY).items()} == before


def test_more_seeds_replace_the_summary_and_keep_the_children(client: Any, trained: Trained, tmp_path: Path) -> None:
    """An arm that gains a seed is shown twice, its curves get second values, or its first seeds are sent anew."""
    copied(trained, tmp_path, "grows", range(2))
    assert mirror(tmp_path, "grows", trained.uri) == ""
    before = by_name(client, "grows")
    copied(trained, tmp_path, "grows", range(2, 3))
    assert mirror(tmp_path, "grows", trained.uri) == ""

    after = by_name(client, "grows")
    assert [name for name, run in after.items() if parent(run) is None] == [GLOROT]
    assert {parent(after[f"{GLOROT}-s{seed}"]) for seed in range(3)} == {after[GLOROT].info.run_id}
    for seed in range(2):
        assert after[f"{GLOROT}-s{seed}"].info.run_id == before[f"{GLOROT}-s{seed}"].info.run_id
    for run in after.values():
        for name in run.data.metrics:
            steps = [step for step, _ in curve(client, run, name)]
            assert steps == sorted(set(steps)), f"{name} has more than one value at a step"
    values = [history(run)["val_loss"][-1] for run in RunStore(tmp_path, "grows").runs()]
    assert curve(client, after[GLOROT], "val_loss")[-1] == (EPOCHS, pytest.approx(np.mean(values), rel=1e-12))
    assert after[GLOROT].data.tags["seeds"] == "3"


def test_a_sender_killed_before_it_tidied_up_leaves_one_arm(client: Any, trained: Trained, tmp_path: Path) -> None:
    """An arm's outdated summary stays beside the new one when the sender died before it took the old one away."""
    copied(trained, tmp_path, "untidy", range(2))
    mirror(tmp_path, "untidy", trained.uri)
    old = by_name(client, "untidy")[GLOROT].info.run_id
    copied(trained, tmp_path, "untidy", range(2, 3))
    mirror(tmp_path, "untidy", trained.uri)
    client.restore_run(old)  # as it was the moment before it was taken away
    assert mirror(tmp_path, "untidy", trained.uri) == ""
    assert [run.info.run_id == old for run in active(client, "untidy") if parent(run) is None] == [False]


class Beside(NamedTuple):
    """What came of a second sender beside a first one, and of killing a third."""

    complaint: str
    half_sent: list[Any]


@pytest.fixture(scope="module")
def beside(trained: Trained, client: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Beside]:
    """Another process sends `both`, which this one sends too; a third is killed while it sends `killed`."""
    results = tmp_path_factory.mktemp("beside")
    multiplied(trained, results, "both", 12)
    multiplied(trained, results, "killed", 25)
    sender = start_sending(f"results={results}", f"uri={trained.uri}", "study=both")
    wait_until_sending(trained.database, "both", sender)
    complaint = mirror(results, "both", trained.uri)
    assert sender.wait(120) == 0, sender.communicate()
    sender = start_sending(f"results={results}", f"uri={trained.uri}", "study=killed")
    wait_until_sending(trained.database, "killed", sender)
    sender.kill()
    sender.communicate()
    return results, Beside(complaint, active(client, "killed"))


def all_there(client: Any, study: str, count: int) -> None:
    """An arm and `count` seeds, each once, finished, and the seeds below the arm."""
    runs = by_name(client, study)
    assert set(runs) == {GLOROT} | {f"{GLOROT}-s{seed}" for seed in range(count)}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {parent(run) for name, run in runs.items() if name != GLOROT} == {runs[GLOROT].info.run_id}


def test_two_senders_of_one_arm_at_once_make_each_run_once(client: Any, beside: tuple[Path, Beside]) -> None:
    """A sync beside a sync or a training leaves runs twice, unfinished or without their arm."""
    assert beside[1].complaint == ""
    all_there(client, "both", 12)


def test_what_a_killed_sender_left_half_sent_is_sent_again(
    client: Any, trained: Trained, beside: tuple[Path, Beside]
) -> None:
    """A run that was being sent when its sender was killed stays half-sent, or is there twice afterwards."""
    results, (_, half_sent) = beside
    assert {run.info.status for run in half_sent} == {"FINISHED", "RUNNING"} and len(half_sent) < 26
    assert mirror(results, "killed", trained.uri) == ""
    all_there(client, "killed", 25)
    runs = by_name(client, "killed").values()
    assert all(len(curve(client, run, "loss")) == EPOCHS + 1 for run in runs)


@pytest.fixture(scope="module")
def race(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[tuple[int, str, str]]]:
    """Two processes, a results folder each, and one store that neither has made yet: its URI, and what they said."""
    tmp = tmp_path_factory.mktemp("race")
    uri = f"sqlite:///{tmp / 'new.db'}"
    for arm in ARMS:
        copied(trained, tmp / arm, "race", range(2), (arm,))
    senders = [start_sending(f"results={tmp / arm}", f"uri={uri}") for arm in ARMS]
    said = [sender.communicate(timeout=180) for sender in senders]
    return uri, [(sender.returncode, *texts) for sender, texts in zip(senders, said, strict=True)]


def test_two_processes_that_make_one_store_at_once_lose_nothing(race: tuple[str, list]) -> None:
    """The store or experiment is made twice, and what one of the two processes sent is gone."""
    from mlflow import MlflowClient

    uri, said = race
    assert [code for code, _, _ in said] == [0, 0], said
    client = MlflowClient(uri)
    assert {e.name for e in client.search_experiments()} == {"Default", "race"}
    assert set(by_name(client, "race")) == {f"{arm}{seed}" for arm in ARMS for seed in ("", "-s0", "-s1")}


def test_telemetry_is_off_before_mlflow_is_imported(race: tuple[str, list]) -> None:
    """MLflow reports to its makers what is done here."""
    for _, out, _ in race[1]:
        assert out.splitlines()[-1] == "telemetry true None"


def test_an_unreachable_server_costs_no_result(
    trained: Trained, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its server a training fails, waits for minutes, says nothing, or cannot be sent later."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"
    start = time.monotonic()
    outcome = train(tmp_path, closed, "study=later", "seeds=2")
    assert time.monotonic() - start < 60
    assert closed in outcome.upload_problem and "\n" not in outcome.upload_problem
    assert [run.meta["status"] for run in RunStore(tmp_path, "later").runs()] == ["complete", "complete"]

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # waiting once is enough
    assert sync.main([f"results={tmp_path}", f"uri={closed}"]) == 1
    assert sync.main([f"results={tmp_path}", f"uri={trained.uri}"]) == 0
    assert len(by_name(client, "later")) == 3


@pytest.mark.parametrize("way", ["uri=", "MLFLOW_TRACKING_URI"])
def test_a_server_receives_all_of_it(
    trained: Trained, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture,
    way: str,
) -> None:  # fmt: skip
    """A study does not arrive on a server, has no arrays there, or floods the screen on its way."""
    from mlflow import MlflowClient

    study = f"to {way.strip('=')}"
    copied(trained, tmp_path / "results", study, range(2))
    option = [f"uri={server}"] if way == "uri=" else []
    if not option:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for _ in range(2):
        capfd.readouterr()
        assert sync.main([f"results={tmp_path / 'results'}", *option]) == 0
        assert capfd.readouterr().out == f"MLflow at {server} has all of: {study}\n"
    client = MlflowClient(server)
    runs = by_name(client, study)
    assert set(runs) == {GLOROT, f"{GLOROT}-s0", f"{GLOROT}-s1"}
    client.download_artifacts(runs[f"{GLOROT}-s1"].info.run_id, "biases", str(tmp_path))
    with np.load(tmp_path / "biases" / "after.npz") as sent:
        stored = arrays(RunStore(tmp_path / "results", study).runs()[1])
        assert np.array_equal(sent["output/bias"], stored["after/output/bias"])


def test_a_store_can_be_named_relative_to_where_one_is(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sqlite:///mine.db`, MLflow's usual way to write it, is refused or lands elsewhere."""
    copied(trained, tmp_path / "results", "relative", range(1))
    shutil.copy(trained.database, tmp_path / "mine.db")  # a new store takes seconds
    monkeypatch.chdir(tmp_path)
    assert mirror(tmp_path / "results", "relative", "sqlite:///mine.db") == ""
    connection = sqlite3.connect(tmp_path / "mine.db")
    assert connection.execute("SELECT count(*) FROM experiments WHERE name = 'relative'").fetchone() == (1,)
    connection.close()


def test_diverged_runs_are_labelled_and_in_no_mean(trained: Trained, client: Any, tmp_path: Path) -> None:
    """A diverged run looks like any other, or its numbers enter its arm's."""
    wild = ("study=wild", "seeds=2", "optimizer=sgd", "optimizer.learning_rate=1e38")
    outcome = train(tmp_path, trained.uri, *wild)
    assert [run.meta["status"] for run in outcome.runs] == ["diverged", "diverged"]
    assert outcome.upload_problem == ""
    arm = outcome.plan.arm
    runs = by_name(client, "wild")
    assert {runs[f"{arm}-s{seed}"].data.tags["status"] for seed in range(2)} == {"diverged"}
    assert all(np.isfinite(value) for run in runs.values() for value in run.data.metrics.values())
    assert runs[arm].data.metrics == {}
    assert runs[arm].data.tags["diverged"] == "2 (seeds 0, 1)"


def test_an_arm_with_one_diverged_seed_is_the_mean_of_the_others(trained: Trained, client: Any, tmp_path: Path) -> None:
    """One diverged seed among good ones moves the arm's mean, or goes uncounted."""
    copied(trained, tmp_path, "mixed", range(2))
    bad = RunStore(trained.results, STUDY).runs(GLOROT)[2]
    columns = {name: np.array([1.0, 1e30, np.nan]) for name in history(bad) if name != "epoch"}
    write_run(RunStore(tmp_path, "mixed"), bad.meta | {"status": "diverged"}, arrays(bad), columns)
    assert mirror(tmp_path, "mixed", trained.uri) == ""
    arm = by_name(client, "mixed")[GLOROT]
    good = [history(run)["loss"] for run in RunStore(trained.results, STUDY).runs(GLOROT)[:2]]
    expected = list(enumerate(np.mean(good, 0).tolist()))
    assert curve(client, arm, "loss") == [(step, pytest.approx(value)) for step, value in expected]
    assert arm.data.tags["diverged"] == "1 (seeds 2)"


def test_an_arm_that_took_over_another_arms_runs_is_itself(trained: Trained, client: Any, tmp_path: Path) -> None:
    """Where two arms train the same model, the second one's runs carry the first one's setting."""
    for where in ("all", "output"):  # the same layer in a model that has one
        outcome = train(tmp_path, trained.uri, "study=twins", "seeds=2", f"bias_layers={where}")
    assert outcome.trained == ()
    assert {run.meta["config"]["bias_layers"] for run in outcome.runs} == {"output"}
    child = by_name(client, "twins")[f"{outcome.plan.arm}-s0"]
    assert child.data.params["bias_layers"] == "output"
    blocks = [arm.block.split(",")[0] for arm in load_arms(RunStore(tmp_path, "twins"))]
    assert blocks == ["bias_layers=all", "bias_layers=output"]


def test_tracking_none_sends_nothing(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tracking=none` makes a store, or sends to the one that the environment names."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    copied(trained, tmp_path / "results", STUDY, range(1))
    config = compose_config(*TINY, *ARMS[GLOROT], "tracking=none", f"results={tmp_path / 'results'}", "seeds=1")
    outcome = run_arm(config)
    assert (outcome.trained, outcome.upload_problem, len(outcome.runs)) == ((), "", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_sweep_has_sent_its_arms_when_it_ends(cli: Any, tmp_path: Path) -> None:
    """What is sent beside the training is missing when the command comes back, or its process stays."""
    assert cli("-m", *TINY, "seeds=1", "bias_initializer=zeros,ones").code == 0
    assert _senders == {}
    target = Tracking(True, f"sqlite:///{tmp_path / 'mlflow.db'}")
    for arm in ("zeros,training.epochs=2", "ones,training.epochs=2"):
        assert up_to_date(target, STUDY, arm, RunStore(tmp_path / "results", STUDY).runs(arm))
    assert "while sending to MLflow" in "".join(path.read_text() for path in tmp_path.rglob("train.log"))


def test_a_sweep_says_at_its_end_what_mlflow_did_not_take(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sending that fails beside the training goes unsaid, or fails the training."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"
    said = cli(*TINY, "seeds=1", f"tracking.uri={closed}")
    assert said.code == 0
    assert f"MLflow at {closed} did not take it" in said.err and "python -m pipeline.sync" in said.err


def test_the_sending_process_ends_with_its_input(tmp_path: Path) -> None:
    """A killed sweep would leave its sending process behind, or take with it what is complete."""
    from mlflow import MlflowClient

    train(tmp_path / "results", "", "tracking=none", "study=left", "seeds=1")
    arm = RunStore(tmp_path / "results", "left").runs()[0].arm
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = [sys.executable, "-m", "pipeline.sync", "follow=true", f"results={tmp_path / 'results'}", f"uri={uri}"]
    told = f'["left", ""]\n["left", "{arm}"]\n'
    done = subprocess.run(command, cwd=PROJECT, input=told, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout) == (0, "")
    assert set(by_name(MlflowClient(uri), "left")) == {arm, f"{arm}-s0"}

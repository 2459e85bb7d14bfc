"""Under hydra/launcher=joblib a sweep gives the bytes of a serial one, also where processes are killed."""

import time
from pathlib import Path

import psutil
import pytest
from factories import MLflowStore
from sweeps import run_files, start, train

from pipeline.errors import ConfigError
from pipeline.launchers.joblib import JoblibLauncher

pytestmark = pytest.mark.slow


def test_the_bytes_are_those_of_a_serial_sweep(serial: dict[str, bytes], tmp_path: Path) -> None:
    """With an arm's seeds in one job, and in several at once; the end of the sweep is the same."""
    done = train(tmp_path / "whole", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert done.returncode == 0, done.stderr
    assert run_files(tmp_path / "whole") == serial
    assert "The answer: " in done.stdout and (tmp_path / "whole/results/iris-linear/ablation.csv").is_file()
    done = train(tmp_path / "parts", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seeds_per_job=3")
    assert done.returncode == 0, done.stderr
    assert run_files(tmp_path / "parts") == serial
    logs = {path.name for path in (tmp_path / "parts/multirun/0").glob("*.log")}
    assert logs == {"train-seeds=0-2.log", "train-seeds=3-3.log"}


def test_a_killed_worker_loses_nothing(serial: dict[str, bytes], tmp_path: Path) -> None:
    """Its job, and those that ended with joblib's pool, are done by others."""
    process = start(tmp_path, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    worker = None
    while worker is None and process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        trainers = [one for one in family if "pipeline.experiment.isolation" in one.cmdline()]
        worker = next((one.parent() for one in trainers), None)
        time.sleep(0.1)
    assert worker is not None
    time.sleep(2)
    worker.kill()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert run_files(tmp_path) == serial


def test_a_thousand_seeds_of_one_arm_over_four_workers(tmp_path: Path) -> None:
    """Some of them are trained once more by one job: the same bytes."""
    arm = ["bias_initializer=zeros", "use_bias=true", "training.epochs=1", "ablation=false"]
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=4"]
    done = train(tmp_path / "parts", *arm, *launcher, "seeds=1000", "seeds_per_job=250")
    assert done.returncode == 0, done.stderr
    assert "│ 1000  │ 1000 │" in done.stdout and len(list((tmp_path / "parts/multirun/0").glob("*.log"))) == 4
    seeds = [0, 3, 249, 250, 500, 998, 999]
    alone = train(tmp_path / "some", *arm, *launcher, f"seeds={seeds}".replace(" ", ""))
    assert alone.returncode == 0, alone.stderr
    some, parts = run_files(tmp_path / "some"), run_files(tmp_path / "parts")
    assert len(some) == 5 * len(seeds) and some == {name: parts[name] for name in some}


@pytest.mark.parametrize("n_jobs", [0, -2, 1.5, "many", True])
def test_other_numbers_of_jobs_are_refused(n_jobs: object) -> None:
    """In one line."""
    with pytest.raises(ConfigError, match=r"^hydra.launcher.n_jobs: .* given; allowed: auto, -1 for all cores, or a "):
        JoblibLauncher(n_jobs)


def test_the_submitting_process_sends_what_workers_trained(mlflow_store: str, tmp_path: Path) -> None:
    """One process sends the parts of all arms: each run is there once, whole, below its arm."""
    few = ["bias_initializer=zeros,ones", "use_bias=true", "training.epochs=1", "ablation=false", "seeds=4"]
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seeds_per_job=2"]
    done = train(tmp_path, *few, *launcher, "tracking=mlflow", f"tracking.uri={mlflow_store}", "tracking.wait=120")
    assert done.returncode == 0, done.stderr
    runs = MLflowStore(mlflow_store).active("iris-linear")
    assert sorted(run.data.tags["role"] for run in runs) == ["arm"] * 2 + ["seed"] * 8
    assert all(run.info.status == "FINISHED" for run in runs)
    assert len({tag for run in runs for tag in run.data.tags if tag.startswith("results_folder/")}) == 1

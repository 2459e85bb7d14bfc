"""Three hundred jobs, one in thirty of which is killed: all runs are there at the end, and no process has grown."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import compose_config

from pipeline.config.schema import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.faults]

SOAK = """
import json, random, sys
from functools import partial
from pathlib import Path
import psutil
from factories import change_config, compose_config
from pipeline.experiment import isolation
from pipeline.experiment.run import run_arm

N, KILLS, WARM = 300, 10, 5
folder, config = Path(sys.argv[1]), compose_config(*sys.argv[2:])
to_kill = set(random.Random(12).sample(range(WARM, 200), KILLS))  # the last process lives a hundred jobs
launching, grown, deaths = psutil.Process(), {}, []

def job(number):
    # every thirty jobs the batch size changes, so the program is another
    changes = {"bias_initializer": {"config": {"value": number / 1000}}, "training": {"batch_size": 32 + number // 30}}
    def progress(arm, done, total):
        if number in to_kill:
            to_kill.remove(number)
            isolation._trainers[0].kill()
    try:
        run_arm(change_config(config, **changes), progress, lambda *_: "",
                partial(isolation.train_isolated, job_log=folder / "log"))
    except isolation.JobError as error:
        deaths.append([number, str(error)])

def measure(process):
    grown.setdefault(process.pid, []).append(process.memory_info().rss)

for number in range(N):
    job(number)
    measure(launching)
    if isolation._trainers:
        measure(psutil.Process(isolation._trainers[0].pid))
failed = list(deaths)
for number, _ in failed:
    job(number)
isolation.stop_trainer()
print(json.dumps([len(failed), sorted({text for _, text in deaths}),
      [[len(sizes), sizes[-1] - sizes[WARM]] for sizes in grown.values() if len(sizes) > WARM]]))
"""


def test_three_hundred_jobs_and_ten_kills(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Every job ends with its run, and after their first jobs the processes grow by less than 100 MB."""
    overrides = ["data=iris", "model=linear", "seeds=1", "training.epochs=30", "training.xla=false", "tracking=none",
                 "bias_initializer=constant", f"results={tmp_path / 'results'}"]  # fmt: skip
    compose_config(*overrides)  # a mistake in them shows here
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", SOAK, str(tmp_path), *overrides],
        cwd=PROJECT, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    n_failed, errors, grown = json.loads(done.stdout.splitlines()[-1])
    assert len(list((tmp_path / "results").glob("*/*/seed=0/run.json"))) == 300
    assert errors == ["killed by SIGKILL, perhaps for memory"]
    assert n_failed == 10
    most = max(size for _, size in grown)
    (n_jobs, launching), *trainers = grown
    figure(f"300 jobs, {n_failed} killed: all runs there; the launching process grew by {launching / 1e6:.0f} MB over "
           f"{n_jobs} jobs, one that trained by {trainers[-1][1] / 1e6:.0f} MB over {trainers[-1][0]}")  # fmt: skip
    assert most < 100e6

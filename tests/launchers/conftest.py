"""The sweep of these tests, trained by one process."""

import os
import subprocess
import sys

import pytest
from sweeps import RESULT_FILES, SWEEP, run_files

from pipeline.config.schema import PROJECT


@pytest.fixture(scope="session")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The sweep trained by one process on one core, as every job below has it."""
    folder = tmp_path_factory.mktemp("serial")
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", f"import os, runpy; os.sched_setaffinity(0, {{{core}}}); "
               "runpy.run_module('pipeline.train', run_name='__main__')", *SWEEP, f"results={folder / 'results'}",
               f"hydra.sweep.dir={folder / 'multirun'}"]  # fmt: skip
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = run_files(folder)
    assert len(files) == 12 * len(RESULT_FILES)
    return files

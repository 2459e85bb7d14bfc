"""Check one run wherever it lies, and say which runs nothing vouches for."""

import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import ModelFileError
from pipeline.store.meta import FILES, MODEL, RUN, DamagedRunError
from pipeline.store.runs import Run, read_run


def check_run(path: Path) -> list[Run]:
    """Read the run whose folder, or a file of which, `path` is. Raises ModelFileError for a damaged one.

    Without a run.json there is no run to check: a model, or biases that MLflow kept. Nor is a model that someone has
    put beside a run's files one of them.
    """
    files = [file for file in (path, Path(os.path.realpath(path))) if file.name in FILES]  # or a link to one
    places = [*((file.parent, file.name) for file in files), (path, RUN)]
    found = next((place for place in places if os.path.lexists(place[0] / RUN)), None)
    if found is None:
        return []
    folder, name = found
    try:
        run = read_run(folder)
        if name not in (RUN, MODEL) and not run.has(name):
            raise DamagedRunError(f"{RUN} has no digest of {name}")
    except DamagedRunError as error:
        raise ModelFileError(f"{path}: a damaged run: {error}") from error
    return [run]


def describe_unsealed(runs: Iterable[Run]) -> str:
    """Say in a sentence how many of the runs have no seal; "" where all have one."""
    unsealed = sum(not run.sealed for run in runs)
    some = "1 run has" if unsealed == 1 else f"{unsealed} runs have"
    why = "so nothing shows whether run.json was changed by hand; earlier versions wrote none"
    return f"{some} no seal, {why}." if unsealed else ""

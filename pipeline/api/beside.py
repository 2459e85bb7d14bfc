"""Call functions in the process beside, whose refusals are raised here as they were there."""

from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, PipelineError, one_line
from pipeline.experiment.isolation import JobError, call_isolated

REFUSALS = ("ConfigError: ", "DataError: ", "ModelFileError: ")


def isolated(work: Any, *arguments: Any, log: Path) -> Any:
    """What the function returns there, see `isolation.call_isolated`. Raises PipelineError."""
    try:
        return call_isolated(work, *arguments, job_log=log)
    except JobError as error:
        raise as_refusal(error) from error


def as_refusal(error: JobError, prefix: str = "") -> PipelineError:
    """The error of the process beside: a refusal as it was, whatever else with the name of its class."""
    line = str(error)
    for start in REFUSALS:
        if line.startswith(start):
            return ConfigError(line.removeprefix(start))
    return PipelineError(one_line(prefix + line))

"""Train one arm, or sweep over arms with `-m`; with `--plan`, only print what that would do. See `--help`.

Exit code 0: all done; 1: some run failed, and is named; 2: the request was refused before anything started; 130 after
Ctrl-C, 143 after SIGTERM, 129 after SIGHUP: finished runs are kept.
"""

import os
import sys

import hydra

from pipeline.config.load import register_schema
from pipeline.config.messages import explain_refusal
from pipeline.config.overrides import split_arguments, validate_overrides
from pipeline.config.schema import CONF
from pipeline.experiment.hydra_callback import current_request, forget_request
from pipeline.experiment.job import train_job
from pipeline.experiment.summary import finish_interrupted, finish_request
from pipeline.runtime.signals import as_interrupted, run_command

PLAN_ONLY = "hydra.callbacks.validate_jobs.plan_only=true"


def main() -> int:
    """Run the command; the exit code, 128 + n after a signal n."""
    try:
        return _run()
    except KeyboardInterrupt as error:
        return finish_interrupted(as_interrupted(error))


def _run() -> int:
    """Run Hydra over the command line, then report; the exit code."""
    register_schema()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors arrive here, to be printed in one line
    forget_request()
    error = None
    try:
        sys.argv[1:] = _arguments(sys.argv[1:])
        validate_overrides(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(train_job)()
    except Exception as exception:
        error = exception
    request = current_request()
    if request is not None:
        return finish_request(request, error)
    if error is not None:
        print(explain_refusal(error), file=sys.stderr)
        return 2
    return 0  # --help, --cfg and the like start no job


def _arguments(given: list[str]) -> list[str]:
    """Put options before overrides, since Hydra refuses any other order, and spell `--plan` as an override."""
    overrides, _ = split_arguments(given)
    options = [argument for argument in given if argument not in overrides]
    if "--plan" in options:
        options.remove("--plan")
        overrides.append(PLAN_ONLY)
    return [*options, *overrides]


if __name__ == "__main__":
    run_command(main)

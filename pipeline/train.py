"""Train one arm, or sweep over arms with `-m`; with `--plan`, only print what that would do; with `--status`, how far
it is; with `-q`, print only what went wrong. See `--help`.

Exit code 0: all done; 1: some run failed, and is named; 2: the request was refused before anything started; 130 after
Ctrl-C, 143 after SIGTERM, 129 after SIGHUP: finished runs are kept.
"""

from pipeline.runtime.early import KEPT, end_on_signal

if __name__ == "__main__":
    end_on_signal(KEPT)  # before the imports, which take a second

import os
import sys

import hydra

from pipeline.config.arguments import Arguments, read_arguments
from pipeline.config.load import register_schema
from pipeline.config.overrides import (
    as_named_refusal,
    refuse_listed_defaults,
    refuse_unswept,
    validate_overrides,
)
from pipeline.config.schema import CONF
from pipeline.config.tuning_sweep import expand_tuning
from pipeline.errors import ConfigError
from pipeline.experiment.hydra_callback import ValidateJobs, begin_request, current_request
from pipeline.experiment.hydra_settings import check_callbacks
from pipeline.experiment.job import train_job
from pipeline.experiment.summary import finish_interrupted, finish_look, finish_request
from pipeline.launchers import register_launchers
from pipeline.runtime.gate import guard, report_error
from pipeline.runtime.logs import silent_output
from pipeline.runtime.signals import as_interrupted, raise_swallowed, run_command


def main() -> int:
    """Run the command; the exit code, 128 + n after a signal n."""
    return guard(_interruptible)


def _interruptible() -> int:
    """Run the request, and report as far as it came at a signal."""
    try:
        return _run()
    except KeyboardInterrupt as error:
        return finish_interrupted(as_interrupted(error))


def _run() -> int:
    """Read the command line, and run it; the exit code."""
    try:
        arguments = read_arguments(sys.argv[1:])
    except ConfigError as error:
        return report_error(error)
    except SystemExit as stop:  # of --version
        return int(stop.code or 0)
    with silent_output(arguments.quiet):
        return _run_request(arguments)


def _run_request(arguments: Arguments) -> int:
    """Run Hydra over the command line, then report; the exit code."""
    register_schema()
    register_launchers()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors arrive here, to be printed in one line
    begin_request()
    error, overrides = None, arguments.overrides
    try:
        arguments = expand_tuning(arguments)
        overrides = arguments.overrides
        validate_overrides(overrides, arguments.folders)
        refuse_unswept(arguments)
        refuse_listed_defaults(arguments)
        check_callbacks(arguments)
        sys.argv[1:] = arguments.ordered
        goes_on, looks = True, 0
        while goes_on:  # of `until=decided` one look after the other, of any other request once
            begin_request(arguments.plan_only, is_next_look=looks > 0, status_only=arguments.status_only)
            looks += 1
            _launch_jobs()
            request = current_request()
            goes_on = request is not None and finish_look(request)
    except SystemExit as stop:
        if current_request() is None:
            if ValidateJobs.status_code is not None:
                return ValidateJobs.status_code
            return 2 if stop.code == 1 else int(stop.code or 0)  # 1: Hydra found no such --package
        error = RuntimeError(f"a job ended the process with exit code {stop.code}")
    except Exception as exception:
        raise_swallowed()
        error = exception
    request = current_request()
    if request is not None:
        return finish_request(request, error)
    if error is not None:
        return report_error(as_named_refusal(error, overrides), code=2)
    return 0  # --help, --cfg and the like start no job


def _launch_jobs() -> None:
    """Have Hydra check the request and launch its jobs, unless none has anything to do."""
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(train_job)()
    except SystemExit:
        request = current_request()
        if request is None or request.stored is None:
            raise


if __name__ == "__main__":
    run_command(main)

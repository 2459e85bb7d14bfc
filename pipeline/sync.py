"""Send to MLflow what it has not received: `python -m pipeline.sync`.

Options, each `key=value`: study (default: all), results (results), reports (reports: an answer that is there is sent
too), uri (default: MLFLOW_TRACKING_URI where it is set, else the embedded store), follow (true: read from standard
input which arms to send, as a sweep does). Sending twice makes no second run. Exit code 1: MLflow did not take it.
"""

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pipeline.config.options import parse_options
from pipeline.config.schema import PROJECT, Tracking
from pipeline.errors import ConfigError
from pipeline.store.runs import choose_studies, stored_runs, stored_studies
from pipeline.tracking.client import prepare_store, store_uri
from pipeline.tracking.comparison import publish_comparison
from pipeline.tracking.runs import mirror_arm


@dataclass(frozen=True)
class SyncOptions:
    """The options of the command; empty: all studies, and the default store."""

    study: str = ""
    results: str = "results"
    reports: str = "reports"
    uri: str = ""
    follow: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Mirror every arm of the chosen studies; the exit code."""
    try:
        options = parse_options(sys.argv[1:] if arguments is None else arguments, SyncOptions)
        if options is None:
            print(__doc__)
            return 0
        results, reports = PROJECT / options.results, PROJECT / options.reports
        target = Tracking(True, options.uri or None)
        if options.follow:
            return _follow(target, results)
        studies = choose_studies(results, options.study) if options.study else stored_studies(results)
        for study in studies:
            for arm, runs in groupby(stored_runs(results, study), key=lambda run: run.arm):
                if problem := mirror_arm(target, results, study, arm, list(runs)):
                    print(problem, file=sys.stderr)
                    return 1
            if problem := publish_comparison(target, results, study, reports / study):
                print(problem, file=sys.stderr)
                return 1
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"MLflow at {store_uri(target)} has all of: {', '.join(studies) or 'no study yet'}")
    return 0


def _follow(target: Tracking, results: Path) -> int:
    """Send each arm named on standard input, as JSON `[study, arm]` a line; a study without an arm is made ready."""
    with contextlib.suppress(Exception):  # what is wrong with MLflow will be said when something is to be sent
        prepare_store(target, results)
    for line in sys.stdin:
        study, arm = json.loads(line)
        if not arm:
            with contextlib.suppress(Exception):
                prepare_store(target, results, study)
            continue
        problem = mirror_arm(target, results, study, arm, stored_runs(results, study, arm))
        if problem:  # most likely the server, which would be waited for again for every further arm
            print(problem, flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Upload to MLflow what it lacks: `python -m pipeline.sync`.

Options, each `key=value`: study (default: all), results (results), reports (reports: a comparison there is uploaded
too), uri (default: MLFLOW_TRACKING_URI where it is set, else the embedded store), follow (true: read from standard
input which arms to upload, as a sweep does). Uploading twice makes no second run; several results folders may be
uploaded to one store. Exit code 1: MLflow refused, or a run is damaged here.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from pipeline.config.options import parse_options
from pipeline.config.schema import PROJECT, Tracking
from pipeline.errors import ConfigError
from pipeline.store.runs import RunStore, choose_studies, stored_studies
from pipeline.tracking.background import follow_queue
from pipeline.tracking.client import store_uri
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
        tracking = Tracking(True, options.uri or None)
        if options.follow:
            return follow_queue(tracking, results)
        every = [RunStore(results, study) for study in stored_studies(results)]
        stores = choose_studies(results, options.study) if options.study else every
        problems = []
        for store in stores:
            stored, damaged = store.read()
            for arm, runs in groupby(stored, key=lambda run: run.arm):
                if problem := mirror_arm(tracking, store, arm, list(runs)):
                    print(problem, file=sys.stderr)
                    return 1  # most likely the server is away, and each further arm would wait for it again
            problems.append(publish_comparison(tracking, store, reports / store.study))
            problems += [
                f"{store.study}/{run.name} is damaged and was not sent: {run.reason}. MLflow keeps what it has; train "
                "the arm again, or remove the folder."
                for run in damaged
            ]
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    for problem in filter(None, problems):
        print(problem, file=sys.stderr)
    if any(problems):
        return 1
    print(f"MLflow at {store_uri(tracking)} has all of: {', '.join(s.study for s in stores) or 'no study yet'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

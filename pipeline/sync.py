"""Upload to MLflow what it lacks: `python -m pipeline.sync`.

Options, each `key=value`: study (default: all), results (results), reports (reports: a comparison there is uploaded
too), uri (default: MLFLOW_TRACKING_URI where it is set, else the embedded store), wait (most seconds that it may take;
default: as long as it takes, unless a server is silent for a minute), follow (true: read from standard input which arms
to upload, as a sweep does). Uploading twice makes no second run; several results folders may be uploaded to one store.
Exit code 1: something is unsent, and is named.
"""

from pipeline.runtime.early import end_on_signal

if __name__ == "__main__":
    end_on_signal()  # before the imports, which take a second


import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.options import parse_options
from pipeline.config.schema import LONGEST_WAIT, PROJECT, Tracking
from pipeline.errors import require
from pipeline.runtime.gate import guard
from pipeline.runtime.signals import run_command
from pipeline.store.aside import sweep_aside
from pipeline.store.files import check_writable
from pipeline.store.runs import RunStore
from pipeline.store.studies import choose_studies, stored_studies
from pipeline.tracking.client import hide_passwords, store_uri
from pipeline.tracking.follow import follow_queue
from pipeline.tracking.studies import sync_studies


@dataclass(frozen=True)
class SyncOptions:
    """The options of the command; empty: all studies, the default store, and no bound."""

    study: str = ""
    results: str = "results"
    reports: str = "reports"
    uri: str = ""
    wait: float | None = None
    follow: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return guard(lambda: _sync(sys.argv[1:] if arguments is None else arguments))


def _sync(arguments: Sequence[str]) -> int:
    """Mirror every arm of the chosen studies; the exit code."""
    options = parse_options(arguments, SyncOptions)
    if options is None:
        print(__doc__)
        return 0
    wait, allowed = options.wait, f"seconds from 0 to {LONGEST_WAIT}"
    require(wait is None or 0 <= wait <= LONGEST_WAIT, "wait", wait, allowed)
    results, reports = PROJECT / options.results, PROJECT / options.reports
    tracking = Tracking(True, options.uri or None)
    if options.follow:
        return follow_queue(tracking, results, tracking.wait if wait is None else wait)
    check_writable(results / ".aside", "results")
    sweep_aside(results)
    every = [RunStore(results, study) for study in stored_studies(results)]
    stores = choose_studies(results, options.study) if options.study else every
    problems = sync_studies(tracking, stores, reports, wait)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    uri = hide_passwords(store_uri(tracking))
    print(f"MLflow at {uri} has all of: {', '.join(s.study for s in stores) or 'no study yet'}")
    return 0


if __name__ == "__main__":
    run_command(main)

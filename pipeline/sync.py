"""Upload to MLflow what it lacks: `python -m pipeline.sync`.

Options, each `key=value`: study (default: all), results (results), reports (where `compare` writes those of these
results: a comparison there is uploaded too), uri (default: MLFLOW_TRACKING_URI where it is set, else the embedded
store), wait (most seconds that it may take; default: as long as it takes, unless a server is silent for a minute),
detail (runs, the default; arms: no run per seed, see `tracking.detail`), follow (true: read from standard input which
arms to upload, as a sweep does). Uploading twice makes no second run; several results folders may be uploaded to one
store. Exit code 1: something is unsent, and is named.
"""

from pipeline.runtime.early import end_on_signal

if __name__ == "__main__":
    end_on_signal()  # before the imports, which take a second


import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.options import check_detail, check_wait, parse_options
from pipeline.config.schema import PROJECT, Tracking, expand_home
from pipeline.installation import help_text
from pipeline.runtime.gate import guard
from pipeline.runtime.signals import run_command
from pipeline.store.aside import sweep_aside
from pipeline.store.files import check_writable
from pipeline.store.locks import forget_dead_holder
from pipeline.store.places import reports_beside
from pipeline.store.studies import all_studies, choose_studies
from pipeline.tracking.address import check_address
from pipeline.tracking.client import hide_passwords, lock_file, store_uri
from pipeline.tracking.follow import follow_queue
from pipeline.tracking.places import check_tracking_places
from pipeline.tracking.studies import sync_studies


@dataclass(frozen=True)
class SyncOptions:
    """The options of the command; empty: all studies, the default store, and no bound."""

    study: str = ""
    results: str = "results"
    reports: str = ""
    uri: str = ""
    wait: float | None = None
    detail: str = "runs"
    follow: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return guard(lambda: _sync(sys.argv[1:] if arguments is None else arguments))


def _sync(arguments: Sequence[str]) -> int:
    """Mirror every arm of the chosen studies; the exit code."""
    options = parse_options(arguments, SyncOptions)
    if options is None:
        print(help_text(__doc__ or ""))
        return 0
    check_wait("wait", options.wait)
    check_detail("detail", options.detail)
    results = PROJECT / expand_home(options.results)
    reports = PROJECT / expand_home(options.reports) if options.reports else reports_beside(results)
    tracking = Tracking(True, options.uri or None, detail=options.detail)
    if options.follow:
        return follow_queue(tracking, results, tracking.wait if options.wait is None else options.wait)
    check_address(tracking, "uri")
    check_writable(results / ".aside", "results")
    stores = choose_studies(results, options.study) if options.study else all_studies(results)
    for store in stores:
        check_tracking_places(tracking, store, "uri")
    sweep_aside(results)
    forget_dead_holder(lock_file(store_uri(tracking), results))
    problems = sync_studies(tracking, stores, reports, options.wait)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    uri = hide_passwords(store_uri(tracking))
    what = "all" if options.detail == "runs" else "the arms"
    print(f"MLflow at {uri} has {what} of: {', '.join(s.study for s in stores) or 'no study yet'}")
    return 0


if __name__ == "__main__":
    run_command(main)

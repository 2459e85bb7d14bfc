"""Send to MLflow what it has not received: `python -m pipeline.sync`.

Options, each `key=value`: study (default: all), results (results), uri (default: MLFLOW_TRACKING_URI where it is set,
else the embedded store). Sending twice makes no second run. Exit code 1: MLflow did not take it.
"""

import sys
from collections.abc import Sequence
from itertools import groupby

from pipeline import store, tracking
from pipeline.config import PROJECT, Tracking, parse_options
from pipeline.errors import ConfigError

OPTIONS = {"study": "", "results": "results", "uri": ""}


def main(arguments: Sequence[str] | None = None) -> int:
    """Mirror every arm of the chosen studies; the exit code."""
    try:
        options = parse_options(sys.argv[1:] if arguments is None else arguments, OPTIONS)
        if options is None:
            print(__doc__)
            return 0
        results = PROJECT / options["results"]
        studies = store.chosen(results, options["study"]) if options["study"] else store.studies(results)
        target = Tracking(True, options["uri"] or None)
        for study in studies:
            for arm, runs in groupby(store.runs(results, study), key=lambda run: run.arm):
                problem = tracking.mirror(target, results, study, arm, list(runs))
                if problem:
                    print(problem, file=sys.stderr)
                    return 1
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"MLflow at {tracking.store_uri(target)} has all of: {', '.join(studies) or 'no study yet'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

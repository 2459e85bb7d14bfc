"""Show what takes space without counting, and remove it: `python -m pipeline.prune --dry-run`.

What: runs that others have replaced, and damaged ones in whose place others were trained (`results/.replaced`), what
killed processes left, data of the Python API that no run names, and the artifacts of runs that were deleted in the
embedded MLflow store. Runs in their place are never touched: damaged ones and copies there are named only. Without
--dry-run it is removed after a question, or at once with --yes; not while something trains.
Options, each `key=value`: results (results), uri (default: MLFLOW_TRACKING_URI where it is set, else the embedded
store), logs (true: also Hydra's logs of earlier commands, `outputs` and `multirun`).
Exit code 1: something could not be removed; 2: refused.
"""

from pipeline.runtime.early import end_on_signal

if __name__ == "__main__":
    end_on_signal()  # before the imports, which take a second


import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.options import parse_options
from pipeline.config.schema import PROJECT, Tracking, expand_home
from pipeline.errors import ConfigError, describe_size
from pipeline.installation import help_text
from pipeline.report.console import print_table, short_path
from pipeline.runtime.gate import guard
from pipeline.runtime.signals import run_command
from pipeline.store.space import Waste, find_logs, find_waste, hold_results, remove_waste
from pipeline.store.studies import all_studies, group_damaged
from pipeline.tracking.client import store_uri
from pipeline.tracking.deleted import deleted_runs, remove_deleted_runs

FLAGS = ("--dry-run", "--yes")


@dataclass(frozen=True)
class PruneOptions:
    """The options of the command; an empty uri stands for the default store."""

    results: str = "results"
    uri: str = ""
    logs: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return guard(lambda: _prune(sys.argv[1:] if arguments is None else arguments))


def _prune(arguments: Sequence[str]) -> int:
    """Show, and remove what may be removed; the exit code."""
    flags = [argument for argument in arguments if argument in FLAGS]
    options = parse_options([argument for argument in arguments if argument not in FLAGS], PruneOptions)
    if options is None:
        print(help_text(__doc__ or ""))
        return 0
    if len(set(flags)) > 1:
        raise ConfigError("--dry-run and --yes: given together; allowed: one of them")
    results = PROJECT / expand_home(options.results)
    if not results.is_dir():
        raise ConfigError("results", results, "a folder that exists")
    uri = store_uri(Tracking(True, options.uri or None))
    waste = [*find_waste(results), *(find_logs(Path.cwd()) if options.logs else [])]
    deleted = deleted_runs(uri)
    folders = tuple(path for path in deleted.values() if path.is_dir())
    in_mlflow = [Waste("runs that were deleted in MLflow", "they cannot be restored", folders)] if deleted else []
    for line in _damaged_in_place(results):
        print(line)
    if not waste and not in_mlflow:
        print("Nothing to remove.")
        return 0
    _show([*waste, *in_mlflow], {"runs that were deleted in MLflow": len(deleted)})
    if "--dry-run" in flags:
        return 0
    if "--yes" not in flags and not _agreed():
        print("Nothing was removed.")
        return 0
    with hold_results(results):
        for kind in waste:
            remove_waste(results, kind)
    if deleted:
        remove_deleted_runs(uri, results)
    print("Removed.")
    return 0


def _damaged_in_place(results: Path) -> list[str]:
    """A line per damaged run, or copied folder, among the runs of a study; these may hold what cannot be had again."""
    return [
        f"Not removed: {store.study}/{group.sentence}, and does not count: {group.reason}; {group.advice}."
        for store in all_studies(results)
        for group in group_damaged(store.damaged())
    ]


def _show(waste: Sequence[Waste], counts: dict[str, int]) -> None:
    """Print a row per kind: how many there are, what they take, and what is lost without them; then their places."""
    rows = [
        [kind.what, str(counts.get(kind.what, len(kind.paths))), describe_size(kind.size), kind.lost] for kind in waste
    ]
    print_table("Takes space", ["what", "how many", "size", "lost without it"], rows)
    for place in dict.fromkeys(short_path(path.parent) for kind in waste for path in kind.paths):
        print(f"in {place}")
    print(f"{describe_size(sum(kind.size for kind in waste))} in all")


def _agreed() -> bool:
    """Ask on the terminal. Raises ConfigError where there is none."""
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise ConfigError("--yes: not given, and there is no terminal to ask on; allowed: --yes, or --dry-run")
    return input("Remove all of it? [y/N] ").strip().lower() in ("y", "yes")


if __name__ == "__main__":
    run_command(main)

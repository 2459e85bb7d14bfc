"""Put the runs of results folders that were made apart into one: `python -m pipeline.merge OTHER/results [MORE ...]`.

Each run is read whole and held against its digests, and appears here whole or not at all; what is here already stays,
and the folders that are named are only read. Two different results of one run are refused before anything is written.
Runs of other settings than those that their arm has here go to `.replaced`, where the arm's own command finds them.
Designs, looks, rows of ablation.csv and dead_units.csv, and data of the Python API come along; MLflow gets the runs by
`python -m pipeline.sync`. With --dry-run nothing is written. The same command again goes on where it was killed.
Options, each `key=value`: results (where the runs go; results), study (one, or several with commas; default: all).
Exit code 1: a run was not taken, and is named: it is damaged, or a copy; 2: refused.
"""

from pipeline.runtime.early import KEPT, end_on_signal

if __name__ == "__main__":
    end_on_signal(KEPT)  # before the imports, which take a second


import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pipeline.config.options import parse_options
from pipeline.config.schema import PROJECT, expand_home
from pipeline.errors import ConfigError, closest
from pipeline.experiment.adopted_rows import adopt_rows
from pipeline.experiment.progress import passing_line
from pipeline.installation import command_text, help_text
from pipeline.report.console import print_table, short_path
from pipeline.runtime.gate import guard
from pipeline.runtime.signals import run_command
from pipeline.store.aside import sweep_aside
from pipeline.store.designs import Progress
from pipeline.store.merged_studies import common_progress, copy_data, declare_progress, finish_study
from pipeline.store.merging import StudyMerge, plan_merge, take_arm
from pipeline.store.places import check_places
from pipeline.store.runs import RunStore
from pipeline.store.studies import stored_studies

DRY_RUN, SOURCE = "--dry-run", "OTHER/results"
HEADINGS = ["study", "taken", "already here", "in .replaced", "not taken"]


@dataclass(frozen=True)
class MergeOptions:
    """The options of the command; an empty study stands for all."""

    results: str = "results"
    study: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return guard(lambda: _merge(sys.argv[1:] if arguments is None else arguments))


def _merge(arguments: Sequence[str]) -> int:
    """Plan the merge of every study, then carry it out; the exit code."""
    names = {field.name for field in fields(MergeOptions)}
    given = [word for word in arguments if word != DRY_RUN]
    places = [word for word in given if not word.startswith("-") and word.partition("=")[0] not in names]
    places = [word for word in places if "=" not in word or (PROJECT / expand_home(word)).exists()]
    options = parse_options([word for word in given if word not in places], MergeOptions)
    if options is None:
        print(help_text(__doc__ or ""))
        return 0
    results = PROJECT / expand_home(options.results)
    sources = _sources(places, results)
    plans: list[tuple[StudyMerge, list[RunStore], Progress | None]] = []
    with passing_line("reading the runs ..."):
        for study in _studies(sources, options.study):
            store = RunStore(results, study)
            stores = [RunStore(source, study) for source in sources if (source / study).is_dir()]
            progress = common_progress(store, stores)
            plans.append((plan_merge(store, [one.results for one in stores]), stores, progress))
    for plan, _, _ in plans:
        for arm, runs in plan.todo.items():
            check_places(plan.store, arm, [run.seed for run in runs])
    if DRY_RUN not in arguments:
        sweep_aside(results)
        for plan, stores, progress in plans:
            with passing_line(f"taking runs of {plan.store.study} ..."):
                _carry_out(plan, stores, progress)
    return _report([plan for plan, _, _ in plans], is_done=DRY_RUN not in arguments)


def _sources(places: Sequence[str], results: Path) -> list[Path]:
    """The results folders to take runs from. Raises ConfigError for one that has none, or is not apart from ours."""
    if not places:
        raise ConfigError(f"{SOURCE}: not given; allowed: one results folder or more to take runs from")
    sources: dict[Path, Path] = {}
    for place in places:
        source = PROJECT / expand_home(place)
        try:
            is_folder = source.is_dir()
        except OSError as error:  # of a folder above it that this user may not enter
            raise ConfigError(f"{SOURCE}: {source} cannot be read: {error.strerror}") from error
        if not is_folder:
            beside = Path(place).absolute()  # of the working directory, where other commands than ours would look
            reason = f"which is not in {PROJECT}" if beside.is_dir() else ""
            allowed = str(beside) if beside.is_dir() else "a results folder that exists"
            raise ConfigError(SOURCE, place, allowed, reason=reason)
        true, ours = source.resolve(), results.resolve()
        if true.is_relative_to(ours) or ours.is_relative_to(true):
            reason = "which is where the runs go" if true == ours else f"and one of it and {results} holds the other"
            raise ConfigError(SOURCE, place, "a folder apart from the results", reason=reason)
        _check_readable(source)
        if not stored_studies(source):
            near = next((path for path in (source / "results", source.parent) if stored_studies(path)), None)
            raise ConfigError(
                SOURCE, place, str(near or "a folder of <study>/<arm>/seed=<n>"), reason="which has no run"
            )
        sources.setdefault(true, source)
    return list(sources.values())


def _check_readable(source: Path) -> None:
    """Raise ConfigError where a folder of the source cannot be listed: its runs would be passed over in silence."""
    try:
        studies = [path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")]
        for arm in [path for study in studies for path in study.iterdir() if path.is_dir()]:
            next(arm.iterdir(), None)
    except OSError as error:
        raise ConfigError(f"{SOURCE}: {error.filename} cannot be read: {error.strerror}") from error


def _studies(sources: Sequence[Path], requested: str) -> list[str]:
    """The studies to take. Raises ConfigError for one that no source has."""
    there = sorted({study for source in sources for study in stored_studies(source)})
    chosen = there if not requested else [requested] if requested in there else requested.split(",")
    for name in chosen:
        if name not in there:
            raise ConfigError(f"study: no study {name} in {', '.join(map(str, sources))}; {closest(name, there)}")
    return list(dict.fromkeys(chosen))


def _carry_out(plan: StudyMerge, sources: Sequence[RunStore], progress: Progress | None) -> None:
    """Take all that was planned of a study."""
    declare_progress(plan.store, progress)
    copy_data(plan)
    for arm in plan.todo:
        take_arm(plan, arm)
    adopt_rows(plan.store, sources, plan.keys)
    finish_study(plan.store, sources, progress)


def _report(plans: Sequence[StudyMerge], is_done: bool) -> int:
    """Print what was taken, or would be, and name what was not; the exit code."""
    rows = []
    for plan in plans:
        taken, aside = (plan.taken, sum(plan.aside.values())) if is_done else plan.expected
        rows.append([plan.store.study, *map(str, (taken, plan.here, aside, len(plan.damaged) + len(plan.changed)))])
    print_table("" if is_done else "Nothing is written; without --dry-run:", HEADINGS, rows)
    for plan in plans:
        for arm, n in plan.aside.items():
            print(f"{plan.store.study}/{arm}: {n} with other settings than those here, kept in .replaced")
    problems = [line for plan in plans for line in plan.problems]
    for line in problems:
        print(line, file=sys.stderr)
    if is_done:
        print(f"Results: {', '.join(short_path(plan.store.folder) for plan in plans)}")
        results = plans[0].store.results
        words = [f"results={shlex.quote(str(results))}"] if results != PROJECT / "results" else []
        print("To MLflow:", command_text("sync", uv=True), *words)
    return 1 if problems else 0


if __name__ == "__main__":
    run_command(main)

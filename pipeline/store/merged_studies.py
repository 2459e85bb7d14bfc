"""What lies beside the runs of a study, where results folders that were made apart are put into one.

A declared design must be the same wherever the study has runs: a part that was trained without it may have been looked
at before. Of the looks that were taken the longest list counts, if the others begin it. The answers that were looked at
are put together. For the tables see `experiment.ablation.adopt_rows`.
"""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import ConfigError
from pipeline.runtime.hashing import digest
from pipeline.store.answers import read_answers, record_answer
from pipeline.store.designs import DeclaredDesign, Progress, declare_design, read_progress, write_looks
from pipeline.store.files import replace_file
from pipeline.store.merging import StudyMerge
from pipeline.store.runs import RunStore
from pipeline.store.space import DATA


def common_progress(store: RunStore, sources: Sequence[RunStore]) -> Progress | None:
    """The design of a study, and how far the one has come that has taken most looks; None for a study without one.

    Raises ConfigError where the designs or looks do not fit together, or where a part has runs but no design.
    """
    found = [(one, progress) for one in (store, *sources) if (progress := read_progress(one)) is not None]
    if not found:
        return None
    first, progress = found[0]
    declared = [one for one, _ in found]
    for one in (store, *sources):
        if one not in declared and any(one.run_folders(arm) for arm in one.arm_names()):
            raise ConfigError(
                f"study: {store.study} was declared in {first.results}, but {one.results} has runs of it without a "
                "design.json; allowed: the same design in both, from before the first run"
            )
    for one, other in found[1:]:
        _refuse_other_design(store.study, (first, progress.design), (one, other.design))
        shorter, longer = sorted([progress.looks, other.looks], key=len)
        if longer[: len(shorter)] != shorter:
            raise ConfigError(
                f"study: the looks at {store.study} in {one.results} have decided other arms than those in "
                f"{first.results} (looks.json); allowed: looks that begin alike"
            )
        progress = replace(progress, looks=longer)
    return progress


def _refuse_other_design(
    study: str, first: tuple[RunStore, DeclaredDesign], other: tuple[RunStore, DeclaredDesign]
) -> None:
    """Raise ConfigError for the first entry in which two designs differ; the order of the arms does not matter."""
    (here, declared), (there, asked) = first, other
    for name in ("looks", "spending", "alpha", "margin", "metric", "baseline", "arms", "seeds_before"):
        values = [getattr(design, name) for design in (declared, asked)]
        if name == "arms":
            values = [", ".join(sorted(arm.arm for arm in arms)) for arms in values]
        elif name == "looks":
            values = [list(looks) for looks in values]
        if values[0] != values[1]:
            raise ConfigError(
                f"study: {study} has another design in {there.results}: {name} {values[1]}, but {values[0]} in "
                f"{here.results}; allowed: one design (design.json)"
            )


def declare_progress(store: RunStore, progress: Progress | None) -> None:
    """Write the common design before the first run that is taken. Raises ConfigError for another one."""
    if progress is not None:
        declare_design(store, progress.design)


def finish_study(store: RunStore, sources: Sequence[RunStore], progress: Progress | None) -> None:
    """Write the looks that were taken anywhere, and add the answers that were looked at."""
    if progress is not None:
        with store.lock("design"):
            here = read_progress(store)
            goes_on = here is not None and here.looks == progress.looks[: len(here.looks)]
            if here is not None and goes_on and len(here.looks) < len(progress.looks):
                write_looks(store, here.design, progress.looks)
    for source in sources:
        for answer in read_answers(source):
            record_answer(store, answer)


def copy_data(plan: StudyMerge) -> None:
    """Copy the data that the Python API keeps beside the results, where a run that is taken was trained on them."""
    here = plan.store.results / DATA
    named = {text for runs in plan.todo.values() for run in runs for text in run.data}
    for source in dict.fromkeys(run.results for runs in plan.todo.values() for run in runs):
        for path in sorted((source / DATA).glob("*")):
            if not path.is_file() or (here / path.name).exists():
                continue
            content = path.read_bytes()
            if path.stem in named or digest(content) in named:
                here.mkdir(parents=True, exist_ok=True)
                replace_file(plan.store.results, here / path.name, content)

"""Check, before anything is trained, that nothing is in the way of the runs that will be stored."""

from collections.abc import Sequence

from pipeline.errors import ConfigError
from pipeline.store.files import check_writable, describe_file
from pipeline.store.meta import DAMAGED
from pipeline.store.replaced import REPLACED
from pipeline.store.runs import RunStore
from pipeline.store.tables import ABLATION, DEAD_UNITS


def check_places(store: RunStore, arm: str, seeds: Sequence[int]) -> None:
    """Raise ConfigError, naming the path, where something is in the way of an arm's runs, or of the study's tables.

    seeds: those that may be stored. Damaged runs are not in the way: they make room. Nothing is written.
    """
    aside, replaced = store.results / ".aside", store.results / REPLACED
    damaged = replaced / DAMAGED
    folders = [aside, aside / "failed", replaced, damaged, damaged / store.study, damaged / store.study / arm]
    folders += [store.folder, store.folder / arm]
    for folder in (store.results, *folders):
        check_writable(folder, "results")
    for path in (store.folder / name for name in (ABLATION, DEAD_UNITS)):
        if path.is_dir():
            raise ConfigError(f"results: {path} is a folder; allowed: a table, or nothing; move it away")
    arm_folder = store.folder / arm
    present = {path.name for path in arm_folder.iterdir()} if arm_folder.is_dir() else set[str]()
    for path in (store.run_folder(arm, seed) for seed in (seeds if present else ())):
        if path.name in present and not path.is_dir():
            what = describe_file(path)
            raise ConfigError(f"results: {path} is {what}; allowed: the folder of a run, or nothing; move it away")

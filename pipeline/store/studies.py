"""Find the studies of a results folder, and the folders in it that have other names than their runs say."""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import ConfigError, closest, printable
from pipeline.installation import command_text
from pipeline.runtime.logs import tell_user
from pipeline.store.files import read_small
from pipeline.store.meta import COPY, MAX_META_BYTES, RUN
from pipeline.store.runs import DamagedRun, RunStore


def stored_studies(results: Path) -> list[str]:
    """Names of the folders that have a run, be it a damaged one."""
    return sorted({path.parts[-3] for path in results.glob("[!.]*/*/seed=*")})


def all_studies(results: Path) -> list[RunStore]:
    """All of them, copies included, whose runs are damaged ones."""
    return [RunStore(results, name) for name in stored_studies(results)]


def choose_studies(results: Path, requested: str) -> list[RunStore]:
    """The studies that `requested` names, separated by commas; without a name, the only one there is.

    A copied folder is no study; tells the user of those passed over. Raises ConfigError for a study that has no stored
    run, and where a name is needed to choose.
    """
    found = stored_studies(results)
    original = {name: study for name in found if (study := copied_study(results, name))}
    stored = [name for name in found if name not in original]
    names = stored if not requested else [requested] if requested in found else requested.split(",")
    for name in names:  # a name may itself hold commas, hence the check of the whole text before
        if name in original:
            raise ConfigError(f"study: {name} is a copy: its runs say study {original[name]}; {closest(name, stored)}")
    if not stored:
        if stored_studies(Path(results.name)):  # of the working directory, where one would be written from Python
            beside = Path(results.name).absolute()
            line = f"results: no study in {results}, but there are some in {beside}; allowed: results={beside}"
            raise ConfigError(line)
        raise ConfigError(f"results: no study in {results}; train one first: {command_text('train')} -m")
    if not requested and len(stored) > 1:
        raise ConfigError(f"study: there are several; name one, or more with commas: {', '.join(stored)}")
    for name in names:
        if name not in stored:
            raise ConfigError(f"study: no study {name} in {results}; {closest(name, stored)}")
    for name, study in original.items() if not requested else ():
        tell_user(f"{results / name} is a copy: its runs say study {study}; it does not count")
    return [RunStore(results, name) for name in dict.fromkeys(names)]


def copied_study(results: Path, name: str) -> str:
    """The study that all runs of a folder say they belong to, if it is another one; else ""."""
    named = {_entry(path, "study") for path in _one_each(results / name)} - {None}
    if len(named) != 1 or named == {name}:
        return ""  # an arm of a copied study that was trained since makes it a study
    return printable(str(*named))


def folders_of_arm(store: RunStore, arm: str) -> list[tuple[str, int]]:
    """The folders of a study that have another name than the arm, but hold its runs: name, and how many runs."""
    if not store.folder.is_dir():
        return []
    named = _named_arms(store.folder, store.folder.stat().st_mtime_ns)
    return [(printable(name), len(list((store.folder / name).glob("seed=*")))) for name, says in named if says == arm]


class DamagedRuns(NamedTuple):
    """Runs that do not count for one reason. name: what to call them, `zeros-old (20 seeds)`."""

    name: str
    runs: list[DamagedRun]

    @property
    def are_copies(self) -> bool:
        """Whether they are whole, but lie in another folder than their own."""
        return self.runs[0].is_copy

    @property
    def reason(self) -> str:
        """Why they do not count, as the end of a sentence."""
        return self.runs[0].reason.removeprefix(COPY)

    @property
    def advice(self) -> str:
        """What to do about them, as the end of a sentence."""
        other = "give it the name that it says" if self.are_copies else "train the arm again if it asks for that seed"
        return f"remove the folder, or {other}"

    @property
    def sentence(self) -> str:
        """Their name and what they are: "zeros/seed=1 is damaged", "zeros-old (20 seeds) is a copy"."""
        if not self.are_copies:
            return f"{self.name} is damaged"
        several = self.runs[0].scope == "study" and len({run.arm for run in self.runs}) > 1
        return f"{self.name} {'are copies' if several else 'is a copy'}"


def group_damaged(damaged: Iterable[DamagedRun]) -> list[DamagedRuns]:
    """Put damaged runs together that are so by one folder's name."""
    groups: dict[tuple[str, ...], list[DamagedRun]] = {}
    for run in damaged:
        of_folder = {"run": (run.arm, run.path.name), "arm": (run.arm,), "study": ()}[run.scope]
        groups.setdefault((run.reason, *of_folder), []).append(run)
    return [DamagedRuns(_name_group(runs), runs) for runs in groups.values()]


def _name_group(runs: list[DamagedRun]) -> str:
    if runs[0].scope == "run":
        return runs[0].name
    seeds = f"{len(runs)} {'seed' if len(runs) == 1 else 'seeds'}"
    if runs[0].scope == "arm":
        return f"{runs[0].arm} ({seeds})"
    arms = len({run.arm for run in runs})
    return f"{'1 arm' if arms == 1 else f'{arms} arms'} ({seeds})"


def _one_each(study: Path) -> list[Path]:
    """One run of each arm's folder."""
    first: dict[str, Path] = {}
    for path in study.glob("*/seed=*"):
        first.setdefault(path.parent.name, path)
    return list(first.values())


@functools.lru_cache(maxsize=4)
def _named_arms(study: Path, _: int) -> list[tuple[str, Any]]:
    """(folder, arm that its run says) where they differ. The other argument is when the folder last changed."""
    named = [(path.parent.name, _entry(path, "arm")) for path in _one_each(study)]
    return [(name, says) for name, says in sorted(named) if says not in (name, None)]


def _entry(run: Path, name: str) -> Any:
    """An entry of a run.json, unchecked; None where there is none."""
    try:
        return json.loads(read_small(run / RUN, MAX_META_BYTES)).get(name)
    except (OSError, ValueError, AttributeError, RecursionError):
        return None

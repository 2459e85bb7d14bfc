"""The design of a study, declared before its first run, and what each look at it has decided.

    <results>/<study>/design.json    looks, spending, alpha, margin, metric, baseline, arms; its digest
    <results>/<study>/looks.json     per look that was taken: the seeds, and the arms that it decided, or chose

A design is what makes an answer at several looks as safe as one at a single look, so it does not change once it is
declared: `declare_design` refuses another one. Both files follow from the settings and the runs, not from the clock.

With `tune`, the first look has every arm at every value, and chooses one value for each; it judges nothing. Later looks
train the arms that were chosen alone, and judge them by the seeds beyond the first look's, which had no part in
choosing. So whatever the choice, each looks at fresh seeds of arms that are fixed by then, and the level is that of any
design. The claim is one about the chosen values: should the first look miss the best one, more seeds cannot tell.

Whoever declares a design where runs are stored may have seen an answer, and declared the design because of it. Those
seeds judge nothing either: the looks have other ones, so that what they find does not depend on what was seen before.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.runtime.hashing import digest
from pipeline.stats.sequential import Design
from pipeline.store.files import json_bytes, read_small, replace_file
from pipeline.store.runs import RunStore
from pipeline.store.seeds import stored_end

DESIGN, LOOKS = "design.json", "looks.json"
OPEN = ""  # the verdict on an arm that is not decided yet


@dataclass(frozen=True)
class DeclaredArm:
    """An arm of a design: its folder, bias setting and block, which is without the tuned keys."""

    arm: str
    setting: str
    block: str


@dataclass(frozen=True)
class DeclaredDesign:
    """What a study declares before it begins.

    metric, margin, baseline: what `compare` asks, see `analysis.study.Study`. looks: seeds at each, ascending. arms:
    all that will be compared. tune: tuned key -> its values, the shared one first; of them the first look chooses.
    seeds_before: the seeds below this were stored already, of some arm: an answer may have rested on them.
    """

    metric: str
    baseline: str
    margin: float
    looks: tuple[int, ...]
    spending: str
    alpha: float
    arms: tuple[DeclaredArm, ...]
    seeds_before: int = 0
    tune: Mapping[str, Sequence[float]] | None = None

    @property
    def ends(self) -> tuple[int, ...]:
        """Per look, the seed that its seeds end before: looks that judge are moved beyond what was stored already."""
        if not self.tune:
            return tuple(n + self.seeds_before for n in self.looks)
        return self.looks[0], *(n - self.looks[0] + self.first_seed for n in self.looks[1:])

    @property
    def judging(self) -> tuple[int, ...]:
        """The looks that judge, by where a judged arm's seeds end there: all but one that chooses."""
        return self.ends[1:] if self.tune else self.ends

    @property
    def first_seed(self) -> int:
        """The seeds from here on judge; those before chose, or were stored already."""
        return max(self.looks[0], self.seeds_before) if self.tune else self.seeds_before

    @property
    def choosing(self) -> tuple[int, ...]:
        """The seeds that choose the values of tuned keys."""
        return tuple(range(self.looks[0])) if self.tune else ()

    @property
    def tests(self) -> Design:
        """Looks, by the seeds that judge, level and spending."""
        return Design(tuple(n - self.first_seed for n in self.judging), self.alpha, self.spending)

    @cached_property
    def content(self) -> dict[str, Any]:
        """Everything that was declared, as the file has it."""
        return {name: value for name, value in asdict(self).items() if name != "tune" or value}

    @cached_property
    def digest(self) -> str:
        """Of everything that was declared."""
        return digest(self.content)

    def answers(self, baseline: str, metric: str, margin: float | None) -> bool:
        """Whether a question is the one that was declared; empty and None stand for whatever was."""
        return baseline in ("", self.baseline) and metric in ("", self.metric) and margin in (None, self.margin)

    def arms_of(self, block: str) -> list[DeclaredArm]:
        """The arms of a block that are compared with its baseline."""
        return [arm for arm in self.arms if arm.block == block and arm.setting != self.baseline]


@dataclass(frozen=True)
class Look:
    """A look that was taken: where the seeds of each open arm ended; arm -> verdict of those that it decided.

    chosen: the arms that it chose, each at one of the values that its bias setting was tried at.
    """

    seeds: int
    decided: Mapping[str, str]
    chosen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far a design has come: the looks that were taken."""

    design: DeclaredDesign
    looks: tuple[Look, ...] = ()

    @cached_property
    def decided(self) -> dict[str, int]:
        """Arm -> index of the look that decided it."""
        return {arm: k for k, look in enumerate(self.looks) for arm in look.decided}

    @property
    def open_arms(self) -> list[DeclaredArm]:
        """The arms that no look has decided; a baseline is never open by itself."""
        return [arm for arm in self.candidates if arm.setting != self.design.baseline and arm.arm not in self.decided]

    @property
    def candidates(self) -> list[DeclaredArm]:
        """The arms that are compared: all, but of a tuned design those alone that its first look chose."""
        is_all = not (self.design.tune and self.looks)
        return [arm for arm in self.design.arms if is_all or arm.arm in self.looks[0].chosen]

    @property
    def judging_looks(self) -> int:
        """How many of the looks that were taken judged."""
        return len(self.looks) - bool(self.design.tune and self.looks)

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to train: every arm is decided, or the last look was taken."""
        return len(self.looks) == len(self.design.looks) or not self.open_arms

    def seeds(self, arm: str) -> tuple[int, ...]:
        """The seeds that an arm is to have now: a baseline's are those of any open arm of its block."""
        return self._seeds(arm, min(len(self.looks), len(self.design.looks) - 1))

    def most_seeds(self, arm: str) -> tuple[int, ...]:
        """The seeds that it gets if no more arms are decided before the last look."""
        return self._seeds(arm, len(self.design.looks) - 1)

    def seeds_seen(self, arm: str) -> tuple[int, ...]:
        """The seeds that it had at the last look that it took part in; looks were taken."""
        return self._seeds(arm, len(self.looks) - 1)

    def _seeds(self, arm: str, of_open: int) -> tuple[int, ...]:
        return (*self.design.choosing, *range(self.design.first_seed, self._end(arm, of_open)))

    def _end(self, arm: str, of_open: int) -> int:
        """Where the seeds of an arm end if an open one has those of the look with the index `of_open`."""
        declared = next(one for one in self.design.arms if one.arm == arm)
        if declared not in self.candidates:
            return self.design.ends[0]
        compared = [declared]
        if declared.setting == self.design.baseline:
            compared = [one for one in self.design.arms_of(declared.block) if one in self.candidates] or compared
        return self.design.ends[max(self.decided.get(one.arm, of_open) for one in compared)]


def seeds_now(store: RunStore, arm: str, looks: tuple[int, ...], is_tuned: bool = False) -> tuple[int, ...]:
    """Return the seeds that an arm is to have now: those of the first look, before the design is declared.

    Raises ConfigError for an arm that the study did not declare.
    """
    progress = read_progress(store)
    if progress is None:
        begin = 0 if is_tuned else stored_end(store)
        return tuple(range(begin, begin + looks[0]))
    if arm not in {declared.arm for declared in progress.design.arms}:
        raise _undeclared(store, [arm], "without")
    return progress.seeds(arm)


def read_design(store: RunStore) -> DeclaredDesign | None:
    """The design of a study; None where there is none. Raises ConfigError for a file that is not as it was written."""
    content = _read(store.folder / DESIGN)
    if content is None:
        return None
    try:
        arms = tuple(DeclaredArm(**arm) for arm in content.pop("arms"))
        written = content.pop("digest")
        design = DeclaredDesign(**content | {"looks": tuple(content["looks"]), "arms": arms})
    except (TypeError, KeyError, AttributeError) as error:
        raise _changed(store, DESIGN) from error
    if design.digest != written:
        raise _changed(store, DESIGN)
    return design


def declare_design(store: RunStore, design: DeclaredDesign) -> None:
    """Write the design of a study before its first run. Raises ConfigError if another one was declared."""
    with store.lock(DESIGN):
        declared = read_design(store)
        if declared is not None:
            refuse_change(store, declared, design)
            return
        store.folder.mkdir(parents=True, exist_ok=True)
        content = design.content | {"digest": design.digest}
        replace_file(store.results, store.folder / DESIGN, json_bytes(content))


def refuse_change(store: RunStore, declared: DeclaredDesign, asked: DeclaredDesign) -> None:
    """Raise ConfigError, naming the first entry in which a design differs from the declared one."""
    for name in ("looks", "spending", "alpha", "margin", "metric", "baseline"):
        before, now = getattr(declared, name), getattr(asked, name)
        if before != now:
            before, now = (list(one) if isinstance(one, tuple) else one for one in (before, now))
            raise ConfigError(
                f"design.{name}", now, f"{before}, as {store.study} declared before its first run, or a new study=NAME"
            )
    if declared.tune != asked.tune:
        before, now = (_spelled(one.tune) for one in (declared, asked))
        raise ConfigError("tune", now, f"{before}, as {store.study} declared before its first run, or a new study=NAME")
    before, now = ({arm.arm for arm in one.arms} for one in (declared, asked))
    if before != now:
        odd = sorted(now - before) or sorted(before - now)
        raise _undeclared(store, odd, "without" if now - before else "with")


def _spelled(tune: Mapping[str, Sequence[float]] | None) -> str:
    """Values as the command line takes them; null for none."""
    listed = ",".join(f"{key}:[{','.join(map(str, values))}]" for key, values in (tune or {}).items())
    return f"{{{listed}}}" if tune else "null"


def _undeclared(store: RunStore, arms: Sequence[str], how: str) -> ConfigError:
    line = f"until: {store.study} declared its arms before its first run, {how} {', '.join(arms)}"
    return ConfigError(f"{line}; allowed: the same arms, or a new study=NAME")


def read_progress(store: RunStore) -> Progress | None:
    """How far the design of a study has come; None for a study without one. Raises ConfigError for an odd file."""
    design = read_design(store)
    if design is None:
        return None
    content = _read(store.folder / LOOKS)
    if content is None:
        return Progress(design)
    try:
        looks = tuple(
            Look(look["seeds"], dict(look["decided"]), tuple(look.get("chosen", ()))) for look in content["looks"]
        )
        fits = content["design"] == design.digest and tuple(look.seeds for look in looks) == design.ends[: len(looks)]
    except (TypeError, KeyError, ValueError) as error:
        raise _changed(store, LOOKS) from error
    if not fits:
        raise _changed(store, LOOKS)
    return Progress(design, looks)


def write_looks(store: RunStore, design: DeclaredDesign, looks: Iterable[Look]) -> None:
    """Write what the looks taken so far have decided."""
    taken = [
        {"seeds": look.seeds, "decided": dict(look.decided)} | ({"chosen": list(look.chosen)} if look.chosen else {})
        for look in looks
    ]
    replace_file(store.results, store.folder / LOOKS, json_bytes({"design": design.digest, "looks": taken}))


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a file; None where there is none."""
    try:
        content = json.loads(read_small(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"until: {path} cannot be read: {getattr(error, 'strerror', None) or 'not JSON'}") from error
    return content if isinstance(content, dict) else {}


def _changed(store: RunStore, name: str) -> ConfigError:
    return ConfigError(
        f"until: {store.folder / name} was changed after it was written; allowed: its backup, or study=NAME"
    )

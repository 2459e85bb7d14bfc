"""A declared design with `tune`: its first look chooses a value for each arm, and later seeds judge the chosen arms.

See `store.designs` for why that is exact: no seed that judges has had a part in choosing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.analysis.arms import Arm, load_arms
from pipeline.analysis.tuning import Point, TunedFamily, chosen_block, point_of, spell_point, tune_arms
from pipeline.config.tuning import Values
from pipeline.errors import ConfigError
from pipeline.store.designs import DeclaredDesign, Progress
from pipeline.store.runs import Run, RunStore
from pipeline.store.seeds import seed_span, stored_end


@dataclass(frozen=True)
class ChosenArm:
    """A bias setting at the value that the first look chose, with the seeds that judge it alone.

    keys, point: the tuned keys, and their values. rest: the other overrides. arm: its runs of these seeds.
    """

    keys: tuple[str, ...]
    point: Point
    rest: str
    arm: Arm

    @property
    def setting(self) -> str:
        """The bias setting."""
        return self.arm.setting

    @property
    def name(self) -> str:
        """The setting and its value: `ones at optimizer.learning_rate=0.003`."""
        return ",".join(filter(None, [f"{self.setting} at {spell_point(self.keys, self.point)}", self.rest]))

    @property
    def block(self) -> str:
        """What stands for a block, and the other overrides."""
        return chosen_block(self.keys, self.rest)

    @property
    def family(self) -> str:
        """The arms of one grid are corrected together."""
        return self.block

    @property
    def parts(self) -> tuple[Arm, ...]:
        """The arm of that value."""
        return (self.arm,)

    @property
    def complete_seeds(self) -> set[int]:
        """The seeds that judge it, without those that diverged."""
        return self.arm.complete_seeds

    @property
    def diverged(self) -> list[int]:
        """The seeds that were to judge it, and diverged."""
        return self.arm.diverged

    def values(self, metric: str) -> dict[int, float]:
        """A metric by seed."""
        return self.arm.values(metric)

    def censored(self, metric: str) -> list[int]:
        """The seeds that never reached the level of an `epochs_to_` metric."""
        return self.arm.censored(metric)


def first_look(study: str, arms: Sequence[Arm], design: DeclaredDesign) -> list[TunedFamily]:
    """Choose a value for each arm by all seeds of the first look. arms: with these seeds alone. Raises ConfigError."""
    tune = {key: tuple(values) for key, values in (design.tune or {}).items()}
    return tune_arms(study, arms, design.baseline, design.metric, tune, only_choose=True)


def chosen_folders(families: Sequence[TunedFamily]) -> tuple[str, ...]:
    """The arms that the first look chooses, by their folders."""
    chosen = []
    for family in families:
        for tuned in family.arms:
            (folder,) = [part.folder for part in tuned.parts if point_of(part, family.keys) == tuned.chosen[0]]
            chosen.append(folder)
    return tuple(chosen)


def of_first_look(design: DeclaredDesign, keep: Callable[[Run], bool] | None) -> Callable[[Run], bool]:
    """Which runs have a part in choosing."""
    return lambda run: run.seed < design.looks[0] and (keep is None or keep(run))


def judged_arms(
    store: RunStore, progress: Progress, families: Sequence[TunedFamily], keep: Callable[[Run], bool] | None = None
) -> list[ChosenArm]:
    """The arms that the first look chose, with the seeds beyond it.

    families: of the first look. Raises ConfigError where no seed beyond it is there yet.
    """
    design = progress.design
    names = set(progress.looks[0].chosen) if progress.looks else set()

    def judges(run: Run) -> bool:
        return run.arm in names and run.seed >= design.first_seed and (keep is None or keep(run))

    if not any(judges(run) for run in store.runs()):
        raise ConfigError(
            f"until: the first look of {store.study} chooses {' and '.join(design.tune or ())}, and no seed beyond it "
            "has judged yet; allowed: after the same command of training has gone on"
        )
    arms, _ = load_arms(store, judges)
    family_of = {part.folder: family for family in families for tuned in family.arms for part in tuned.parts}
    known = [(arm, family_of[arm.folder]) for arm in arms if arm.folder in family_of]
    points = [(arm, family, point_of(arm, family.keys)) for arm, family in known]
    return [ChosenArm(family.keys, point, family.rest, arm) for arm, family, point in points if point is not None]


def require_declared(tune: Mapping[str, Values], design: DeclaredDesign, study: str) -> None:
    """Raise ConfigError for other tuned keys than those that a study declared."""
    if [*tune] != [*(design.tune or {})]:
        declared = f"with tune={','.join(design.tune)}" if design.tune else "without"
        raise ConfigError(
            f"tune: {','.join(tune)} given for {study}, which until=decided declared {declared}; allowed: another study"
        )


def require_seed_of_looks(store: RunStore, begin: int) -> None:
    """Raise ConfigError if nothing is stored but the seeds from before the looks were declared."""
    if begin and stored_end(store) <= begin:
        raise ConfigError(
            f"until: {seed_span(begin)} of {store.study} were stored before its looks were declared, and no other seed "
            "has been trained yet; allowed: after the same command of training has gone on"
        )

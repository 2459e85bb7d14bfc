"""Values at an end of the grid that arms are tuned over: a better one may lie beyond."""

from collections.abc import Mapping

from pipeline.analysis.arms import Arm
from pipeline.analysis.commands import training_commands
from pipeline.analysis.tuning import TunedArm, TunedFamily
from pipeline.config.tuning import Values, wider


def ends_chosen(family: TunedFamily, arm: TunedArm, key: str) -> tuple[bool, bool]:
    """Whether a half of the seeds chose the smallest value of a key, and the largest."""
    chosen = {point[family.keys.index(key)] for point in arm.chosen}
    grid = family.grid(key)
    return (grid[0] in chosen, grid[-1] in chosen) if len(grid) > 1 else (False, False)


def listed_grids(family: TunedFamily, grids: Mapping[str, Values]) -> dict[str, Values]:
    """The values of each key as `tune` lists them: the shared one first, then ascending."""
    return {
        key: tuple(sorted(grids[key], key=lambda value, one=one: (value != one, value)))
        for key, one in zip(family.keys, family.shared, strict=True)
    }


def shared_arms(family: TunedFamily) -> list[Arm]:
    """The arms at the shared value."""
    index = family.points.index(family.shared)
    return [arm.parts[index] for arm in family.arms]


def edges(study: str, family: TunedFamily) -> list[str]:
    """A sentence for each key of which an arm chose an end of the grid, with the command that tries a value beyond."""
    sentences = []
    for key in family.keys:
        at_end = {arm.setting: ends for arm in family.arms if any(ends := ends_chosen(family, arm, key))}
        if not at_end:
            continue
        grids = {other: family.grid(other) for other in family.keys}
        parts = []
        for end, name in enumerate(("smallest", "largest")):
            if arms := [setting for setting, ends in at_end.items() if ends[end]]:
                value = f"{grids[key][-end]:g}"
                parts.append(f"{', '.join(arms)} chose the {name} {key}, {value}")
                grids[key] = wider(key, grids[key], upwards=bool(end))
        grids = listed_grids(family, grids)
        new_study = f"{study}-wider" if family.only_choose else ""  # what a design declared stays as it is
        command = training_commands(shared_arms(family), study, grids, new_study)[0]
        sentences.append(f"{'; '.join(parts)}; a better one may lie beyond, which this command tries: {command}")
    return sentences

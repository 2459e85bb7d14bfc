"""What a design asks of a study: looks that can decide something, results that fit, and what is still to come."""

from collections.abc import Sequence

from pipeline.errors import ConfigError
from pipeline.experiment.plan import Plan, shown_names
from pipeline.stats.power import fewest_seeds
from pipeline.store.designs import DeclaredDesign, Progress, read_progress
from pipeline.store.runs import RunStore


def largest_family(design: DeclaredDesign) -> int:
    """The most arms that are compared with one baseline."""
    blocks = {arm.block for arm in design.arms}
    return max(len({arm.setting for arm in design.arms_of(block)}) for block in blocks)


def refuse_too_few(design: DeclaredDesign) -> None:
    """Raise ConfigError for looks of which not even the last has seeds enough to show any difference."""
    family = largest_family(design)
    fewest = fewest_seeds(design.alpha / family)
    if design.tests.looks[-1] < fewest:
        fewest += design.looks[0] if design.tune else 0
        what = f"a difference of {f'{family} arms' if family > 1 else 'an arm'} from {design.baseline}"
        raise ConfigError(
            "design.looks", list(design.looks), f"a last look with {fewest} seeds or more",
            reason=f"but so few seeds can never show {what} at level {design.alpha:g}",
        )  # fmt: skip


def refuse_other_runs(store: RunStore, plans: Sequence[Plan], progress: Progress) -> None:
    """Raise ConfigError where looks were taken at runs of other settings, data or versions than the plans ask for.

    To train these anew would leave what the looks have decided without the results that they decided it by.
    """
    for plan, name in zip(plans, shown_names(plans), strict=True):
        seen = set(progress.seeds_seen(plan.arm))
        runs = [run for run in store.runs(plan.arm) if run.seed in seen]
        if other := [run for run in runs if run.key not in plan.keys.get(run.seed, ())]:
            what = f"{len(other)} runs of {name} with other settings, data or versions"
            line = f"until: {store.study} took its looks at {what}"
            raise ConfigError(f"{line}; allowed: those that it began with, or a new study=NAME")


def describe_progress(progress: Progress) -> str:
    """Say how many looks were taken, and what the next one takes."""
    taken, design = len(progress.looks), progress.design
    compared = [arm for arm in progress.candidates if arm.setting != design.baseline]
    line = f"{taken} of {len(design.looks)} looks taken, {len(progress.decided)} of {len(compared)} arms decided"
    if progress.finished:
        return f"{line}: there is nothing more to train."
    return f"{line}; the next look has {design.looks[taken]} seeds."


def most_to_train(plans: Sequence[Plan], missing: Sequence[int]) -> list[int]:
    """How many runs of each plan are to be trained if no more arms are decided before the last look.

    missing: the seeds to train for the look that comes next.
    """
    counts = []
    for plan, count in zip(plans, missing, strict=True):
        progress = read_progress(plan.store) if plan.config.until is not None else None
        most = len(progress.most_seeds(plan.arm)) if progress else plan.config.design.looks[-1]
        counts.append(count + max(0, most - len(plan.keys)) if plan.config.until is not None else count)
    return counts

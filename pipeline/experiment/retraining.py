"""What there is to say of a request before it starts: jobs that ask for one arm, and stored runs that do not count."""

from collections import Counter
from collections.abc import Sequence

from pipeline.experiment.plan import Plan
from pipeline.runtime.environment import package_versions
from pipeline.store.checked import describe_unsealed
from pipeline.store.runs import DamagedRun, Run
from pipeline.store.studies import folders_of_arm, group_damaged

MOST_NAMED = 5  # arms in a line


def explain_retraining(
    plan: Plan, name: str, read: tuple[Sequence[Run], Sequence[DamagedRun]] | None = None
) -> list[str]:
    """Say why stored runs of the arm do not count, or are not to be relied on: a line for each damaged one, one for all
    that are stale, and one for all without a seal.

    name: what is shown of the arm. read: its runs and the damaged ones, if they are read.
    """
    runs, damaged = read or plan.store.read(plan.arm)
    lines = list[str]()
    for group in group_damaged(damaged):
        for follows in dict.fromkeys(_what_follows(plan, run) for run in group.runs):
            lines.append(f"{group.sentence} ({group.reason}): {follows}")
    for folder, n in folders_of_arm(plan.store, plan.arm) if plan.missing else ():
        lines.append(f"{name}: the folder {folder} holds {n} runs of this arm, which count only in {plan.arm}")
    stale = [
        run for run in runs
        if run.meta["config"] == plan.settings and run.meta["recipe"] not in plan.recipe.digests
    ]  # fmt: skip
    if stale:
        now, then = package_versions(), stale[0].meta["environment"]["packages"]
        changed = [f"{name} {then[name]}, now {now[name]}" for name in now if name in then and then[name] != now[name]]
        why = f"with {', '.join(changed)}" if changed else "by a version of this project that gave other numbers"
        lines.append(f"{name}: {len(stale)} stored runs were trained {why}; training again keeps them in .replaced")
    if unsealed := describe_unsealed(runs):
        lines.append(f"{name}: {unsealed}")
    return lines


def _what_follows(plan: Plan, run: DamagedRun) -> str:
    follows = "it does not count"
    if run.path == plan.store.run_folder(plan.arm, run.seed or 0):
        follows += ", and a mean in MLflow that includes it stays"
        if run.seed in plan.missing:
            follows = "it is trained again, and kept in .replaced/damaged"
    return follows


def describe_twins(twins: list[tuple[str, str]]) -> str:
    """Say which jobs ask for an arm that another one asks for. twins: the bias setting of each, and the arm's name."""
    if len(twins) == 1:
        return f"{twins[0][0]}: the same as arm {twins[0][1]}, trained once"
    counts = Counter(name for _, name in twins)
    arms = [f"{name} ({n + 1} jobs)" for name, n in counts.most_common(MOST_NAMED)]
    more = f" and {len(counts) - MOST_NAMED} more" if len(counts) > MOST_NAMED else ""
    return f"the same arm of several jobs is trained once: {', '.join(arms)}{more}"

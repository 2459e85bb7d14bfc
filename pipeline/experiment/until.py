"""`until=decided`: train look by look until every arm is decided, each look as a sweep of its own.

A job asks `store.designs.seeds_now` how many seeds its arm is to have, which follows from the design and the looks that
were taken. So a look is the same command under any launcher, and a command that was interrupted goes on when it is
typed again. `declare_designs` writes the design before the first run; `take_looks` judges the arms of a complete look.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.config.metrics import (
    MARGIN,
    METRICS,
    RUN_LENGTHS,
    check_margin,
    first_metric,
    fits_task,
    is_in_unit,
    metric_name,
)
from pipeline.config.naming import block_name
from pipeline.data.sources import load_dataset
from pipeline.errors import ConfigError
from pipeline.experiment.declared import describe_progress, largest_family, refuse_other_runs, refuse_too_few
from pipeline.experiment.plan import Plan, shown_names
from pipeline.stats.paired import FEWEST_EQUIVALENT
from pipeline.store.designs import (
    DeclaredArm,
    DeclaredDesign,
    Look,
    Progress,
    declare_design,
    read_design,
    read_progress,
    refuse_change,
    write_looks,
)
from pipeline.store.runs import RunStore
from pipeline.store.seeds import seed_span, stored_end

if TYPE_CHECKING:  # a sweep without a design must not wait for pandas
    from pipeline.analysis.looks import LookedArm


def by_store(plans: Sequence[Plan]) -> dict[RunStore, list[Plan]]:
    """The plans of each study that is trained until it is decided."""
    stores: dict[RunStore, list[Plan]] = {}
    for plan in plans:
        if plan.config.until is not None:
            stores.setdefault(plan.store, []).append(plan)
    return stores


def declare_designs(plans: Sequence[Plan], is_written: bool) -> list[str]:
    """Write the design of each study before its first run, or hold it against the one that is there.

    is_written: whether to write it, not only to check. Returns lines for the user. Raises ConfigError.
    """
    lines = []
    for store, of_study in by_store(plans).items():
        declared = read_design(store)
        design = _asked(store, of_study, stored_end(store) if declared is None else declared.seeds_before)
        if declared is not None:
            refuse_change(store, declared, design)
            if (progress := read_progress(store)) is not None and progress.looks:
                refuse_other_runs(store, of_study, progress)
                lines += [*describe_design(declared), describe_progress(progress)] if not is_written else []
            continue
        lines += describe_design(design)
        if is_written:
            declare_design(store, design)
    return lines


def _asked(store: RunStore, plans: Sequence[Plan], seeds_before: int) -> DeclaredDesign:
    """The design that these jobs ask for. Raises ConfigError where they cannot be compared, or ask for several.

    seeds_before: how many seeds were stored before it is declared.
    """
    settings = {plan.config.design for plan in plans}
    if len(settings) > 1:
        raise ConfigError(f"design: the jobs of {store.study} ask for several; allowed: one for the whole study")
    (design,) = settings
    tune = plans[0].config.tune
    arms = tuple(
        DeclaredArm(plan.arm, plan.bias_setting, _untuned_block(plan))
        for plan in {plan.arm: plan for plan in plans}.values()
    )
    for block in dict.fromkeys(arm.block for arm in arms):
        names = list(dict.fromkeys(arm.setting for arm in arms if arm.block == block))
        if design.baseline not in names or len(names) < 2:
            raise ConfigError(
                "until", "decided", f"a sweep (-m) with the arm {design.baseline} (design.baseline) and another one",
                reason=f"but there is only {', '.join(names)}",
            )  # fmt: skip
    metric, margin = _metric(plans[0], design.metric), design.margin
    if margin is None and is_in_unit(metric):
        line = f"design.margin: {metric} is in a unit, so say which difference does not matter: design.margin=NUMBER"
        raise ConfigError(line)
    check_margin("design.margin", margin, metric)
    margin = margin or (1.0 if metric in RUN_LENGTHS else MARGIN)
    asked = DeclaredDesign(
        metric, design.baseline, margin, design.looks, design.spending, design.alpha, arms, seeds_before, tune
    )
    refuse_too_few(asked)
    return asked


def _untuned_block(plan: Plan) -> str:
    """The name of a plan's block without the tuned keys, which are to be chosen."""
    tuned = plan.config.tune or {}
    kept = [word for word in plan.config.overrides if word.lstrip("+").partition("=")[0] not in tuned]
    return block_name(replace(plan.config, overrides=tuple(kept))) if tuned else plan.settings["block"]


def _metric(plan: Plan, asked: str | None) -> str:
    """The metric of the verdict, which must be one that the runs will have."""
    training, task = plan.config.training, load_dataset(plan.config.data).task
    entries = training.metrics if isinstance(training.metrics, list) else [training.metrics]
    names = [metric_name(entry) for entry in entries if entry != "auto"]
    if "auto" in entries:
        names.insert(0, first_metric("auto", [name for name in METRICS if fits_task(name, task)]))
    known = [*(f"test_{name}" for name in names), "test_loss", *(RUN_LENGTHS if training.stop else ())]
    if asked is not None and f"test_{asked}" in known:
        return f"test_{asked}"
    if asked is not None and asked not in known:
        raise ConfigError("design.metric", asked, known)
    return asked or known[0]


def describe_design(design: DeclaredDesign) -> list[str]:
    """Say what was declared, and what it cannot do: looks so early that no difference can be decided there."""
    n_looks, judging = design.tests.looks, len(design.judging)
    spent = design.tests.spent(design.alpha / largest_family(design), judging)
    able = [n for n, level in zip(n_looks, spent, strict=True) if level >= 2.0 ** (1 - n)]
    looks = ", ".join(map(str, n_looks))
    lines = _describe_first_look(design) if design.tune else []
    lines += [
        f"Looks with {looks} seeds; {design.metric}, against {design.baseline}, margin {design.margin:g}, level "
        f"{design.alpha:g} over all looks and arms ({design.spending})."
    ]
    if able and able[0] != n_looks[0]:
        lines.append(f"Earlier looks than that with {able[0]} seeds may spend too little to decide a difference.")
    if n_looks[-1] < FEWEST_EQUIVALENT:
        lines.append(
            f"No look can find an arm equivalent, since that takes {FEWEST_EQUIVALENT} seeds, of which none differs by "
            "much; arms without a difference stay undecided."
        )
    if design.seeds_before:
        lines.append(
            f"Runs of {seed_span(design.seeds_before)} are stored, and an answer may have been seen: they judge "
            f"nothing{', but may choose' if design.tune else ''}; the looks have the seeds from {design.first_seed} on."
        )
    return lines


def _tuned_to(plan: Plan) -> list[str]:
    """The values that a plan has of the tuned keys."""
    given = dict(word.lstrip("+").split("=", 1) for word in plan.config.overrides)
    return [given[key] for key in plan.config.tune or ()]


def _describe_first_look(design: DeclaredDesign) -> list[str]:
    """Say what the first look of a tuned design does, and what later looks can cost."""
    keys = " and ".join(design.tune or {})
    settings = {(arm.setting, arm.block) for arm in design.arms}
    fresh = design.tests.looks[-1]
    return [
        f"The first look trains {design.looks[0]} seeds of each arm at {len(design.arms) // len(settings)} values of "
        f"{keys}, {design.looks[0] * len(design.arms)} runs, and chooses one for each arm; its seeds judge nothing.",
        f"Later looks train the chosen values alone, with other seeds: {fresh * len(settings)} runs at most, if all "
        f"{len(settings)} arms need {fresh} seeds.",
    ]


def take_looks(plans: Sequence[Plan]) -> tuple[list[str], bool]:
    """Judge the arms of each study whose look is complete, and record what is decided.

    Returns a line per look, and whether any study goes on.
    """
    lines, goes_on = [], False
    for store, of_study in by_store(plans).items():
        with store.lock("design"):
            progress = read_progress(store)
            assert progress is not None
            if not progress.finished and _is_complete(progress, store):
                progress, judged = _take_look(store, progress)
                names = dict(zip([plan.arm for plan in of_study], shown_names(of_study), strict=True))
                if of_study[0].config.tune:
                    names = {plan.arm: " ".join([plan.bias_setting, *_tuned_to(plan)]) for plan in of_study}
                lines.append(describe_look(progress, judged, names, store.study if len(by_store(plans)) > 1 else ""))
            goes_on |= not progress.finished
    return lines, goes_on


def _is_complete(progress: Progress, store: RunStore) -> bool:
    """Whether every arm has the seeds of the look that comes next."""
    return all(
        {run.seed for run in store.runs(arm.arm)} >= set(progress.seeds(arm.arm)) for arm in progress.design.arms
    )


def _take_look(store: RunStore, progress: Progress) -> "tuple[Progress, dict[str, LookedArm]]":
    from pipeline.analysis.arms import load_arms
    from pipeline.analysis.looks import judge_looks
    from pipeline.analysis.study import load_study
    from pipeline.analysis.tuned_looks import chosen_folders, first_look, of_first_look

    design, k = progress.design, len(progress.looks)
    declared = {arm.arm for arm in design.arms}
    if design.tune and not progress.looks:
        arms, _ = load_arms(store, of_first_look(design, lambda run: run.arm in declared))
        chosen = chosen_folders(first_look(store.study, arms, design))
        looks = (Look(design.ends[0], {}, chosen),)
        write_looks(store, design, looks)
        return Progress(design, looks), {}
    study = load_study(store, design.baseline, design.metric, design.margin, keep=lambda run: run.arm in declared)
    judged = judge_looks(study, design, progress.judging_looks + 1)
    decided = {arm: one.verdict for arm, one in judged.items() if not one.is_open and arm not in progress.decided}
    looks = (*progress.looks, Look(design.ends[k], decided))
    write_looks(store, design, looks)
    return Progress(design, looks), judged


def describe_look(progress: Progress, judged: "dict[str, LookedArm]", names: dict[str, str], study: str) -> str:
    """Say what a look has decided, and what goes on."""
    look, design = progress.looks[-1], progress.design
    of = f" of {study}" if study else ""
    if look.chosen:
        chose = ", ".join(names.get(arm, arm) for arm in look.chosen)
        keys = " and ".join(design.tune or ())
        return f"look 1 of {len(design.looks)}{of}, {look.seeds} seeds: {keys} chosen, {chose}; other seeds judge"
    decided = [f"{names.get(arm, arm)} {verdict} ({_why(judged[arm])})" for arm, verdict in look.decided.items()]
    still = ", ".join(names.get(arm.arm, arm.arm) for arm in progress.open_arms)
    end = "undecided at the end" if progress.finished else "undecided yet"
    fresh = "other " if design.first_seed else ""
    parts = [*decided, *([f"{still} {end}"] if still else [])]
    where = f"look {len(progress.looks)} of {len(design.looks)}{of}, {look.seeds - design.first_seed} {fresh}seeds"
    return f"{where}: {'; '.join(parts)}"


def _why(looked: "LookedArm") -> str:
    from pipeline.analysis.formatting import p_value

    p = looked.p_equivalent_holm if looked.verdict == "equivalent" else looked.p_holm
    return "the same on every seed" if looked.verdict == "identical" else f"p {p_value(p, '= ', is_bound=True)}"

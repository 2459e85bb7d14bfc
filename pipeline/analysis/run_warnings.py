"""What a reader must know about the runs: which ones are left out, and which arms cannot be paired."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.analysis.arms import EPOCHS_TO, ComparedArm, seed_spans
from pipeline.analysis.blocks import PooledArm
from pipeline.analysis.look_wording import describe_looks
from pipeline.analysis.pairing import irrelevant_in_both, start_offsets
from pipeline.analysis.study import Study
from pipeline.analysis.tuned_hint import not_asked_for
from pipeline.analysis.tuning import TunedArm, TunedFamily, spell_point
from pipeline.analysis.tuning_edges import edges
from pipeline.store.checked import describe_unsealed
from pipeline.store.studies import group_damaged

NEGLIGIBLE = 1e-4  # difference of the inputs of a normalization that evaluation hardly shows
FOREMOST = ("looked before", "other question than declared")  # kinds that say that the p of the answer are too small
DIVERGED, DAMAGED, LACKS_METRIC = "diverged", "damaged", "lacks the metric"


@dataclass(frozen=True)
class RunWarning:
    """One thing to know about the runs.

    kind: a fixed word for it, see `report/comparison.schema.json`. arm: the arm it is about; None for a whole block or
    for a run that belongs to no arm. serious: whether it makes the comparison itself doubtful.
    """

    kind: str
    arm: str | None
    sentence: str
    serious: bool = False

    @property
    def text(self) -> str:
        """The sentence, marked if serious."""
        return f"Warning: {self.sentence}" if self.serious else self.sentence

    @property
    def foremost(self) -> bool:
        """Whether no answer should be read without it."""
        return self.kind in FOREMOST


@dataclass(frozen=True)
class ExcludedRun:
    """A run that enters no mean of the verdict's metric. seed: None if the name of a damaged run's folder has none."""

    arm: str
    seed: int | None
    reason: str


def excluded_runs(study: Study) -> list[ExcludedRun]:
    """List the runs that diverged or lack the metric, by arm and seed, then the damaged ones."""
    excluded = []
    for arm in study.arms:
        reasons = dict.fromkeys(arm.diverged, DIVERGED)
        reasons |= dict.fromkeys(arm.complete_seeds - arm.values(study.metric).keys(), LACKS_METRIC)
        excluded += [ExcludedRun(arm.name, seed, reasons[seed]) for seed in sorted(reasons)]
    names = study.shown_names
    return excluded + [ExcludedRun(names.get(run.arm, run.arm), run.seed, DAMAGED) for run in study.damaged]


def run_warnings(study: Study) -> list[RunWarning]:
    """Warn of blocks without a baseline, runs that are left out, seeds that are no pairs, damaged and unsealed runs."""
    warnings = list(_about_baselines(study))
    for arm in study.compared_arms:
        warnings += _about_runs(arm, study.metric)
        warnings += _about_pairs(study, arm)
        warnings += _about_moving_means(study, arm)
    warnings += _about_tuning(study)
    for block, epochs in study.block_epochs.items():
        numbers = " and ".join(map(str, epochs))
        sentence = f"runs of {numbers} epochs are compared; their learning curves are not."
        warnings.append(RunWarning("different epochs", None, f"{block or 'with the defaults'}: {sentence}", True))
    for group in group_damaged(study.damaged):
        warnings.append(RunWarning(DAMAGED, None, f"{group.sentence} and left out: {group.reason}.", True))
    warnings += [*_about_looks(study), *_about_test_rows(study), *_about_stopping(study), *_about_own_biases(study),
                 *_about_seals(study)]  # fmt: skip
    return warnings


def _about_tuning(study: Study) -> Iterator[RunWarning]:
    """Bias settings and seeds that tuning leaves out, values that diverged, and the ends of the grid."""
    if sentence := not_asked_for(study):
        yield RunWarning("not at their best", None, sentence)
    for family in study.tuned:
        for setting, why in family.left_out.items():
            yield RunWarning("not tuned", setting, f"{setting} is not compared at its best: {why}.", True)
        if family.seeds_left_out:
            sentence = (
                f"{_seeds(list(family.seeds_left_out))} neither choose nor judge, since not every arm has them at "
                "every value with the same start."
            )
            yield RunWarning("seeds not tuned", None, sentence)
        for arm in family.arms:
            if unable := [spell_point(family.keys, point) for point in family.points if point not in arm.points]:
                sentence = f"{arm.setting} was not tuned to {', '.join(unable)}, where some seed diverged."
                yield RunWarning("diverged where tuned", arm.name, sentence)
        if family.only_choose and (close := [text for arm in family.arms if (text := _rivals(family, arm))]):
            sentence = (
                f"the {len(family.seeds)} seeds of the first look cannot tell the chosen {' and '.join(family.keys)} "
                f"from {'; '.join(close)}. So a difference at the chosen values need not be one of the arms' best."
            )
            yield RunWarning("values alike", None, sentence)
        for ends in edges(study.name, family):
            yield RunWarning("edge of the grid", None, ends, True)


def _rivals(family: TunedFamily, arm: TunedArm) -> str:
    """The values of an arm that the seeds which chose cannot tell from the chosen one."""
    values = [" and ".join(f"{value:g}" for value in arm.points[i]) for i in arm.result.rivals]
    return f"{', '.join(values)} of {arm.setting}" if values else ""


def _about_looks(study: Study) -> Iterator[RunWarning]:
    """Answers that were looked at before, and a design that asks another question or has other arms."""
    design = study.design
    if design is not None and study.progress is None:
        sentence = (
            f"{study.name} declared another question before its first run: {design.metric} against {design.baseline}, "
            f"margin {design.margin:g}; what follows is not covered by its level, and only explores."
        )
        yield RunWarning("other question than declared", None, sentence, True)
    if study.undeclared:
        sentence = f"left out, since the study did not declare it before its first run: {', '.join(study.undeclared)}."
        yield RunWarning("not declared", None, sentence)
    if study.progress is not None:
        yield RunWarning("looks", None, describe_looks(study.progress.design))
        if len({len(arm.complete_seeds) for arm in study.judged_arms}) > 1:
            sentence = (
                f"each mean is over all seeds of its arm: one that ended earlier is compared with {study.baseline} on "
                f"its own seeds alone, and the mean of {study.baseline} has more."
            )
            yield RunWarning("looks", None, sentence)
    yield from _about_earlier_answers(study)


def _about_earlier_answers(study: Study) -> Iterator[RunWarning]:
    arms_of: dict[tuple[int, ...], list[str]] = {}
    for arm in study.compared_arms:
        looks = tuple(study.earlier_looks(arm, study.paired_seeds(arm, study.metric))[1])
        if len(looks) > 1:
            arms_of.setdefault(looks, []).append(arm.name)
    if arms_of:
        spelled = {looks: f"{', '.join(map(str, looks[:-1]))} and {looks[-1]} seeds" for looks in arms_of}
        listed = [f"{spelled[looks]} ({', '.join(arms)})" for looks, arms in arms_of.items()]
        seeds = "; ".join(listed) if len(arms_of) > 1 else next(iter(spelled.values()))
        sentence = (
            f"the answer was looked at with {seeds}, and a p that knows of one look only is too optimistic: those of "
            f"{study.metric} allow for all looks, the others do not."
            + " `until=decided` declares looks."
            * (study.design is None)
        )
        yield RunWarning("looked before", None, sentence, True)


def _about_test_rows(study: Study) -> Iterator[RunWarning]:
    runs = [run for arm in study.arms for run in arm.runs]
    if tested := sum(run.meta["config"]["data"].get("test_fraction") == 0 for run in runs):
        sentence = f"{tested} of {len(runs)} runs were tested on the rows that they trained on (data.test_fraction=0)"
        yield RunWarning("tested on training rows", None, f"{sentence}: what they say of new rows is unknown.", True)


def _about_stopping(study: Study) -> Iterator[RunWarning]:
    stopped = [n for arm in study.arms for n in arm.stopped.values()]
    able = [run for arm in study.arms for run in arm.complete.values() if run.best_epoch is not None]
    if stopped:
        span = f"{min(stopped)} to {max(stopped)}" if min(stopped) < max(stopped) else f"{stopped[0]}"
        sentence = f"{len(stopped)} of {len(able)} runs stopped early, after {span} epochs"
        yield RunWarning("stopped early", None, f"{sentence}; their curves go on with the model of their best epoch.")
    watched = [run for run in able if run.meta.get("stopped_by_training_rows")]
    if watched:
        sentence = f"{len(watched)} of {len(able)} runs were stopped by the rows that they trained on"
        yield RunWarning("stopped by training rows", None, f"{sentence}, so that nothing held back overfitting.", True)


def _about_own_biases(study: Study) -> Iterator[RunWarning]:
    """Name the layers whose bias is no part of the comparison, since they set their own."""
    runs = [run for arm in study.arms for run in arm.runs]
    remarks = (remark for run in runs for remark in run.meta.get("model_remarks", ()))
    for remark in dict.fromkeys(remark.replace("no bias in every arm", "no bias in any arm") for remark in remarks):
        yield RunWarning("own bias", None, f"{remark}.")


def _about_seals(study: Study) -> Iterator[RunWarning]:
    if sentence := describe_unsealed(run for arm in study.arms for run in arm.runs):
        yield RunWarning("unsealed", None, sentence)


def _about_baselines(study: Study) -> Iterator[RunWarning]:
    for block in dict.fromkeys(arm.block for arm in study.arms):
        base = study.baselines.get(block)
        if base is None:
            sentence = f"{block or 'with the defaults'}: there is no arm {study.baseline}, so nothing is compared."
            yield RunWarning("no baseline", None, sentence)
        elif not base.values(study.metric):
            sentence = f"{base.name}: no complete run has {study.metric}, so nothing is compared with it."
            yield RunWarning("baseline lacks the metric", base.name, sentence)


def _about_runs(arm: ComparedArm, metric: str) -> Iterator[RunWarning]:
    values = arm.values(metric)
    if isinstance(arm, PooledArm):
        if some := sorted({seed for part in arm.parts for seed in part.values(metric)} - values.keys()):
            sentence = f"{arm.name}: not every block has {_seeds(some)}, which are left out of means over blocks."
            yield RunWarning("not in every block", arm.name, sentence)
        return
    if arm.diverged:
        yield RunWarning("diverged", arm.name, f"{arm.name}: diverged, left out of all means: {_seeds(arm.diverged)}.")
    if lacking := sorted(arm.complete_seeds - values.keys()):
        sentence = f"{arm.name}: without {metric}, left out of its means: {_seeds(lacking)}."
        yield RunWarning(LACKS_METRIC, arm.name, sentence)
    if never := arm.censored(metric):
        last = len(arm.parts[0].histories[never[0]]["epoch"]) - 1
        column, _, level = metric.removeprefix(EPOCHS_TO).rpartition("_")
        sentence = f"did not reach {column} {level} in {last} epochs, counted as {last + 1}: {_seeds(never)}."
        yield RunWarning("censored", arm.name, f"{arm.name}: {sentence}")


def _about_pairs(study: Study, arm: ComparedArm) -> Iterator[RunWarning]:
    base = study.baseline_of(arm)
    if base is None:
        return
    values, base_values = arm.values(study.metric), base.values(study.metric)
    paired, different = study.paired_seeds(arm, study.metric), study.mismatches(arm)
    if not values or not base_values or len(paired) == len(values):
        return
    reasons = []
    if alone := sorted(values.keys() - base_values.keys() - different.keys()):
        reasons.append(f"{base.name} lacks {_seeds(alone)}")
    if different:
        conditions = " and ".join(dict.fromkeys(name for names in different.values() for name in names))
        reasons.append(f"{_seeds(list(different))} began with other {conditions}")
    if paired:
        kind, count = "partly paired", f"only {len(paired)} of its {len(values)} seeds are paired with {base.name}"
    else:
        kind, count = "unpaired", f"no seed is paired with {base.name}, so the arms are compared unpaired"
    serious = bool(different) or not paired
    yield RunWarning(kind, arm.name, f"{arm.name}: {count}: {', '.join(reasons)}.", serious)


def _about_moving_means(study: Study, arm: ComparedArm) -> Iterator[RunWarning]:
    """Name biases that differ from the baseline's and that evaluation alone can tell apart, see `models.irrelevant`."""
    base, differences = study.baseline_of(arm), study.paired_seeds(arm, study.metric)
    if base is None or not differences or isinstance(arm, PooledArm):
        return
    run, other = (side.parts[0].complete[differences[0]] for side in (arm, base))
    offsets = start_offsets(run, other) or {}
    for path in irrelevant_in_both(run, other, "centred"):
        facts = run.meta["irrelevant_biases"][path]
        if offsets.get(path, 0) * facts["left"] > NEGLIGIBLE:
            share = f"{100 * facts['left']:.2g} % of the difference"
            yield RunWarning(
                "moving mean", arm.name,
                f"{arm.name}: training cannot tell {path} from that of {base.name}, since {facts['by']} subtracts each "
                f"batch's mean. Evaluation can: its moving mean still lacked {share} when the runs were tested, which "
                "all metrics but those of the training rows show.",
            )  # fmt: skip


def _seeds(seeds: list[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {seed_spans(seeds)}"

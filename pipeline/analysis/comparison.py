"""The comparison of a study's arms: the answer, its evidence, and the tables the figures are drawn from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from pipeline.analysis.ablation import ablation_over_seeds, dead_shares, load_ablation, load_dead_units
from pipeline.analysis.advice import advice
from pipeline.analysis.bias_dynamics import (
    Trajectories,
    arm_distances,
    bias_quantiles,
    bias_trajectories,
    drawn_trajectories,
    drift_table,
    dynamics_table,
)
from pipeline.analysis.bias_wording import ablation_sentences, distance_sentences
from pipeline.analysis.block_dependences import BlockDependence, block_dependences
from pipeline.analysis.blocks import PooledArm
from pipeline.analysis.correction import Correction, correction
from pipeline.analysis.curves import learning_curves
from pipeline.analysis.difference_curves import difference_curves
from pipeline.analysis.formatting import Row, number_format, plain_rows
from pipeline.analysis.interactions import block_interactions
from pipeline.analysis.look_wording import look_sentence
from pipeline.analysis.run_warnings import ExcludedRun, RunWarning, excluded_runs, run_warnings
from pipeline.analysis.study import Study, load_study
from pipeline.analysis.summary import seed_differences, summarize
from pipeline.analysis.tuned_looks import ChosenArm
from pipeline.analysis.tuning import TunedArm
from pipeline.analysis.tuning_answer import TuningAnswer, tuning_answers, tuning_curve
from pipeline.analysis.verdict import Verdict, numbers_of, verdict_word
from pipeline.analysis.wording import Headline, arm_sentences, headlines
from pipeline.config.tuning import Values
from pipeline.store.runs import Run, RunStore


@dataclass(frozen=True)
class Comparison:
    """What `python -m pipeline.compare` finds out about one study; every report is made from it.

    Frames have all their columns even without a row.
    """

    study: Study
    headlines: Sequence[Headline]  # the answer: over all blocks where there are several, then per block
    block_dependences: Sequence[BlockDependence]
    verdicts: Sequence[Verdict]  # one per arm, pooled ones first
    correction: Correction  # what p is corrected for, and what not
    warnings: Sequence[RunWarning]
    excluded_runs: Sequence[ExcludedRun]
    bias_sentences: Sequence[str]  # see `bias_wording`
    summary: pd.DataFrame  # see `summary.summarize`
    differences: pd.DataFrame  # see `summary.seed_differences`
    curves: pd.DataFrame  # see `curves.learning_curves`
    difference_curves: pd.DataFrame  # see `difference_curves.difference_curves`
    trajectories: Trajectories  # see `bias_dynamics.Trajectory`
    dynamics: pd.DataFrame  # see `bias_dynamics.dynamics_table`
    drift: pd.DataFrame  # see `bias_dynamics.drift_table`
    distances: pd.DataFrame  # see `bias_dynamics.arm_distances`
    quantiles: pd.DataFrame  # see `bias_dynamics.bias_quantiles`
    drawn_trajectories: pd.DataFrame  # see `bias_dynamics.drawn_trajectories`
    ablation: pd.DataFrame  # see `ablation.ablation_over_seeds`
    dead_units: pd.DataFrame  # see `ablation.dead_shares`
    tunings: Sequence[TuningAnswer] = ()  # where arms are compared at their best
    tuning_curve: pd.DataFrame = field(default_factory=pd.DataFrame)  # see `tuning_answer.tuning_curve`

    @property
    def compared(self) -> list[Verdict]:
        """The verdicts on arms that have a baseline."""
        return [verdict for verdict in self.verdicts if verdict.compared]

    @property
    def foremost(self) -> list[str]:
        """The warnings without which the answer must not be read; every report has them at its top."""
        return [warning.text for warning in self.warnings if warning.foremost]

    @property
    def answer(self) -> list[str]:
        """The headline, what tuning changes, where the answer depends on the block, and the headlines of the blocks."""
        told = {block for answer in self.tunings for block in answer.blocks}
        first, *others = self.headlines
        tuning = [sentence for answer in self.tunings for sentence in answer.sentences]
        dependences = [one.sentence for one in self.block_dependences if one.shown or not self.tunings]
        return [first.sentence, *tuning, *dependences, *(h.sentence for h in others if h.block not in told)]

    @cached_property
    def advice(self) -> str:
        """The command that a verdict or a warning advises, see `advice`; "" where none does."""
        return advice(self.study, [*(one.sentence for one in self.compared), *(one.sentence for one in self.warnings)])

    @property
    def sentences(self) -> list[str]:
        """The answer, the verdicts, the command they advise, what their p are corrected for, and the warnings.

        The foremost of these follow the headline.
        Of tuned arms, the verdicts at their best and at the shared value.
        """
        blocks = set(self.main_rows["block"])
        verdicts = [verdict.sentence for verdict in self.compared if verdict.block in blocks]
        corrected = [self.correction.sentence] if self.correction.sentence else []
        first, *others = self.answer
        warnings = [warning.text for warning in self.warnings if not warning.foremost]
        advised = [self.advice] if self.advice else []
        return [first, *self.foremost, *others, *verdicts, *advised, *corrected, *warnings]

    @property
    def ended_early(self) -> list[str]:
        """The arms that a difference has ended before the last look of a design, so that it overstates them."""
        return [verdict.arm for verdict in self.compared if verdict.difference_unbiased is not None]

    @property
    def chosen(self) -> pd.DataFrame:
        """The rows of `summary` by the metric of the verdict."""
        return self.summary.loc[self.summary["metric"] == self.study.metric]

    @property
    def main_rows(self) -> pd.DataFrame:
        """Those that are drawn: where arms were tuned, those at their best and at the shared value."""
        blocks = [block for answer in self.tunings for block in (answer.block, answer.shared_block)]
        return self.chosen.loc[self.chosen["block"].isin(blocks)] if blocks else self.chosen


def compare_study(
    store: RunStore,
    baseline: str,
    metric: str = "",
    margin: float | None = None,
    threshold: float | None = None,
    keep: Callable[[Run], bool] | None = None,
    tune: Mapping[str, Values] | None = None,
) -> Comparison:
    """Compare the arms of a study. For the arguments and the ConfigError they can raise, see `study.load_study`."""
    study = load_study(store, baseline, metric, margin, threshold, keep, tune)
    runs = sorted((run for arm in study.arms for run in arm.runs), key=lambda run: (run.arm, run.seed))
    summary = summarize(study)
    rows = plain_rows(summary.loc[summary["metric"] == study.metric])
    number = number_format(rows)
    verdicts = _verdicts(study, rows)
    trajectories = bias_trajectories(study.arms)
    distances = arm_distances(trajectories, study.arms)
    ablation = ablation_over_seeds(_sort_by_arm(study, load_ablation(store, runs)), study.metric)
    baseline_arms = {arm.name for arm in study.arms if arm.setting == baseline}
    said = headlines(verdicts, baseline)
    return Comparison(
        study=study,
        headlines=said,
        block_dependences=block_dependences(block_interactions(study), verdicts, number),
        verdicts=verdicts,
        correction=correction(study, verdicts),
        warnings=run_warnings(study),
        excluded_runs=excluded_runs(study),
        bias_sentences=distance_sentences(distances, baseline_arms) + ablation_sentences(ablation, study.arms),
        summary=summary,
        differences=seed_differences(study),
        curves=learning_curves(study.arms),
        difference_curves=difference_curves(study),
        trajectories=trajectories,
        dynamics=dynamics_table(trajectories),
        drift=drift_table(trajectories),
        distances=distances,
        quantiles=bias_quantiles(trajectories),
        drawn_trajectories=drawn_trajectories(study.arms),
        ablation=ablation,
        dead_units=dead_shares(_sort_by_arm(study, load_dead_units(store, runs))),
        tunings=tuning_answers(study, verdicts, said, number),
        tuning_curve=tuning_curve(study),
    )


def _verdicts(study: Study, rows: list[Row]) -> list[Verdict]:
    """The verdict on every arm. rows: the summary's, by the metric of the verdict."""
    by_arm = {row["arm"]: row for row in rows}
    baselines = {row.get("baseline") for row in rows}
    number = number_format(rows)
    verdicts = []
    for arm in study.compared_arms:
        # An arm without a row has complete runs, but none with the metric.
        row = by_arm.get(arm.name, {"seeds": 0, "diverged": len(arm.diverged), "verdict": "not compared"})
        verdict = Verdict(
            arm=arm.name, setting=arm.setting, block=arm.block,
            pooled=isinstance(arm, PooledArm | TunedArm | ChosenArm), tuned=isinstance(arm, TunedArm | ChosenArm),
            metric=study.metric, verdict=verdict_word(row, arm.name in baselines), margin=study.margin,
            alpha=study.alpha,
            **numbers_of(row),
        )  # fmt: skip
        verdicts.append(verdict)
    progress = study.progress
    sentences = (
        [look_sentence(v, number, progress) for v in verdicts]
        if progress
        else (arm_sentences(verdicts, number, advises=study.design is None))
    )
    return [replace(verdict, sentence=text) for verdict, text in zip(verdicts, sentences, strict=True)]


def _sort_by_arm(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a stored table in the order of the study's arms, under the names that are shown."""
    table = table.assign(
        **{name: table[name].replace(study.shown_names) for name in ("arm", "biases") if name in table}
    )
    place = {name: i for i, name in enumerate(study.arm_names)}
    return table.sort_values("arm", key=lambda names: names.map(place), kind="stable")

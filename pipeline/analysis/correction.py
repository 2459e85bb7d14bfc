"""What p is corrected for, and what not: the arms, the looks, but not the metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.study import Study
from pipeline.analysis.verdict import Verdict

PRIMARY, EXPLORATORY = "primary", "exploratory"  # roles of metrics
METHOD = "Holm"


@dataclass(frozen=True)
class Correction:
    """What p_holm is corrected for.

    method: of the correction over the arms that are compared with one baseline. arms: the most that are. alpha: the
    level. looks: over which p holds besides, as in `Verdict.looks`; None for one look. declared: whether a design
    declared them before the first run. primary: see `Study.primary`. exploratory: all other
    metrics that arms are compared by. sentence: this in words.
    """

    method: str
    arms: int
    alpha: float
    looks: str | None
    declared: bool
    primary: str
    exploratory: tuple[str, ...]
    sentence: str

    @property
    def covers(self) -> str:
        """What p (Holm) of the primary metric is corrected over, for captions."""
        return covers(self.declared, self.looks)


def covers(declared: bool, looks: str | None) -> str:
    """Name what p (Holm) of the primary metric is corrected over, see `Correction`."""
    if declared:
        return "the arms and the declared looks, up to each arm's last"
    return f"the arms and the looks at {looks} seeds" if looks and "," in looks else "the arms"


def correction(study: Study, verdicts: Sequence[Verdict]) -> Correction:
    """Say what the p of a study are corrected for; the sentence is empty where nothing is compared."""
    compared = [verdict for verdict in verdicts if verdict.compared]
    arms = max((verdict.family or 1 for verdict in compared), default=0)
    looks = max((verdict.looks or "" for verdict in compared), key=len, default="") or None
    exploratory = tuple(metric for metric in study.metrics if metric != study.primary)
    design = study.progress.design if study.progress else None
    if design is not None:
        looks = ", ".join(map(str, design.tests.looks))
    sentence = _sentence(study, arms, looks, len(exploratory), compared) if compared else ""
    return Correction(METHOD, arms, study.alpha, looks, design is not None, study.primary, exploratory, sentence)


def _declared(looks: Sequence[str], taken: int, verdicts: Sequence[Verdict]) -> list[str]:
    """What the p of a design allow for: the looks that were taken, of those that were declared."""
    if len(looks) == 1 or not taken:
        return []
    if taken == 1:
        return [f"for ending at the first of the looks declared at {', '.join(looks)} seeds"]
    several = f"over the declared looks at {', '.join(looks[:taken])} seeds"
    ended = {verdict.pairs for verdict in verdicts if verdict.look and verdict.pairs}
    return [f"{several}, up to the one that decided an arm" if len(ended) > 1 else several]


def _sentence(study: Study, arms: int, looks: str | None, n_exploratory: int, verdicts: Sequence[Verdict]) -> str:
    blocks = len({arm.block for arm in study.compared_arms})
    covered = [f"over the {arms} arms compared with one baseline ({METHOD})"] if arms > 1 else []
    if study.progress and looks:
        covered += _declared(looks.split(", "), study.progress.judging_looks, verdicts)
    elif looks and "," in looks:
        covered.append(f"over the looks at {looks} seeds")
    what = f"p of {study.metric} is corrected {' and '.join(covered)}" if covered else ""
    what = what or f"p of {study.metric} is that of one arm at one look"
    if not n_exploratory:
        return f"{what}."
    if not covered:
        what += ", which needs no correction"
    others = f"the {n_exploratory} other metrics are" if n_exploratory > 1 else "the other metric is"
    each = ", in each block by itself" * (blocks > 1)
    return f"{what}{each}; it is not corrected over metrics: {study.primary} is {PRIMARY}, {others} {EXPLORATORY}."

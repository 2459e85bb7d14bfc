"""The verdicts in words: what to do, and a sentence per arm."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.blocks import block_factors
from pipeline.analysis.formatting import p_value
from pipeline.analysis.pairing import SHIFTS, START
from pipeline.analysis.verdict import COMPARED, Verdict
from pipeline.stats.paired import FAILURE, FEWEST_EQUIVALENT, shows_failure
from pipeline.stats.power import MOST_SEEDS, POWER, fewest_seeds

FEW_PAIRS = 6  # below which a needed number of seeds is known to its order of magnitude only
MOST_NAMED = 8  # arms of one verdict that a headline names before it only counts them
OTHERS = ("worse", "equivalent", "identical", "undecided")  # order in which a headline lists the verdicts but better

Number = Callable[..., str]  # see `formatting.number_format`


@dataclass(frozen=True)
class Headline:
    """What to do, for the arms that are compared with one baseline.

    block: theirs; None if nothing can be compared. decision: `take` one of `arms`, which are better than the baseline;
    `keep` the baseline; `undecided`; or `nothing compared`.
    """

    block: str | None
    baseline: str
    decision: str
    arms: tuple[str, ...]
    sentence: str


def headlines(verdicts: Sequence[Verdict], baseline: str) -> list[Headline]:
    """Say what to do: one headline for the arms pooled over blocks, where there are any, and one per block."""
    families = _families(verdicts)
    if not families:
        return [Headline(None, baseline, "nothing compared", (), f"No arm can be compared with {baseline}.")]
    factors = block_factors([verdict.block for verdict in verdicts if not verdict.pooled])
    return [_headline(family, factors) for family in families]


def _families(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    """The arms that are compared with one baseline, for each of them."""
    families: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.baseline is not None:
            families.setdefault(verdict.baseline, []).append(verdict)
    return list(families.values())


def _headline(family: list[Verdict], factors: Sequence[str]) -> Headline:
    """What to do about arms that are compared with one baseline. factors: the settings in which blocks differ."""
    first = family[0]
    decision, sentence = _decide(family)
    what = first.block
    if what.endswith("blocks") and factors:
        what += f", which differ in {' and '.join(filter(None, [', '.join(factors[:-1]), factors[-1]]))}"
    if first.tuned:
        sentence = f"With each arm {first.block}, {sentence[0].lower()}{sentence[1:]}"
    elif first.pooled and decision == "undecided":
        sentence = f"Undecided on average over {what}{sentence.removeprefix('Undecided')}"
    elif first.pooled:
        sentence = f"On average over {what}, {sentence[0].lower()}{sentence[1:]}"
    better = tuple(verdict.arm for verdict in family if verdict.verdict == "better")
    return Headline(first.block, str(first.baseline), decision, better, sentence)


def _decide(family: list[Verdict]) -> tuple[str, str]:
    """The decision and its sentence."""
    base, metric, margin = family[0].short_baseline, family[0].metric, family[0].margin
    arms = {word: [verdict.short_name for verdict in family if verdict.verdict == word] for word in COMPARED}
    better = arms["better"]
    if len(arms["undecided"]) == len(family):
        return "undecided", f"Undecided: {_why_undecided(family)}."
    if len(better) == 1:
        decision, answer = "take", f"Take {better[0]}: it is better than {base} in {metric}"
    elif better:
        answer = f"Take one of {', '.join(better)}: each is better than {base} in {metric}"
        decision, answer = "take", f"{answer}; which of them is best was not tested"
    elif any(_differs_within(v) for v in family) and (arms["worse"] or arms["undecided"]):
        decision, answer = "keep", f"Keep {base}: no other choice is clearly better by more than {margin:g} {metric}"
    elif arms["worse"] or arms["undecided"]:
        decision, answer = "keep", f"Keep {base}: no other choice is clearly better in {metric}"
    elif not arms["equivalent"]:
        decision, answer = "keep", f"Keep {base}: every other choice is the same as it, seed by seed, in {metric}"
    else:
        decision, answer = "keep", f"Keep {base}: no other choice differs from it by more than {margin:g} {metric}"
    for verdict in family:
        if verdict.verdict == "better" and verdict.diverged:
            total = verdict.seeds + verdict.diverged
            answer += f", but {verdict.arm} diverged on {verdict.diverged} of {total} seeds"
    rest = "; ".join(f"{word}: {_names(arms[word])}" for word in OTHERS if arms[word])
    return decision, f"{answer} ({rest})." if rest else f"{answer}."


def _why_undecided(family: Sequence[Verdict]) -> str:
    """Why there is no answer where every arm is undecided: too few seeds for any, or no clear difference."""
    base, metric = family[0].short_baseline, family[0].metric
    fewest = fewest_seeds(family[0].alpha / (family[0].family or 1))
    seeds = max(verdict.pairs or verdict.seeds for verdict in family)
    if _all_too_few(family):
        few = f"{seeds} seeds are too few" if seeds > 1 else "one seed is too little"
        return f"{few} to call any choice better or worse than {base} in {metric}; it takes {fewest} or more"
    after = f"after {seeds} seeds" if seeds > 1 else "after one seed"
    margin = f"by more than {family[0].margin:g} {metric}"
    if all(verdict.may_fail for verdict in family):
        return f"{after} no choice differs from {base} {margin} on average, but rare failures are not excluded"
    if any(_differs_within(verdict) for verdict in family):
        return f"{after} no choice is clearly better or worse than {base} {margin}"
    return f"{after} no choice is clearly better or worse than {base} in {metric}"


def _all_too_few(family: Sequence[Verdict]) -> bool:
    """Whether every arm is undecided, and has fewer pairs of seeds than could ever show a difference."""
    fewest = fewest_seeds(family[0].alpha / (family[0].family or 1))
    return all(v.verdict == "undecided" and 0 < (v.pairs or 0) < fewest for v in family)


def _names(arms: list[str]) -> str:
    return ", ".join(arms) if len(arms) <= MOST_NAMED else f"{len(arms)} arms"


def _differs(verdict: Verdict) -> bool:
    return verdict.p_holm is not None and verdict.p_holm <= verdict.alpha


def _differs_within(verdict: Verdict) -> bool:
    """Whether an arm surely differs from its baseline, but by less than the margin."""
    return _differs(verdict) and (verdict.verdict == "equivalent" or verdict.may_fail)


def arm_sentences(verdicts: Sequence[Verdict], number: Number, advises: bool = True) -> list[str]:
    """Say what the seeds show about each arm; where they are too few for all of a headline's arms, it alone says so.

    number: see `formatting.number_format`. advises: see `arm_sentence`.
    """
    said = {verdict.arm for family in _families(verdicts) if _all_too_few(family) for verdict in family}
    return [arm_sentence(verdict, number, verdict.arm in said, advises) for verdict in verdicts]


def arm_sentence(verdict: Verdict, number: Number, few_said: bool = False, advises: bool = True) -> str:
    """Say what the seeds show about one arm.

    few_said: whether it was said that so few seeds can show no difference. advises: whether to name until=decided;
    it trains nothing more in a study that has declared its looks.
    """
    arm, base, pairs = verdict.arm, verdict.short_baseline, verdict.pairs or 0
    if verdict.verdict == "baseline":
        return f"{arm}: the baseline that other arms are compared with."
    if not verdict.compared:
        return f"{arm}: {verdict.verdict}."
    if verdict.construction == SHIFTS:
        rounding = f"any difference is rounding ({number(verdict.difference, '+')} {verdict.metric})"
        why = "they differ only in biases that add one constant to all logits of a softmax, so"
        return f"{arm}: identical to {base} by construction: {why} {rounding}."
    if verdict.verdict == "identical":
        seeds = f"all {pairs} seeds" if pairs > 1 else "its one seed"
        what = "learning curves, bit for bit" if verdict.same_curves else verdict.metric
        if verdict.construction == START:
            return f"{arm}: identical to {base} by construction: on {seeds} the same initial biases and {what}."
        return f"{arm}: identical to {base}: on {seeds} the same {what}."
    evidence = _evidence(verdict, number)
    if verdict.verdict == "equivalent":
        if _differs(verdict):
            evidence += f"; that they differ at all has p {p_value(verdict.p_holm or 0, '= ')}{_correction(verdict)}"
        return f"{arm}: equivalent to {base} within {verdict.margin:g}: {evidence}{_passed_margin(verdict)}."
    if verdict.verdict in ("better", "worse"):
        return f"{arm}: {verdict.verdict} than {base}: {evidence}{_included_zero(verdict)}."
    why = f"{_excluded_zero(verdict)}; {_what_would_decide(verdict, few_said, advises)}"
    if verdict.may_fail:
        why = f"; {_may_fail(verdict, number)}"
    return f"{arm}: undecided against {base}: {evidence}{why}."


def _evidence(verdict: Verdict, number: Number) -> str:
    """The difference, its interval, the p that the verdict rests on, and the number of pairs."""
    low, high, pairs = verdict.difference_ci_low, verdict.difference_ci_high, verdict.pairs or 0
    parts = [f"{number(verdict.difference, '+')} {verdict.metric}"]
    if low is not None and high is not None and low < high:
        parts.append(f"95 % interval {number(low, '+')} to {number(high, '+')}")
    equivalent = verdict.verdict == "equivalent"
    p = verdict.p_equivalent if equivalent else verdict.p_holm
    if pairs != 1 and p is not None:
        parts.append(f"{'two one-sided tests ' if equivalent else ''}p {p_value(p, '= ')}{_correction(verdict)}")
    return ", ".join([*parts, f"{pairs} pair{'s' * (pairs > 1)} of seeds" if pairs else "no pairs of seeds"])


def _may_fail(verdict: Verdict, number: Number) -> str:
    """Why an arm whose mean is within the margin is not equivalent: it may fail on some seeds, or did on one."""
    pairs, largest = verdict.pairs or 0, verdict.largest_difference or 0.0
    so_far = f"within {verdict.margin:g} so far (two one-sided tests p {p_value(verdict.p_equivalent or 0, '= ')})"
    if pairs >= FEWEST_EQUIVALENT or shows_failure(np.array([largest]), verdict.margin):
        return f"{so_far}, but one seed differs by {number(largest)}, more than {FAILURE} margins"
    needed = max(verdict.seeds_needed or 0, FEWEST_EQUIVALENT)
    about = "about " * (needed > FEWEST_EQUIVALENT)
    not_excluded = f"with {pairs} seeds a failure on one seed in ten is not excluded"
    return f"{so_far}, but {not_excluded}; {about}{needed} seeds would exclude it"


def _correction(verdict: Verdict) -> str:
    """What p is corrected for, where it is."""
    arms = f" after Holm's correction for {verdict.family} arms" if (verdict.family or 1) > 1 else ""
    looks = verdict.looks if "," in (verdict.looks or "") else ""
    return f"{arms} {'and' if arms else 'after correction'} for looks at {looks} seeds" if looks else arms


def _included_zero(verdict: Verdict) -> str:
    """Why an arm is better or worse although its interval holds 0, if it is so."""
    low, high = verdict.difference_ci_low, verdict.difference_ci_high
    if low is None or high is None or not low <= 0 <= high:
        return ""
    return (
        "; the interval holds 0 because few or uneven seeds make it wide, but the test of p, which decides, "
        "rules out chance"
    )


def _passed_margin(verdict: Verdict) -> str:
    """Why an arm is equivalent although its interval reaches beyond the margin, if it does."""
    low, high = verdict.difference_ci_low, verdict.difference_ci_high
    if low is None or high is None or max(-low, high) <= verdict.margin:
        return ""
    return (
        "; the interval reaches beyond the margin because it leaves out 2.5 % at each end, whereas each of the two "
        "tests, which decide, allows for 5 %"
    )


def _excluded_zero(verdict: Verdict) -> str:
    """Why an arm is undecided although its interval leaves out 0, if it is so."""
    low, high = verdict.difference_ci_low, verdict.difference_ci_high
    if low is None or high is None or low <= 0 <= high or not verdict.pairs or verdict.pairs < 2:
        return ""
    if (verdict.family or 1) > 1 and (verdict.p or 0) <= verdict.alpha:
        return (
            "; the interval leaves out 0 because it is for this arm alone, whereas p allows for all "
            f"{verdict.family} arms, one of which may differ by chance"
        )
    return "; the interval leaves out 0, but the test of p, which decides, does not rule out chance"


def _what_would_decide(verdict: Verdict, few_said: bool, advises: bool) -> str:
    """How many seeds would decide, as far as that is known."""
    pairs, fewest = verdict.pairs or 0, fewest_seeds(verdict.alpha / (verdict.family or 1))
    if not pairs:
        return "the same seeds in both arms would tell more"
    if pairs < 2:
        return f"one seed says nothing about the uncertainty; a difference takes {fewest} seeds or more to show"
    power = f"{POWER:.0%} power".replace("%", " %")
    if verdict.seeds_needed is None and verdict.seeds_needed_low is None:
        needed = f"{MOST_SEEDS:,} seeds would not decide ({power})"
    else:
        needed = f"{_advised(verdict, pairs, fewest)} seeds would decide ({power})"
        needed += ", and until=decided trains what it takes" * advises
    if verdict.tuned:
        needed += "; more seeds would also choose better"
    if pairs >= fewest or few_said:
        return needed
    return f"so few seeds can never show a difference, {fewest} are the fewest; {needed}"


def _advised(verdict: Verdict, pairs: int, fewest: int) -> str:
    """The number of seeds that would decide, as a range: a study that is undecided is a pilot."""
    low, high = (None if seeds is None else known_digits(seeds, pairs, fewest)
                 for seeds in (verdict.seeds_needed_low, verdict.seeds_needed_high))  # fmt: skip
    if low is None or low == high:
        return f"about {known_digits(verdict.seeds_needed or fewest, pairs, fewest):,}"
    return f"{low:,} to {high:,}" if high is not None else f"{low:,} or more"


def known_digits(needed: int, pairs: int, fewest: int) -> int:
    """A number of seeds as exactly as so few pairs can tell it: in one digit below six pairs, else in two."""
    return max(round(needed, min(0, (1 if pairs < FEW_PAIRS else 2) - len(str(needed)))), fewest)

"""What the looks of a declared design say about an arm, in words."""

from pipeline.analysis.formatting import p_value
from pipeline.analysis.verdict import Verdict
from pipeline.analysis.wording import Number, arm_sentence
from pipeline.store.designs import DeclaredDesign, Progress
from pipeline.store.seeds import seed_span


def look_sentence(verdict: Verdict, number: Number, progress: Progress) -> str:
    """Say what the looks so far have decided about one arm, like `wording.arm_sentence` of a study without a design."""
    if not verdict.compared or verdict.verdict == "identical" or not verdict.look or not verdict.pairs:
        return arm_sentence(verdict, number, advises=False)
    words = {
        "better": f"better than {verdict.short_baseline}",
        "worse": f"worse than {verdict.short_baseline}",
        "equivalent": f"equivalent to {verdict.short_baseline} within {verdict.margin:g}",
        "undecided": f"undecided against {verdict.short_baseline}",
    }
    how = "after" if verdict.verdict == "undecided" else "decided by"
    look = f"{how} look {verdict.look} of {len(progress.design.looks)} ({verdict.pairs} pairs of seeds)"
    sentence = f"{verdict.arm}: {words[verdict.verdict]}, {look}: {_evidence(verdict, number, progress.design.alpha)}"
    return f"{sentence}{_unbiased(verdict, number)}{_what_follows(verdict, progress)}."


def _evidence(verdict: Verdict, number: Number, alpha: float) -> str:
    low, high = verdict.difference_ci_low, verdict.difference_ci_high
    interval = "no interval yet, since this look may spend too little"
    if low is not None and high is not None:
        interval = f"repeated {100 * (1 - alpha):g} % interval {number(low, '+')} to {number(high, '+')}"
    equivalent = verdict.verdict == "equivalent"
    p = (verdict.p_equivalent if equivalent else verdict.p_holm) or 0.0
    tests = "two one-sided tests " * equivalent
    arms = f" and {verdict.family} arms" * ((verdict.family or 1) > 1)
    chance = f"{tests}p {p_value(p, '= ', alpha, is_bound=True)} over all looks{arms}"
    return f"{number(verdict.difference, '+')} {verdict.metric}, {interval}, {chance}"


def _unbiased(verdict: Verdict, number: Number) -> str:
    """What the difference is without what ending early adds, where one has ended the arm before the last look."""
    if verdict.difference_unbiased is None:
        return ""
    unbiased = number(verdict.difference_unbiased, "+")
    same = unbiased == number(verdict.difference, "+")
    if same:
        return ""
    return (
        f"; ending early overstates a difference: allowing for that it is {unbiased}, right on average over all "
        "studies, and still too large over those that end early"
    )


def _what_follows(verdict: Verdict, progress: Progress) -> str:
    if verdict.verdict != "undecided":
        return ""
    if progress.finished:
        return "; that was the last look"
    return f"; the next look has {progress.design.ends[len(progress.looks)] - progress.design.first_seed} seeds"


def describe_looks(design: DeclaredDesign) -> str:
    """Say what was declared, when, and what it covers."""
    looks = ", ".join(map(str, design.tests.looks))
    chose = ""
    if design.tune:
        chose = (
            f" The first look, with {design.looks[0]} seeds, chose {' and '.join(design.tune)} for each arm; these "
            "judge nothing. All of this is about the chosen values: had it missed better ones, more seeds could not "
            "tell."
        )
    when = "before the first run"
    if design.seeds_before:
        stored = seed_span(design.seeds_before)
        when = f"when {stored} were stored, which judge nothing: before the first run of other seeds"
    return (
        f"Looks at the answer with {looks} seeds were declared {when} (design {design.digest}). So p, "
        f"the intervals and the verdicts of {design.metric} hold at every look: over all looks and all arms of a "
        f"baseline, {100 * design.alpha:g} % of studies at most find a difference where there is none "
        f"({design.spending}, Holm).{chose}"
    )

"""What a study with declared looks promises, simulated: `uv run python -m tests.benchmarks.sequential`.

Prints the tables of `tests/README.md` as Markdown. All parts take 20 minutes on one core; `parts="errors;power"`
makes only these, and `studies=200` simulates fewer. Parts: errors, skewed, coverage, power, naive, adastop, failures.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.config.options import parse_options
from tests.benchmarks.beside_adastop import EFFECT as ADASTOP_EFFECT
from tests.benchmarks.beside_adastop import beside_adastop
from tests.benchmarks.bounds import best_boundaries, declared, wald_bound
from tests.benchmarks.simulated import (
    DIFFERENCES,
    DRIFT,
    EFFECT,
    LOOKS,
    SPENDINGS,
    coverage,
    equivalent,
    false_positives,
    naive_looks,
    power,
)

SHORT = {"obrien_fleming": "O'Brien-Fleming", "pocock": "Pocock"}
ONE_AND_SEVEN = [f"{SHORT[s]}, {arms}" for s in SPENDINGS for arms in ("one arm", "any of seven (Holm)")]
EVERY_FIVE = tuple(range(10, 161, 5))


def errors(studies: int) -> None:
    """False positives with five looks, of one arm and of seven."""
    rows = []
    for kind in DIFFERENCES:
        if kind != "skewed":
            found = false_positives(kind, LOOKS, studies)
            rows.append([kind, *(percent(x) for s in SPENDINGS for x in (found[s].one_arm, found[s].any_arm))])
    print_table(
        f"False positives, looks at {and_so_on(LOOKS)} seeds, {studies} studies (at most 5.5 % asked for)",
        ["differences", *ONE_AND_SEVEN],
        rows,
    )


def skewed(studies: int) -> None:
    """The same for exponential differences less their mean, by the first look."""
    rows = []
    for looks in (LOOKS, LOOKS[1:], LOOKS[2:], *((n,) for n in LOOKS)):
        found = false_positives("skewed", looks, studies)
        rows.append([and_so_on(looks), *(percent(x) for s in SPENDINGS for x in (found[s].one_arm, found[s].any_arm))])
    print_table(
        f"False positives where differences are exponential less their mean, {studies} studies",
        ["looks", *ONE_AND_SEVEN],
        rows,
    )


def covered(studies: int) -> None:
    """How often repeated intervals hold the true difference at all looks."""
    rows = []
    for kind in DIFFERENCES:
        if kind != "skewed":
            held = coverage(kind, studies)
            rows.append([kind, *(percent(held[spending]) for spending in SPENDINGS)])
    print_table(
        f"Repeated intervals that hold the true difference at all five looks, {studies} studies (94.5 % asked for)",
        ["differences", *(SHORT[spending] for spending in SPENDINGS)], rows,
    )  # fmt: skip


def powers(studies: int) -> None:
    """Power and seeds used, simulated and by normal theory, and what no test can go below."""
    rows = []
    for times in (1, 1.5, 2):
        found = power(times * EFFECT, studies, corrected=min(studies, 300))
        for name in ("fixed", *SPENDINGS):
            theory = declared(LOOKS if name in SPENDINGS else LOOKS[-1:], name, times * DRIFT)
            one = found[name]
            rows.append([
                f"{times:g}", SHORT.get(name, f"{LOOKS[-1]} seeds at once"), percent(one.found), percent(theory[0]),
                f"{one.seeds:.0f}", percent(one.seeds / LOOKS[-1]), percent(theory[1]),
                f"{one.overstated:.2f}", f"{one.unbiased:.2f}",
            ])  # fmt: skip
    print_table(
        f"Power and seeds, normal differences, {studies} studies; effect 1 is what {LOOKS[-1]} seeds find with 80 %",
        ["effect", "design", "power", "theory", "seeds", "of the most", "theory", "estimate / truth", "corrected"],
        rows,
    )  # fmt: skip
    best, least = best_boundaries(LOOKS, 0.77), [percent(wald_bound(one)) for one in (0.8, 0.77)]
    print(
        "At effect 1, a power of 77 % with 60 % of the seeds was not reached. The best boundaries found for these "
        f"looks, without stops for futility, use {percent(best[1])} of them for {percent(best[0])} power. "
        f"No test whatever uses fewer on average than {least[0]} for 80 % and {least[1]} for 77 % power "
        "(Wald and Wolfowitz), and the one that does looks after each seed and has no most seeds.\n"
    )


def naive(studies: int) -> None:
    """What happens without a design."""
    rows = []
    for looks, name in ((EVERY_FIVE, "10, 15, 20, ..., 160"), (LOOKS, and_so_on(LOOKS))):
        found = naive_looks(looks, studies)
        shares = (found.naive, found.corrected, found.until_corrected, found.declared)
        rows.append([name, *map(percent, shares)])
    print_table(
        f"False positives of adding seeds until p < 0.05, {studies} studies",
        [
            "looks",
            "until p < 0.05",
            "corrected p of the last answer",
            "until the corrected p < 0.05",
            "declared design",
        ],
        rows,
    )


def adastop(studies: int) -> None:
    """Ours and AdaStop on the same studies."""
    studies, rows = min(studies, 400), []
    for correlation in (0, 0.5, 0.9):
        none, some = (beside_adastop(correlation, effect, studies) for effect in (0, ADASTOP_EFFECT))
        for spending in SPENDINGS:
            paired, broken, theirs = some[spending], some[f"{spending}, broken"], some["adastop"]
            saved, by_pairs = theirs.seeds - paired.seeds, broken.seeds - paired.seeds
            rows.append([
                f"{correlation:g}", SHORT[spending], percent(none[spending].found), percent(paired.found),
                f"{paired.seeds:.1f}", f"{broken.seeds:.1f}", f"{saved:+.1f}", f"{by_pairs:+.1f}",
            ])  # fmt: skip
        theirs = none["adastop"], some["adastop"]
        rates = [percent(one.found) for one in theirs]
        rows.append([f"{correlation:g}", "AdaStop", *rates, f"{theirs[1].seeds:.1f}", "–", "–", "–"])
    print_table(
        f"Beside AdaStop, looks at 5, 10, ..., 30 seeds, {studies} studies, true difference {ADASTOP_EFFECT:.2f} "
        "standard deviations of an arm",
        ["correlation", "test", "false positives", "power", "seeds", "pairs broken up", "seeds saved", "by pairing"],
        rows,
    )
    doubled = beside_adastop(0, 0, studies, adastop_alpha=0.05)["adastop"]
    print(
        "AdaStop runs with alpha=0.025: version 0.1.3 spends its alpha twice "
        f"({percent(doubled.found)} false positives with 0.05).\n"
    )


def failures(studies: int) -> None:
    """How often an arm that fails on one seed in ten is called equivalent."""
    rows = []
    for seeds in (5, 10, 20, 29, 40, 80):
        failing, sound = equivalent(seeds, 0.1, studies), equivalent(seeds, 0.0, studies)
        rows.append([str(seeds), *map(percent, (failing.plain, failing.ruled, sound.plain, sound.ruled))])
    print_table(
        f"Called equivalent within 0.005, {studies} studies",
        ["seeds", "loses 0.5 on one seed in ten", "with the rule", "never fails", "with the rule"], rows,
    )  # fmt: skip


PARTS: dict[str, Callable[[int], None]] = {
    "errors": errors, "skewed": skewed, "coverage": covered, "power": powers, "naive": naive, "adastop": adastop,
    "failures": failures,
}  # fmt: skip


@dataclass(frozen=True)
class SequentialOptions:
    """Which parts to simulate, separated by semicolons, and how many studies each; AdaStop takes 400 at most."""

    parts: str = ";".join(PARTS)
    studies: int = 2000


def main(arguments: list[str]) -> None:
    """Simulate the parts that were asked for, and print their tables."""
    options = parse_options(arguments, SequentialOptions)
    if options is None:
        print(__doc__)
        return
    for name in options.parts.split(";"):
        PARTS[name](options.studies)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table under its title."""
    print(f"{title}:\n")
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def and_so_on(looks: Sequence[int]) -> str:
    return ", ".join(map(str, looks))


if __name__ == "__main__":
    main(sys.argv[1:])

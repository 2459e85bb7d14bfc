"""What the statistics say, in words, and numbers in a metric's own precision."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.blocks import block_factors, block_interactions, pooled_arms, spell_block
from pipeline.analysis.formatting import number_format, p_value
from pipeline.analysis.study import EPOCHS_TO, Arm, baseline_arms, mismatches, paired_seeds, seed_spans
from pipeline.stats.intervals import ALPHA
from pipeline.stats.power import MOST_SEEDS, POWER, fewest_seeds

Row = dict[str, Any]
EQUAL = dict.fromkeys(("identical", "equivalent"), "equal")
FEW = 8  # arms with one verdict that the answer names
OTHERS = ("worse", "equivalent", "identical", "undecided")  # the verdicts besides better


def verdict_sentences(summary: pd.DataFrame, baseline: str, margin: float) -> list[str]:
    """What to do, in one sentence over all blocks and for each, then a sentence per arm.

    summary: the rows of one metric, as `summary.summarize` gives them.
    """
    number = number_format(summary)
    rows = [row for row in summary.to_dict("records") if isinstance(row.get("baseline"), str)]
    if not rows:
        return [f"No arm can be compared with {baseline}."]
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row["baseline"], []).append(row)
    return [_overall(family, margin) for family in families.values()] + [_of_arm(row, margin, number) for row in rows]


def _overall(rows: list[Row], margin: float) -> str:
    """What to do, of the arms that are compared with one baseline."""
    over = _over(rows[0])
    metric, base = rows[0]["metric"], rows[0]["baseline"].removesuffix(over)
    arms: dict[str, list[str]] = {word: [] for word in ("better", *OTHERS)}
    for row in rows:
        arms[row["verdict"]].append(row["arm"].removesuffix(over))
    said = _advice(arms, base, metric, margin, rows)
    return f"On average{over}: {said[0].lower()}{said[1:]}" if over else said


def _over(row: Row) -> str:
    """` over all 3 blocks`, which ends the names of a comparison over blocks; empty for any other."""
    over = f" over {row['block']}"
    return over if row["baseline"].endswith(over) else ""


def _advice(arms: dict[str, list[str]], base: str, metric: str, margin: float, rows: list[Row]) -> str:
    better = arms["better"]
    if len(better) == 1:
        answer = f"Take {better[0]}: it is better than {base} by {metric}"
    elif better:
        answer = (
            f"Take one of {', '.join(better)}: each is better than {base} by {metric}, which is best was not tested"
        )
    elif len(arms["undecided"]) == len(rows):
        fewest = fewest_seeds(ALPHA / rows[0]["family"])
        if all(0 < row["pairs"] < fewest for row in rows):
            return f"Undecided: with fewer than {fewest} seeds no arm can be shown to differ from {base} by {metric}."
        return f"Undecided: these seeds tell no arm from {base} by {metric}."
    elif arms["worse"] or arms["undecided"]:
        answer = f"Keep {base}: no arm is shown to be better by {metric}"
        if any(row["verdict"] == "equivalent" and row["p_holm"] <= ALPHA for row in rows):
            answer += f" by more than {margin:g}"
    else:
        answer = f"Keep {base}: no arm differs from it by more than {margin:g} {metric}"
    for row in rows:
        if row["verdict"] == "better" and row["diverged"]:
            answer += f", but {row['arm']} diverged on {row['diverged']} of {row['seeds'] + row['diverged']} seeds"
    names = {word: ", ".join(arms[word]) if len(arms[word]) <= FEW else f"{len(arms[word])} arms" for word in OTHERS}
    rest = "; ".join(f"{word}: {names[word]}" for word in OTHERS if arms[word])
    return f"{answer} ({rest})." if rest else f"{answer}."


def _of_arm(row: Row, margin: float, number: Callable) -> str:
    """What the seeds say of one arm."""
    arm, base, n = row["arm"], row["baseline"].removesuffix(_over(row)), int(row["pairs"])
    if row["verdict"] == "identical":
        seeds = f"all {n} seeds" if n > 1 else "its one seed"
        what = "learning curves, bit for bit" if row["same_curves"] else row["metric"]
        return f"{arm}: identical to {base}: on {seeds} the same {what}."
    evidence = _evidence(row, number)
    if row["verdict"] == "equivalent":
        if row["p_holm"] <= ALPHA:
            evidence += f"; that they differ at all has p {p_value(row['p_holm'], '= ')} after Holm"
        return f"{arm}: equivalent to {base} within {margin:g}: {evidence}."
    if row["verdict"] in ("better", "worse"):
        return f"{arm}: {row['verdict']} than {base}: {evidence}."
    return f"{arm}: undecided against {base}: {evidence}; {_what_would_decide(row)}."


def block_sentences(arms: list[Arm], summary: pd.DataFrame, baseline: str, metric: str) -> list[str]:
    """Where the answer depends on the block: a sentence per setting whose verdict or difference does.

    summary: the rows of `metric`. That one block decides and another does not is no sign that they differ, so it says
    which of both it is.
    """
    number, rows, said = number_format(summary), {row["arm"]: row for row in summary.to_dict("records")}, []
    for found in block_interactions(arms, baseline, metric):
        setting, p, where = found["setting"], found["p"], found["blocks"]
        names = [arm.name for block in where for arm in arms if (arm.setting, arm.block) == (setting, block)]
        here = [rows[name] for name in names if name in rows and isinstance(rows[name].get("baseline"), str)]
        by_word: dict[str, list[str]] = {}
        for row in here:
            text = f"{spell_block(row['block'])} ({number(row['difference'], '+')})"
            by_word.setdefault(row["verdict"], []).append(text)
        if p > ALPHA and not len({EQUAL.get(word, word) for word in by_word}) > 1:
            continue
        each = "; ".join(f"{word} {', '.join(texts)}" for word, texts in by_word.items())
        on = ", ".join(block_factors(where)) or "the block"
        if p <= ALPHA:
            said.append(f"The answer for {setting} depends on {on} (p {p_value(p, '= ')}): {each}.")
        else:
            shown = f"p {p_value(p, '= ')}" if not np.isnan(p) else "no seed is paired in each"
            said.append(f"{setting} by block: {each}; that its difference depends on {on} is not shown ({shown}).")
    return said


def _evidence(row: Row, number: Callable) -> str:
    """The difference, its interval, p after Holm of what the verdict rests on, and from how many seeds."""
    n = int(row["pairs"])
    parts = [f"{number(row['difference'], '+')} {row['metric']}"]
    if row["difference_ci_low"] < row["difference_ci_high"]:
        low, high = (number(row[f"difference_ci_{end}"], "+") for end in ("low", "high"))
        parts.append(f"95 % interval {low} to {high}")
    equal = row["verdict"] == "equivalent"
    p = row["p_equivalent" if equal else "p_holm"]
    if n != 1 and not pd.isna(p):
        parts.append(f"{'two one-sided tests ' if equal else ''}p {p_value(p, '= ')} after Holm")
    return ", ".join([*parts, f"{n} pair{'s' * (n > 1)} of seeds" if n else "no pairs of seeds"])


def _what_would_decide(row: Row) -> str:
    """How many seeds would decide, if that is known."""
    n, fewest = int(row["pairs"]), fewest_seeds(ALPHA / row["family"])
    if not n:
        return "the same seeds in both arms would tell more"
    if n < 2:
        return f"one seed says nothing of the uncertainty; a difference takes {fewest} seeds or more to show"
    power = f"{POWER:.0%} power if differences stay as they are".replace("%", " %")
    if pd.isna(row["seeds_needed"]):
        known = f"{MOST_SEEDS:,} seeds would not decide ({power})"
    else:
        known = f"about {int(row['seeds_needed'])} seeds would decide ({power})"
    return known if n >= fewest else f"so few seeds can never show a difference, {fewest} are the fewest; {known}"


def bias_sentences(distances: pd.DataFrame, bases: Collection[str]) -> list[str]:
    """Whether training forgot where the biases began: a sentence per arm that is compared with one of `bases`.

    distances: see `dynamics.distances`; here they are taken over all layers together.
    """
    said = []
    for (arm, other), rows in distances.groupby(["arm", "other"], sort=False):
        if arm not in bases and other not in bases:
            continue
        arm, base = (other, arm) if arm in bases else (arm, other)
        before, after = (float(np.linalg.norm(rows[moment])) for moment in ("before", "after"))
        if not before:
            where = f"ended {after:.3g} away" if after else "ended there"
            said.append(f"{arm}: its biases began where those of {base} did and {where}.")
            continue
        undone = f"{max(0.0, 1 - after / before):.0%}".replace("%", " %")
        undone = "none" if undone == "0 %" else undone
        said.append(
            f"{arm}: its biases began {before:.3g} away from those of {base} and ended {after:.3g} away: "
            f"training undid {undone} of the difference."
        )
    return said


def ablation_sentences(table: pd.DataFrame, arms: list[Arm]) -> list[str]:
    """What the trained biases do for each arm's models: a sentence per arm, from `ablation.over_seeds`."""
    said = []
    for arm in arms:
        rows = {row["biases"]: row for row in table[table["arm"] == arm.name].to_dict("records")}
        own = rows.pop("own", None)
        rows = {name: row for name, row in rows.items() if np.isfinite(row["change"])}  # tested with its own ones too
        if own is None or not rows:
            continue
        size = max(abs(row["change"]) for row in rows.values())
        digits = int(np.clip(2 - np.floor(np.log10(size)), 0, 7)) if size else 4
        names = {"zeroed": "set to zero", "before": "put back to where they began"}
        parts = [f"{names.get(name) or f'from {name}'} {_signed(row['change'], digits)}" for name, row in rows.items()]
        said.append(f"{arm.name}: {own['metric']} {own['mean']:.{digits}f} with its own biases; {', '.join(parts)}.")
    return said


def _signed(value: float, digits: int) -> str:
    """`+0.01`, and 0 without a sign."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else "0"


def run_remarks(arms: list[Arm], baseline: str, metric: str) -> list[str]:
    """What a reader must know of the runs: diverged ones, values that are missing, and seeds that are no pairs."""
    said, bases = [], baseline_arms(arms, baseline)
    for block in dict.fromkeys(arm.block for arm in arms):
        if block not in bases:
            said.append(f"{block or 'without overrides'}: there is no {baseline}, so nothing is compared.")
        elif not bases[block].values(metric):
            said.append(f"{bases[block].name}: no complete run has {metric}, so nothing is compared with it.")
    pooled = pooled_arms(arms, baseline)
    bases |= baseline_arms(pooled, baseline)
    for arm in (*pooled, *arms):
        base = bases.get(arm.block)
        said += [f"{arm.name}: {text}" for text in _of_runs(arm, metric)]
        if base is not None and base is not arm and arm.values(metric) and base.values(metric):
            said += _of_pairs(arm, base, metric)
    return said


def _of_runs(arm: Arm, metric: str) -> Iterator[str]:
    lacking = sorted(arm.complete.keys() - arm.values(metric).keys())
    if len(arm.parts) > 1:
        if some := sorted({seed for part in arm.parts for seed in part.values(metric)} - arm.values(metric).keys()):
            yield f"not every block has {_seeds(some)}, which are in no mean over blocks."
        return
    if arm.diverged:
        yield f"diverged, and in no mean: {_seeds(arm.diverged)}."
    if lacking:
        yield f"without {metric}, and in no mean of it: {_seeds(lacking)}."
    if never := arm.censored(metric):
        last = len(arm.histories[never[0]]["epoch"]) - 1
        column, _, level = metric.removeprefix(EPOCHS_TO).rpartition("_")
        yield f"did not reach {column} {level} in {last} epochs, and counted as {last + 1}: {_seeds(never)}."


def _of_pairs(arm: Arm, base: Arm, metric: str) -> Iterator[str]:
    mine, paired, differ = arm.values(metric), paired_seeds(arm, base, metric), mismatches(arm, base)
    if len(paired) == len(mine):
        return
    why = []
    if alone := sorted(mine.keys() - base.values(metric).keys() - differ.keys()):
        why.append(f"{base.name} lacks {_seeds(alone)}")
    if differ:
        kinds = " and ".join(dict.fromkeys(kind for kinds in differ.values() for kind in kinds))
        why.append(f"{_seeds(list(differ))} began with other {kinds}")
    count = f"only {len(paired)} of its {len(mine)} seeds are paired with {base.name}"
    count = count if paired else f"no seed is paired with {base.name}, so the arms are compared unpaired"
    yield f"{'Warning: ' if differ or not paired else ''}{arm.name}: {count}: {', '.join(why)}."


def _seeds(seeds: list[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {seed_spans(seeds)}"

"""What the statistics say, in words."""

from typing import Any

import numpy as np
import pandas as pd

from pipeline import decisions, stats


def sentences(summary: pd.DataFrame, baseline: str, margin: float) -> list[str]:
    """The answer in one sentence, then one per arm. summary: the rows of one metric of `compare.summarize`."""
    rows = [row for row in summary.to_dict("records") if isinstance(row.get("verdict"), str)]
    return [_overall(rows, baseline, margin), *(_of_arm(row, baseline, margin) for row in rows)]


def _overall(rows: list[dict[str, Any]], baseline: str, margin: float) -> str:
    """What to do, of all arms together."""
    if not rows:
        return f"There is no arm to compare with {baseline}."
    by_word: dict[str, list[str]] = {}
    for row in rows:
        by_word.setdefault(row["verdict"], []).append(row["arm"])
    better = [row for row in rows if row["verdict"] == "better"]
    metric = rows[0]["metric"]
    if better:
        best = max(better, key=lambda row: abs(row["difference"]))
        answer = f"Better than {baseline} by {metric}: {', '.join(by_word['better'])}; most of all {best['arm']}"
        answer = answer if len(better) > 1 else f"Take {best['arm']}: it is better than {baseline} by {metric}"
    elif set(by_word) == {"undecided"}:
        answer = f"Undecided: these seeds cannot tell any arm from {baseline} by {metric}"
    else:
        answer = f"Keep {baseline}: by {metric} no arm is better"
    words = {"worse": "worse", "equivalent": f"equivalent within {margin:g}", "identical": "identical"}
    if set(by_word) != {"undecided"}:
        words["undecided"] = "undecided"
    rest = [f"{said}: {', '.join(by_word[word])}" for word, said in words.items() if word in by_word]
    return "; ".join([answer, *rest]) + "."


def _of_arm(row: dict[str, Any], baseline: str, margin: float) -> str:
    number = f"{row['difference']:+.4f} {row['metric']}"
    spread = interval(row["difference"], row["difference_ci_low"], row["difference_ci_high"])
    seeds = f"over {row['pairs']} paired seeds" if row["pairs"] else "unpaired"
    if row["verdict"] == "identical":
        return f"{row['arm']}: identical to {baseline} on all {row['pairs']} seeds."
    if row["pairs"] == 1:
        return f"{row['arm']}: {number} from one seed: nothing can be said of its uncertainty."
    known = "" if pd.isna(row["p_holm"]) else f", p = {p_value(row['p_holm'])}"
    evidence = f"{number} {spread.partition(' ')[2]}{known}, {seeds}".replace("  ", " ")
    if row["verdict"] == "equivalent":
        return f"{row['arm']}: equivalent to {baseline} within {margin:g}: {evidence}."
    if row["verdict"] in ("better", "worse"):
        return f"{row['arm']}: {row['verdict']} than {baseline}: {evidence}."
    fewest = decisions.fewest_seeds(stats.ALPHA / row["family"])
    if row["pairs"] and row["pairs"] < fewest:
        more = f"so few seeds can never show a difference, {fewest} are the fewest"
    elif pd.isna(row["seeds_needed"]):
        more = "no number of seeds that is in reach would decide" if row["pairs"] else "pairs would tell more"
    else:
        more = f"about {row['seeds_needed']} seeds would decide (80 % power, if differences stay as they are)"
    return f"{row['arm']}: undecided against {baseline}: {evidence}; {more}."


def interval(mean: Any, low: Any, high: Any, sign: str = "+") -> str:
    """`+0.0042 [+0.0010, +0.0074]`, or what of it is known."""
    if mean is None or pd.isna(mean):
        return "–"
    known = low is not None and np.isfinite(low)
    return f"{mean:{sign}.4f}" + (f" [{low:{sign}.4f}, {high:{sign}.4f}]" if known else "")


def p_value(p: float) -> str:
    """Two digits that count, and never 0."""
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"

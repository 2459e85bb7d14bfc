"""What a reviewer asks of a comparison, as pairs of a question and an answer, from what the runs record."""

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.analysis.arms import Arm, seed_spans
from pipeline.analysis.commands import recorded_of, training_commands
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.formatting import p_value
from pipeline.report.settings import Pairs, name_arms
from pipeline.report.training import describe_training
from pipeline.store.runs import Run

NOT_RECORDED = "not recorded"
NOT_SHOWN = "not shown, since this report of portable runs is the same on any machine; each run's machine.json has it"
MISSING = {
    "refuse": "none, a table with any is refused (data.missing=refuse)",
    "drop": "rows with any were left out (data.missing=drop)",
    "impute": "filled for each seed from its training rows, numbers with the median, categories with the most frequent "
    "one, and marked in features of their own (data.missing=impute; rows.npz has the values)",
}
STATISTICS = ("arm", "pairs", "difference [95 %]", "p", "p (Holm)", "effect size", "verdict")


def reviewer_facts(comparison: Comparison) -> Pairs:
    """Data, seeds, parameters, epochs, time, hardware, versions, code, the training command, the correction of p."""
    study = comparison.study
    runs = [run for arm in study.arms for run in arm.runs]
    training = describe_training(study.arms)
    seeds = sorted({run.seed for run in runs})
    epochs = _by_arm(study.arms, lambda run: str(run.meta["config"].get("training", {}).get("epochs", "")))
    return [
        ("data", _by_arm(study.arms, _data)),
        ("missing values", _by_arm(study.arms, _missing_values)),
        ("rows", _rows(runs)),
        ("seeds", f"{len(seeds)} ({seed_spans(seeds)}); each draws split, kernels, order of rows and dropout"),
        ("parameters", _by_arm(study.arms, _parameters)),
        ("epochs", "; ".join(filter(None, [f"{'at most ' * bool(training.stopped)}{epochs}", training.stopped]))),
        ("optimizer", training.optimizer_text),
        ("training time", _seconds(runs)),
        ("hardware", _either(runs, _hardware)),
        ("versions", _either(runs, _versions)),
        ("commit of the code", _either(runs, _commit)),
        *([("code of the user", code)] if (code := _user_code(study.arms)) else []),
        ("trained with", "\n".join(training_commands(study.arms, study.name))),
        ("corrected", comparison.correction.sentence or "no p, since nothing is compared"),
    ]  # fmt: skip


def statistics_cells(comparison: Comparison, cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """A row per compared arm under `STATISTICS`. cells: the main table's, see `format.table_cells`."""
    differences = {row[0]: row[3] for row in cells}
    effects = {row["arm"]: row.get("effect") for row in comparison.chosen.to_dict("records")}
    rows = []
    for verdict in comparison.compared:
        effect = effects.get(verdict.arm)
        shown = "–" if effect is None or not np.isfinite(effect) else f"{effect:+.2f}"
        p, p_holm = (
            "–" if p is None else p_value(p, alpha=verdict.alpha, is_bound=is_bound)
            for p, is_bound in ((verdict.p_uncorrected, False), (verdict.p_holm, bool(verdict.look)))
        )
        pairs = str(verdict.pairs or "unpaired")
        rows.append([verdict.arm, pairs, differences.get(verdict.arm, "–"), p, p_holm, shown, verdict.verdict])
    return rows


def _missing_values(run: Run) -> str:
    """How gaps in the data were treated; "" where the run does not say."""
    return MISSING.get(run.meta["config"].get("data", {}).get("missing"), "")


def _data(run: Run) -> str:
    """Name of the data, and how their file was read."""
    name = str(run.meta["config"].get("data", {}).get("name") or "")
    return " | ".join(filter(None, [name, *run.meta.get("data_remarks", ())]))


def _user_code(arms: Sequence[Arm]) -> str:
    """Files and classes of the user's own that runs used, with the arms that did; "" for none."""
    used: dict[str, list[Arm]] = {}
    for arm in arms:
        for entry in arm.runs[0].meta["config"].get("code") or ():
            text = f"{entry['file'] or 'a class of the program'} (digest {entry['digest']}), {', '.join(entry['used'])}"
            used.setdefault(text, []).append(arm)
    return "; ".join(f"{text}: in {name_arms(some, arms)}" for text, some in used.items())


def _rows(runs: Sequence[Run]) -> str:
    """Rows per part of the first run that keeps them."""
    run = next((run for run in runs if run.complete), runs[0])
    sizes = {part: len(rows) for part, rows in run.rows().items() if part in ("train", "validation", "test")}
    return ", ".join(f"{part} {size:,}" for part, size in sizes.items()) or NOT_RECORDED


def _parameters(run: Run) -> str:
    """Number of all weights: recorded, or counted where they are kept."""
    if (count := run.meta.get("parameters")) is None:
        count = sum(values.size for name, values in run.weights().items() if name.startswith("after/"))
    return f"{count:,}" if count else ""


def _commit(run: Run) -> str:
    return NOT_SHOWN if run.portable else str(recorded_of(run).get("git_commit") or "")


def _seconds(runs: Sequence[Run]) -> str:
    if any(run.portable for run in runs):
        return NOT_SHOWN
    seconds = [recorded_of(run).get("seconds") for run in runs]
    known = [value for value in seconds if isinstance(value, int | float)]
    if not known:
        return NOT_RECORDED
    return f"{sum(known):.3g} s for {len(known)} run{'s' * (len(known) > 1)}, {np.mean(known):.2g} s per run"


def _hardware(run: Run) -> str:
    known = recorded_of(run)
    if run.portable:
        return f"any x86-64 processor with AVX2 (portable numbers), trained on {known.get('device')}"
    parts = [known.get("gpu"), known.get("processor") or known.get("platform"), f"trained on {known.get('device')}"]
    return ", ".join(str(part) for part in parts if part)


def _versions(run: Run) -> str:
    known = recorded_of(run)
    packages = {"Python": known.get("python")} | known.get("packages", {})
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version)


def _by_arm(arms: Sequence[Arm], read: Callable[[Run], str]) -> str:
    """What the runs of all arms have; where arms differ, which has what."""
    by_value: dict[str, list[Arm]] = {}
    for arm in arms:
        by_value.setdefault(read(arm.runs[0]) or NOT_RECORDED, []).append(arm)
    if len(by_value) == 1:
        return next(iter(by_value))
    return "; ".join(f"{value} ({name_arms(some, arms)})" for value, some in by_value.items())


def _either(runs: Sequence[Run], read: Callable[[Run], str]) -> str:
    """What the runs record, each once."""
    return " | ".join(dict.fromkeys(read(run) or NOT_RECORDED for run in runs))

"""What a reviewer asks of a comparison, as pairs of a question and an answer, from what the runs record."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from pipeline.analysis.arms import Arm, seed_spans
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.formatting import p_value
from pipeline.report.settings import Pairs
from pipeline.report.training import describe_training
from pipeline.store.runs import Run

NOT_RECORDED = "not recorded"
NOT_SHOWN = "not shown, since this report of portable runs is the same on any machine; each run's machine.json has it"
STATISTICS = ("arm", "pairs", "difference [95 %]", "p", "p (Holm)", "effect size", "verdict")


def reviewer_facts(comparison: Comparison) -> Pairs:
    """Rows, seeds, parameters, epochs, time, hardware, versions, commit, the training command, the correction of p."""
    study = comparison.study
    runs = [run for arm in study.arms for run in arm.runs]
    training = describe_training(study.arms)
    seeds = sorted({run.seed for run in runs})
    metrics = len(study.metrics)
    epochs = _by_arm(study.arms, lambda run: str(run.meta["config"].get("training", {}).get("epochs", "")))
    return [
        ("rows", _rows(runs)),
        ("seeds", f"{len(seeds)} ({seed_spans(seeds)}); each draws split, kernels, order of rows and dropout"),
        ("parameters", _by_arm(study.arms, _parameters)),
        ("epochs", "; ".join(filter(None, [f"{'at most ' * bool(training.stopped)}{epochs}", training.stopped]))),
        ("optimizer", training.optimizer_text),
        ("training time", _seconds(runs)),
        ("hardware", _either(runs, _hardware)),
        ("versions", _either(runs, _versions)),
        ("commit of the code", _either(runs, _commit)),
        ("trained with", "\n".join(training_commands(study.arms, study.name))),
        ("corrected", f"p (Holm) for the arms compared with one baseline, of one metric. Not across metrics: this "
         f"report shows {metrics}, and the verdict is about {study.metric} alone"),
    ]  # fmt: skip


def statistics_cells(comparison: Comparison, cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """A row per compared arm under `STATISTICS`. cells: the main table's, see `format.table_cells`."""
    differences = {row[0]: row[3] for row in cells}
    effects = {row["arm"]: row.get("effect") for row in comparison.chosen.to_dict("records")}
    rows = []
    for verdict in comparison.compared:
        effect = effects.get(verdict.arm)
        shown = "–" if effect is None or not np.isfinite(effect) else f"{effect:+.2f}"
        p, p_holm = ("–" if p is None else p_value(p) for p in (verdict.p, verdict.p_holm))
        pairs = str(verdict.pairs or "unpaired")
        rows.append([verdict.arm, pairs, differences.get(verdict.arm, "–"), p, p_holm, shown, verdict.verdict])
    return rows


def training_commands(arms: Sequence[Arm], study: str) -> list[str]:
    """The commands that train the arms, one per block: those recorded, else what their names tell."""
    from pipeline.installation import command_text

    commands = []
    for block in dict.fromkeys(arm.runs[0].block for arm in arms):
        of_block = [arm for arm in arms if arm.runs[0].block == block]
        settings = [arm.setting for arm in of_block if arm.setting != "no_bias"]
        seeds = sorted({run.seed for arm in of_block for run in arm.runs})
        count = str(len(seeds)) if seeds == list(range(len(seeds))) else f"[{','.join(map(str, seeds))}]"
        first = of_block[0].runs[0]
        recorded = _recorded(first).get("overrides")
        others = _others(recorded) if recorded is not None else [f"study={study}", *block.split(",")[: bool(block)]]
        if first.portable and recorded is None:
            others.append("runtime.portable=true")
        biases = [f"'bias_initializer={','.join(settings)}'"] if settings else []
        use = ["use_bias=true,false" if settings else "use_bias=false"] if len(settings) < len(of_block) else []
        commands.append(" ".join([f"{command_text('train')} -m", *others, *biases, *use, f"seeds={count}"]))
    return commands


def _others(overrides: Iterable[str]) -> list[str]:
    """Overrides but those of biases and seeds, quoted for a shell."""
    import shlex

    left_out = ("bias_initializer", "use_bias", "seeds", "results", "tracking")
    return [shlex.quote(text) for text in overrides if text.lstrip("+~").split("=")[0].split(".")[0] not in left_out]


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


def _recorded(run: Run) -> dict[str, Any]:
    """Versions, device, machine and circumstances of a run; of a portable one what is the same on any machine."""
    return run.meta["environment"] if run.portable else run.environment | run.machine


def _commit(run: Run) -> str:
    return NOT_SHOWN if run.portable else str(_recorded(run).get("git_commit") or "")


def _seconds(runs: Sequence[Run]) -> str:
    if any(run.portable for run in runs):
        return NOT_SHOWN
    seconds = [_recorded(run).get("seconds") for run in runs]
    known = [value for value in seconds if isinstance(value, int | float)]
    if not known:
        return NOT_RECORDED
    return f"{sum(known):.3g} s for {len(known)} run{'s' * (len(known) > 1)}, {np.mean(known):.2g} s per run"


def _hardware(run: Run) -> str:
    known = _recorded(run)
    if run.portable:
        return f"any x86-64 processor with AVX2 (portable numbers), trained on {known.get('device')}"
    parts = [known.get("gpu"), known.get("processor") or known.get("platform"), f"trained on {known.get('device')}"]
    return ", ".join(str(part) for part in parts if part)


def _versions(run: Run) -> str:
    known = _recorded(run)
    packages = {"Python": known.get("python")} | known.get("packages", {})
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version)


def _by_arm(arms: Sequence[Arm], read: Callable[[Run], str]) -> str:
    """What the runs of all arms have; where arms differ, which has what."""
    by_value: dict[str, list[str]] = {}
    for arm in arms:
        by_value.setdefault(read(arm.runs[0]) or NOT_RECORDED, []).append(arm.name)
    if len(by_value) == 1:
        return next(iter(by_value))
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in by_value.items())


def _either(runs: Sequence[Run], read: Callable[[Run], str]) -> str:
    """What the runs record, each once."""
    return " | ".join(dict.fromkeys(read(run) or NOT_RECORDED for run in runs))

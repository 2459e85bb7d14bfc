"""The answer as one page that needs nothing else: `render` gives the HTML of report.html."""

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from pipeline.analysis.comparison import Comparison
from pipeline.analysis.study import Arm, seed_spans
from pipeline.report.figures.theme import theme
from pipeline.stats.intervals import ALPHA
from pipeline.stats.power import fewest_seeds

TEMPLATES = Path(__file__).parent / "templates"
# A verdict is told by its sign and its word, not by colour alone.
SIGNS = {
    "better": "▲", "worse": "▼", "equivalent": "≈", "identical": "=", "undecided": "?", "baseline": "◆",
    "diverged": "✕",
}  # fmt: skip
# The columns of the tables of biases: what they are called, and what they mean.
PLACE = {"arm": ("arm", ""), "layer": ("layer", "")}
DYNAMICS = PLACE | {
    "seeds": ("seeds", ""),
    "drift": ("drift", "distance between before and after training"),
    "cosine": ("cosine", "of the angle between before and after; 1: the direction was kept"),
    "sign_flips": ("sign flips", "share of the units whose bias changed its sign"),
    "half_life": ("half way at epoch", "the first epoch by which half the final distance was covered"),
}
DISTANCES = {
    "arm": ("arm", ""),
    "other": ("other arm", ""),
    "layer": ("layer", ""),
    "before": ("apart before", "distance between the two arms' biases, before training"),
    "after": ("apart after", "the same after training"),
}
ABLATION = {
    "arm": ("arm", ""),
    "biases": ("tested with", "the biases that the trained model was tested with"),
    "seeds": ("seeds", ""),
    "mean": ("mean", "of the metric, over seeds"),
    "change": ("change", "from the model's own biases"),
    "low": ("from", "95 % interval of the change"),
    "high": ("to", "its other end"),
}
DEAD = PLACE | {
    "units": ("ReLU units", ""),
    "before": ("dead before", "share of the units that are 0 on every row, before training"),
    "after": ("dead after", "the same after training"),
}
FORMATS = {"mean": ".4g", "change": "+.3g", "low": "+.3g", "high": "+.3g"}  # others: three digits that count
ENVIRONMENT = {"python": "Python", "device": "device", "platform": "platform", "threads": "threads"}
OF_THE_ARM = ("bias_setting", "use_bias", "bias_initializer", "bias_layers")  # settings that make the arm


class Cell(NamedTuple):
    """A cell of a table: what is read, and what it is sorted by."""

    text: str
    key: float | str


class Sheet(NamedTuple):
    """A table of the page. headings: what stands above a column, and what it means."""

    caption: str
    headings: list[tuple[str, str]]
    rows: list[list[Cell]]


def render_page(
    answer: Comparison, tables: Mapping[str, list[list[str]]], headings: list[str],
    figures: Mapping[str, dict[str, Any]], script: str, commands: Mapping[str, str],
) -> str:  # fmt: skip
    """The page. It loads nothing, names no time, and is the same, byte for byte, for the same answer.

    tables: each metric's rows of text, under `headings`. figures: Vega-Lite specifications by name. script: defines
    `vegaEmbed`. commands: what they do -> how they are typed.
    """
    chosen = answer.chosen
    compared = chosen[chosen["baseline"].notna()] if "baseline" in chosen else chosen.iloc[:0]
    first, arms, rest = _parts(answer.said, compared["arm"].tolist())
    words = [row["verdict"] for row in compared.to_dict("records")]
    metrics = {metric: _metric_sheet(answer, metric, rows, headings) for metric, rows in tables.items()}
    tested = next(
        iter(answer.ablation.get("metric", [])), answer.metric
    )  # a metric of the curves is tested by its loss
    return _environment().get_template("report.html.jinja").render(
        answer=answer,
        signs=SIGNS,
        first=first,
        verdicts=list(zip(words, arms, strict=bool(arms))),
        warnings=rest,
        main=metrics.pop(answer.metric, None),
        metrics=metrics,
        dynamics=_sheet("What training did to the biases, means over seeds", answer.dynamics, DYNAMICS),
        distances=_sheet("How far apart two arms' biases are", answer.distances, DISTANCES),
        ablation=_sheet(f"Trained models tested with other biases: {tested}", answer.ablation, ABLATION),
        dead=_sheet("Dead ReLU units, means over seeds", answer.dead_units, DEAD, shares=("before", "after")),
        figures={name: _figure(spec) for name, spec in figures.items()},
        island={
            "figures": {name: {k: v for k, v in spec.items() if k != "title"} for name, spec in figures.items()},
            "themes": {"light": theme() | {"background": None}, "dark": theme(dark=True)},
            "longest": max(map(len, answer.names)),
        },
        script=script.replace("</script", r"<\/script"),
        facts=_facts(answer, compared),
        arms=[(arm.name, _bias_setting(arm.runs[0].meta["config"])) for arm in answer.arms],
        settings=_settings([arm.runs[0].meta["config"] for arm in answer.arms]),
        config=json.dumps(answer.arms[0].runs[0].meta["config"], indent=2),
        environment=_environments(answer.arms),
        commands=commands,
    )  # fmt: skip


@functools.cache
def _environment() -> Any:
    import jinja2
    import markupsafe

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["breakable"] = lambda text: markupsafe.Markup(",<wbr>").join(text.split(","))  # long names
    return environment


def _parts(said: list[str], arms: list[str]) -> tuple[list[str], list[str], list[str]]:
    """What is said: the answer, a sentence per arm in their order, and what a reader must know of the runs."""
    for i in range(len(said) - len(arms) + 1) if arms else ():
        if all(sentence.startswith(f"{arm}: ") for sentence, arm in zip(said[i:], arms, strict=False)):
            return said[:i], said[i : i + len(arms)], said[i + len(arms) :]
    return said[:1], [], said[1:]


def _metric_sheet(answer: Comparison, metric: str, rows: list[list[str]], headings: list[str]) -> Sheet:
    """One metric's rows of text, with the numbers that they are sorted by."""
    table = answer.table[answer.table["metric"] == metric]
    keys = ["arm", "seeds", "mean", "difference", "p_holm", "verdict"]
    known = [[row.get(key) for key in keys] for row in table.to_dict("records")]
    cells = [[Cell(t, _key(k)) for t, k in zip(*both, strict=True)] for both in zip(rows, known, strict=True)]
    for row in cells:
        row[-1] = Cell(f"{SIGNS.get(row[-1].text, '')}\u00a0{row[-1].text}".strip(), row[-1].text)
    return Sheet(metric, [(heading, "") for heading in headings], cells)


def _sheet(
    caption: str, frame: pd.DataFrame, columns: Mapping[str, tuple[str, str]], shares: Sequence[str] = ("sign_flips",)
) -> Sheet | None:
    """A frame as a table of the page, without columns that are nowhere known; None where there is no row."""
    shown = [name for name in columns if name in frame and frame[name].notna().any()]
    if not shown:
        return None
    rows = [[_cell(name, row[name], shares) for name in shown] for row in frame.to_dict("records")]
    return Sheet(caption, [columns[name] for name in shown], rows)


def _cell(name: str, value: Any, shares: Sequence[str]) -> Cell:
    if isinstance(value, str) or value is None:
        return Cell(value or "–", value or "")
    if not math.isfinite(value):
        return Cell("–", "")
    if name in shares:
        return Cell(f"{value:.0%}".replace("%", " %"), float(value))
    return Cell(format(value, FORMATS.get(name, ".3g")), float(value))


def _key(value: Any) -> float | str:
    if isinstance(value, str):
        return value
    return "" if value is None or pd.isna(value) else float(value)


def _figure(spec: dict[str, Any]) -> dict[str, str]:
    """Heading and caption of a figure, which stand beside it on the page."""
    said = spec["title"]["subtitle"]
    return {"heading": spec["title"]["text"], "caption": said if isinstance(said, str) else " ".join(said)}


def _facts(answer: Comparison, compared: pd.DataFrame) -> dict[str, Any]:
    """Numbers that the page's sentences are made of; None for what the runs do not say."""
    config = answer.arms[0].runs[0].meta["config"]
    data, optimizer = config.get("data", {}), config.get("optimizer", {})
    rates = {arm.runs[0].meta["config"].get("optimizer", {}).get("learning_rate") for arm in answer.arms}
    seeds = sorted({run.seed for arm in answer.arms for run in arm.runs})
    family = int(compared["family"].max()) if len(compared) else 0
    return {
        "seeds": seed_spans(seeds),
        "one_seed": len(seeds) == 1,
        "runs": sum(len(arm.runs) for arm in answer.arms),
        "pairs": sorted(set(compared["pairs"].astype(int))) if len(compared) else [],
        "unpaired": bool((compared["pairs"] == 0).any()) if len(compared) else False,
        "fewest": fewest_seeds(ALPHA / family) if family else None,
        "family": family,
        "test": _percent(data.get("test_fraction")),
        "validation": _percent(data.get("validation_fraction")),
        "optimizer": optimizer.get("class_name"),
        "rate": f"{rates.pop():g}" if len(rates) == 1 and None not in rates else None,
        "epochs": config.get("training", {}).get("epochs"),
        "data": data.get("name"),
        "model": config.get("model", {}).get("name"),
    }


def _percent(fraction: float | None) -> str | None:
    return None if fraction is None else f"{100 * fraction:g} %"


def _bias_setting(config: Mapping[str, Any]) -> str:
    """What makes an arm: its initializer with what it is given, or that there is no bias."""
    if config.get("use_bias") is False:
        return "no bias"
    initializer = config.get("bias_initializer") or {}
    given = ", ".join(f"{key}={_word(value)}" for key, value in initializer.get("config", {}).items())
    name = initializer.get("class_name", config.get("bias_setting", ""))
    where = config.get("bias_layers", "all")
    return f"{name}({given})".removesuffix("()") + ("" if where == "all" else f" in {_word(where)}")


def _settings(configs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Every setting that is not the arm's own, as (dotted name, value); where arms differ, all values."""
    flat = [dict(_flat(config)) for config in configs]
    names = dict.fromkeys(name for one in flat for name in one)
    values = {name: list(dict.fromkeys(one.get(name, "–") for one in flat)) for name in names}
    return [(name, found[0] if len(found) == 1 else "by arm: " + " | ".join(found)) for name, found in values.items()]


def _flat(config: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for group, value in config.items():
        if group in OF_THE_ARM:
            continue
        if not isinstance(value, Mapping):
            yield group, _word(value)
            continue
        for key, inner in value.items():
            if (group, key) == ("model", "layers"):
                yield from ((f"model.layers {i}", _layer(layer)) for i, layer in enumerate(inner, 1))
            else:
                yield f"{group}.{key}", _word(inner)


def _layer(layer: Mapping[str, Any]) -> str:
    """A layer in one line, without what is the arm's."""
    given = {k: v for k, v in layer.get("config", {}).items() if k not in OF_THE_ARM}
    inner = [f"{k}={_layer(v) if isinstance(v, Mapping) and 'class_name' in v else _word(v)}" for k, v in given.items()]
    return f"{layer.get('class_name', '')}({', '.join(inner)})"


def _word(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={_word(v)}" for k, v in value.items()) or "none"
    return ", ".join(map(_word, value)) or "none" if isinstance(value, list) else str(value)


def _environments(arms: list[Arm]) -> list[tuple[str, str]]:
    """Versions and device of all runs; where runs differ, all values."""
    found: dict[str, dict[str, None]] = {}
    for arm in arms:
        for run in arm.runs:
            for key, value in run.meta["environment"].items():
                nested = value if key == "packages" else {ENVIRONMENT.get(key, key.replace("_", " ")): value}
                for name, inner in nested.items():
                    found.setdefault(name, {})[_word(inner)] = None
    return [(name, " | ".join(values)) for name, values in found.items()]

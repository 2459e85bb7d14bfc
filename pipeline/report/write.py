"""Write the reports of `python -m pipeline.compare`: tables, figures, text and a page per study."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from altair.typing import ChartType

from pipeline.analysis.across_studies import rank_arms
from pipeline.analysis.bias_dynamics import write_bias_values
from pipeline.analysis.comparison import Comparison, compare_study
from pipeline.analysis.known import claim_of, hold_against_claims
from pipeline.analysis.study import Study
from pipeline.report.console import print_comparison, print_ranking, short_path
from pipeline.report.document import FILE, render_document
from pipeline.report.figures.biases import bias_distributions, bias_trajectories, drift_heatmap
from pipeline.report.figures.performance import difference_curves, forest, learning_curves, paired_differences
from pipeline.report.figures.theme import for_print
from pipeline.report.figures.tuning import tuned_values
from pipeline.report.html import render_page
from pipeline.report.known import check_claim_files, print_claim, write_claim
from pipeline.report.latex import render_latex
from pipeline.report.markdown import render_markdown
from pipeline.report.methods import render_methods, render_references
from pipeline.report.places import ENDINGS, FIGURES, TRACKED, check_report_folder
from pipeline.report.ranking import check_ranking_files, write_ranking
from pipeline.report.render import Drawn, draw_figure, finish_figures
from pipeline.runtime.wrapping import print_sentences
from pipeline.store.answers import record_answer
from pipeline.store.runs import RunStore

DVC_DIGITS = ".6g"  # of its committed files: short to read, and last bits are not in git's history
INTERVAL_ENDS = {"difference_ci_low": "low", "difference_ci_high": "high"}


def report_studies(
    stores: Sequence[RunStore],
    reports: Path,
    command: Callable[[str], str],
    figures: bool = True,
    pdf: bool = False,
    uncorrected: bool = False,
    **question: Any,
) -> list[tuple[RunStore, Path]]:
    """Compare each study, write its report into `reports / study` and print it; of several studies, rank the arms too.

    command: the command line that writes the report of the study with this name again. uncorrected: whether to print p
    without its correction too. question: the arguments of
    `compare_study`. Returns each store with its report's folder. Raises ConfigError, before anything is written,
    when a study cannot be compared.
    """
    for store in stores:
        check_report_folder(reports / store.study, "reports", TRACKED)
    if len(stores) > 1:
        check_ranking_files(reports, "reports")
    comparisons = [compare_study(store, **question) for store in stores]
    check_claim_files(reports, [name for name in map(claim_of, comparisons) if name], "reports")
    tested = hold_against_claims(comparisons)
    ranking = rank_arms(comparisons) if len(comparisons) > 1 else None
    for comparison, store in zip(comparisons, stores, strict=True):
        name = comparison.study.name
        record_answer(store, comparison.study.seeds)
        write_report(comparison, reports / name, command(name), figures, pdf)
        print_comparison(comparison, uncorrected)
        print(f"Report: {short_path(reports / name / 'report.html')}")
    if ranking is not None:
        print()
        if not ranking.table.empty:
            write_ranking(ranking, comparisons, reports)
            print_ranking(ranking, comparisons)
            print(f"Report: {short_path(reports / 'studies.md')}")
        print_sentences(ranking.sentences)
    for one in tested:
        print_claim(one, write_claim(one, reports))
    return [(store, reports / store.study) for store in stores]


def write_report(
    comparison: Comparison, folder: Path, command: str = "", figures: bool = True, pdf: bool = False
) -> None:
    """Write comparison.json, answer.md, report.html, the tables, figures/, and metrics.json and plots/ for DVC.

    Where a figure cannot be drawn, nothing is written, and an earlier report stays as it is.

    command: the command line that writes this report again. figures: False draws none, neither into figures/ nor on the
    page, which saves most of the time; those of an earlier report are deleted, since they may show something else.
    pdf: whether to draw them for a column of print too.
    """
    specs = _start_drawing(comparison, folder / "figures", pdf) if figures else {}
    texts = {
        FILE: render_document(comparison),
        "metrics.json": json.dumps(_dvc_metrics(comparison), indent=2) + "\n",
        "answer.md": render_markdown(comparison, specs),
        "answer.tex": render_latex(comparison, pdf and figures),
        "methods.md": render_methods(comparison),
        "references.bib": render_references(),
    }
    drawn = finish_figures() if figures else Drawn({}, "")  # raises before anything is written
    texts["report.html"] = render_page(comparison, specs, drawn.script, command)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():  # comparison.json first: by it a folder is known for a report's
        (folder / name).write_text(text, encoding="utf-8")
    _write_figures(drawn.files, folder / "figures")
    comparison.summary.to_csv(folder / "summary.csv", index=False)
    comparison.differences.to_csv(folder / "differences.csv", index=False)
    write_bias_values(comparison.trajectories, folder / "biases.parquet")
    _write_dvc_plots(comparison, folder / "plots")


def make_charts(comparison: Comparison) -> Iterator[tuple[str, Any]]:
    """Make every figure that there is something to draw for, in the order of the page: (name, Altair chart)."""
    study = comparison.study
    arms = {arm.name: arm.setting for arm in study.arms}
    if comparison.compared:
        both = arms | {arm.name: arm.setting for arm in study.compared_arms}
        yield "intervals", forest(comparison.main_rows, both, study.margin, study.higher_is_better, _interval(study))
    if not comparison.tuning_curve.empty:
        yield "tuning", _tuning_chart(comparison)
    pairs = comparison.differences.loc[comparison.differences["metric"] == study.metric]
    if not pairs.empty:
        yield "paired_differences", paired_differences(pairs, arms, study.higher_is_better)
    yield "learning_curves", learning_curves(comparison.curves, arms)
    if not comparison.difference_curves.empty:
        yield "difference_curves", difference_curves(comparison.difference_curves, arms)
    if not comparison.quantiles.empty:
        yield "biases", bias_distributions(comparison.quantiles, arms)
    if not comparison.drawn_trajectories.empty:
        yield "trajectories", bias_trajectories(comparison.drawn_trajectories, arms)
    if not comparison.drift.empty:
        yield "drift", drift_heatmap(comparison.drift, arms)


def _tuning_chart(comparison: Comparison) -> ChartType:
    answers, curve = comparison.tunings, comparison.tuning_curve
    shared = {family.rest: family.shared[0] for family in comparison.study.tuned}
    first = answers[0]
    settings = list(dict.fromkeys(curve["arm"]))
    return tuned_values(
        curve, settings, first.keys, shared, comparison.study.metric, first.chosen_by, first.by_first_look
    )


def _interval(study: Study) -> str:
    """Which interval a difference of the verdict's metric has."""
    level = f"{100 * (1 - study.alpha):g} % interval"
    return f"repeated {level}, which holds at every look" if study.progress else level


def _start_drawing(comparison: Comparison, folder: Path, pdf: bool) -> dict[str, dict[str, Any]]:
    """Have the figures drawn into `folder` while this process goes on; returns their Vega-Lite specifications."""
    from altair.utils.schemapi import debug_mode

    specs = {}
    with debug_mode(False):  # Altair checks each part of a chart as it is made; the renderer checks the whole
        for name, chart in make_charts(comparison):
            specs[name] = chart.to_dict(validate=False) | {"description": chart.title.text}
            draw_figure(for_print(specs[name]), folder / name, pdf)
    return specs


def _write_figures(files: Mapping[Path, bytes], folder: Path) -> None:
    """Write the figures, and delete those of an earlier report that this one does not have, further pages included."""
    for name, ending in product(FIGURES, ENDINGS):
        for path in {folder / f"{name}.{ending}", *folder.glob(f"{name}-[0-9]*.{ending}")} - files.keys():
            path.unlink(missing_ok=True)
    for path, content in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def _write_dvc_plots(comparison: Comparison, folder: Path) -> None:
    """Write the tables behind `dvc plots`, by the metric of the verdict; their templates are in .dvc/plots."""
    folder.mkdir(exist_ok=True)
    metric = comparison.study.metric
    columns = ["arm", "baseline", "metric", "difference", *INTERVAL_ENDS, "verdict"]
    intervals = comparison.chosen.reindex(columns=columns).dropna(subset="difference").rename(columns=INTERVAL_ENDS)
    values = [
        {"arm": arm.name, "seed": seed, "metric": metric, "value": value}
        for arm in comparison.study.arms
        for seed, value in arm.values(metric).items()
    ]
    tables = {
        "intervals": intervals,
        "values": pd.DataFrame(values, columns=["arm", "seed", "metric", "value"]),
        "biases": comparison.quantiles,
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format=f"%{DVC_DIGITS}")


def _dvc_metrics(comparison: Comparison) -> dict[str, dict[str, float]]:
    """What `dvc metrics` shows: arm -> name -> number, about ten of each arm, without unknown ones.

    The mean of every test metric; of the metric of the verdict also the spread over seeds, and how it differs from the
    baseline. summary.csv has the rest.
    """
    metric = comparison.study.metric
    metrics: dict[str, dict[str, float]] = {}
    for row in comparison.summary.to_dict("records"):
        numbers = metrics.setdefault(str(row["arm"]), {})
        of_verdict = {f"{metric}_std": row.get("std")}
        of_verdict |= {name: row.get(name) for name in ("seeds", "diverged", "difference", *INTERVAL_ENDS, "p_holm")}
        if row["metric"] == metric or str(row["metric"]).startswith("test_"):
            known = {str(row["metric"]): row["mean"]} | (of_verdict if row["metric"] == metric else {})
            numbers |= {name: _short(value) for name, value in known.items() if value is not None and value == value}
    return metrics


def _short(number: Any) -> float:
    """A number as DVC's files have it; a count stays one."""
    return int(number) if float(number).is_integer() else float(f"{number:{DVC_DIGITS}}")

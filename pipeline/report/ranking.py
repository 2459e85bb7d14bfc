"""Arms ranked over several studies, as a table on the terminal, Markdown and CSV."""

from pathlib import Path

import numpy as np

from pipeline.analysis.across_studies import Ranking
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.formatting import number_format
from pipeline.report.markdown import markdown_row

COLUMNS = 5  # studies that the printed table has a column for
NOTE = """Means over seeds, with the rank within the study in brackets: 1 is the best, in the direction of the study's
metric, and equal means share a rank. The tests take the studies for a sample of all that could be asked. With few of
them F's p is rough; it is never given as less than the chance that all studies rank alike."""


def ranking_headings(found: Ranking) -> list[str]:
    """Of `cells`."""
    each = found.table.groupby("study", sort=False)["metric"].first()
    return ["arm", "mean rank", *(f"{study}: {metric}" for study, metric in each.items() if len(each) <= COLUMNS)]


def ranking_cells(found: Ranking, answers: list[Comparison], all_studies: bool = False) -> list[list[str]]:
    """A row per arm: its mean rank, and for few studies its mean and rank in each."""
    number = {a.study: number_format(a.chosen) for a in answers}
    rows = []
    for arm, here in found.table.groupby("arm", sort=False):
        row = [str(arm), f"{here['mean_rank'].iloc[0]:.2f}"]
        for _, one in here.iterrows() if all_studies or len(found.studies) <= COLUMNS else ():
            mean = number[one["study"]](one["mean"]) if np.isfinite(one["mean"]) else "diverged"
            row.append(f"{mean} ({one['rank']:g})")
        rows.append(row)
    return rows


def write_ranking(found: Ranking, answers: list[Comparison], folder: Path) -> None:
    """Write studies.csv and studies.md into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found.table.to_csv(folder / "studies.csv", index=False)
    head = ["arm", "mean rank", *(f"{a.study}: {a.metric}" for a in answers)]
    rows = [head, ["---"] * len(head), *ranking_cells(found, answers, all_studies=True)]
    text = [f"# {', '.join(found.studies)}", "", found.said[0], "", *(f"- {sentence}" for sentence in found.said[1:])]
    text += ["", *map(markdown_row, rows), "", NOTE]
    (folder / "studies.md").write_text("\n".join(text) + "\n")

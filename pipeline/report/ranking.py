"""Arms ranked over several studies, as a table for the terminal, Markdown and CSV."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.analysis.across_studies import Ranking
from pipeline.analysis.comparison import Comparison
from pipeline.analysis.formatting import number_format, plain_rows
from pipeline.errors import ConfigError
from pipeline.report.markdown import markdown_table
from pipeline.store.places import check_file

FILES = ("studies.csv", "studies.md")
MOST_COLUMNS = 5  # studies that get a column of their own on the terminal
NOTE = """Means over seeds, with the rank within the study in brackets: 1 is the best, in the direction of the study's
metric, and equal means share a rank. The tests treat the studies as a sample of all that could be asked. With few of
them F's p is rough; it is never given as less than the chance that all studies rank alike."""
# What an earlier ranking has.
MARKS = {"studies.csv": "arm,study,metric,mean,rank,mean_rank\n", "studies.md": NOTE.partition("\n")[0]}


def check_ranking_files(folder: Path, key: str) -> None:
    """Raise ConfigError, naming the setting `key` and the path, where anything but an earlier ranking is in the way."""
    for name, mark in MARKS.items():
        check_file(folder / name, key)
        if os.path.lexists(folder / name) and mark not in _text(folder / name):
            line = f"{key}: {folder / name} is no earlier ranking of studies, which would be written over"
            raise ConfigError(f"{line}; allowed: another folder, or no file of its name; move it away")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def ranking_headings(ranking: Ranking, all_studies: bool = False) -> list[str]:
    """The headings of `ranking_cells`."""
    metrics = ranking.table.groupby("study", sort=False)["metric"].first()
    shown = all_studies or len(metrics) <= MOST_COLUMNS
    return ["arm", "mean rank", *(f"{study}: {metric}" for study, metric in metrics.items() if shown)]


def ranking_cells(ranking: Ranking, comparisons: Sequence[Comparison], all_studies: bool = False) -> list[list[str]]:
    """A row per arm: its mean rank, and its mean and rank in each study.

    all_studies: False leaves the studies out where they are more than `MOST_COLUMNS`.
    """
    numbers = {c.study.name: number_format(plain_rows(c.chosen)) for c in comparisons}
    shown = all_studies or len(ranking.studies) <= MOST_COLUMNS
    rows = []
    for arm, arm_rows in ranking.table.groupby("arm", sort=False):
        cells = [str(arm), f"{arm_rows['mean_rank'].iloc[0]:.2f}"]
        for row in arm_rows.to_dict("records") if shown else ():
            mean = numbers[row["study"]](row["mean"]) if np.isfinite(row["mean"]) else "diverged"
            cells.append(f"{mean} ({row['rank']:g})")
        rows.append(cells)
    return rows


def write_ranking(ranking: Ranking, comparisons: Sequence[Comparison], folder: Path) -> None:
    """Write studies.csv and studies.md into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    ranking.table.to_csv(folder / FILES[0], index=False)
    table = markdown_table(ranking_headings(ranking, True), ranking_cells(ranking, comparisons, True))
    first, *others = ranking.sentences
    lines = [f"# {', '.join(ranking.studies)}", "", first, "", *(f"- {sentence}" for sentence in others)]
    (folder / FILES[1]).write_text("\n".join([*lines, "", *table, "", NOTE]) + "\n")

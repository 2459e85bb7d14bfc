"""The answer of a comparison in Python: what a notebook shows, and what a program reads."""

import shlex
import shutil
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.analysis.verdict import Verdict
from pipeline.api.charts import Chart
from pipeline.api.settings import Question
from pipeline.api.wording import in_python
from pipeline.config.tuning import Values
from pipeline.errors import ConfigError, closest
from pipeline.experiment.plan import Plan
from pipeline.installation import command_words
from pipeline.store.runs import Run, RunStore

if TYPE_CHECKING:
    from pandas import DataFrame

    from pipeline.analysis.comparison import Comparison

MOMENTS = ("before", "after")
# A shadow at each side of a table to which there is more to see, on the ground of whatever shows the notebook.
GROUND = "var(--jp-layout-color0, var(--vscode-editor-background, var(--colab-primary-surface-color, Canvas)))"
SHADE = (
    f"background: linear-gradient(to right, {GROUND} 30%, transparent) left / 2.5rem 100% no-repeat local, "
    f"linear-gradient(to left, {GROUND} 30%, transparent) right / 2.5rem 100% no-repeat local, "
    "linear-gradient(to right, #80808090, transparent) left / 0.9rem 100% no-repeat scroll, "
    "linear-gradient(to left, #80808090, transparent) right / 0.9rem 100% no-repeat scroll"
)
MAIN_COLUMNS = ("arm", "metric", "verdict", "difference", "difference_ci_low", "difference_ci_high", "p_holm", "mean",
                "seeds")  # fmt: skip


class UnknownArmError(ConfigError, KeyError):
    """A verdict asked of an arm that is not in the study."""

    __str__ = Exception.__str__  # KeyError's has the line as Python source


class Verdicts(Mapping[str, Verdict]):
    """The verdict on each arm, by its bias setting, or by the word that the arm was asked for with."""

    def __init__(self, verdicts: Mapping[str, Verdict], names: Mapping[str, str]) -> None:
        self._verdicts, self._names = dict(verdicts), dict(names)

    def __getitem__(self, arm: Any) -> Verdict:
        name = self._names.get(str(arm), str(arm))
        if name not in self._verdicts:
            raise UnknownArmError(f"verdicts: no arm {arm}; {closest(str(arm), list(self._verdicts))}")
        return self._verdicts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)

    def __repr__(self) -> str:
        return "\n".join(verdict.sentence or f"{name}: {verdict.verdict}" for name, verdict in self._verdicts.items())


class Study:
    """A comparison. In a notebook, a cell that ends in it shows the verdict, the table and the forest plot.

    headline: the answer in a sentence or a few. mlflow_link: with `mlflow`, the address of the verdict there, else "".
    is_kept: whether the runs stay.
    """

    def __init__(
        self,
        comparison: "Comparison",
        store: RunStore,
        names: Mapping[str, str],
        notes: Sequence[str] = (),
        threshold: float | None = None,
    ) -> None:
        self.comparison, self.store, self._notes = comparison, store, list(notes)
        self.mlflow_link, self.is_kept = "", True
        self._threshold = threshold
        self._names = dict(names)

    @property
    def folder(self) -> Path:
        """Where the runs are stored."""
        return self.store.folder

    @property
    def command(self) -> str:
        """What to type in a shell, in any folder, for the same question of all that the study holds; "" where the runs
        are temporary."""
        if not self.is_kept:
            return ""
        study = self.comparison.study
        options = {"study": study.name, "baseline": study.baseline, "metric": study.metric, "margin": study.margin,
                   "results": self.store.results}  # fmt: skip
        if self._threshold is not None:
            options["threshold"] = self._threshold
        if self._tuned_keys:
            options["tune"] = ",".join(self._tuned_keys)
        return shlex.join([*command_words("compare", uv=False), *(f"{key}={value}" for key, value in options.items())])

    @property
    def headline(self) -> str:
        """The answer, after the warnings without which it must not be read."""
        return " ".join([*map(in_python, self.comparison.foremost), *self.comparison.answer])

    @cached_property
    def verdicts(self) -> Verdicts:
        """The verdict on each arm: `study.verdicts["ones"].verdict` is a word, `.sentence` says it all."""
        given = self.comparison.verdicts
        at_best = [verdict for verdict in given if verdict.tuned] or given
        verdicts = sorted(at_best, key=lambda verdict: self._place(verdict.setting))
        return Verdicts({verdict.setting: verdict for verdict in verdicts}, self._names)

    @property
    def _tuned_keys(self) -> list[str]:
        """The settings that the arms were tuned by."""
        return list(dict.fromkeys(key for answer in self.comparison.tunings for key in answer.keys))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known about the runs, how the data were read, and whatever else `print(study)` says below."""
        advised, corrected = self.comparison.advice * self.is_kept, self.comparison.correction.sentence
        warnings = [in_python(one.text) for one in self.comparison.warnings if not one.foremost]
        return (*filter(None, (advised, corrected)), *warnings, *self._notes)

    def add_notes(self, lines: Sequence[str]) -> None:
        """Add to what is to be known."""
        self._notes += lines

    @property
    def table(self) -> "DataFrame":
        """A row per arm, as they were given, by the metric of the verdict: the verdict and its numbers first.

        Of arms that were tuned, each at its best, then at the shared value; `summary` has the other values too.
        """
        return self._ordered(_main_columns_first(self.comparison.main_rows))

    @property
    def summary(self) -> "DataFrame":
        """The same by every metric."""
        return self._ordered(_main_columns_first(self.comparison.summary))

    @property
    def differences(self) -> "DataFrame":
        """A row per metric, arm and seed: its value, the baseline's, and the difference."""
        return self._ordered(self.comparison.differences)

    @property
    def runs(self) -> list[Run]:
        """The stored runs, one per arm and seed."""
        return [run for arm in self.comparison.study.arms for run in arm.runs]

    def biases(self) -> "DataFrame":
        """Every bias of every run: arm, seed, bias (`dense/bias`), index in it, value before and after training."""
        import numpy as np
        import pandas as pd

        parts = []
        for run, setting in [(run, arm.setting) for arm in self.comparison.study.arms for run in arm.runs]:
            arrays = run.biases(*MOMENTS)
            for name in [name.removeprefix("before/") for name in arrays if name.startswith("before/")]:
                before, after = (arrays[f"{moment}/{name}"].ravel() for moment in MOMENTS)
                columns = {"arm": setting, "seed": run.seed, "bias": name,
                           "index": np.arange(len(before)), "before": before, "after": after}  # fmt: skip
                parts.append(pd.DataFrame(columns))
        columns = ["arm", "seed", "bias", "index", "before", "after"]
        return self._ordered(pd.concat(parts)) if parts else pd.DataFrame(columns=columns)

    def chart(self, name: str = "intervals") -> Chart:
        """A figure of the report: intervals, tuning, paired_differences, learning_curves, biases, ..."""
        from pipeline.report.write import make_charts

        charts = dict(make_charts(self.comparison))
        if name not in charts:
            raise ConfigError(f"chart: no figure {name}; {closest(name, list(charts))}")
        return Chart(charts[name], name)

    def save(self, folder: Any, figures: bool = True) -> Path:
        """Write the whole report into a folder, as `pipeline.compare` does; returns the path of report.html.

        Raises ConfigError where a file of another origin is in the way.
        """
        from pipeline.report.places import check_report_folder
        from pipeline.report.render import stop_renderer
        from pipeline.report.write import write_report

        folder = Path(folder).expanduser()
        check_report_folder(folder, "folder")
        try:
            write_report(self.comparison, folder, self.command, figures)
        except OSError as error:
            raise ConfigError(f"folder: {folder} cannot be written: {error.strerror or error}") from error
        finally:
            stop_renderer()
        return folder / "report.html"

    def remove_at_exit(self, folder: Path) -> "Study":
        """Have the results removed with this object, or when Python ends."""
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return self

    def __repr__(self) -> str:
        headings, rows = self._cells()
        widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                 for row in [headings, *rows]]  # fmt: skip
        rule = "─" * len(lines[0])
        more = self.notes
        return "\n".join([self.headline, "", lines[0], rule, *lines[1:], *(["", *more] if more else [])])

    def _repr_html_(self) -> str:
        from pipeline.report.html import wrap_cell

        headings, rows = self._cells()
        left = 'style="text-align: left"'
        head = "".join(f"<th {left}>{escape(heading)}</th>" for heading in headings)
        body = "".join(
            f'<tr><td style="text-align: left; white-space: normal; min-width: 12em">{wrap_cell(arm)}</td>'
            f"{''.join(f'<td {left}>{escape(cell)}</td>' for cell in row)}</tr>"
            for arm, *row in rows
        )
        names = [*(["intervals"] if self.comparison.compared else []), *(["tuning"] if self._tuned_keys else [])]
        figure = "".join(self.chart(name).as_html() for name in names)
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f'<div style="overflow-wrap: anywhere"><p><strong>{escape(self.headline)}</strong></p>'
            f'<div style="overflow-x: auto; max-width: 100%; {SHADE}"><table style="white-space: nowrap">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
            f"{figure}{f'<ul>{notes}</ul>' if notes else ''}</div>"
        )

    def _place(self, arm: str) -> int:
        """Where an arm was among those that were given, those at their best before all others."""
        arms, (setting, at_best) = list(self._names.values()), self._settings.get(arm, (arm, False))
        place = arms.index(setting) if setting in arms else len(arms)
        return place - len(arms) - 1 if at_best else place

    @cached_property
    def _settings(self) -> dict[str, tuple[str, bool]]:
        """The name of each arm -> its bias setting, and whether it is one at its best."""
        return {verdict.arm: (verdict.setting, verdict.tuned) for verdict in self.comparison.verdicts}

    def _ordered(self, frame: "DataFrame") -> "DataFrame":
        """A frame with the arms as they were given, within each metric where it has several."""
        if "metric" not in frame:
            return frame.sort_values("arm", key=lambda arms: arms.map(self._place), kind="stable", ignore_index=True)
        first = {metric: i for i, metric in enumerate(frame["metric"].unique())}
        places = {"metric": first.__getitem__, "arm": self._place}
        return frame.sort_values(
            ["metric", "arm"], key=lambda column: column.map(places[str(column.name)]), kind="stable", ignore_index=True
        )

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        from pipeline.analysis.formatting import plain_rows
        from pipeline.report.format import headings, table_cells

        alpha = self.comparison.study.alpha
        return headings(alpha), table_cells(plain_rows(self.table), alpha)


def _main_columns_first(frame: "DataFrame") -> "DataFrame":
    """A summary with what a notebook has room for first."""
    main = [name for name in MAIN_COLUMNS if name in frame]
    return frame.reindex(columns=[*main, *(name for name in frame if name not in main)])


def make_study(
    plans: Sequence[Plan], question: Question, baseline: str, names: Mapping[str, str], notes: Sequence[str],
    tune: Mapping[str, Values] | None = None,
) -> Study:  # fmt: skip
    """Compare the runs that the plans ask for, and no others of the same study."""
    from pipeline.analysis.comparison import compare_study
    from pipeline.store.answers import record_answer

    by_arm = {plan.arm: plan for plan in plans}

    def is_asked_for(run: Run) -> bool:
        plan = by_arm.get(run.arm)
        return plan is not None and run.seed in plan.keys and run.key in plan.keys[run.seed]

    metric = _full_metric(question.metric, plans[0], by_arm)
    store = plans[0].store
    comparison = compare_study(store, baseline, metric, question.margin, question.threshold, is_asked_for, tune)
    record_answer(store, comparison.study.seeds)
    shown = {arm.runs[0].meta["config"]["bias_setting"]: arm.setting for arm in comparison.study.arms}
    names = {given: shown.get(setting, setting) for given, setting in names.items()} | shown
    return Study(comparison, store, names, notes, question.threshold)


def _full_metric(metric: str, plan: Plan, arms: Collection[str]) -> str:
    """The name of a stored metric: `accuracy` is that of the test."""
    stored = {name for run in plan.store.runs(plan.arm) for name in run.meta["metrics"]}
    return f"test_{metric}" if f"test_{metric}" in stored else metric

"""Test stored models with other biases than their own, and count their dead ReLU units.

`update_tables` computes the missing rows of a study's `ablation.csv` and `dead_units.csv`, and imports TensorFlow only
if there are any. With its own biases a model must reproduce the test loss that was stored when it was trained;
otherwise it was put together wrongly, and none of its rows is stored. Which rows there are: see `analysis.ablation`.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.analysis.ablation import (
    BEFORE,
    LABELS,
    NUMBERS,
    OWN,
    VERSION,
    ZEROED,
    Row,
    is_bias,
    row_identity,
    stored_rows,
    wanted_rows,
)
from pipeline.config.schema import Data
from pipeline.data.sources import PATHS, load_dataset
from pipeline.data.splits import split_rows, standardized_inputs, standardized_targets
from pipeline.errors import describe_error
from pipeline.experiment.check import MAX_KEPT_WEIGHTS
from pipeline.experiment.evaluation import Evaluator
from pipeline.experiment.plan import Plan, stored_seeds
from pipeline.runtime.device import start_tensorflow
from pipeline.runtime.hashing import digest
from pipeline.store.runs import WEIGHTS, Run, RunStore
from pipeline.store.tables import ABLATION, DEAD_UNITS, read_table, write_table
from pipeline.store.whole_names import names_to_show
from pipeline.training.cache import model_structure

TOLERANCE = 1e-3  # of the test loss: it is reproduced to 1e-6 on one machine, less exactly on another or in float16

TableRow = tuple[str, Row]  # table, row
RunName = tuple[str, str]  # arm, seed


def ablate_studies(plans: Sequence[Plan]) -> list[str]:
    """Update the tables of all studies that the plans belong to. Returns one line per study with missing rows."""
    by_store: dict[RunStore, list[Plan]] = {}
    for plan in plans:
        if plan.config.ablation:
            by_store.setdefault(plan.store, []).append(plan)
    lines = []
    for store, plans_of_study in by_store.items():
        files = {
            plan.settings["data"][name]: getattr(plan.config.data, key)
            for plan in plans_of_study for key, name in PATHS.items() if name in plan.settings["data"]
        }  # fmt: skip
        try:
            first = plans_of_study[0]
            problems = update_tables(store, first.config.runtime.device, files, first.portable)
        except Exception as error:  # a table that is made from results must not cost any
            problems = [describe_error(error)]
        without = sum(not run.has(WEIGHTS) for plan in plans_of_study for run in stored_seeds(plan).values())
        if without:
            kept = f"kept of models up to {MAX_KEPT_WEIGHTS:,} parameters, or with show_weights=true"
            lines.append(f"ablation of {store.study}: none for {without} runs without stored weights, which are {kept}")
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            lines.append(f"ablation of {store.study}: some rows are missing: {problems[0]}{more}")
    return lines


def update_tables(store: RunStore, device: str, files: Mapping[str, str], portable: bool | None = None) -> list[str]:
    """Compute the missing rows of both tables, and drop those of runs that are gone. Returns the problems.

    device: auto, cpu or gpu. files: path of each data file by its digest; runs on other files get no new rows.
    portable: see `start_tensorflow`.
    """
    with store.lock():
        runs = store.runs()
        wanted = wanted_rows(runs)
        rows = {table: stored_rows(store, table, VERSION) for table in wanted}
        missing: dict[RunName, list[TableRow]] = {}
        for table, table_rows in wanted.items():
            for row in table_rows:
                if row_identity(table, row) not in rows[table]:
                    missing.setdefault((row["arm"], row["seed"]), []).append((table, row))
        shown = names_to_show(store)
        by_name = {(run.arm, str(run.seed)): run for run in runs}
        to_test = [run for name, run in by_name.items() if name in missing and _data_file(run) in (None, *files)]
        problems = []
        if to_test:
            start_tensorflow(device, portable)
        for group in _groups(to_test):
            try:
                for run, computed in _evaluate_group(group, missing, by_name, files):
                    if not computed:
                        problems.append(f"{shown[run.arm]}, seed {run.seed}: does not reproduce its stored test loss")
                    for table, row in computed:
                        rows[table][row_identity(table, row)] = row | {"version": VERSION}
            except Exception as error:
                problems.append(f"{shown[group[0].arm]}: {describe_error(error)}")
        for table, table_rows in wanted.items():
            identities = [row_identity(table, row) for row in table_rows]
            complete = [rows[table][identity] for identity in identities if identity in rows[table]]
            if complete != read_table(store, table):
                write_table(store, table, _columns(table, complete), complete)
        return problems


def _columns(table: str, rows: Sequence[Row]) -> list[str]:
    labels = [label for label in LABELS[table] if not label.endswith("key")]
    keys = [label for label in LABELS[table] if label.endswith("key")]
    metrics = [column for row in rows for column, value in row.items() if column.startswith("test_") and value]
    return [*labels, *dict.fromkeys([*NUMBERS[table], *metrics]), *keys, "version"]


def _data_file(run: Run) -> str | None:
    """The digest of the data file that a run was trained on; None for a dataset that is no file."""
    return run.meta["config"]["data"].get("file")


def _data(run: Run, files: Mapping[str, str]) -> Data:
    """The data settings of a run. files: path of each data file by its digest."""
    settings = run.meta["config"]["data"]
    known: dict[str, Any] = {k: v for k, v in settings.items() if k in Data.__dataclass_fields__}
    known |= {key: files.get(settings[name]) for key, name in PATHS.items() if name in settings}
    return Data(**known)


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Group runs that one evaluator serves, sorted by seed, since the runs of a seed share their test rows."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        settings = run.meta["config"]
        training = settings["training"]
        shared = [model_structure(settings["model"]["layers"]), settings["data"], training["loss"], training["metrics"]]
        groups.setdefault(digest(shared), []).append(run)
    return [sorted(group, key=lambda run: run.seed) for group in groups.values()]


def _evaluate_group(
    runs: Sequence[Run],
    missing: Mapping[RunName, Sequence[TableRow]],
    by_name: Mapping[RunName, Run],
    files: Mapping[str, str],
) -> Iterator[tuple[Run, list[TableRow]]]:
    """Yield each run of a group with its missing rows computed; with none where the run is not reproduced."""
    settings = runs[0].meta["config"]
    data = _data(runs[0], files)
    dataset = load_dataset(data)
    if dataset.digest() != runs[0].meta["data_digest"]:
        raise ValueError(f"{data.name} is not the data that it was trained on")
    evaluator = None
    for seed, seed_runs in itertools.groupby(runs, lambda run: run.seed):
        split = split_rows(dataset, data, seed)
        test = (
            standardized_inputs(dataset, split, split.test),
            standardized_targets(dataset, split, split.test),
            split.target_scale,
        )
        evaluator = evaluator or Evaluator(settings, dataset, standardized_targets(dataset, split, split.train))
        requests = [(run, missing[run.arm, str(seed)]) for run in seed_runs]
        donors = {row["biases"] for _, rows in requests for _, row in rows if row.get("from_key")}
        donor_biases = {arm: by_name[arm, str(seed)].biases() for arm in donors}
        for run, rows in requests:
            yield run, _compute_rows(evaluator, run, rows, donor_biases, test)


def _compute_rows(
    evaluator: Evaluator,
    run: Run,
    rows: Sequence[TableRow],
    donor_biases: Mapping[str, Mapping[str, np.ndarray]],
    test: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> list[TableRow]:
    """A run's rows with their numbers; none where the model does not reproduce its stored test loss.

    test: inputs, targets and unit of the test rows, see `Evaluator.evaluate`.
    """
    weights, stored_loss = run.weights(), run.meta["metrics"]["test_loss"]
    evaluator.load(weights, "after")
    own = evaluator.evaluate(*test)
    if not abs(own.metrics["test_loss"] - stored_loss) <= TOLERANCE * max(abs(stored_loss), TOLERANCE):
        return []
    computed: list[TableRow] = []
    for table, row in rows:
        if table == ABLATION:
            biases = _replacement_biases(weights, row["biases"], donor_biases)
            evaluator.assign(biases)
            result = evaluator.evaluate(*test) if biases else own
            computed.append((table, row | {metric: repr(value) for metric, value in result.metrics.items()}))
    alive = {"after": own.alive}
    if own.alive:
        evaluator.load(weights, "before")
        alive["before"] = evaluator.evaluate(*test).alive
    for table, row in rows:
        if table == DEAD_UNITS:
            units = alive[row["moment"]][row["layer"]]
            computed.append((table, row | {"units": str(units.size), "dead": str(int((~units).sum()))}))
    return computed


def _replacement_biases(
    weights: Mapping[str, np.ndarray], which: str, donor_biases: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The biases by path that a row of ablation.csv tests a model with; {} for its own."""
    after = {name.removeprefix("after/"): a for name, a in weights.items() if name.startswith("after/")}
    trained = {path: array for path, array in after.items() if is_bias(path)}
    if which == OWN:
        return {}
    if which == ZEROED:
        return {path: np.zeros_like(array) for path, array in trained.items()}
    if which == BEFORE:
        return {path: weights[f"before/{path}"] for path in trained}
    return {path: donor_biases[which][f"after/{path}"] for path in trained}

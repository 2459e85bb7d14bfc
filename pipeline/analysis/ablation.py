"""Read two tables of a study: what the biases of trained models do, and which ReLU units are dead.

    ablation.csv     arm, seed, biases, <test metrics>, key, from_key, version
                     biases: what the trained model was tested with: `own`, its own; `zeroed`; `before`, its initial
                     ones; or an arm's name, the trained biases of that arm's run of the same seed
    dead_units.csv   arm, seed, layer, moment (before | after training), units, dead, key, version
                     dead: units whose output is 0 for every test row (and every position)

Only biases that a `bias_initializer` sets are replaced; the offsets of normalisation layers (beta) stay as they are.
Trained biases are swapped between arms of one block whose runs of a seed started from the same kernels, on the same
data, with biases of the same shapes: between all arms, or, in a block of more than `MOST_ARMS` arms, between its first
arm and each other one. A run without biases has only its `own` row; a run that diverged, or whose weights are not kept,
has none.

key, from_key: keys of the run and of the run that the biases are from. version: the `VERSION` that computed the row. A
row whose three entries no longer match is out of date. `experiment.evaluation` computes the rows; this module reads
them, and needs neither Keras nor models.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.models.functional import top_layers
from pipeline.stats.intervals import mean_interval
from pipeline.store.runs import WEIGHTS, Run, RunStore
from pipeline.store.tables import ABLATION, DEAD_UNITS, read_table

VERSION = "1"  # raise it when the evaluation gives other numbers; all rows are then computed again
# Tables written before VERSION existed have a digest of the source text instead, in a column `code`. These two (of
# Python 3.11, and of 3.12 and 3.13) are of code that gave the numbers of version 1.
SOURCE_DIGESTS = ("28a141e01396df51", "441eb67fb6c13451")
OWN, ZEROED, BEFORE = "own", "zeroed", "before"
MOST_ARMS = 12
FIRST = ("zeros", "ones")  # bias settings of the first arm of a block; without them it is the first by name
UNITS_LAST = (None, "channels_last")  # values of data_format whose last axis is the units
LABELS = {
    ABLATION: ("arm", "seed", "biases", "key", "from_key"),
    DEAD_UNITS: ("arm", "seed", "layer", "moment", "key"),
}
NUMBERS = {ABLATION: ("test_loss",), DEAD_UNITS: ("units", "dead")}  # columns of numbers that every table has

Row = dict[str, str]


def load_ablation(store: RunStore, runs: Sequence[Run] | None = None) -> Any:
    """Read ablation.csv as a DataFrame, rows of current runs only: arm, seed, biases, test_loss, other test metrics.

    Empty where the file is missing. Rows are ordered by arm and seed, then `own`, `zeroed`, `before`, other arms.
    runs: those of the study by arm and seed, where they have been read already.
    """
    return _load(store, ABLATION, runs)


def load_dead_units(store: RunStore, runs: Sequence[Run] | None = None) -> Any:
    """Read dead_units.csv as a DataFrame, rows of current runs only: arm, seed, layer, moment, units, dead (counts).

    Empty where the file is missing. runs: see `load_ablation`.
    """
    return _load(store, DEAD_UNITS, runs)


def ablation_over_seeds(table: Any, metric: str) -> Any:
    """Average over seeds what other biases do to a test metric. table: see `load_ablation`.

    Columns arm, biases, metric (test_loss where the table has no other), seeds, mean, and change, the mean difference
    from the model's own biases, with its 95 % interval low, high (nan for `own`, and for one seed).
    """
    import pandas as pd

    metric, rows = metric if metric in table else "test_loss", []
    own = table[table["biases"] == OWN].set_index(["arm", "seed"])[metric]
    for (arm, biases), part in table.groupby(["arm", "biases"], sort=False):
        values = part.set_index(["arm", "seed"])[metric]
        change, _, low, high = mean_interval((values - own).dropna().to_numpy() if biases != OWN else np.array([]))
        row = {"arm": arm, "biases": biases, "metric": metric, "seeds": len(values), "mean": values.mean()}
        rows.append(row | {"change": change, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["arm", "biases", "metric", "seeds", "mean", "change", "low", "high"])


def dead_shares(table: Any) -> Any:
    """Average the share of dead units over seeds. table: see `load_dead_units`.

    Columns arm, layer, units (their number), before, after (mean shares of dead units).
    """
    shares = table.assign(share=table["dead"] / table["units"].clip(lower=1))
    keys = ["arm", "layer", "units"]
    wide = shares.pivot_table("share", keys, "moment", "mean", sort=False).reset_index()
    return wide.reindex(columns=[*keys, "before", "after"]).rename_axis(columns=None)


def _load(store: RunStore, name: str, runs: Sequence[Run] | None) -> Any:
    import pandas as pd

    stored = stored_rows(store, name)
    wanted = wanted_rows(store.runs() if runs is None else runs)[name] if stored else []
    current = [stored[key] for row in wanted if (key := row_identity(name, row)) in stored]
    numbers = list(dict.fromkeys([*NUMBERS[name], *(c for row in current for c in row if c.startswith("test_"))]))
    labels = [label for label in LABELS[name] if not label.endswith("key")]
    frame = pd.DataFrame(current, columns=[*labels, *numbers])
    frame[numbers] = frame[numbers].apply(pd.to_numeric, errors="coerce")
    return frame.astype({"seed": int} | (dict.fromkeys(numbers, int) if name == DEAD_UNITS else {}))


def _with_version(row: Row) -> Row:
    """The row of a table, with the version of the code that computed it."""
    code = row.pop("code", None)
    return row if code is None else row | {"version": "1" if code in SOURCE_DIGESTS else code}


def stored_rows(store: RunStore, name: str, version: str | None = None) -> dict[tuple[str, ...], Row]:
    """Read the rows of a table by their labels; only those of `version`, where it is given."""
    numbers = NUMBERS[name]
    whole = [
        row for row in map(_with_version, read_table(store, name))
        if {*LABELS[name], *numbers, "version"} <= set(row) and None not in (*row, *row.values())
    ]  # fmt: skip
    return {row_identity(name, row): row for row in whole if version in (None, row["version"])}


def row_identity(name: str, row: Row) -> tuple[str, ...]:
    """The labels that identify a row of a table."""
    return tuple(row[label] for label in LABELS[name])


def wanted_rows(runs: Sequence[Run]) -> dict[str, list[Row]]:
    """List the rows that each table should have for a study's runs, without their numbers: table name -> rows."""
    complete = [run for run in runs if run.complete]
    tested = [run for run in complete if run.has(WEIGHTS)]
    shapes_of = {run.path: _shapes(run) for run in complete} if tested else {}
    ablation = [
        _labels(run) | {"biases": biases, "from_key": source.key if source else ""}
        for run in tested for biases, source in _cases(run, complete, shapes_of)
    ]  # fmt: skip
    dead_units = [
        _labels(run) | {"layer": layer, "moment": moment}
        for run in tested for layer in relu_layers(run.meta["config"]["model"]["layers"])
        for moment in ("before", "after")
    ]  # fmt: skip
    return {ABLATION: ablation, DEAD_UNITS: dead_units}


def relu_layers(layers: list[dict[str, Any]], above: str = "") -> list[str]:
    """Paths of the layers that output a ReLU, from a model's config: layers with such an activation, and ReLU layers.

    Layers nested in a Sequential or Functional model count; those in other layers do not, nor do recurrent layers,
    whose output is not the activation, nor layers whose units are not on the last axis.
    """
    paths = []
    for layer in layers if above else top_layers(layers):
        name, config, path = layer["class_name"], layer["config"], f"{above}{layer['config']['name']}"
        is_relu = False
        if "module" in layer:  # an operation between layers
            continue
        if name in ("Sequential", "Functional"):
            paths += relu_layers(config["layers"], f"{path}/")
        elif name == "ReLU":
            is_relu = not config.get("negative_slope") and (config.get("threshold") or 0) >= 0
        elif name in ("Dense", "EinsumDense", "Activation") or ("Conv" in name and "LSTM" not in name):
            is_relu = config.get("activation") in ("relu", "relu6") and config.get("data_format") in UNITS_LAST
        paths += [path] if is_relu else []
    return paths


def is_bias(path: str) -> bool:
    """Whether an entry of biases.npz is set by a `bias_initializer`: true of `dense/bias`, not of `norm/beta`."""
    return path.rpartition("/")[2].partition(" ")[0] == "bias"


def _labels(run: Run) -> Row:
    return {"arm": run.arm, "seed": str(run.seed), "key": run.key}


def _shapes(run: Run) -> dict[str, tuple[int, ...]]:
    after = {name.removeprefix("after/"): a.shape for name, a in run.biases().items() if name.startswith("after/")}
    return {path: shape for path, shape in after.items() if is_bias(path)}


def _cases(
    run: Run, others: Sequence[Run], shapes_of: dict[Path, dict[str, tuple[int, ...]]]
) -> Iterator[tuple[str, Run | None]]:
    """What to test the trained model of a run with, and the run these biases come from, if it is another one."""
    shapes = shapes_of[run.path]
    yield OWN, None
    if not shapes:
        return
    yield ZEROED, None
    yield BEFORE, None
    block = [other for other in others if other.block == run.block]
    arms = {other.arm: other.meta["config"]["bias_setting"] for other in block if shapes_of[other.path]}
    first = min(arms, key=lambda arm: (FIRST.index(arms[arm]) if arms[arm] in FIRST else len(FIRST), arm))
    for other in block:
        same_start = all(other.meta[d] == run.meta[d] for d in ("seed", "initial_kernels_digest", "data_digest"))
        paired = len(arms) <= MOST_ARMS or first in (run.arm, other.arm)
        if other.arm != run.arm and paired and same_start and shapes_of[other.path] == shapes:
            yield other.arm, other

"""What a trained model's biases do for it, and which of its ReLU units are dead: two tables per study, and their rows.

    ablation.csv     arm, seed, biases, <test metrics>, key, from_key, version
                     biases: what the trained model was tested with. `own`: its own ones; `zeroed`; `before`: those that
                     it started with; an arm's name: the trained ones of that arm's run of the same seed
    dead_units.csv   arm, seed, layer, moment (before | after training), units, dead, key, version
                     dead: units whose output is 0 for every test row (and every position)

Biases are what a `bias_initializer` sets; the offsets of normalisation layers (beta) stay as they are. Trained biases
change places between arms of one block (all overrides but the bias setting equal) whose runs of a seed started from the
same kernels, on the same data, with biases of the same shapes: each arm gets those of every other one, in a block of
more than `MOST_ARMS` arms those of its first arm only, and that one those of all. A run without biases has its `own`
row; one that diverged, or whose weights are not kept, has none.

key, from_key: those of the run and of the one that the biases are from; version: `VERSION` of the code that computed
the row. A row whose three no longer agree with today's is out of date. The rows are computed in `evaluation`; this
module reads, and needs neither Keras nor models.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.stats.intervals import mean_interval
from pipeline.store.runs import WEIGHTS, Run, RunStore
from pipeline.store.tables import ABLATION, DEAD_UNITS, read_table

VERSION = "1"  # raise it when the evaluation gives other numbers: all rows are then computed anew
OWN, ZEROED, BEFORE = "own", "zeroed", "before"
MOST_ARMS = 12
FIRST = ("zeros", "ones")  # the settings whose arm is the first of a block, before all others by name
LAST = (None, "channels_last")
LABELS = {
    ABLATION: ("arm", "seed", "biases", "key", "from_key"),
    DEAD_UNITS: ("arm", "seed", "layer", "moment", "key"),
}
NUMBERS = {ABLATION: ("test_loss",), DEAD_UNITS: ("units", "dead")}  # those there always are

Row = dict[str, str]


def load_ablation(store: RunStore) -> Any:
    """A DataFrame of ablation.csv, the rows of today's runs: arm, seed, biases, test_loss and the other test metrics.

    Empty where the file is missing. Rows are in the order of arms and seeds, `own`, `zeroed`, `before`, then arms.
    """
    return _load(store, ABLATION)


def load_dead_units(store: RunStore) -> Any:
    """A DataFrame of dead_units.csv, the rows of today's runs: arm, seed, layer, moment, units, dead (counts).

    Empty where the file is missing.
    """
    return _load(store, DEAD_UNITS)


def ablation_over_seeds(table: Any, metric: str) -> Any:
    """What other biases do to a test metric, over seeds: a DataFrame from that of `load`.

    Columns arm, biases, metric (test_loss where the table has no other), seeds, mean, and change, the mean difference
    from the model's own biases, with its 95 % interval low, high (nan for `own`, and for one seed).
    """
    import pandas as pd

    metric, rows = metric if metric in table else "test_loss", []
    own = table[table["biases"] == OWN].set_index(["arm", "seed"])[metric]
    for (arm, biases), found in table.groupby(["arm", "biases"], sort=False):
        values = found.set_index(["arm", "seed"])[metric]
        change, _, low, high = mean_interval((values - own).dropna().to_numpy() if biases != OWN else [])
        row = {"arm": arm, "biases": biases, "metric": metric, "seeds": len(values), "mean": values.mean()}
        rows.append(row | {"change": change, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["arm", "biases", "metric", "seeds", "mean", "change", "low", "high"])


def dead_shares(table: Any) -> Any:
    """Dead ReLU units over seeds: a DataFrame from that of `load_dead_units`.

    Columns arm, layer, units (how many there are), before, after: mean shares of units that are dead.
    """
    shares = table.assign(share=table["dead"] / table["units"].clip(lower=1))
    keys = ["arm", "layer", "units"]
    wide = shares.pivot_table("share", keys, "moment", "mean", sort=False).reset_index()
    return wide.reindex(columns=[*keys, "before", "after"]).rename_axis(columns=None)


def _load(store: RunStore, name: str) -> Any:
    import pandas as pd

    there = stored_rows(store, name)
    wanted = wanted_rows(store.runs())[name] if there else []
    found = [there[key] for row in wanted if (key := row_identity(name, row)) in there]
    numbers = list(dict.fromkeys([*NUMBERS[name], *(c for row in found for c in row if c.startswith("test_"))]))
    labels = [label for label in LABELS[name] if not label.endswith("key")]
    frame = pd.DataFrame(found, columns=[*labels, *numbers])
    frame[numbers] = frame[numbers].apply(pd.to_numeric, errors="coerce")
    return frame.astype({"seed": int} | (dict.fromkeys(numbers, int) if name == DEAD_UNITS else {}))


def stored_rows(store: RunStore, name: str, version: str | None = None) -> dict[tuple[str, ...], Row]:
    """The rows of a table by their labels; where `version` is given, only those of that one."""
    numbers = NUMBERS[name]
    whole = [
        row for row in read_table(store, name)
        if {*LABELS[name], *numbers, "version"} <= set(row) and None not in (*row, *row.values())
    ]  # fmt: skip
    return {row_identity(name, row): row for row in whole if version in (None, row["version"])}


def row_identity(name: str, row: Row) -> tuple[str, ...]:
    """The labels by which a row of a table is told from all others, those of other runs included."""
    return tuple(row[label] for label in LABELS[name])


def wanted_rows(runs: Sequence[Run]) -> dict[str, list[Row]]:
    """The rows that each table should have for a study's runs, without their numbers; by the table's name."""
    complete = [run for run in runs if run.meta["status"] == "complete"]
    tested = [run for run in complete if run.has(WEIGHTS)]
    biases_of = {run.path: _shapes(run) for run in complete} if tested else {}
    ablation = [
        _labels(run) | {"biases": biases, "from_key": source.key if source else ""}
        for run in tested for biases, source in _cases(run, complete, biases_of)
    ]  # fmt: skip
    dead_units = [
        _labels(run) | {"layer": layer, "moment": moment}
        for run in tested for layer in relu_layers(run.meta["config"]["model"]["layers"])
        for moment in ("before", "after")
    ]  # fmt: skip
    return {ABLATION: ablation, DEAD_UNITS: dead_units}


def relu_layers(layers: Sequence[dict[str, Any]], above: str = "") -> list[str]:
    """Paths of the layers whose outputs are a ReLU's, from a model's config: those with such an activation, and ReLU.

    Layers within a Sequential count, those within other layers do not; nor do recurrent layers, whose activation is not
    what they put out, or layers whose units are not the last axis.
    """
    found = []
    for layer in layers:
        name, own, path = layer["class_name"], layer["config"], f"{above}{layer['config']['name']}"
        if name == "Sequential":
            found += relu_layers(own["layers"], f"{path}/")
        elif name == "ReLU":
            found += [path] if not own.get("negative_slope") and (own.get("threshold") or 0) >= 0 else []
        elif name in ("Dense", "EinsumDense", "Activation") or ("Conv" in name and "LSTM" not in name):
            found += [path] if own.get("activation") in ("relu", "relu6") and own.get("data_format") in LAST else []
    return found


def is_bias(path: str) -> bool:
    """Whether a bias of biases.npz is one that a `bias_initializer` sets: `dense/bias`, and not `norm/beta`."""
    return path.rpartition("/")[2].partition(" ")[0] == "bias"


def _labels(run: Run) -> Row:
    return {"arm": run.arm, "seed": str(run.seed), "key": run.key}


def _shapes(run: Run) -> dict[str, tuple[int, ...]]:
    after = {name.removeprefix("after/"): a.shape for name, a in run.biases().items() if name.startswith("after/")}
    return {path: shape for path, shape in after.items() if is_bias(path)}


def _cases(
    run: Run, others: Sequence[Run], biases_of: dict[Path, dict[str, tuple[int, ...]]]
) -> Iterator[tuple[str, Run | None]]:
    """What the trained model of a run is tested with, and the run that these biases are from where it is another."""
    own = biases_of[run.path]
    yield OWN, None
    if not own:
        return
    yield ZEROED, None
    yield BEFORE, None
    block = [other for other in others if other.block == run.block]
    arms = {other.arm: other.meta["config"]["bias_setting"] for other in block if biases_of[other.path]}
    first = min(arms, key=lambda arm: (FIRST.index(arms[arm]) if arms[arm] in FIRST else len(FIRST), arm))
    for other in block:
        same_start = all(other.meta[d] == run.meta[d] for d in ("seed", "initial_kernels_digest", "data_digest"))
        paired = len(arms) <= MOST_ARMS or first in (run.arm, other.arm)
        if other.arm != run.arm and paired and same_start and biases_of[other.path] == own:
            yield other.arm, other

"""What training did to the biases: how far they moved and when, and whether they still show where they began.

Everything is read from the stored runs that did not diverge. A `layer` here is a bias's path, as in `dense/bias`;
distances are Euclidean, over the units of one bias, in the unit of the bias.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.study import Arm
from pipeline.analysis.thinning import evenly_spaced
from pipeline.biases.tables import gate_parts
from pipeline.biases.variables import Bias
from pipeline.stats.intervals import band
from pipeline.store.runs import BIASES, Run

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
MOST_UNITS, MOST_EPOCHS = 64, 101  # that are drawn of one layer
MOST_VALUES = 20_000_000  # kept of all epochs together; of a larger study the first and the last epoch are


@dataclass(frozen=True)
class Trajectory:
    """A bias of one run over its training.

    epoch [T]; drift [T], its distance from the start; values [T, units], flat, or only the first and the last of them;
    shape: the bias's own; gates: a letter per part of its last axis, as in `ifco`.
    """

    epoch: np.ndarray
    drift: np.ndarray
    values: np.ndarray
    shape: tuple[int, ...]
    gates: str = ""

    @property
    def before(self) -> np.ndarray:
        """The bias as it was initialized [units]."""
        return self.values[0].astype(np.float64)

    @property
    def after(self) -> np.ndarray:
        """The bias after the last epoch [units]."""
        return self.values[-1].astype(np.float64)

    @property
    def cosine(self) -> float:
        """Of the angle between before and after; nan where either is all zero."""
        lengths = np.linalg.norm(self.before) * np.linalg.norm(self.after)
        return float(self.before @ self.after / lengths) if lengths else np.nan

    @property
    def sign_flips(self) -> float:
        """Share of the units whose bias has changed its sign, of those that are 0 neither before nor after."""
        signs = np.sign(self.before) * np.sign(self.after)
        return float(np.mean(signs[signs != 0] < 0)) if np.any(signs) else np.nan

    @property
    def half_life(self) -> float:
        """The first recorded epoch by which half the final distance was covered; nan for a bias that did not move."""
        return float(self.epoch[np.argmax(self.drift >= self.drift[-1] / 2)]) if self.drift[-1] else np.nan


Trajectories = dict[str, dict[int, dict[str, Trajectory]]]  # by arm, seed and layer


def bias_trajectories(arms: list[Arm]) -> Trajectories:
    """The course of every bias of every complete run; an arm without biases has runs with none."""
    runs = [run for arm in arms for run in arm.complete.values()]
    ends_only = sum((run.path / BIASES).stat().st_size // 4 for run in runs) > MOST_VALUES
    return {arm.name: {s: _of_run(run, arm.gates, ends_only) for s, run in arm.complete.items()} for arm in arms}


def _of_run(run: Run, gates: dict[str, str], ends_only: bool) -> dict[str, Trajectory]:
    arrays, found = run.biases("trajectory", "epoch"), {}
    for layer in [name.removeprefix("trajectory/") for name in arrays if name.startswith("trajectory/")]:
        values = arrays[f"trajectory/{layer}"]
        flat = values.reshape(len(values), -1)
        moved = np.linalg.norm(flat.astype(np.float64) - flat[0], axis=1)
        kept = flat[[0, -1]] if ends_only else flat
        found[layer] = Trajectory(arrays["epoch"], moved, kept, values.shape[1:], gates.get(layer, ""))
    return found


def _by_layer(of: Trajectories) -> Iterator[tuple[str, str, list[Trajectory]]]:
    """(arm, layer, the course in each seed)."""
    for arm, by_seed in of.items():
        for layer in dict.fromkeys(layer for found in by_seed.values() for layer in found):
            yield arm, layer, [found[layer] for found in by_seed.values() if layer in found]


def dynamics_table(of: Trajectories) -> pd.DataFrame:
    """A row per arm and layer, means over seeds: arm, layer, seeds, drift, cosine, sign_flips (a share), half_life."""
    columns = ["arm", "layer", "seeds", "drift", "cosine", "sign_flips", "half_life"]
    rows = []
    for arm, layer, found in _by_layer(of):
        row = {"arm": arm, "layer": layer, "seeds": len(found), "drift": np.mean([one.drift[-1] for one in found])}
        for name in ("cosine", "sign_flips", "half_life"):
            values = np.array([getattr(one, name) for one in found])
            row[name] = np.nan if np.isnan(values).all() else np.nanmean(values)
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def drift_table(of: Trajectories) -> pd.DataFrame:
    """Distance from where a bias began, over seeds: columns arm, layer, epoch, drift (mean), low, high (95 %)."""
    tables = []
    for arm, layer, found in _by_layer(of):
        longest = max((one.epoch for one in found), key=len)
        mean, _, low, high = band(np.array([one.drift for one in found if len(one.drift) == len(longest)]))
        tables.append(
            pd.DataFrame({"arm": arm, "layer": layer, "epoch": longest, "drift": mean, "low": low, "high": high})
        )
    columns = ["arm", "layer", "epoch", "drift", "low", "high"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def arm_distances(of: Trajectories, arms: list[Arm]) -> pd.DataFrame:
    """How far apart two arms of a block are in a layer, before and after training: did it forget where it began?

    Columns arm, other, layer, seeds, before, after: means over the seeds that both have.
    """
    rows = []
    for _, block in groupby(sorted(arms, key=lambda arm: arm.block), key=lambda arm: arm.block):
        for one, two in combinations([arm.name for arm in block], 2):
            apart: dict[str, list[tuple[float, float]]] = {}
            for seed in of[one].keys() & of[two].keys():
                for layer, a in of[one][seed].items():
                    b = of[two][seed].get(layer)
                    if b is not None and a.before.shape == b.before.shape:
                        ends = (np.linalg.norm(a.before - b.before), np.linalg.norm(a.after - b.after))
                        apart.setdefault(layer, []).append(ends)
            for layer, found in apart.items():
                before, after = np.mean(found, axis=0)
                row = {"arm": one, "other": two, "layer": layer, "seeds": len(found)}
                rows.append(row | {"before": before, "after": after})
    return pd.DataFrame(rows, columns=["arm", "other", "layer", "seeds", "before", "after"])


def bias_quantiles(of: Trajectories) -> pd.DataFrame:
    """Quantiles of bias values over units and seeds: columns arm, layer, moment, q05, q25, q50, q75, q95."""
    rows = []
    for arm, layer, found in _by_layer(of):
        for moment in ("before", "after"):
            values = np.quantile(np.concatenate([getattr(one, moment) for one in found]), list(QUANTILES.values()))
            rows.append({"arm": arm, "layer": layer, "moment": moment} | dict(zip(QUANTILES, values, strict=True)))
    return pd.DataFrame(rows, columns=["arm", "layer", "moment", *QUANTILES])


def drawn_trajectories(arms: list[Arm]) -> pd.DataFrame:
    """Each unit's bias over the epochs, in the first of the seeds that most arms have; thinned to what can be drawn.

    Columns arm, seed, layer, unit, epoch, value.
    """
    counts = Counter(seed for arm in arms for seed in sorted(arm.complete))
    seed, tables = counts.most_common(1)[0][0], []
    for arm in [arm for arm in arms if seed in arm.complete]:
        for layer, one in _of_run(arm.complete[seed], {}, ends_only=False).items():
            at, units = evenly_spaced(len(one.values), MOST_EPOCHS), evenly_spaced(one.values.shape[1], MOST_UNITS)
            chosen = {"epoch": np.repeat(one.epoch[at], len(units)), "unit": np.tile(units, len(at))}
            chosen["value"] = one.values[np.ix_(at, units)].ravel()
            tables.append(pd.DataFrame({"arm": arm.name, "seed": seed, "layer": layer} | chosen))
    columns = ["arm", "seed", "layer", "unit", "epoch", "value"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def write_bias_values(of: Trajectories, path: Path) -> None:
    """Write biases.parquet, long and tidy: arm, seed, layer, role, gate, unit, epoch, value; a row per number.

    unit: the place within the gate, or within the bias, flat. Every recorded epoch is there, unless that makes more
    than `MOST_VALUES` rows: then the first and the last.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    word = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([
        ("arm", word), ("seed", pa.int32()), ("layer", word), ("role", word), ("gate", word), ("unit", pa.int32()),
        ("epoch", pa.int32()), ("value", pa.float32()),
    ])  # fmt: skip
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for arm, by_seed in of.items():
            for layer in dict.fromkeys(layer for found in by_seed.values() for layer in found):
                found = {seed: layers[layer] for seed, layers in by_seed.items() if layer in layers}
                file.write_table(pa.table(_columns(arm, layer, found), schema))


def _columns(arm: str, layer: str, found: dict[int, Trajectory]) -> dict[str, Any]:
    """The columns of biases.parquet that hold a layer of an arm."""
    import pyarrow as pa

    one = next(iter(found.values()))
    places = np.arange(one.values.shape[1]).reshape(one.shape)
    vector = Bias(layer, "", "", "bias", gates=one.gates, values=places)
    split = [(role, gate, at.ravel()) for role, gate, at in gate_parts(vector)]
    roles, gates, order = zip(*split, strict=True)
    part = np.repeat(np.arange(len(split)), [len(at) for at in order])
    epochs = [c.epoch if len(c.values) == len(c.epoch) else c.epoch[[0, -1]] for c in found.values()]
    lengths, units = np.array([len(epoch) for epoch in epochs]), len(part)
    rows = int(lengths.sum())

    def words(names: Sequence[str], codes: np.ndarray) -> Any:
        return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(names, pa.string()))

    return {
        "arm": words([arm], np.zeros(rows * units)),
        "seed": np.repeat(list(found), lengths * units),
        "layer": words([layer], np.zeros(rows * units)),
        "role": words(roles, np.tile(part, rows)),
        "gate": words(gates, np.tile(part, rows)),
        "unit": np.tile(np.concatenate([np.arange(len(at)) for at in order]), rows),
        "epoch": np.repeat(np.concatenate(epochs), units),
        "value": np.concatenate([course.values[:, np.concatenate(order)].ravel() for course in found.values()]),
    }

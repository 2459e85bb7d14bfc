"""What training did to the biases: how far they moved, when, and whether they still show where they began.

Everything is read from the stored runs that did not diverge. A `layer` here is the path of a bias, e.g. `dense/bias`.
Distances are Euclidean, over the units of one bias, in the unit of the bias.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.arms import Arm
from pipeline.analysis.thinning import evenly_spaced
from pipeline.biases.tables import gate_parts
from pipeline.biases.variables import Bias
from pipeline.stats.intervals import band
from pipeline.store.runs import BIASES, Run

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
MOST_UNITS, MOST_EPOCHS = 64, 101  # drawn per layer
MOST_VALUES = 20_000_000  # biases of a study kept in memory; beyond, only those of the first and last epoch are kept


@dataclass(frozen=True)
class Trajectory:
    """One bias of one run over its training.

    epoch [T]: the recorded epochs. drift [T]: distance from the start. values: flat [T, units], or [2, units], the
    first and final epoch. shape: the bias's own. gates: one letter per gate along its last axis, e.g. `ifco`. final:
    position of the epoch whose weights the run ended with, the last unless it could stop early.
    """

    epoch: np.ndarray
    drift: np.ndarray
    values: np.ndarray
    shape: tuple[int, ...]
    gates: str = ""
    final: int = -1

    @property
    def before(self) -> np.ndarray:
        """The initial bias [units]."""
        return self.values[0].astype(np.float64)

    @property
    def after(self) -> np.ndarray:
        """The bias that the run ended with [units]."""
        return self.values[self.final if len(self.values) == len(self.epoch) else -1].astype(np.float64)

    @property
    def moved(self) -> float:
        """The final distance from the start."""
        return float(self.drift[self.final])

    @property
    def recorded(self) -> np.ndarray:
        """The epochs of `values`."""
        return self.epoch if len(self.values) == len(self.epoch) else self.epoch[[0, self.final]]

    @property
    def cosine(self) -> float:
        """Cosine of the angle between before and after; nan where either is all zero."""
        lengths = np.linalg.norm(self.before) * np.linalg.norm(self.after)
        return float(self.before @ self.after / lengths) if lengths else np.nan

    @property
    def sign_flips(self) -> float:
        """Share of units whose bias changed its sign, among those that are 0 neither before nor after."""
        signs = np.sign(self.before) * np.sign(self.after)
        return float(np.mean(signs[signs != 0] < 0)) if np.any(signs) else np.nan

    @property
    def half_life(self) -> float:
        """The first recorded epoch by which half the final distance was covered; nan for a bias that did not move."""
        return float(self.epoch[np.argmax(self.drift >= self.moved / 2)]) if self.moved else np.nan


Trajectories = dict[str, dict[int, dict[str, Trajectory]]]  # arm -> seed -> layer


def bias_trajectories(arms: Sequence[Arm]) -> Trajectories:
    """Load the trajectory of every bias of every complete run; runs of an arm without biases have none."""
    runs = [run for arm in arms for run in arm.complete.values()]
    ends_only = sum((run.path / BIASES).stat().st_size // 4 for run in runs) > MOST_VALUES
    return {arm.name: {seed: _load(run, arm.gates, ends_only) for seed, run in arm.complete.items()} for arm in arms}


def _load(run: Run, gates: dict[str, str], ends_only: bool) -> dict[str, Trajectory]:
    arrays, trajectories = run.biases("trajectory", "epoch"), {}
    final = -1 if run.best_epoch is None else run.best_epoch
    for layer in [name.removeprefix("trajectory/") for name in arrays if name.startswith("trajectory/")]:
        values = arrays[f"trajectory/{layer}"]
        flat = values.reshape(len(values), -1)
        drift = np.linalg.norm(flat.astype(np.float64) - flat[0], axis=1)
        kept = flat[[0, final]] if ends_only else flat
        trajectories[layer] = Trajectory(arrays["epoch"], drift, kept, values.shape[1:], gates.get(layer, ""), final)
    return trajectories


def _by_layer(trajectories: Trajectories) -> Iterator[tuple[str, str, dict[int, Trajectory]]]:
    """Iterate over (arm, layer, trajectories by seed)."""
    for arm, by_seed in trajectories.items():
        for layer in dict.fromkeys(layer for layers in by_seed.values() for layer in layers):
            yield arm, layer, {seed: layers[layer] for seed, layers in by_seed.items() if layer in layers}


def dynamics_table(trajectories: Trajectories) -> pd.DataFrame:
    """Average over seeds: columns arm, layer, seeds, drift (at the end), cosine, sign_flips (a share), half_life."""
    columns = ["arm", "layer", "seeds", "drift", "cosine", "sign_flips", "half_life"]
    rows = []
    for arm, layer, by_seed in _by_layer(trajectories):
        drift = np.mean([one.moved for one in by_seed.values()])
        row = {"arm": arm, "layer": layer, "seeds": len(by_seed), "drift": drift}
        for name in ("cosine", "sign_flips", "half_life"):
            values = np.array([getattr(one, name) for one in by_seed.values()])
            row[name] = np.nan if np.isnan(values).all() else np.nanmean(values)
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def drift_table(trajectories: Trajectories) -> pd.DataFrame:
    """Average the drift over seeds: columns arm, layer, epoch, drift, low, high (95 % interval).

    The drift of a run that stopped early stays at that of its best epoch, whose weights it kept.
    """
    tables = []
    for arm, layer, by_seed in _by_layer(trajectories):
        epoch = max((one.epoch for one in by_seed.values()), key=len)
        mean, _, low, high = band(np.array(list(_even_drifts(by_seed.values(), len(epoch)))))
        columns = {"arm": arm, "layer": layer, "epoch": epoch, "drift": mean, "low": low, "high": high}
        tables.append(pd.DataFrame(columns))
    columns = ["arm", "layer", "epoch", "drift", "low", "high"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _even_drifts(trajectories: Iterable[Trajectory], length: int) -> Iterator[np.ndarray]:
    """The drifts that have this length, or get it where a run stopped early."""
    for one in trajectories:
        if len(one.drift) == length or one.final >= 0:
            yield np.concatenate([one.drift, np.full(length - len(one.drift), one.moved)])


def arm_distances(trajectories: Trajectories, arms: Sequence[Arm]) -> pd.DataFrame:
    """Measure how far apart two arms of a block are in a layer, before and after training.

    Columns arm, other, layer, seeds, before, after: mean distances over the seeds that both have.
    """
    rows, ends = [], {arm: _ends(by_seed) for arm, by_seed in trajectories.items()}
    for _, block in groupby(sorted(arms, key=lambda arm: arm.block), key=lambda arm: arm.block):
        for one, two in combinations([arm.name for arm in block], 2):
            apart: dict[str, list[tuple[float, float]]] = {}
            for seed in ends[one].keys() & ends[two].keys():
                others = ends[two][seed]
                for layer, (before, after) in ends[one][seed].items():
                    if layer in others and before.shape == others[layer][0].shape:
                        distances = (_length(before - others[layer][0]), _length(after - others[layer][1]))
                        apart.setdefault(layer, []).append(distances)
            for layer, distances in apart.items():
                before, after = np.mean(distances, axis=0)
                row = {"arm": one, "other": two, "layer": layer, "seeds": len(distances)}
                rows.append(row | {"before": before, "after": after})
    return pd.DataFrame(rows, columns=["arm", "other", "layer", "seeds", "before", "after"])


def _ends(by_seed: dict[int, dict[str, Trajectory]]) -> dict[int, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The biases before and after training by seed and layer: of 1,000 seeds, 40 arms ask for them a million times."""
    return {seed: {name: (one.before, one.after) for name, one in layers.items()} for seed, layers in by_seed.items()}


def _length(vector: np.ndarray) -> float:
    """The Euclidean length of a vector, as `np.linalg.norm` computes it, in a fraction of the time for a short one."""
    return math.sqrt(vector @ vector)


def bias_quantiles(trajectories: Trajectories) -> pd.DataFrame:
    """Compute quantiles of bias values over units and seeds: columns arm, layer, moment, q05, q25, q50, q75, q95."""
    rows = []
    for arm, layer, by_seed in _by_layer(trajectories):
        for moment in ("before", "after"):
            values = np.concatenate([getattr(one, moment) for one in by_seed.values()])
            values = np.quantile(values, list(QUANTILES.values()))
            rows.append({"arm": arm, "layer": layer, "moment": moment} | dict(zip(QUANTILES, values, strict=True)))
    return pd.DataFrame(rows, columns=["arm", "layer", "moment", *QUANTILES])


def drawn_trajectories(arms: Sequence[Arm]) -> pd.DataFrame:
    """Load the biases of one seed over the epochs, thinned to what can be drawn.

    The seed is the first of those that most arms have. Columns arm, seed, layer, unit, epoch, value.
    """
    counts = Counter(seed for arm in arms for seed in sorted(arm.complete))
    seed, tables = counts.most_common(1)[0][0], []
    for arm in [arm for arm in arms if seed in arm.complete]:
        for layer, one in _load(arm.complete[seed], {}, ends_only=False).items():
            at, units = evenly_spaced(len(one.values), MOST_EPOCHS), evenly_spaced(one.values.shape[1], MOST_UNITS)
            chosen = {"epoch": np.repeat(one.epoch[at], len(units)), "unit": np.tile(units, len(at))}
            chosen["value"] = one.values[np.ix_(at, units)].ravel()
            tables.append(pd.DataFrame({"arm": arm.name, "seed": seed, "layer": layer} | chosen))
    columns = ["arm", "seed", "layer", "unit", "epoch", "value"]
    return pd.concat(tables, ignore_index=True).reindex(columns=columns) if tables else pd.DataFrame(columns=columns)


def write_bias_values(trajectories: Trajectories, path: Path) -> None:
    """Write biases.parquet, one row per number: arm, seed, layer, role, gate, unit, epoch, value.

    unit: index within the gate, or within the flattened bias. Every recorded epoch is written, unless the study has
    more than `MOST_VALUES` values: then the first and the one whose weights the run ended with.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    word = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([
        ("arm", word), ("seed", pa.int32()), ("layer", word), ("role", word), ("gate", word), ("unit", pa.int32()),
        ("epoch", pa.int32()), ("value", pa.float32()),
    ])  # fmt: skip
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for arm, layer, by_seed in _by_layer(trajectories):
            file.write_table(pa.table(_columns(arm, layer, by_seed), schema))


def _columns(arm: str, layer: str, by_seed: dict[int, Trajectory]) -> dict[str, Any]:
    """The columns of biases.parquet for one layer of an arm."""
    import pyarrow as pa

    first = next(iter(by_seed.values()))
    indices = np.arange(first.values.shape[1]).reshape(first.shape)
    indexed_bias = Bias(layer, "", "", "bias", gates=first.gates, values=indices)
    split = [(role, gate, np.ravel(part)) for role, gate, part in gate_parts(indexed_bias) if part is not None]
    roles, gates, order = zip(*split, strict=True)
    part_of_unit = np.repeat(np.arange(len(split)), [len(part) for part in order])
    epochs = [one.recorded for one in by_seed.values()]
    lengths, units = np.array([len(epoch) for epoch in epochs]), len(part_of_unit)
    rows = int(lengths.sum())

    def words(names: Sequence[str], codes: np.ndarray) -> Any:
        return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(names, pa.string()))

    return {
        "arm": words([arm], np.zeros(rows * units)),
        "seed": np.repeat(list(by_seed), lengths * units),
        "layer": words([layer], np.zeros(rows * units)),
        "role": words(roles, np.tile(part_of_unit, rows)),
        "gate": words(gates, np.tile(part_of_unit, rows)),
        "unit": np.tile(np.concatenate([np.arange(len(part)) for part in order]), rows),
        "epoch": np.repeat(np.concatenate(epochs), units),
        "value": np.concatenate([one.values[:, np.concatenate(order)].ravel() for one in by_seed.values()]),
    }

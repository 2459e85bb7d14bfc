"""What was compared and how it was trained, in words that hold for blocks with other settings and early stopping."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pipeline.analysis.arms import Arm
from pipeline.config.stopping import monitored_name
from pipeline.report.settings import BIAS_SETTINGS, describe_differences

NO_ARCHITECTURE = (*BIAS_SETTINGS, "kernel_initializer", "recurrent_initializer")  # arguments that only fill weights


class Training(NamedTuple):
    """The training of all arms; where blocks differ, every value, as in `0.01 or 0.05`; empty: not recorded.

    settings: the bias settings. blocks: how many. differing: what differs between them, in words. models, datasets: how
    many. stopped: what early stopping did, empty where no run may stop; always: whether all runs may stop.
    """

    settings: list[str]
    blocks: int
    differing: str
    models: int
    datasets: int
    optimizer: str
    rate: str
    batch_size: str
    epochs: str
    stopped: str
    always: bool

    @property
    def optimizer_text(self) -> str:
        """The optimizer with its learning rate and batch size."""
        parts = (self.optimizer, self.rate and f"learning rate {self.rate}",
                 self.batch_size and f"batch size {self.batch_size}")  # fmt: skip
        return ", ".join(filter(None, parts))

    @property
    def epochs_text(self) -> str:
        """`30 epochs`, or `at most 30 epochs`."""
        return f"{'at most ' * bool(self.stopped)}{self.epochs} epoch{'s' * (self.epochs != '1')}"


def describe_training(arms: Sequence[Arm]) -> Training:
    """Read it from the configurations of all arms, and the epochs of early stopping from all runs."""
    configs = [arm.runs[0].meta["config"] for arm in arms]
    stops = [config.get("training", {}).get("stop") for config in configs]
    blocks = len({arm.runs[0].block for arm in arms})
    layers = {json.dumps(config.get("model", {})) for config in configs}
    models = {json.dumps(_architecture(config.get("model", {}).get("layers", []))) for config in configs}
    return Training(
        settings=list(dict.fromkeys(arm.setting for arm in arms)),
        blocks=blocks,
        differing=_differing(arms, len(models), len(layers) > 1) if blocks > 1 else "",
        models=len(models),
        datasets=len({json.dumps([config.get("data", {}).get(k) for k in ("name", "file")]) for config in configs}),
        optimizer=_values(configs, "optimizer", "class_name"),
        rate=_values(configs, "optimizer", "learning_rate"),
        batch_size=_values(configs, "training", "batch_size"),
        epochs=_values(configs, "training", "epochs"),
        stopped=_stopped(arms, [stop for stop in stops if stop]),
        always=all(stops),
    )


def either(values: Iterable[Any]) -> str:
    """Each known value once: `a`, `a or b`, `a, b or c`."""
    *first, last = dict.fromkeys(str(value) for value in values if value is not None) or [""]
    return f"{', '.join(first)} or {last}" if first else last


def _values(configs: Sequence[dict[str, Any]], group: str, key: str) -> str:
    values = [config.get(group, {}).get(key) for config in configs]
    return either(f"{value:g}" if isinstance(value, float) else value for value in values)


def _stopped(arms: Sequence[Arm], stops: Sequence[dict[str, Any]]) -> str:
    """`early stopping (patience 5, by val_loss) ended runs after 6 to 18 epochs`."""
    if not stops:
        return ""
    how = either(_how_stopped(stop) for stop in stops)
    lengths = [run.meta["metrics"].get("epochs_run") for arm in arms for run in arm.complete.values()]
    known = sorted(int(length) for length in lengths if length is not None)
    if not known:
        return f"with early stopping ({how})"
    span = f"{known[0]} to {known[-1]}" if known[0] < known[-1] else f"{known[0]}"
    return f"with early stopping ({how}) runs trained {span} epoch{'s' * (span != '1')}"


def _how_stopped(stop: dict[str, Any]) -> str:
    """`patience 5, by val_f1, mode max, min_delta 0.01`; the latter two where they are not Keras' defaults."""
    parts = [f"patience {stop.get('patience')}", f"by {monitored_name(stop)}"]
    if stop.get("mode") not in (None, "auto"):
        parts.append(f"mode {stop['mode']}")
    if stop.get("min_delta"):
        parts.append(f"min_delta {stop['min_delta']:g}")
    return ", ".join(parts)


def _differing(arms: Sequence[Arm], models: int, layers_differ: bool) -> str:
    """The settings that differ between blocks; the layers of models as one."""
    names = list(dict.fromkeys(name for name, _, _ in describe_differences(arms)))
    shown = [name for name in names if not name.startswith("model.") and name != "code"]
    if models > 1:
        shown.append("the model")
    elif layers_differ and any(name.startswith("model.layers") for name in names):
        shown.append("the kernels' initializers")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _architecture(value: Any) -> Any:
    """Layers without what only fills their weights."""
    if isinstance(value, dict):
        return {key: _architecture(inner) for key, inner in value.items() if key not in NO_ARCHITECTURE}
    return [_architecture(inner) for inner in value] if isinstance(value, list) else value

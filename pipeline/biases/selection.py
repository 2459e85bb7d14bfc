"""Select biases by kind and by layer, as the options of the extract command do."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pipeline.biases.variables import Bias
from pipeline.errors import ConfigError, closest

KINDS = ("bias", "beta", "absent", "unknown")


def select_biases(biases: Sequence[Bias], model: str, layer: str | None, kind: str | None) -> list[Bias]:
    """The biases of this kind (None: all) whose layer or path matches a pattern like `conv*` (None: all).

    model: the name of the model, for messages. Raises ConfigError when no bias is left.
    """
    if not biases:
        raise ConfigError(f"{model}: none of its layers has a bias, or could have one, or they were not built")
    of_kind = [bias for bias in biases if kind in (None, bias.kind)]
    if not of_kind:
        kinds = ", ".join(dict.fromkeys(bias.kind for bias in biases))
        raise ConfigError(f"--kind: {model} has no {kind}; allowed: {kinds}")
    selected = [b for b in of_kind if layer is None or _matches(b.layer, layer) or _matches(b.path, layer)]
    if not selected:
        layers = list(dict.fromkeys(bias.layer for bias in of_kind))
        raise ConfigError(f"--layer: {layer} matches no layer of {model}; {closest(str(layer), layers)}")
    return selected


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)  # a name may contain letters with a meaning, like [

"""Select biases by kind and by layer, as the options of the extract command do."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pipeline.biases.variables import Bias
from pipeline.errors import ConfigError, closest, one_line

MEANINGS = {  # of the kinds
    "bias": "what bias_initializer sets",
    "beta": "the offset of a normalization",
    "absent": "of a layer that was built without its bias",
    "unknown": "a variable that may be one: of a layer that Keras does not have, or that the file does not tell apart",
}
KINDS = tuple(MEANINGS)


def select_biases(biases: Sequence[Bias], model: str, layer: str | None, kind: str | None) -> list[Bias]:
    """The biases of this kind (None: all) whose layer or path matches a pattern like `conv*` (None: all).

    model: the name of the model, for messages. Raises ConfigError when no bias is left.
    """
    if not biases:
        raise ConfigError(f"{model}: none of its layers has a bias, or could have one, or they were not built")
    of_kind = [bias for bias in biases if kind in (None, bias.kind)]
    if not of_kind:
        kinds = ", ".join(dict.fromkeys(bias.kind for bias in biases))
        unknown = [bias for bias in biases if bias.kind == "unknown"]
        if unknown:  # so that it may have what is asked for
            raise ConfigError(
                f"--kind: no {kind} was found in {model}, but {_not_told_apart(unknown)}; allowed: {kinds}"
            )
        raise ConfigError(f"--kind: {model} has no {kind}; allowed: {kinds}")
    selected = [b for b in of_kind if layer is None or _matches(b.layer, layer) or _matches(b.path, layer)]
    if not selected:
        layers = list(dict.fromkeys(bias.layer for bias in of_kind))
        raise ConfigError(f"--layer: {layer} matches no layer of {model}; {closest(str(layer), layers)}")
    return selected


def describe_unknown(biases: Sequence[Bias], model: str, kind: str | None) -> str:
    """Say how many variables of a model were not told apart, where biases of another kind are selected; else empty."""
    unknown = [bias for bias in biases if bias.kind == "unknown"]
    if not unknown or kind in (None, "unknown"):
        return ""
    return one_line(f"{model}: {_not_told_apart(unknown)}")


def _not_told_apart(unknown: Sequence[Bias]) -> str:
    count = f"{len(unknown)} variables were" if len(unknown) > 1 else "1 variable was"
    layers = list(dict.fromkeys(bias.layer or "the model itself" for bias in unknown))
    named = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
    return f"{count} not told apart, and may be biases: of {named} (see --kind unknown)"


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)  # a name may contain letters with a meaning, like [

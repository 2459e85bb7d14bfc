"""Compare the biases of two models, path by path."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.biases.variables import Bias
from pipeline.errors import ConfigError, one_line


def bias_differences(first: Sequence[Bias], second: Sequence[Bias]) -> list[dict[str, Any]]:
    """One row per bias that either model has, with these keys:

    variable (the path), kind, shape, other_shape, drift (Euclidean distance), cosine (of the angle between them),
    sign_flips (how many values are positive in one model and negative in the other), only_in (`first`, `second`, or
    empty). drift, cosine and sign_flips are None unless both models have the bias in the same shape.
    Raises ConfigError when neither model has a bias with values.
    """
    in_first, in_second = ({b.path: b for b in biases if b.values is not None} for biases in (first, second))
    rows = [
        _difference(path, in_first.get(path), in_second.get(path)) for path in dict.fromkeys([*in_first, *in_second])
    ]
    if not rows:
        raise ConfigError("--diff: neither of the two models has a bias of this kind")
    return rows


def describe_names(first: Sequence[Bias], second: Sequence[Bias]) -> str:
    """Say that files may name a layer differently, where a bias of one model only has the shape of one of the other.

    Empty where nothing speaks for it. `.h5` files of weights alone, for one, lack the names of some layers.
    """
    in_first, in_second = ({b.path: b for b in biases if b.values is not None} for biases in (first, second))
    alone = [bias for path, bias in in_first.items() if path not in in_second]
    others = [bias for path, bias in in_second.items() if path not in in_first]
    n_pairs = sum((Counter(map(_shape_of, alone)) & Counter(map(_shape_of, others))).values())
    like = []
    for what, property_of in (("values", _values_of), ("shape", _shape_of)):
        known = {property_of(bias): bias for bias in reversed(others)}
        like += [(bias, known[property_of(bias)], what) for bias in alone if property_of(bias) in known]
    if n_pairs:
        bias, other, what = like[0]
        more = f", and {n_pairs - 1} more in one model may be some in the other" if n_pairs > 1 else ""
        found = f"{bias.path} and {other.path} have the same {what}{more}"
    elif alone and others and len(alone) == len(in_first):
        found = "no bias has the same name in both models"
    else:
        return ""
    return one_line(f"--diff: {found}: files may name a layer differently, and only equal names are compared")


def _shape_of(bias: Bias) -> tuple:
    return bias.kind, bias.values.shape


def _values_of(bias: Bias) -> tuple:
    return bias.kind, bias.values.shape, bias.values.tobytes()


def _difference(path: str, first: Bias | None, second: Bias | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "variable": path,
        "kind": first.kind if first else second.kind if second else "",
        "shape": str(first.values.shape) if first else "",
        "other_shape": str(second.values.shape) if second else "",
        "drift": None,
        "cosine": None,
        "sign_flips": None,
        "only_in": "" if first and second else "first" if first else "second",
    }
    if first and second and first.values.shape == second.values.shape:
        x, y = (np.asarray(bias.values, np.float64).ravel() for bias in (first, second))
        with np.errstate(all="ignore"):  # infinite values give nan
            norms = np.linalg.norm(x) * np.linalg.norm(y)
            row["drift"] = float(np.linalg.norm(y - x))
            row["cosine"] = None if norms == 0 else float(x @ y / norms)
            row["sign_flips"] = int(np.sum(np.sign(x) * np.sign(y) < 0))
    return row

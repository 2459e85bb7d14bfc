"""The settings of a design: checked, and the looks as they will be taken."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

from pipeline.config.schema import Config, DesignSettings
from pipeline.errors import ConfigError, require

DECIDED = "decided"
SPENDING = ("obrien_fleming", "pocock")  # those of `stats.spending`
MOST_SEEDS = 100_000


def complete_design(config: Config) -> DesignSettings:
    """The settings with `looks` as a tuple that ends at `most_seeds`. Raises ConfigError."""
    design = config.design
    require(config.until in (None, DECIDED), "until", config.until, "decided, or null")
    given = [override.partition("=")[0].lstrip("+") for override in config.overrides]
    for key in given if config.until is None else ():
        if key.startswith("design."):
            raise ConfigError(f"{key}: given without until=decided, which alone has a design; allowed: with it")
    if config.until is not None and "seeds" in given:
        line = "seeds: given with until=decided, which finds out how many it takes; allowed: design.most_seeds"
        raise ConfigError(line)
    looks = _looks(design.looks, design.most_seeds)
    require(design.spending in SPENDING, "design.spending", design.spending, f"one of {', '.join(SPENDING)}")
    require(0 < design.alpha <= 0.2, "design.alpha", design.alpha, "a number above 0, at most 0.2")
    margin = design.margin
    is_positive = margin is None or (margin > 0 and math.isfinite(margin))
    require(is_positive, "design.margin", margin, "a positive number, or null")
    require(design.metric is None or design.metric.strip(), "design.metric", repr(design.metric), "a metric, or null")
    return replace(design, looks=looks)


def _looks(looks: Any, most: int | None) -> tuple[int, ...]:
    allowed = f"a list of numbers of seeds, ascending, each from 2 to {MOST_SEEDS}"
    is_list = isinstance(looks, (list, tuple)) and len(looks) > 0
    require(is_list, "design.looks", looks, allowed)
    fit = all(isinstance(n, int) and not isinstance(n, bool) and 2 <= n <= MOST_SEEDS for n in looks)
    ascending = fit and all(a < b for a, b in pairwise(looks))
    require(ascending, "design.looks", list(looks), allowed)
    require(most is None or 2 <= most <= MOST_SEEDS, "design.most_seeds", most, f"a number from 2 to {MOST_SEEDS}")
    return tuple(looks) if most is None else (*(n for n in looks if n < most), most)

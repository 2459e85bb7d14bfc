"""Split the seeds of an arm over jobs: `seeds_per_job`."""

import math
from collections.abc import Sequence
from typing import Any

FEWEST = 10  # seeds of a job under `auto`: starting TensorFlow and compiling take as long as training some of them


def seed_blocks(seeds: Sequence[int], per_job: Any, at_once: int) -> list[tuple[int, ...]]:
    """Blocks of at most `per_job` seeds, in order; null: one block; `auto`: about one per job that runs at once.

    A run does not depend on the seeds that train beside it, so blocks change no number.
    """
    if per_job is None or not seeds:
        return [tuple(seeds)]
    if per_job == "auto":
        per_job = max(FEWEST, math.ceil(len(seeds) / at_once))
    return [tuple(seeds[i : i + per_job]) for i in range(0, len(seeds), per_job)]

"""Which seeds a study has runs of, by the names of their folders."""

from pipeline.store.runs import RunStore


def seed_span(end: int) -> str:
    """The seeds below `end` in words; they need not all be there."""
    return f"seeds up to {end - 1}" if end > 1 else "seed 0"


def stored_end(store: RunStore) -> int:
    """The seeds from here on are stored of no arm, by the names of the runs' folders."""
    names = (path.name.removeprefix("seed=") for arm in store.arm_names() for path in store.run_folders(arm))
    return 1 + max((int(name) for name in names if name.isdecimal()), default=-1)

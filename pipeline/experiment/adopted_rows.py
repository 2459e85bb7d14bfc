"""Put together the tables that several results folders have made from runs of one study."""

from collections.abc import Container, Sequence

from pipeline.analysis.ablation import LABELS, VERSION, stored_rows
from pipeline.store.runs import RunStore
from pipeline.store.tables import write_table


def adopt_rows(store: RunStore, others: Sequence[RunStore], keys: Container[str]) -> None:
    """Add the rows that were computed for the same runs in other results folders, and are missing here.

    keys: of the runs that are here; rows of others are left out. What no folder has computed, such as a run with the
    biases of an arm that was trained elsewhere, the next sweep of the study computes.
    """
    with store.lock():
        for table in LABELS:
            rows = stored_rows(store, table)
            before = len(rows)
            for other in others:
                for identity, row in stored_rows(other, table, VERSION).items():
                    if all(key in keys for key in (row["key"], row.get("from_key")) if key):
                        rows.setdefault(identity, row)
            if len(rows) > before:  # the rows of a run stay in their order
                ordered = sorted(rows.values(), key=lambda row: (row["arm"], row["seed"].zfill(20)))
                write_table(store, table, list(dict.fromkeys(name for row in ordered for name in row)), ordered)

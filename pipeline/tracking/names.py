"""The names under which MLflow shows the runs of arms and seeds; they are found by their tags, never by their names.

A name leaves out what all arms of the study share, so it changes when an arm comes that differs.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.config.short_names import short_names
from pipeline.store.runs import RunStore
from pipeline.store.whole_names import whole_names

MOST_RUNS = 50_000  # that MLflow returns at once


def seed_name(arm: str, seed: int | str) -> str:
    """The name of a seed's run. arm: what is shown of its arm."""
    return f"{arm}-s{seed}"


def stored_names(store: RunStore) -> dict[str, str]:
    """Whole name -> name to show, of the arms in a results folder."""
    whole = whole_names(store)
    return short_names(whole, whole)


def qualified_names(arms: Iterable[tuple[RunStore, str]]) -> list[str]:
    """Arms as messages name them, with their studies."""
    arms, shown = list(arms), dict[RunStore, dict[str, str]]()
    for store, _ in arms:
        if store not in shown:
            shown[store] = stored_names(store)
    return [f"{store.study}/{shown[store].get(arm, arm)}" for store, arm in arms]


def rename_runs(client: Any, experiment_id: str, store: RunStore) -> None:
    """Give every arm that MLflow or the folder has, and its seeds, the name that tells it from the others.

    client: an MlflowClient.
    """
    found = client.search_runs([experiment_id], "tags.role = 'arm'", max_results=MOST_RUNS)
    arms = [(run, run.data.tags["arm"]) for run in found]
    whole = whole_names(store)
    names = short_names(sorted({*whole, *(arm for _, arm in arms)}), whole)
    for run, arm in arms:
        if run.info.run_name != names[arm]:
            _rename_seeds(client, experiment_id, arm, names)
            client.update_run(run.info.run_id, name=names[arm])  # last: what was interrupted is repeated


def _rename_seeds(client: Any, experiment_id: str, arm: str, names: Mapping[str, str]) -> None:
    condition = f"tags.role = 'seed' AND tags.arm = '{arm}'"
    for run in client.search_runs([experiment_id], condition, max_results=MOST_RUNS):
        name = seed_name(names[arm], run.data.params.get("seed", ""))
        if run.info.run_name != name and "seed" in run.data.params:
            client.update_run(run.info.run_id, name=name)

"""Where MLflow's pages show a study's verdict: the address at a server, or the command that shows an embedded store."""

import shlex
from typing import Any

from pipeline.installation import IS_CLONE
from pipeline.tracking.client import EMBEDDED, database_file, hide_passwords, open_client, read_sqlite

VIEW = "verdict"  # key of the saved view of the runs table
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
ML_PAGES = "workflowType=machine_learning"  # in an address: MLflow's pages for training, not those for language models
LOCAL = "http://127.0.0.1:5000"  # where `mlflow ui` answers


def view_path(experiment_id: str) -> str:
    """The part of an address that leads to an experiment's table of verdicts."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}&{ML_PAGES}"


def ui_command(uri: str) -> str:
    """What starts MLflow's pages on a store that is no server."""
    option = "" if uri == EMBEDDED else f" --backend-store-uri {shlex.quote(hide_passwords(uri))}"
    return f"{'uv run ' * IS_CLONE}mlflow ui{option}"


def verdict_link(uri: str, study: str) -> str:
    """The address of a study's verdict, which `ui_command` makes answer where the store is no server; "" where MLflow
    has none. Raises OSError for a busy store."""
    experiment_id = _experiment_id(uri, study)
    if experiment_id is None:
        return ""
    return f"{hide_passwords(uri).rstrip('/') if uri.startswith('http') else LOCAL}/{view_path(experiment_id)}"


def verdict_page(uri: str, study: str) -> str:
    """Where to look for a study's verdict, in a line; "" where MLflow has none. Raises OSError for a busy store."""
    link = verdict_link(uri, study)
    if not link:
        return ""
    return f"In MLflow: {link if uri.startswith('http') else f'{ui_command(uri)}, then {link}'}"


def _experiment_id(uri: str, study: str) -> str | None:
    query = """SELECT experiments.experiment_id FROM experiments JOIN experiment_tags USING (experiment_id)
               WHERE experiments.name = ? AND experiments.lifecycle_stage = 'active' AND experiment_tags.key = ?"""
    if (database := database_file(uri)) is not None:  # without MLflow, which would make the store where there is none
        rows = read_sqlite(uri, query, [study, VIEW_TAG])
        if rows is None and database.is_file():
            raise OSError(f"{database} cannot be read at present")
        return str(rows[0][0]) if rows else None
    experiment: Any = open_client(uri).get_experiment_by_name(study)
    return experiment.experiment_id if experiment is not None and VIEW_TAG in experiment.tags else None

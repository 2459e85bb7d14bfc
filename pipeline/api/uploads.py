"""Upload a comparison to MLflow: the arms as they are trained, then the verdict, as `pipeline.compare` does."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.api.beside import isolated
from pipeline.api.study import Study
from pipeline.api.worker import publish, send
from pipeline.config.schema import Tracking
from pipeline.errors import PipelineError
from pipeline.store.runs import Run, RunStore
from pipeline.tracking.background import count_unsent, describe_unlogged
from pipeline.tracking.names import stored_names


class Uploads:
    """What goes to MLflow. No problem of MLflow's costs the answer, and an arm that it refuses holds up no other.

    log: of the process that sends.
    """

    def __init__(self, mlflow: bool | str, log: Path) -> None:
        self.tracking = Tracking(bool(mlflow), mlflow if isinstance(mlflow, str) else None)
        self._log = log
        self._refused: dict[str, str] = {}  # arm -> why MLflow does not have it
        self._unlogged: dict[str, str] = {}  # arm -> why MLflow has it without its model
        self._is_away = False  # each further arm would wait for the server again

    def send_arm(self, _: Tracking, store: RunStore, arm: str, runs: Sequence[Run]) -> str:
        """Upload an arm, unless MLflow did not answer for an earlier one."""
        if not self.tracking.enabled:
            return ""
        problem, unlogged = "not tried", ""
        if not self._is_away:
            try:
                problem, self._is_away, unlogged = isolated(send, self.tracking, store, arm, log=self._log)
            except PipelineError as error:  # the process beside died of it
                problem = str(error)
        self._refused.pop(arm, None)  # of an earlier look
        if problem:
            self._refused[arm] = problem
        if unlogged:
            self._unlogged[arm] = unlogged
        return ""

    def send_verdict(self, study: Study, folder: Path) -> list[str]:
        """Write the report into a folder and upload it; returns what the answer says about it, in sentences."""
        if not self.tracking.enabled:
            return []
        again = "the same call sends it" if study.is_kept else "with results=, the same call would send it later"
        names = stored_names(study.store)
        notes = describe_unlogged({names.get(arm, arm): why for arm, why in self._unlogged.items()})
        if self._refused:
            first = next(iter(self._refused.values())).rstrip(".")
            unsent = count_unsent([names.get(arm, arm) for arm in self._refused])
            return [f"{first}. {unsent}, and so is the verdict; {again}", *notes]
        study.save(folder)
        try:
            arguments = self.tracking, study.store, folder, study.is_kept
            study.mlflow_link, page, problem = isolated(publish, *arguments, log=self._log)
        except PipelineError as error:
            page, problem = "", str(error)
        return [*filter(None, [page]), *([f"{problem.rstrip('.')}; {again}"] if problem else []), *notes]

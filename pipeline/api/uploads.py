"""Upload a comparison to MLflow: the arms as they are trained, then the verdict, as `pipeline.compare` does."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.api.beside import isolated
from pipeline.api.study import Study
from pipeline.api.worker import publish, send
from pipeline.config.schema import Tracking
from pipeline.errors import PipelineError
from pipeline.store.runs import Run, RunStore


class Uploads:
    """What goes to MLflow. No problem of MLflow's costs the answer: `problems` has a line of the first.

    log: of the process that sends.
    """

    def __init__(self, mlflow: bool | str, log: Path) -> None:
        self.tracking = Tracking(bool(mlflow), mlflow if isinstance(mlflow, str) else None)
        self.problems: list[str] = []
        self._log = log

    def send_arm(self, _: Tracking, store: RunStore, arm: str, runs: Sequence[Run]) -> str:
        """Upload an arm, unless an earlier one met a problem: it would have to wait for the server again."""
        if self.tracking.enabled and not self.problems:
            self._note(isolated(send, self.tracking, store, arm, log=self._log))
        return ""

    def send_verdict(self, study: Study, folder: Path) -> list[str]:
        """Write the report into a folder and upload it; returns what the answer says about it, in sentences."""
        if not self.tracking.enabled:
            return []
        page = ""
        if not self.problems:
            study.save(folder)
            arguments = self.tracking, study.store, folder, study.is_kept
            try:
                study.mlflow_link, page, problem = isolated(publish, *arguments, log=self._log)
            except PipelineError as error:
                problem = str(error)
            self._note(problem)
        again = "the same call sends it" if study.is_kept else "with results=, the same call would send it later"
        return [*filter(None, [page]), *(f"{problem.rstrip('.')}; {again}" for problem in self.problems)]

    def _note(self, problem: str) -> None:
        if problem:
            self.problems.append(problem)

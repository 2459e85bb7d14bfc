"""`hydra/launcher=dask`: jobs on any cluster that Dask reaches: a scheduler that runs, or a cluster to start."""

import importlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, describe_error
from pipeline.installation import install_text
from pipeline.launchers.base import EngineLauncher
from pipeline.launchers.jobs import WorkerJob, work
from pipeline.runtime.device import n_cores, visible_gpus

LOOPBACK = "127.0.0.1"


class DaskLauncher(EngineLauncher):
    """Hands the jobs to a Dask scheduler, which gives those of a worker that dies to another one.

    address: of a scheduler that runs, `tcp://host:8786`. scheduler_file: what `dask scheduler --scheduler-file` wrote.
    cluster: the class of a cluster to start, `dask_jobqueue.PBSCluster`, with `options`. With none of them, processes
    of this machine. workers: how many to start. wait: seconds for the first worker. tries: of a job whose process dies.
    """

    def __init__(
        self, address: str | None = None, scheduler_file: str | None = None, cluster: str | None = None,
        options: Any = None, workers: Any = "auto", wait: float = 300, tries: int = 3,
    ) -> None:  # fmt: skip
        places = {"address": address, "scheduler_file": scheduler_file, "cluster": cluster}
        given = [f"hydra.launcher.{name}" for name, value in places.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)} given; allowed: one of them")
        for name, number, fewest in (("workers", workers, 1), ("tries", tries, 1), ("wait", wait, 0)):
            kinds, words = ((int, float), "a number") if name == "wait" else (int, "a whole number")
            is_number = isinstance(number, kinds) and not isinstance(number, bool) and number >= fewest
            if not is_number and (name, number) != ("workers", "auto"):
                raise ConfigError(f"hydra.launcher.{name}", number, f"{words} from {fewest} up")
        if not isinstance(options, Mapping | None):
            raise ConfigError("hydra.launcher.options", options, "arguments by name, {queue: long}, or null")
        if options and cluster is None:
            raise ConfigError("hydra.launcher.options", options, "with hydra.launcher.cluster, whose options they are")
        self.address, self.scheduler_file, self.cluster, self.options = address, scheduler_file, cluster, options
        self.workers, self.wait, self.tries = workers, wait, tries

    def check(self) -> None:
        """Look whether Dask is installed, and its scheduler there."""
        try:
            import distributed
        except ImportError as error:
            raise ConfigError("hydra/launcher", "dask", f"it after {install_text('dask', 'distributed')}") from error
        if self.cluster:
            _cluster_class(self.cluster)
        if self.scheduler_file and not Path(self.scheduler_file).is_file():  # for which a client would wait
            raise ConfigError(
                "hydra.launcher.scheduler_file", self.scheduler_file, "what dask scheduler --scheduler-file wrote",
                reason="where there is no file",
            )  # fmt: skip
        if self.address or self.scheduler_file:
            try:
                with distributed.Client(self.address, scheduler_file=self.scheduler_file, timeout=10):
                    pass
            except Exception as error:  # of a file that is none of Dask's, whatever reading it raises
                key = "hydra.launcher." + ("address" if self.address else "scheduler_file")
                reason = "where no scheduler answers"
                allowed = "that of a running one: dask scheduler"
                raise ConfigError(key, self.address or self.scheduler_file, allowed, reason=reason) from error

    def at_once(self) -> int:
        """The workers to start; elsewhere a guess."""
        return len(visible_gpus()) or n_cores() if self.workers == "auto" else int(self.workers)

    def describe(self) -> str:
        """Where the jobs go."""
        where = self.address or self.scheduler_file
        if where:
            return f"hydra/launcher=dask: as many jobs at once as {where} has workers"
        of = "processes of this machine" if self.cluster is None else f"workers of a {self.cluster}"
        return f"hydra/launcher=dask: {self.at_once()} {of}"

    def run(self, jobs: Sequence[WorkerJob]) -> Iterator[tuple[WorkerJob, str]]:
        """Do the jobs, in any order."""
        from distributed import as_completed

        share = max(1, n_cores() // self.at_once()) if self._is_local else 0
        jobs = [replace(job, cores=share, tries=self.tries) for job in jobs]
        with ExitStack() as stack:
            try:
                client = stack.enter_context(self._client())
            except Exception as error:
                for job in jobs:
                    job.job.log.write_text(traceback.format_exc())
                    yield job, describe_error(error)
                return
            futures = {client.submit(work, job, pure=False, retries=self.tries - 1): job for job in jobs}
            for future in as_completed(futures):
                reason = future.result() if future.status == "finished" else _describe(future)
                if reason:
                    yield futures[future], reason

    @property
    def _is_local(self) -> bool:
        return self.address is None and self.scheduler_file is None and self.cluster is None

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """A client of the cluster, which is started and stopped where it is ours."""
        import distributed

        cluster = None
        if self._is_local:
            cluster = distributed.LocalCluster(
                n_workers=self.at_once(), threads_per_worker=1, host=LOOPBACK, dashboard_address=""
            )
        elif self.cluster is not None:
            cluster = _cluster_class(self.cluster)(**(self.options or {}))
            cluster.scale(self.at_once())
        where = {"address": cluster or self.address, "scheduler_file": self.scheduler_file}
        try:
            with distributed.Client(**where) as client:
                try:
                    client.wait_for_workers(1, timeout=self.wait)
                except TimeoutError as error:
                    allowed = "a longer time, or workers: dask worker"
                    raise ConfigError("hydra.launcher.wait", self.wait, allowed, reason="but no worker came") from error
                yield client
        finally:
            if cluster is not None:
                cluster.close()


def _cluster_class(name: str) -> Any:
    """The class of a cluster, of an installed package. Raises ConfigError."""
    from distributed.deploy.cluster import Cluster

    module, _, attribute = name.rpartition(".")
    found, reason = None, ""
    try:
        found = getattr(importlib.import_module(module), attribute, None) if module else None
    except ImportError as error:
        reason = f"but {error}"
    if not (isinstance(found, type) and issubclass(found, Cluster)):
        allowed = "the class of a Dask cluster, such as dask_jobqueue.PBSCluster"
        raise ConfigError("hydra.launcher.cluster", name, allowed, reason=reason)
    return found


def _describe(future: Any) -> str:
    """Why a job was given up, in one line."""
    if future.status != "error":
        return "Dask's scheduler no longer answers; a worker may still train it"
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return "its worker was killed each time it was tried"
    return describe_error(error)

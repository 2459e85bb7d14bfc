"""MLflow is away, slow, cut off, suspended or locked: a sweep ends in time, names what is unsent, and loses nothing."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from factories import CommandResult, MLflowStore, TrainedStudy, copy_runs
from faults.proxy import Fault, Proxy

from pipeline import sync
from pipeline.config.schema import PROJECT, Tracking
from pipeline.runtime.hashing import digest
from pipeline.store.runs import RunStore
from pipeline.tracking.background import expect_study, finish_uploads, queue_arm, start_upload, stop_uploads
from pipeline.tracking.client import lock_file

pytestmark = [pytest.mark.slow, pytest.mark.faults]

ARMS = ("glorot_uniform,training.epochs=2", "no_bias,training.epochs=2")
SHOWN = tuple(arm.partition(",")[0] for arm in ARMS)
WAIT = 2.0  # tracking.wait of these sweeps
SLACK = 3.0  # seconds in which a machine that is busy ends a process and reads what it said
Figure = Callable[[str], None]

# Where each outage begins, in the order of the requests: the first one, while a run is filled, at its last one.
FIRST, ARTIFACT, LAST = "", "mlflow-artifacts", "runs/update"
OUTAGES = {
    "refuses from the start": Fault("refuse"),
    "refuses from the midst on": Fault("refuse", skip=7),
    "refuses at the end of a run": Fault("refuse", LAST),
    "reads nothing": Fault("deaf"),
    "never answers": Fault("silent"),
    "never answers from the midst on": Fault("silent", skip=8),
    "never answers for artifacts": Fault("silent", ARTIFACT),
    "never answers at the end of a run": Fault("silent", LAST, skip=1),
    "answers 5 s late": Fault("late"),
    "answers 5 s late from the midst on": Fault("late", skip=6),
    "answers a byte every half second": Fault("trickle"),
    "answers a byte every half second from the midst on": Fault("trickle", skip=9),
    "cuts requests off": Fault("cut request"),
    "cuts requests off in their bodies": Fault("cut request", "log-batch", size=700),
    "cuts replies off": Fault("cut reply"),
    "cuts replies off in their bodies": Fault("cut reply", "runs/search", size=200),
    "loses replies after the work is done": Fault("drop reply", "runs/create"),
    "loses the reply to the end of a run": Fault("drop reply", LAST),
    "answers 500": Fault("status", status=500),
    "answers 503 from the midst on": Fault("status", skip=10),
}
HICCUPS = {
    "one connection is cut": Fault("cut request", skip=5, times=1),
    "one created run is not confirmed": Fault("drop reply", "runs/create", times=1),
    "one finished run is not confirmed": Fault("drop reply", LAST, times=1),
    "one answer is 503": Fault("status", skip=9, times=1),
}


@dataclass
class Sweep:
    """The end of a sweep over two arms: stored results, of which MLflow has nothing yet."""

    store: RunStore
    uri: str
    wait: float = WAIT

    @property
    def tracking(self) -> Tracking:
        return Tracking(True, self.uri, self.wait)

    @property
    def options(self) -> list[str]:
        return [f"results={self.store.results}", f"uri={self.uri}"]

    def train(self) -> None:
        """Do what training does of uploading. It never waits for MLflow."""
        start = time.monotonic()
        start_upload(self.tracking, self.store.results)
        expect_study(self.tracking, self.store)
        for arm in ARMS:
            queue_arm(self.tracking, self.store, arm, self.store.runs(arm))
        assert time.monotonic() - start < SLACK

    def finish(self) -> tuple[list[str], float]:
        """What the sweep says at its end, and how long after the training that is: in time, whatever happened."""
        start = time.monotonic()
        lines = finish_uploads(None)
        waited = time.monotonic() - start
        assert waited < self.wait + SLACK
        return lines, waited

    def content(self) -> dict[str, str]:
        """Every file of the results, by its digest."""
        files = (path for path in self.store.folder.rglob("*") if path.is_file())
        return {str(path): digest(path.read_bytes()) for path in files}

    def assert_named(self, lines: list[str], unsent: int | None = None) -> None:
        """The lines say that MLflow had a problem, which arms are unsent, and which command sends them."""
        problem, named, command = lines
        assert problem.startswith(f"Could not upload to MLflow at {self.uri}"), lines
        found = re.fullmatch(r"The results are safe\. (\d) arms? (is|are) unsent: (.*)\.", named)
        assert found, lines
        arms = [f"{self.store.study}/{name}" for name in SHOWN][-int(found[1]) :]
        assert found[3] == ", ".join(arms) and unsent in (None, len(arms)), lines
        assert command == f"To send what is missing: uv run python -m pipeline.sync {' '.join(self.options)}"

    def assert_recovered(self, server: str, capfd: pytest.CaptureFixture[str]) -> float:
        """`sync` uploads the rest: one finished run per key, and none half-done. Returns how long it takes."""
        start = time.monotonic()
        capfd.readouterr()
        assert sync.main(self.options) == 0, capfd.readouterr()
        seconds = time.monotonic() - start
        runs = MLflowStore(server).by_name(self.store.study)
        assert set(runs) == {*ARMS, *(f"{arm}-s0" for arm in ARMS)}
        assert {run.info.status for run in runs.values()} == {"FINISHED"}
        assert len({run.data.tags["key"] for run in runs.values()}) == len(runs)
        return seconds


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(autouse=True)
def _fail_rather_than_hang() -> Iterator[None]:
    """Without the mechanisms that are tested here, some of these tests would never end."""

    def fail(*_: object) -> None:
        raise TimeoutError("the time of the test has passed")

    earlier = signal.signal(signal.SIGALRM, fail)
    signal.alarm(90)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)


@pytest.fixture(autouse=True)
def _no_uploader_left() -> Iterator[None]:
    earlier = psutil.Process().children()
    yield
    left = [child for child in psutil.Process().children() if child not in earlier]
    stop_uploads()  # of a test that failed
    assert left == []


@pytest.fixture
def sweep(trained_study_files: TrainedStudy, tmp_path: Path, request: pytest.FixtureRequest) -> Sweep:
    """Stored results of two arms, in a study of the test's own; set `uri`."""
    study = re.sub(r"[^\w]+", "-", request.node.name).strip("-")
    store = RunStore(tmp_path / "results", study)
    for arm in ARMS:
        copy_runs(trained_study_files.results, store, arm, [0])
    return Sweep(store, "")


@pytest.fixture
def proxy(server: str) -> Iterator[Proxy]:
    """A proxy in front of the MLflow server."""
    with Proxy(server) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def measured() -> dict[str, tuple[float, float]]:
    """How long the sweep waited in each outage, and how long `sync` took afterwards."""
    return {}


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain: {what}")
        time.sleep(0.02)


@contextmanager
def suspended(*processes: psutil.Process) -> Iterator[None]:
    """Within the context, processes are stopped by SIGSTOP."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            if process.is_running():
                process.resume()


@contextmanager
def holding(code: str, *arguments: str) -> Iterator[psutil.Process]:
    """Another process that prints a line when it holds something, and holds it until the context ends."""
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, cwd=PROJECT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


HOLD_LOCK = """
import sys
from pathlib import Path
from pipeline.store.locks import hold_lock
with hold_lock(Path(sys.argv[1]), "another sweep is being uploaded"):
    print("held", flush=True)
    sys.stdin.read()
"""
HOLD_DATABASE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_delays_a_sweep_by_its_bound_at_most(
    outage: str, sweep: Sweep, proxy: Proxy, server: str, capfd: pytest.CaptureFixture[str],
    measured: dict[str, tuple[float, float]],
) -> None:  # fmt: skip
    """The end names the arms that are unsent and the command; the results are untouched; the command completes."""
    sweep.uri, before = proxy.uri, sweep.content()
    proxy.fault = fault = OUTAGES[outage]
    sweep.train()
    wait_until(lambda: fault.happened, f"{outage}; so far {proxy.requests}")
    lines, waited = sweep.finish()
    sweep.assert_named(lines)
    assert sweep.content() == before
    proxy.heal()
    measured[outage] = waited, sweep.assert_recovered(server, capfd)


def test_the_longest_wait(measured: dict[str, tuple[float, float]], figure: Figure) -> None:
    """Prints what was measured above."""
    if len(measured) < len(OUTAGES):
        pytest.skip("not all outages were tried")
    waits, syncs = zip(*measured.values(), strict=True)
    figure(f"{len(waits)} outages: longest wait {max(waits):.1f} s of {WAIT:g} s; sync then {max(syncs):.1f} s at most")


@pytest.mark.parametrize("hiccup", HICCUPS)
def test_a_hiccup_costs_nothing(
    hiccup: str, sweep: Sweep, proxy: Proxy, server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What fails once is sent again at once: all is uploaded when the sweep ends, and nothing twice."""
    sweep.uri, sweep.wait = proxy.uri, 30
    proxy.fault = fault = HICCUPS[hiccup]
    sweep.train()
    assert sweep.finish()[0] == []
    assert fault.happened
    sweep.assert_recovered(server, capfd)


def test_an_arm_that_could_not_be_sent_is_tried_again_with_the_next(
    sweep: Sweep, proxy: Proxy, server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A server that is back before the training ends costs nothing, however long it was away."""
    sweep.uri, sweep.wait = proxy.uri, 30
    proxy.fault = fault = Fault("status", times=3)  # as often as MLflow asks
    queue_arm(sweep.tracking, sweep.store, ARMS[0], sweep.store.runs(ARMS[0]))
    wait_until(lambda: fault.seen == 3, "the first arm")
    time.sleep(0.5)  # MLflow has given up
    assert fault.seen == 3
    queue_arm(sweep.tracking, sweep.store, ARMS[1], sweep.store.runs(ARMS[1]))
    assert sweep.finish()[0] == []
    sweep.assert_recovered(server, capfd)


def uploader() -> psutil.Process:
    """The process that uploads for this one."""
    (process,) = [child for child in psutil.Process().children() if "follow=true" in child.cmdline()]
    return process


def test_a_suspended_server_delays_a_sweep_by_its_bound_at_most(
    sweep: Sweep, server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A server under SIGSTOP accepts connections and answers none; when it goes on, the command completes."""
    sweep.uri = server
    (launched,) = [child for child in psutil.Process().children() if "server" in child.cmdline()]
    with suspended(launched, *launched.children(recursive=True)):
        sweep.train()
        time.sleep(3)  # until MLflow is imported and asks
        sweep.assert_named(sweep.finish()[0], unsent=2)
    sweep.assert_recovered(server, capfd)


def test_a_suspended_uploader_blocks_neither_the_training_nor_the_end(
    sweep: Sweep, server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What its pipe has no room for stays in memory; at the end it is killed, which works on a suspended process."""
    sweep.uri, sweep.wait = server, 3
    start_upload(sweep.tracking, sweep.store.results)
    reader, writer = os.openpty()
    with suspended(uploader()), os.fdopen(writer, "w") as terminal:
        start = time.monotonic()
        signal.alarm(20)  # a write that waits for the pipe would wait for ever
        for _ in range(3000):  # lines of 60 bytes, where a pipe holds 64 KB
            expect_study(sweep.tracking, sweep.store)
        assert time.monotonic() - start < SLACK
        sweep.train()
        signal.alarm(60)
        with redirect_stderr(terminal):
            lines, _ = sweep.finish()
        sweep.assert_named(lines, unsent=2)
    assert os.read(reader, 1000).decode() == f"uploading to MLflow at {server}, for at most 1 s more\r\n"  # after 2 s
    os.close(reader)
    sweep.assert_recovered(server, capfd)


def test_an_uploader_that_goes_on_gets_what_its_pipe_had_no_room_for(
    sweep: Sweep, server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing that was queued is lost while the uploader does not read."""
    sweep.uri, sweep.wait = server, 60
    start_upload(sweep.tracking, sweep.store.results)
    process = uploader()
    with suspended(process):
        for _ in range(1500):
            expect_study(sweep.tracking, sweep.store)
        sweep.train()
        threading.Timer(0.5, process.resume).start()
        assert sweep.finish()[0] == []
    sweep.assert_recovered(server, capfd)


def test_a_lock_of_a_suspended_process_delays_a_sweep_by_its_bound_at_most(
    sweep: Sweep, server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The end says which process holds the lock, and since when."""
    sweep.uri = server
    with holding(HOLD_LOCK, str(lock_file(server, sweep.store.results))) as holder, suspended(holder):
        sweep.train()
        lines, _ = sweep.finish()
        sweep.assert_named(lines, unsent=2)
        assert re.search(
            rf"; another sweep is being uploaded by process {holder.pid} since \d\d:\d\d:\d\d\.$", lines[0]
        )
    sweep.assert_recovered(server, capfd)


def test_a_locked_database_delays_a_sweep_by_its_bound_at_most(
    sweep: Sweep, mlflow_store: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """An SQLite store that another process keeps locked holds up neither the training nor, for long, the end."""
    sweep.uri = mlflow_store
    with holding(HOLD_DATABASE, mlflow_store.removeprefix("sqlite:///")) as holder, suspended(holder):
        sweep.train()
        sweep.assert_named(sweep.finish()[0], unsent=2)
    sweep.assert_recovered(mlflow_store, capfd)


def test_a_sweep_that_need_not_wait_does_not(sweep: Sweep, server: str, capfd: pytest.CaptureFixture[str]) -> None:
    """With `tracking.wait=0` a sweep ends at once, and names what was not sent during the training."""
    sweep.uri, sweep.wait = server, 0
    sweep.train()
    lines, waited = sweep.finish()
    assert waited < 1
    sweep.assert_named(lines, unsent=2)
    sweep.assert_recovered(server, capfd)


SWEEP = """
import sys, time
from pathlib import Path
from pipeline.config.schema import Tracking
from pipeline.store.runs import RunStore
from pipeline.tracking.background import queue_arm
results, study, uri, wait = sys.argv[1:]
store, tracking = RunStore(Path(results), study), Tracking(True, uri, float(wait))
for run in store.runs():
    queue_arm(tracking, store, run.arm, [run])
print("held", flush=True)
sys.stdin.read()
"""


def test_the_uploader_of_a_killed_sweep_ends_in_time(sweep: Sweep, proxy: Proxy, server: str, figure: Figure,
                                                     capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """It keeps no lock for longer than the sweep would have waited, whatever the server does."""
    sweep.uri, proxy.fault = proxy.uri, (fault := Fault("trickle", skip=5))
    with holding(SWEEP, str(sweep.store.results), sweep.store.study, proxy.uri, str(WAIT)) as parent:
        (orphan,) = parent.children()
        wait_until(lambda: fault.happened, "the upload")
    start = time.monotonic()
    wait_until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, "its end", WAIT + SLACK)
    assert time.monotonic() - start > WAIT / 2  # it was given its time
    figure(f"the uploader of a killed sweep ended {time.monotonic() - start:.1f} s later, of {WAIT:g} s")
    proxy.heal()
    sweep.assert_recovered(server, capfd)


def test_a_finished_sweep_on_a_silent_server_ends_in_time(
    trained_study: TrainedStudy, proxy: Proxy, cli: Callable[..., CommandResult]
) -> None:
    """The whole command: exit code 0, no word of where MLflow shows the runs, the unsent arms and the command."""
    proxy.fault = Fault("silent")
    arms = ("use_bias=true,false", "bias_initializer=zeros,glorot", "ablation=false")
    start = time.monotonic()
    result = cli("-m", *TrainedStudy.overrides, *arms, f"tracking.uri={proxy.uri}", f"tracking.wait={WAIT}")
    assert time.monotonic() - start < WAIT + 3 * SLACK
    assert result.code == 0 and "In MLflow" not in result.out
    assert "The results are safe. 3 arms are unsent: iris-linear/" in result.err
    assert f"pipeline.sync results={trained_study.results} uri={proxy.uri}\n" in result.err


def start_command(module: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *options], cwd=PROJECT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def end_of(process: subprocess.Popen[str], timeout: float = 60) -> tuple[int, str]:
    """Exit code and standard error of a command."""
    _, err = process.communicate(timeout=timeout)
    return process.returncode, err


WAITING = r"waiting for MLflow at {}, for at most \d+ s more"


def test_ctrl_c_ends_the_wait_for_the_upload(trained_study: TrainedStudy, proxy: Proxy, tmp_path: Path) -> None:
    """A sweep that has trained and still uploads ends at Ctrl-C, and names the unsent arms and the command."""
    proxy.fault = Fault("silent")
    arms = ("use_bias=true,false", "bias_initializer=zeros,glorot", "ablation=false")
    places = (f"results={trained_study.results}", f"hydra.sweep.dir={tmp_path / 'multirun'}")
    overrides = (*TrainedStudy.overrides, *arms, *places, f"tracking.uri={proxy.uri}", "tracking.wait=60")
    sweep = start_command("pipeline.train", "-m", *overrides)
    assert sweep.stdout is not None
    wait_until(lambda: "Results:" in sweep.stdout.readline(), "the end of the sweep")
    time.sleep(0.5)
    start = time.monotonic()
    sweep.send_signal(signal.SIGINT)
    code, err = end_of(sweep)
    assert time.monotonic() - start < SLACK and code == 130, err
    interrupted, problem, named, command = err.splitlines()
    assert interrupted.startswith("interrupted (SIGINT): finished runs are kept")
    assert problem == f"Could not upload to MLflow at {proxy.uri}: interrupted."
    assert "3 arms are unsent" in named and "pipeline.sync" in command


def test_sync_ends_when_it_is_told_to(sweep: Sweep, proxy: Proxy) -> None:
    """Ctrl-C ends an upload that waits for a server at once, with one line; `wait=` ends it after as many seconds."""
    sweep.uri, proxy.fault = proxy.uri, (fault := Fault("trickle", ARTIFACT))
    interrupted = start_command("pipeline.sync", *sweep.options)
    wait_until(lambda: fault.happened, "the upload")
    start = time.monotonic()
    interrupted.send_signal(signal.SIGINT)
    assert end_of(interrupted) == (130, "interrupted (SIGINT)\n")
    assert time.monotonic() - start < SLACK

    arms = ", ".join(f"{sweep.store.study}/{name}" for name in SHOWN)
    late = f"Could not upload to MLflow at {proxy.uri} within 4 s (wait). 2 arms are unsent: {arms}.\n"
    start = time.monotonic()
    code, err = end_of(start_command("pipeline.sync", *sweep.options, "wait=4"))
    assert (code, err.splitlines(True)[-1]) == (1, late)
    assert time.monotonic() - start < 4 + 2 * SLACK


def test_sync_says_for_whom_it_waits(sweep: Sweep, server: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Another process's lock is waited for, and named after two seconds."""
    sweep.uri = server
    with holding(HOLD_LOCK, str(lock_file(server, sweep.store.results))) as holder:
        waiting = start_command("pipeline.sync", *sweep.options)
        assert waiting.stderr is not None
        said = waiting.stderr.readline()
        assert waiting.poll() is None
    code, err = end_of(waiting)
    line = rf"another sweep is being uploaded by process {holder.pid} since \d\d:\d\d:\d\d; waiting for it\n"
    assert (code, err) == (0, "") and re.fullmatch(line, said)
    sweep.assert_recovered(server, capfd)


def test_compare_ends_in_time_with_its_report(trained_study: TrainedStudy, proxy: Proxy, tmp_path: Path) -> None:
    """A server that never answers costs the upload alone: the report is there, and the command that sends it named."""
    places = [f"results={trained_study.results}", f"reports={tmp_path / 'reports'}"]
    assert sync.main([*places, f"uri={proxy.uri}"]) == 0
    proxy.fault = fault = Fault("trickle", ARTIFACT)
    command = [sys.executable, "-m", "pipeline.compare", *places, "figures=false", "wait=6"]
    ended = subprocess.run(
        command, cwd=PROJECT, text=True, capture_output=True, env=os.environ | {"MLFLOW_TRACKING_URI": proxy.uri}
    )
    assert fault.happened and ended.returncode == 0
    assert ended.stderr.splitlines()[-1] == (
        f"Could not upload to MLflow at {proxy.uri} within 6 s (wait): the report of iris-linear is unsent. "
        f"To send it: uv run python -m pipeline.sync {places[0]}"
    )
    assert (tmp_path / "reports" / "iris-linear" / "report.html").is_file()


@pytest.mark.parametrize("module", ["pipeline.extract", "pipeline.sync", "pipeline.compare"])
def test_a_command_that_waits_for_a_suspended_server_says_so(
    module: str, sweep: Sweep, server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """After two seconds it names the server, without the password, and how long it waits at most; then it ends so."""
    sweep.uri = server
    sweep.assert_recovered(server, capfd)
    run_id = MLflowStore(server).by_name(sweep.store.study)[f"{ARMS[0]}-s0"].info.run_id
    uri, shown = (server.replace("://", f"://someone{word}@") for word in (":secret", ":***"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    places = [f"results={sweep.store.results}", f"reports={tmp_path / 'reports'}", "wait=12"]
    options = {
        "pipeline.extract": [f"runs:/{run_id}", "--wait", "12"],
        "pipeline.sync": places,
        "pipeline.compare": [*places, "figures=false", "baseline=no_bias"],
    }[module]
    end = {
        "pipeline.extract": f"runs:/{run_id}: MLflow at {shown} did not send it within 12 s (--wait)",
        "pipeline.sync": f"Could not upload to MLflow at {shown} within 12 s (wait). 2 arms are unsent: ",
        "pipeline.compare": f"Could not upload to MLflow at {shown} within 12 s (wait): the report of ",
    }[module]
    (launched,) = [child for child in psutil.Process().children() if "server" in child.cmdline()]
    start = time.monotonic()
    with suspended(launched, *launched.children(recursive=True)):
        code, err = end_of(start_command(module, *options))
    assert time.monotonic() - start < 12 + 4 * SLACK
    waiting, last = err.splitlines()
    assert re.fullmatch(WAITING.format(re.escape(shown)), waiting) and last.startswith(end), err
    assert code == {"pipeline.extract": 2, "pipeline.sync": 1, "pipeline.compare": 0}[module]


def test_sync_without_a_bound_gives_up_a_server_that_hangs(sweep: Sweep, proxy: Proxy) -> None:
    """Also one that answers a byte at a time, which no timeout of MLflow's ends."""
    sweep.uri, proxy.fault = proxy.uri, Fault("trickle", ARTIFACT)
    start = time.monotonic()
    code, err = end_of(start_command("pipeline.sync", *sweep.options), timeout=80)
    assert 60 < time.monotonic() - start < 60 + 6 * SLACK
    waiting, last = err.splitlines()
    assert code == 1 and re.fullmatch(WAITING.format(proxy.uri), waiting)
    end = f"Could not upload to MLflow at {proxy.uri}: no answer for 60 s (wait=... sets another bound). 2 arms "
    assert last.startswith(end)

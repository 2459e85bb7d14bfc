"""What a sweep says while it runs, on a terminal and in a log."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from factories import CommandResult, change_config, compose_config, put

from pipeline.config.schema import PROJECT
from pipeline.experiment import progress
from pipeline.experiment.plan import Plan, plan_job
from pipeline.experiment.progress import Pace, SweepView, describe_left, describe_start

NAMES = ("zeros", "ones", "he_normal")


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def plans(tmp_path: Path) -> list[Plan]:
    config = change_config(
        compose_config("data=iris", "model=linear", "tracking=none"), study="s", results=str(tmp_path), seeds=(0, 1),
        training={"epochs": 10},
    )  # fmt: skip
    initializers = [compose_config(f"bias_initializer={name}").bias_initializer for name in NAMES]
    return [plan_job(change_config(config, bias_initializer=one)) for one in initializers]


def test_the_time_left_is_measured() -> None:
    """Unknown until two epochs are measured; then from the arm's epochs, and later from what whole arms took."""
    clock = Clock()
    pace = Pace([20, 20, 40], clock)
    pace.begin()
    assert pace.seconds_left(0) is None
    clock.now += 30  # to build and compile
    pace.advance(1, 10)
    assert pace.seconds_left(10) is None
    clock.now += 2
    pace.advance(2, 10)
    assert pace.seconds_left(10) == pytest.approx(8 * 2 + 60 * 20 / 20)  # 2 s for an epoch of the stack, 1 s for a unit
    clock.now += 34
    pace.advance(10, 10)
    pace.end()
    pace.begin()
    assert pace.seconds_left(0) == pytest.approx(2 * 60)  # as the first arm took, but for building and compiling
    clock.now += 10
    pace.advance(10, 10)
    pace.end()
    assert pace.share == 0.5
    pace.begin()
    assert pace.seconds_left(0) == pytest.approx(10 / 20 * 40)  # as the second took: its program was there
    pace.end()
    assert pace.seconds_left(0) == 0 and pace.share == 1


def test_what_the_first_arm_compiles_is_not_counted_for_the_others() -> None:
    """Short arms take a small part of what the first one took, and by its epochs nobody can say which part."""
    clock = Clock()
    pace = Pace([20] * 14, clock)
    left = list[float | None]()
    for _ in range(3):
        pace.begin()
        left.append(pace.seconds_left(0))
        clock.now += 0.3 if pace.ended else 10
        pace.advance(1, 10)
        clock.now += 0.2
        pace.advance(10, 10)
        pace.end()
    assert left == [None, None, pytest.approx(12 * 0.5)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.2, ", about 1 s left"), (89, ", about 89 s left"), (91, ", about 2 min left"),
     (7300, ", about 2 h left"), (200_000, ", about 2 days left")],
)  # fmt: skip
def test_times_are_short(seconds: float | None, text: str) -> None:
    """In the unit that fits; none where it is unknown."""
    assert describe_left(seconds) == text


def test_the_start_says_what_there_is_to_do(plans: list[Plan]) -> None:
    """Runs to train and runs that are stored; nothing where all are."""
    several = describe_start(plans, [(0, 1), (), (1,)])
    assert several == "3 arms: 3 runs to train, 3 stored; loading TensorFlow takes some seconds"
    assert describe_start(plans[:1], [(0,)]).startswith("1 arm: 1 run to train, 1 stored; ")
    assert describe_start(plans, [(), (), ()]) == ""
    assert len(several) <= 80


def test_a_log_gets_few_lines(plans: list[Plan], capsys: pytest.CaptureFixture[str]) -> None:
    """One per arm that trains, and others after a minute, after two more, and so on."""
    clock = Clock()
    view = SweepView(plans, [(0, 1), (), (0, 1)], clock)
    with view.live():
        for name in ("zeros", "he_normal"):
            view.begin(name, 2)
            for epoch in range(1, 11):
                clock.now += 35
                view.advance(name, epoch, 10)
            view.end()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "arm 1 of 2: zeros, 2 seeds",
        "arm 1 of 2: zeros, 20 %, about 10 min left",
        "arm 1 of 2: zeros, 60 %, about 8 min left",
        "arm 2 of 2: he_normal, 2 seeds, about 6 min left",
        "arm 2 of 2: he_normal, 20 %, about 5 min left",
        "arm 2 of 2: he_normal, 60 %, about 2 min left",
    ]


def test_the_line_is_of_the_arm_that_trains(plans: list[Plan]) -> None:
    """Between two arms it is of the one that has ended; when the epochs are over, it says what is done then."""
    clock = Clock()
    view = SweepView(plans, [(0, 1)] * 3, clock)
    for number, (name, plan) in enumerate(zip(NAMES, plans, strict=True), 1):
        view.begin(plan.arm, 2)
        clock.now += 10
        view.advance(plan.arm, 10, 10)
        left = "" if number == 3 else ".*"
        assert re.fullmatch(f"arm {number} of 3: {name}, trained, storing{left}", view.line(80)), view.line(80)
        clock.now += 20
        view.end()
        left = ", about 30 s left" if number == 2 else ""  # of the first arm nobody knows what was compiling
        assert view.line(80) == f"arm {number} of 3: {name}, ended{left}"


def test_a_line_fits_the_terminal(plans: list[Plan]) -> None:
    """Of a long name, its middle is left out."""
    view = SweepView(plans, [(0, 1)] * 3)
    view.begin("zeros," + "optimizer.learning_rate=0.001," * 9 + "training.epochs=10", 2)
    view.advance("", 3, 10)
    line = view.line(63)
    assert len(line) == 63 and line.startswith("arm 1 of 3: zeros,") and line.endswith(".epochs=10, 30 %")


def test_runs_of_other_processes_are_counted(
    plans: list[Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a launcher trains elsewhere, each arm that is stored whole is told; runs that were there do not count."""
    monkeypatch.setattr(progress, "POLL", 0.01)
    put(tmp_path, "ones", 0, 0.5, study="s")
    view = SweepView(plans, [(0, 1)] * 3)
    view.watch()
    said = ""
    for seed in (0, 1):
        put(tmp_path, plans[0].arm, seed, 0.5, study="s")
    until = time.monotonic() + 20
    while "left" not in said and time.monotonic() < until:
        said += capsys.readouterr().out
    view.stop()
    assert re.fullmatch(r"1 of 3 arms trained, 2 of 6 runs, about \d+ s left\n", said), said


def test_a_log_hears_of_other_processes_within_a_minute(
    plans: list[Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While no arm has ended, how many runs are stored is told after a minute, after two more, and so on."""
    monkeypatch.setattr(progress, "POLL", 0.001)
    clock = Clock()
    view = SweepView(plans, [(0, 1)] * 3, clock)
    view.watch()
    put(tmp_path, plans[0].arm, 0, 0.5, study="s")
    put(tmp_path, plans[1].arm, 0, 0.5, study="s")
    for seconds, expected in ((59, ""), (1, "2 min"), (60, ""), (60, "6 min"), (120, "")):
        clock.now += seconds
        said, until = "", time.monotonic() + (20 if expected else 0.03)
        while not said and time.monotonic() < until:
            time.sleep(0.001)
            said = capsys.readouterr().out
        assert said == (expected and f"0 of 3 arms trained, 2 of 6 runs, about {expected} left\n")
    view.stop()


SWEEP = ("-m", "data=iris", "model=linear", "bias_initializer=zeros,ones", "seeds=22", "training.epochs=300",
         "training.xla=false", "ablation=false", "tracking=none")  # fmt: skip


def command(tmp_path: Path, *more: str) -> list[str]:
    where = (f"results={tmp_path / 'results'}", f"hydra.sweep.dir={tmp_path / 'log'}")
    return [sys.executable, "-m", "pipeline.train", *SWEEP, *where, *more]


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [(), ("runtime.isolate=true",), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")],
    ids=["here", "isolated", "joblib"],
)
def test_a_terminal_sees_the_sweep(more: tuple[str, ...], tmp_path: Path, figure: Callable[[str], None]) -> None:
    """The first line comes at once; then the arm and the time left in one line of 80 columns, in two stacks per arm."""
    terminal, screen = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "TERM": "xterm"}
    started = time.monotonic()
    process = subprocess.Popen(command(tmp_path, *more), cwd=PROJECT, env=environment, stdout=screen, stderr=screen)
    os.close(screen)
    shown, first = "", 0.0
    with process, contextlib.suppress(OSError):  # which ends the terminal of a process that has ended
        while read := os.read(terminal, 65536):
            shown += read.decode(errors="replace")
            first = first or time.monotonic() - started
    figure(f"first line of a sweep after {first:.1f} s")
    assert process.returncode == 0, shown
    assert first < 10  # 1 s on a quiet machine
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "2 arms: 44 runs to train; loading TensorFlow" in plain
    line = r"\d of 2 arms trained, \d+ of 44 runs" if "joblib" in str(more) else r"arm 2 of 2: ones.*?, \d+ %"
    assert re.search(line, plain), plain
    assert more or re.search(r"arm 2 of 2: ones.*?, \d+ %, about \d+ s left", plain), plain


@pytest.mark.slow
def test_quiet_says_only_what_went_wrong(tmp_path: Path) -> None:
    """With `-q`, nothing is printed; a refusal is."""
    done = subprocess.run(command(tmp_path, "-q"), cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list((tmp_path / "results").glob("*/*/seed=*"))) == 44


def test_a_quiet_refusal(cli: Callable[..., CommandResult]) -> None:
    """A refusal is a line on standard error, with `-q` too; a command that only shows something is no quiet one."""
    refused = cli("-q", "optimizer=adamm")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    shown = cli("--quiet", "-m", "--plan")
    assert (shown.code, shown.out) == (2, "") and shown.err.startswith("--quiet: given for a command that only shows")

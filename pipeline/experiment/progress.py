"""What a sweep says while it runs: how much there is to do, which arm trains, and the time left for all of them.

On a terminal that is one line that changes in place; elsewhere, in a log, a line per arm and further ones at ever
longer intervals. Where a launcher trains in other processes, their stored runs are counted.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from pipeline.experiment.plan import Plan, shown_names
from pipeline.store.meta import RUN
from pipeline.store.runs import RunStore

BAR = 16  # columns
FIRST_INTERVAL = 60  # seconds until a log gets a line besides that of the arm's start; it doubles each time
MANY_ARMS = 20  # beyond them a log gets a line for an arm only where the last one is a while ago
POLL = 1  # seconds between looks at what a launcher's processes have stored

Clock = Callable[[], float]


class _Line(ProgressColumn):
    """The line of a view as it is now, drawn anew all the time: what it says changes while nothing is reported."""

    def __init__(self, line: Callable[[], str]) -> None:
        super().__init__()
        self._line = line

    def render(self, task: Task) -> Text:
        """Draw it."""
        return Text(self._line())


class _Screen(Console):
    """A terminal that keeps its cursor: a process that is killed could not show it again."""

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing."""
        return False


def _screen() -> Console:
    return _Screen(file=sys.stdout, highlight=False)  # standard error goes to the job's log meanwhile


@contextlib.contextmanager
def passing_line(text: str) -> Iterator[None]:
    """Show a line on a terminal as long as the context lasts; nothing elsewhere."""
    shown = sys.stdout.isatty()
    if shown:
        sys.stdout.write(text)
        sys.stdout.flush()
    try:
        yield
    finally:
        if shown:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()


def describe_start(plans: Sequence[Plan], to_train: Sequence[Sequence[int]], has_tensorflow: bool = False) -> str:
    """What a request begins with: how many runs there are to train, and what is waited for first. "" where none.

    has_tensorflow: whether it is loaded already.
    """
    missing, wanted = sum(map(len, to_train)), sum(len(plan.keys) for plan in plans)
    if not missing:
        return ""
    arms = "1 arm" if len(plans) == 1 else f"{len(plans)} arms"
    stored = f", {wanted - missing} stored" if wanted > missing else ""
    runs = "1 run" if missing == 1 else f"{missing} runs"
    wait = "" if has_tensorflow else "; loading TensorFlow takes some seconds"
    return f"{arms}: {runs} to train{stored}{wait}"


def describe_left(seconds: float | None) -> str:
    """The time left as the end of a line; while nothing was measured, none is named."""
    if seconds is None:
        return ""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f", about {seconds / size:.0f} {unit} left"
    return f", about {max(1, round(seconds))} s left"


@dataclass
class Pace:
    """How much of a sweep is done, and from that the time left for the rest.

    units: the work of each arm, in epochs of one run. An arm counts as it was measured: with what it took to build and
    compile. Of the arm that trains now, only the epochs since its first one are measured. The first arm compiles what
    others of its structure use again: until a second one has ended, it counts by its epochs after the first one, and
    not at all where these took less than half of its time, since building the others may then take longer than they.
    """

    units: Sequence[int]
    clock: Clock = time.monotonic
    ended: list[tuple[int, float]] = field(default_factory=list)  # units and seconds of the arms that have ended
    _began: float = 0
    _first: tuple[float, float] | None = None  # share of the arm and time at the end of its first epoch
    _share: float = 0
    _of_first_arm: tuple[float, float] | None = None  # units and seconds of its epochs after the first one

    def begin(self) -> None:
        """The next arm begins."""
        self._began, self._first, self._share = self.clock(), None, 0

    def advance(self, done: int, total: int) -> None:
        """Of the arm's epochs, those of all its stacks, so many are done."""
        self._share = done / total
        if self._first is None:
            self._first = (self._share, self.clock())

    def end(self) -> None:
        """The arm has ended."""
        units, seconds = self.units[len(self.ended)], self.clock() - self._began
        if not self.ended and self._first is not None:
            share, since = self._share - self._first[0], self.clock() - self._first[1]
            self._of_first_arm = (units * share, since) if share > 0 and 2 * since >= seconds else None
        self.ended.append((units, seconds))
        self._began, self._first, self._share = self.clock(), None, 0

    @property
    def share(self) -> float:
        """The share of the work that is done."""
        done = sum(units for units, _ in self.ended)
        now = self.units[len(self.ended)] * self._share if len(self.ended) < len(self.units) else 0
        return (done + now) / max(1, sum(self.units))

    def seconds_left(self, total: int) -> float | None:
        """For all that is left; None while that is unknown. total: the epochs of the arm that trains."""
        if len(self.ended) == len(self.units):
            return 0
        current, *later = self.units[len(self.ended) :]
        measured = self.ended[1:] or ([self._of_first_arm] if self.ended and self._of_first_arm else [])
        per_unit = sum(s for _, s in measured) / sum(u for u, _ in measured) if measured else None
        left = None if per_unit is None else per_unit * current * (1 - self._share)
        if self._first is None and left is not None and (left := left - (self.clock() - self._began)) < 0:
            return None  # it builds and compiles for longer than the arms before: how long is not known
        if self._first is not None and (epochs := round((self._share - self._first[0]) * total)) >= 1:
            per_epoch = (self.clock() - self._first[1]) / epochs
            left = per_epoch * total * (1 - self._share)
            per_unit = per_epoch * total / current if per_unit is None else per_unit
        return None if left is None or per_unit is None else left + per_unit * sum(later)


class SweepView:
    """Shows how far a sweep is. `begin`, `advance` and `end` are called for each arm that has seeds to train."""

    def __init__(
        self, plans: Sequence[Plan] = (), to_train: Sequence[Sequence[int]] = (), clock: Clock = time.monotonic
    ):
        self._work = [(plan, tuple(seeds)) for plan, seeds in zip(plans, to_train, strict=True) if seeds]
        self._shown = {plan.arm: name for plan, name in zip(plans, shown_names(plans), strict=True)}
        self._pace = Pace([len(seeds) * plan.config.training.epochs for plan, seeds in self._work], clock)
        self._clock, self._lock = clock, threading.Lock()
        self._arm, self._done, self._total, self._seeds = "", 0, 0, 0
        self._has_ended = False
        self._told, self._interval = -float(FIRST_INTERVAL), float(FIRST_INTERVAL)
        self._bar, self._task = _bar(), TaskID(0)
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Draw the line on a terminal as long as the context lasts."""
        with _bar(lambda: self.line(self._bar.console.width - BAR - 1)) as bar:
            self._bar, self._task = bar, bar.add_task("", total=1, visible=False)
            yield

    def begin(self, arm: str, seeds: int) -> None:
        """An arm begins to train so many seeds."""
        with self._lock:
            self._arm, self._done, self._total, self._seeds = self._shown.get(arm, arm), 0, 0, seeds
            self._has_ended = False
            if len(self._pace.ended) == len(self._pace.units):  # more than was planned: a run was removed meanwhile
                self._pace.units = [*self._pace.units, seeds]
            self._pace.begin()
            self._show(is_start=True)

    def advance(self, arm: str, done: int, total: int) -> None:
        """So many of the arm's epochs, those of all its stacks, are done."""
        with self._lock:
            self._done, self._total = max(done, self._done), total
            self._pace.advance(self._done, total)
            self._show()

    def end(self) -> None:
        """The arm has ended, trained or not."""
        with self._lock:
            self._pace.end()
            self._has_ended = True

    def line(self, width: int, is_start: bool = False) -> str:
        """The line for now, at most `width` columns wide: of the arm's name, what is in the middle is left out."""
        number = len(self._pace.ended) + (not self._has_ended)
        head = f"arm {number} of {len(self._pace.units)}: " if len(self._pace.units) > 1 else ""
        left = describe_left(self._pace.seconds_left(self._total) or None)
        tail = f", {self._what(is_start)}{left}"
        return f"{head}{_shorten(self._arm, width - len(head) - len(tail))}{tail}"

    def _what(self, is_start: bool) -> str:
        """What happens to the arm now."""
        runs = "1 seed" if self._seeds == 1 else f"{self._seeds} seeds"
        if is_start:
            return runs
        if self._has_ended:
            return "ended"
        if not self._total:
            return f"{runs}, compiling"
        return f"{100 * self._done // self._total} %" if self._done < self._total else "trained, storing"

    def _show(self, is_start: bool = False) -> None:
        if not self._bar.disable:
            self._bar.update(self._task, completed=self._pace.share, visible=True)
            return
        now = self._clock()
        if is_start:
            self._interval = FIRST_INTERVAL
            if len(self._pace.units) > MANY_ARMS and now - self._told < FIRST_INTERVAL:
                return
        elif now - self._told < self._interval:
            return
        else:
            self._interval *= 2
        self._told = now
        print(self.line(80, is_start), flush=True)

    def watch(self) -> None:
        """Count, in a thread, the runs that other processes store from now on, until `stop`."""
        stored = {(i, seed): _version(plan.store, plan.arm, seed)
                  for i, (plan, seeds) in enumerate(self._work) for seed in seeds}  # fmt: skip
        self._watcher = threading.Thread(target=self._watch, args=[stored], daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """End `watch`."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()

    def _watch(self, open_runs: dict[tuple[int, int], int | None]) -> None:
        runs, began, arms_told, told = len(open_runs), self._clock(), 0, self._clock()
        with _bar() as bar:
            task = bar.add_task("", total=max(1, runs), visible=False)
            while open_runs and not self._stop.wait(POLL):
                for (i, seed), before in list(open_runs.items()):
                    plan = self._work[i][0]
                    if _version(plan.store, plan.arm, seed) not in (None, before):
                        del open_runs[i, seed]
                arms = len(self._work) - len({i for i, _ in open_runs})
                done = runs - len(open_runs)
                left = (self._clock() - began) / done * len(open_runs) if done else None
                text = f"{arms} of {len(self._work)} arms trained, {done} of {runs} runs{describe_left(left)}"
                bar.update(task, description=text, completed=done, visible=True)
                waited = self._clock() - told
                is_news = arms > arms_told and (len(self._work) <= MANY_ARMS or waited >= FIRST_INTERVAL)
                if bar.disable and open_runs and (is_news or waited >= self._interval):
                    self._interval = FIRST_INTERVAL if is_news else 2 * self._interval
                    arms_told, told = arms, self._clock()
                    print(text, flush=True)


def _bar(line: Callable[[], str] | None = None) -> Progress:
    screen = _screen()
    columns = (BarColumn(bar_width=BAR), _Line(line) if line else TextColumn("{task.description}", markup=False))
    return Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)


def _version(store: RunStore, arm: str, seed: int) -> int | None:
    """What tells a stored run from the one that is stored in its place; None where there is none."""
    try:
        return (store.run_folder(arm, seed) / RUN).stat().st_ino
    except OSError:
        return None


def _shorten(name: str, width: int) -> str:
    """The name in at most `width` columns."""
    if len(name) <= width:
        return name
    kept = max(width - 1, 8)
    return f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"

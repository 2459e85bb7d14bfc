"""How far a request is (`--status`), from the store alone: what is done, who trains, what failed, what is missing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.experiment.outcome import Outcome
from pipeline.experiment.plan import Plan, shown_names
from pipeline.report.console import print_table
from pipeline.store.designs import Progress, read_progress
from pipeline.store.failures import Failure, read_failure
from pipeline.store.peeked import holder, peek_runs
from pipeline.store.runs import RunStore

WIDTH = 80  # columns of the table, where the output is not a terminal
MANY_ARMS = 20  # of more than these, those that are done or have not begun are counted only
DONE, RUNNING, FAILED, MISSING = "done", "running", "failed", "missing"


@dataclass(frozen=True)
class ArmState:
    """How far an arm is. done: the number of seeds that are there; running: by whom; failure: of the last command."""

    plan: Plan
    done: int
    running: str
    failure: Failure | None

    @property
    def word(self) -> str:
        """The state in one word."""
        if self.done == len(self.plan.keys):
            return DONE
        return RUNNING if self.running else FAILED if self.failure else MISSING

    @property
    def text(self) -> str:
        """The state, and by whom and since when it is trained."""
        if self.word != RUNNING:
            return self.word
        _, by, who = self.running.rpartition(" by ")
        return f"{RUNNING}: {who}" if by else RUNNING


def read_state(plan: Plan) -> ArmState:
    """Look at what is stored of an arm."""
    needed = set(plan.required_files)
    runs = peek_runs(plan.store, plan.arm)
    done = sum(
        seed in runs and needed <= runs[seed].files and plan.keys.fits(seed, runs[seed].key) for seed in plan.keys
    )
    return ArmState(plan, done, holder(plan.store, plan.arm), read_failure(plan.store, plan.arm))


def print_status(states: Sequence[ArmState]) -> int:
    """Print a line per arm, of many arms one for each that trains or has failed; the exit code, 0 if all is there."""
    names = shown_names([state.plan for state in states])
    several = len({state.plan.store for state in states}) > 1
    names = [f"{s.plan.config.study}/{name}" if several else name for s, name in zip(states, names, strict=True)]
    looks = list(_looks(states))
    for _, line in looks:
        print(line)
    is_listed = {RUNNING, FAILED} if len(states) > MANY_ARMS else {DONE, RUNNING, FAILED, MISSING}
    rows = [
        [name, f"{state.done} of {len(state.plan.keys)}", state.text]
        for name, state in zip(names, states, strict=True) if state.word in is_listed
    ]  # fmt: skip
    if rows:
        print_table("", ["arm", "seeds", "state"], rows, width=WIDTH)
    print(_summary(states))
    for state in states:
        if state.word == FAILED:
            print(f"failed: {Outcome(state.plan, [], (), state.failure).problem}")
    is_complete = all(state.word == DONE for state in states) and all(ended for ended, _ in looks)
    return 0 if is_complete else 1


def _summary(states: Sequence[ArmState]) -> str:
    """How many arms are in which state, and how many runs there are."""
    counts = Counter(state.word for state in states)
    words = [f"{counts[word]} {word}" for word in (DONE, RUNNING, FAILED, MISSING) if counts[word]]
    done, asked = sum(state.done for state in states), sum(len(state.plan.keys) for state in states)
    arms = "1 arm" if len(states) == 1 else f"{len(states):,} arms"
    return f"{arms}: {', '.join(words)}; {done:,} of {asked:,} runs"


def _looks(states: Sequence[ArmState]) -> Iterator[tuple[bool, str]]:
    """For each study that is trained until it is decided: whether it has ended, and how far it is."""
    stores = dict[RunStore, list[ArmState]]()
    for state in states:
        if state.plan.config.until is not None:
            stores.setdefault(state.plan.store, []).append(state)
    for store, of_study in stores.items():
        progress = read_progress(store)
        of = f" of {store.study}" if len(stores) > 1 else ""
        if progress is None:
            yield False, f"no look{of} yet: the design is not declared"
        else:
            yield progress.finished, _describe_looks(progress, of, {s.plan.arm: s.plan.bias_setting for s in of_study})


def _describe_looks(progress: Progress, of: str, names: dict[str, str]) -> str:
    """Which looks were taken, which comes next, and what is decided."""
    n, all_looks = len(progress.looks), progress.design.looks
    decided = [f"{names.get(arm, arm)} {verdict}" for look in progress.looks for arm, verdict in look.decided.items()]
    still = [names.get(arm.arm, arm.arm) for arm in progress.open_arms]
    taken = f"{n} of {len(all_looks)} looks{of} taken"
    if not progress.finished:
        taken += f", the next with {all_looks[n]} seeds"
    parts = [", ".join(decided), f"undecided: {', '.join(still)}" if still else ""]
    return "; ".join(filter(None, [taken, *parts]))

"""What a results folder does about the MLflow runs of an arm, and what it never touches."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from pipeline.tracking.steps import PARENT, SENDER, Held, MirroredRun, next_steps

ME, OTHER, THIRD = f"{SENDER}me", f"{SENDER}other", f"{SENDER}third"


def held(*keys: str, **more: object) -> Held:
    """A folder that holds seeds 0, 1, ... with these keys."""
    return replace(Held(ME, {str(seed): key for seed, key in enumerate(keys)}, f"arm {' '.join(keys)}"), **more)


def seed_run(run_id: str, seed: int, key: str, *senders: str, ended: int | None = 1, parent: str = "P") -> MirroredRun:
    tags = {"role": "seed", "key": key, PARENT: parent} | dict.fromkeys(senders, "host:path")
    return MirroredRun(run_id, ended, str(seed), tags)


def arm_run(run_id: str, key: str, *senders: str, ended: int | None = 1) -> MirroredRun:
    return MirroredRun(run_id, ended, "", {"role": "arm", "key": key} | dict.fromkeys(senders, "host:path"))


def steps(present: list[MirroredRun], of: Held) -> dict[str, object]:
    """The steps that there are to take, by name."""
    named = vars(next_steps(present, of))
    return {name: value for name, value in named.items() if value or (name == "arm_run" and value is None)}


def test_where_mlflow_has_everything_there_is_nothing_to_do() -> None:
    """An arm with its seeds, sent by this folder."""
    present = [arm_run("P", "arm a b", ME), seed_run("A", 0, "a", ME), seed_run("B", 1, "b", ME)]
    assert not next_steps(present, held("a", "b"))


def test_what_is_missing_is_created() -> None:
    """A new folder creates the arm's run and the seeds'; a folder that gained a seed creates that and the mean."""
    assert steps([], held("a", "b")) == {"arm_run": None, "missing": ("a", "b")}
    present = [arm_run("P", "arm a", ME), seed_run("A", 0, "a", ME)]
    assert steps(present, held("a", "b")) == {
        "arm_run": None, "missing": ("b",), "released": ("P",), "adopted": ("A",),
    }  # fmt: skip


def test_what_another_folder_sent_is_claimed_and_its_mean_stays() -> None:
    """A key that is there is not sent again; two folders with other seeds have an arm's run each."""
    present = [arm_run("P", "arm a b", OTHER), seed_run("A", 0, "a", OTHER), seed_run("B", 1, "b", OTHER)]
    assert steps(present, held("a", "b")) == {"claimed": ("A", "B", "P"), "arm_run": "P"}
    assert steps(present, held("a")) == {"claimed": ("A",), "arm_run": None}
    assert steps(present, held("c")) == {"arm_run": None, "missing": ("c",)}


def test_a_shared_mean_stays_with_its_seeds() -> None:
    """A folder that gained a seed leaves the mean that it shares, with its children, to the other folder."""
    present = [arm_run("P", "arm a", ME, OTHER), seed_run("A", 0, "a", ME, OTHER)]
    assert steps(present, held("a", "b")) == {"arm_run": None, "missing": ("b",), "released": ("P",)}


def test_a_superseded_run_is_released_only_by_its_sender() -> None:
    """A seed that was trained anew replaces its run; another folder's run of that seed stays."""
    mine = [arm_run("P", "arm new", ME), seed_run("N", 0, "new", ME), seed_run("O", 0, "old", ME)]
    assert steps(mine, held("new")) == {"arm_run": "P", "released": ("O",)}
    theirs = [*mine[:2], seed_run("O", 0, "old", OTHER)]
    assert not next_steps(theirs, held("new"))
    assert not next_steps(theirs, held("new", replaced=frozenset({"old"})))


def test_a_run_in_replaced_is_released_though_its_seed_is_gone() -> None:
    """With `seeds=1` under other settings, the runs of the other seeds move to `.replaced` too."""
    present = [arm_run("P", "arm new", ME), seed_run("N", 0, "new", ME), seed_run("O", 7, "old", ME)]
    assert not next_steps(present, held("new"))
    assert steps(present, held("new", replaced=frozenset({"old"})))["released"] == ("O",)


def test_a_seed_that_is_deleted_here_stays() -> None:
    """Only the mean is made anew; the seed's run gets the new arm's run as parent."""
    present = [arm_run("P", "arm a b", ME), seed_run("A", 0, "a", ME), seed_run("B", 1, "b", ME)]
    assert steps(present, held("a")) == {"arm_run": None, "released": ("P",), "adopted": ("A", "B")}


def test_damage_here_changes_nothing_there() -> None:
    """The seed's run and the arm's mean stay; seeds that are missing are sent; a first mean is made of the good."""
    present = [arm_run("P", "arm a b", ME), seed_run("A", 0, "a", ME), seed_run("B", 1, "b", ME)]
    assert not next_steps(present, held("a", damaged=frozenset("1")))
    assert steps(present, replace(held("a", damaged=frozenset("1")), seeds={"0": "a", "2": "c"})) == {
        "arm_run": "P", "missing": ("c",),
    }  # fmt: skip
    assert steps(present[1:2], held("a", damaged=frozenset("1"))) == {"arm_run": None, "adopted": ("A",)}
    assert not next_steps([*present, arm_run("Q", "arm a", ME)], held("a", damaged=frozenset("1")))


def test_damage_that_mlflow_never_had_freezes_no_mean() -> None:
    """A copy at the place of a seed that was never sent: the mean over the seeds that are held is made anew."""
    present = [arm_run("P", "arm a", ME), seed_run("A", 0, "a", ME)]
    assert steps(present, held("a", "b", damaged=frozenset("9"))) == {
        "arm_run": None, "missing": ("b",), "released": ("P",), "adopted": ("A",),
    }  # fmt: skip


def test_unfinished_runs_are_released_by_their_sender_alone() -> None:
    """What a killed process left of this folder goes; what another folder is sending stays."""
    whole = [arm_run("P", "arm a", ME), seed_run("A", 0, "a", ME)]
    left = [arm_run("Q", "arm a", ME, ended=None), seed_run("B", 0, "a", ME, ended=None)]
    assert steps([*whole, *left], held("a"))["released"] == ("B", "Q")
    sending = [arm_run("Q", "arm a", OTHER, ended=None), seed_run("B", 0, "a", OTHER, ended=None)]
    assert not next_steps([*whole, *sending], held("a"))
    other_key = [arm_run("Q", "arm z", ME, ended=None), seed_run("B", 7, "z", ME, ended=None)]
    assert steps([*whole, *other_key], held("a"))["released"] == ("B", "Q")


@pytest.mark.parametrize(("first", "steps_of_me"), [
    (ME, {}), (OTHER, {"claimed": ("A",), "released": ("B",)}),
])  # fmt: skip
def test_of_doubles_the_one_that_ended_first_stays(first: str, steps_of_me: dict[str, tuple]) -> None:
    """Both folders come to the same answer, and each releases only its own."""
    second = OTHER if first == ME else ME
    present = [
        arm_run("P", "arm a", ME), seed_run("B", 0, "a", second, ended=8), seed_run("A", 0, "a", first, ended=7),
    ]  # fmt: skip
    taken = steps(present, held("a"))
    assert {name: value for name, value in taken.items() if name != "arm_run"} == steps_of_me


def test_runs_without_sender_are_claimed_by_key() -> None:
    """Those of earlier versions: known keys are claimed, replaced ones released; all others stay."""
    present = [
        arm_run("P", "arm a"), seed_run("A", 0, "a"), seed_run("R", 1, "r"), seed_run("X", 0, "x"),
        seed_run("U", 0, "", ended=None),
    ]  # fmt: skip
    assert steps(present, held("a", replaced=frozenset({"r"}))) == {
        "claimed": ("A", "P"), "arm_run": "P", "released": ("R",),
    }  # fmt: skip


@pytest.mark.parametrize(("children", "released"), [("a", ("P",)), ("ar", ("P",)), ("ax", ()), ("", ())])
def test_an_arm_run_without_sender_is_released_if_all_its_children_are_known(
    children: str, released: tuple[str, ...]
) -> None:
    """Held or replaced; without children nobody knows whose it was."""
    present = [arm_run("P", "older"), *(seed_run(key.upper(), 9, key) for key in children)]
    taken = next_steps(present, held("a", replaced=frozenset({"r"})))
    assert tuple(run_id for run_id in taken.released if run_id == "P") == released


class World:
    """Runs in a store, and folders that send to it: each request of each folder at a moment that chance decides."""

    def __init__(self, folders: list[Held]) -> None:
        self.folders = folders
        self.runs: dict[str, MirroredRun] = {}
        self.clock = count()

    def create(self, seed: str, tags: dict[str, str]) -> str:
        run_id = f"{next(self.clock):05}"
        self.runs[run_id] = MirroredRun(run_id, None, seed, tags)
        return run_id

    def change(self, run_id: str, tags: dict[str, str] | None = None, without: str = "", end: bool = False) -> None:
        run = self.runs[run_id]  # KeyError: it is deleted, which MLflow refuses too
        kept = {tag: value for tag, value in run.tags.items() if tag != without} | (tags or {})
        self.runs[run_id] = replace(run, tags=kept, ended=next(self.clock) if end else run.ended)

    def release(self, folder: Held, run_id: str) -> None:
        others = self.runs[run_id].senders - {folder.sender}
        if others:
            self.change(run_id, without=folder.sender)
        else:
            del self.runs[run_id]

    def sync(self, folder: Held) -> Iterator[None]:
        """Look and act until there is nothing to do, as `send_arm` does; yields before each request."""
        for _ in range(8):
            yield
            todo = next_steps(list(self.runs.values()), folder)
            if not todo:
                return
            try:
                yield from self._act(folder, todo)
            except KeyError:
                continue
        raise AssertionError("does not end")

    def _act(self, folder: Held, todo) -> Iterator[None]:
        mine = {folder.sender: ""}
        for run_id in todo.claimed:
            yield
            self.change(run_id, mine)
        parent = todo.arm_run or self.create("", {"role": "arm", "key": folder.arm_key, **mine})
        for seed, key in folder.seeds.items():
            if key in todo.missing:
                yield
                run_id = self.create(seed, {"role": "seed", "key": key, PARENT: parent, **mine})
                yield
                self.change(run_id, end=True)
        yield
        if todo.arm_run is None:
            self.change(parent, end=True)
        for run_id in todo.released:
            yield
            self.release(folder, run_id)
        for run_id in todo.adopted:
            yield
            self.change(run_id, {PARENT: parent})

    def assert_union(self) -> None:
        """Every key of every folder is there once, finished, with the tags of all that hold it, and nothing else is."""
        wanted: dict[str, set[str]] = {}
        for folder in self.folders:
            for key in (*folder.seeds.values(), folder.arm_key):
                wanted.setdefault(key, set()).add(folder.sender)
        assert sorted(run.key for run in self.runs.values()) == sorted(wanted)
        for run in self.runs.values():
            assert run.ended is not None and run.senders == wanted[run.key]
            assert run.is_arm or self.runs[run.tags[PARENT]].is_arm


@pytest.mark.parametrize("killed", [0, 0.01])
@pytest.mark.parametrize("case", range(75))
def test_folders_that_send_at_once_end_with_the_union(case: int, killed: float) -> None:
    """Whatever they hold, nothing is lost and nothing double; where some were killed, once each has sent again."""
    chance = random.Random(case)
    world = World([])
    for sender in (ME, OTHER, THIRD):
        seeds = {str(s): f"{s}{chance.choice('xxy')}" for s in range(5) if chance.random() < 0.6} or {"0": "0x"}
        world.folders.append(Held(sender, seeds, f"arm {' '.join(seeds.values())}"))
    running = [world.sync(folder) for folder in world.folders]
    while running:
        one = chance.choice(running)
        if next(one, "end") == "end" or chance.random() < killed:
            running.remove(one)
    for folder in world.folders if killed else ():
        list(world.sync(folder))
    world.assert_union()
    assert not any(next_steps(list(world.runs.values()), folder) for folder in world.folders)

"""The names of arms as they would be without the limits of folders, from what their runs keep: folders' names may be
cut, and have `_` for brackets.

The name of a class of the user's own has all its arguments here, as it was written. Folders have neither, and keep
their names.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.config.short_names import CUT, MANGLED, short_names
from pipeline.store.meta import Meta, block_of, peek_meta, read_machine
from pipeline.store.runs import RunStore

OWN_CLASS = re.compile(r"(?:^|[=+])\w+\.[A-Za-z_]")  # mine.my_initializer; some names of files look like it too


class WholeName(NamedTuple):
    """An arm's whole name in two parts. setting: as it is stored. name: what stands for it in the whole name.

    block: as it is stored. whole_block: without a limit.
    """

    setting: str
    name: str
    block: str = ""
    whole_block: str = ""

    @property
    def text(self) -> str:
        """The whole name."""
        return ",".join(filter(None, [self.name, self.whole_block]))


def whole_name(meta: Meta, machines: Iterable[Meta]) -> WholeName:
    """The whole name of an arm. meta: run.json of one of its runs. machines: machine.json of all, read as needed."""
    from pipeline.config.naming import shown_setting, whole_block  # which import Hydra

    arm, config, block = meta["arm"], meta["config"], block_of(meta)
    folder = arm.removesuffix(block).rstrip(",") if block else arm
    setting = config["bias_setting"]
    shown = shown_setting(setting, config["bias_initializer"])
    in_study = meta.get("study") == f"{config['data']['name']}-{config['model']['name']}"
    recorded = (machine.get("overrides") for machine in machines)
    return WholeName(folder, folder if shown == setting else shown, block, whole_block(block, recorded, in_study))


def told_apart(names: Mapping[str, WholeName]) -> dict[str, WholeName]:
    """The names, with the stored parts wherever whole ones would show two settings or two blocks as one."""
    settings = _one_to_one((name.setting, name.name) for name in names.values())
    blocks = _one_to_one((name.block, name.whole_block) for name in names.values())
    return {arm: WholeName(n.setting, settings[n.setting], n.block, blocks[n.block]) for arm, n in names.items()}


def whole_names(store: RunStore, asked: Mapping[str, Meta] | None = None) -> dict[str, str]:
    """Name of each arm's folder -> its whole name. Reads runs only of arms whose names differ from their folders'.

    asked: what run.json and machine.json will say of arms that have no run yet.
    """
    planned: Mapping[str, Meta] = asked or {}
    names: dict[str, WholeName] = {}
    for arm in sorted({*store.arm_names(), *planned}):
        names[arm] = WholeName(arm, arm)
        if CUT.search(arm) or MANGLED.search(arm) or OWN_CLASS.search(arm):
            meta = planned.get(arm) or next(_metas(store, arm), None)
            if meta is not None:
                names[arm] = whole_name(meta, [meta] if arm in planned else _machines(store, arm))
    return {arm: name.text for arm, name in told_apart(names).items()}


def names_to_show(store: RunStore) -> dict[str, str]:
    """Name of each arm's folder -> what to show of it: its whole name without what all arms of the study share."""
    names = whole_names(store)
    return short_names(names, names)


def _metas(store: RunStore, arm: str) -> Iterator[Any]:
    metas = (peek_meta(path) for path in store.run_folders(arm))
    return (meta for meta in metas if meta.get("arm") == arm)


def _machines(store: RunStore, arm: str) -> Iterator[Meta]:
    return (read_machine(path) for path in store.run_folders(arm))


def _one_to_one(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for stored, whole in pairs:
        shown.setdefault(stored, whole)
    times = Counter(shown.values())
    return {stored: whole if times[whole] == 1 else stored for stored, whole in shown.items()}

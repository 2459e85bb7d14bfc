"""The command that does properly what the answer advises: seeds until every arm is decided, at declared looks."""

from collections.abc import Iterable

from pipeline.analysis.commands import deciding_command
from pipeline.analysis.study import Study
from pipeline.analysis.tuning_edges import listed_grids, shared_arms

ADVISED = "until=decided"  # what a sentence says that gives this advice


def advice(study: Study, sentences: Iterable[str]) -> str:
    """One sentence that ends in the command, where one of these gives the advice; "" where none does.

    A study that has declared its looks goes on by the command that began it; one whose arms no single command trains
    needs a study per block.
    """
    if study.design is not None or not any(ADVISED in sentence for sentence in sentences):
        return ""
    if not study.tuned:
        command = deciding_command(study.arms, study.name)
    else:
        family, *others = study.tuned
        grids = listed_grids(family, {key: family.grid(key) for key in family.keys})
        command = "" if others else deciding_command(shared_arms(family), study.name, grids)
    if not command:
        return f"Blocks that no single command trains are decided one by one: {ADVISED} with a study=NAME for each."
    return f"The command that declares looks and trains until every arm is decided: {command}"

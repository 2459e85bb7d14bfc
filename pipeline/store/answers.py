"""On which seeds the answers about a study rested: `<results>/<study>/answers.json`, which every comparison adds to.

Whoever looks at an answer, adds seeds and looks again has had two chances to see a difference by accident. So what was
looked at is kept, and the next comparison accounts for it (`analysis.earlier`). A study that declared its looks needs
none of this. The file is no part of the results: DVC does not see it, and a comparison works without it.
"""

import json
from collections.abc import Mapping, Sequence

from pipeline.store.files import json_bytes, read_small, replace_file
from pipeline.store.runs import RunStore

ANSWERS = "answers.json"

Seeds = dict[str, list[int]]  # arm -> the seeds of an answer


def read_answers(store: RunStore) -> list[Seeds]:
    """Return the seeds of each arm in the answers so far, oldest first; [] where there is none, or no such file."""
    try:
        content = json.loads(read_small(store.folder / ANSWERS))
        return [
            {
                str(arm): [seed for first, last in spans for seed in range(first, last + 1)]
                for arm, spans in answer.items()
            }
            for answer in content["answers"]
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def record_answer(store: RunStore, seeds: Mapping[str, Sequence[int]]) -> None:
    """Add an answer, unless it rested on no other seeds than one before. Says nothing where it cannot be written."""
    answers = read_answers(store)
    now = {arm: sorted(of_arm) for arm, of_arm in seeds.items() if of_arm}
    if not now or any(all(earlier.get(arm) == of_arm for arm, of_arm in now.items()) for earlier in answers):
        return
    spans = [{arm: _spans(of_arm) for arm, of_arm in answer.items()} for answer in (*answers, now)]
    try:
        replace_file(store.results, store.folder / ANSWERS, json_bytes({"answers": spans}))
    except OSError:
        return  # results that can only be read, of another user or on an archive


def _spans(seeds: Sequence[int]) -> list[list[int]]:
    """Seeds as first and last ones of stretches: [[0, 9], [12, 12]]."""
    spans: list[list[int]] = []
    for seed in sorted(seeds):
        if spans and seed == spans[-1][1] + 1:
            spans[-1][1] = seed
        else:
            spans.append([seed, seed])
    return spans

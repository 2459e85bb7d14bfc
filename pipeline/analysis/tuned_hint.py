"""Say that runs of a study were trained to be compared at their best, where the question did not ask for that."""

import shlex

from pipeline.analysis.commands import overrides_of
from pipeline.analysis.study import Study
from pipeline.config.schema import PROJECT
from pipeline.config.tuning import read_tune
from pipeline.installation import command_text


def not_asked_for(study: Study) -> str:
    """One sentence that ends in the command, where arms were trained with `tune` and are not compared so; else ""."""
    if study.tuned or study.progress is not None:
        return ""
    words = {word for overrides in overrides_of(study.arms) for word in overrides if word.startswith("tune=")}
    keys = list(dict.fromkeys(key for word in sorted(words) for key in read_tune(word.removeprefix("tune="))))
    if not keys:
        return ""
    results = study.arms[0].runs[0].path.parents[2]
    options = [f"study={study.name}", f"tune={','.join(keys)}"]
    options += [f"baseline={study.baseline}"] * (study.baseline != "zeros")
    options += [f"results={results}"] * (results != PROJECT / "results")
    return (
        f"arms were trained at several values of {' and '.join(keys)}, which are blocks here; each arm at its best, as "
        f"`tune` chooses it: {command_text('compare', uv=True)} {shlex.join(options)}"
    )

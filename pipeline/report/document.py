"""comparison.json: the comparison of a study for other programs, and for the MLflow mirror.

comparison.schema.json beside this module describes every entry. Raise `SCHEMA_VERSION` when an entry changes its name
or meaning, or goes; a new entry leaves it as it is.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.installation import command_text

if TYPE_CHECKING:  # the MLflow mirror reads the file, and must not wait for pandas
    from pipeline.analysis.comparison import Comparison

SCHEMA_VERSION = 1
FILE = "comparison.json"
TABLES = ("summary", "dynamics", "distances", "ablation", "dead_units")  # frames of a `Comparison` that are not drawn


def comparison_document(comparison: "Comparison") -> dict[str, Any]:
    """The content of comparison.json, in plain Python types; None for every number that is unknown."""
    from pipeline.analysis.formatting import plain_rows

    study = comparison.study
    judged = {chosen.arm.folder: chosen.name for chosen in study.chosen}
    return {
        "schema_version": SCHEMA_VERSION,
        "study": study.name,
        "baseline": study.baseline,
        "metric": study.metric,
        "higher_is_better": study.higher_is_better,
        "margin": study.margin,
        "correction": asdict(comparison.correction),
        "arms": [
            {
                "name": arm.name,
                "folder": arm.folder,
                "setting": arm.setting,
                "block": arm.block,
                "seeds": sorted(arm.complete_seeds),
                "stored_means": dict(study.stored_means.get(arm.folder, {})),
                "judged_as": judged.get(arm.folder),
            }
            for arm in study.arms
        ],
        "shared": study.shared,
        "sentences": comparison.sentences,
        "headlines": [asdict(headline) for headline in comparison.headlines],
        "block_dependences": [asdict(dependence) for dependence in comparison.block_dependences],
        "tunings": [asdict(answer) for answer in comparison.tunings],
        "verdicts": [asdict(verdict) for verdict in comparison.verdicts],
        "warnings": [asdict(warning) for warning in comparison.warnings],
        "excluded_runs": [asdict(run) for run in comparison.excluded_runs],
        "bias_sentences": list(comparison.bias_sentences),
        "tables": {name: plain_rows(getattr(comparison, name)) for name in TABLES},
    }


def read_document(folder: Path) -> dict[str, Any] | None:
    """Read comparison.json from a report's folder; None where there is none.

    Raises ValueError for a damaged file, and for one of another schema version.
    """
    try:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f"{folder / FILE} is damaged ({error}); write it again with {command_text('compare')}"
        ) from error
    if document.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{folder / FILE} is of another version; write it again with {command_text('compare')}")
    return document


def render_document(comparison: "Comparison") -> str:
    """Render comparison.json: strict JSON, the same bytes for the same comparison."""
    return json.dumps(comparison_document(comparison), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

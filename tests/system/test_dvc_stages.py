"""The stages in dvc.yaml depend on all code that can change their output, and on nothing else."""

import re
from pathlib import Path

import grimp
import pytest
import yaml

from pipeline.config.schema import PROJECT

# Code that a stage runs although it cannot change the files the stage leaves behind.
WITHOUT_EFFECT = {
    "sweep": {
        "train", "launchers",  # the command line, and in which processes it trains
        "tracking",  # the MLflow mirror
        "report", "stats",  # the table printed at the end; of analysis only the ablation has an effect
    },
    "compare": {"tracking", "runtime"},  # the MLflow mirror; digests that name locks and check files
}  # fmt: skip


@pytest.mark.parametrize("stage", WITHOUT_EFFECT)
def test_a_stage_depends_on_all_code_it_runs(stage: str) -> None:
    """The packages that a stage's command imports, directly or not, are its dependencies in dvc.yaml."""
    described = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"][stage]
    commands = re.findall(r"python -m (pipeline[\w.]+)", str(described["cmd"]))
    graph = grimp.build_graph("pipeline", cache_dir=None)
    imported = set(commands).union(*map(graph.find_upstream_modules, commands))
    used = {module.split(".")[1] for module in imported - {"pipeline"}}
    listed = {Path(path).parts[1].removesuffix(".py") for path in described["deps"] if path.startswith("pipeline/")}
    assert used - listed == WITHOUT_EFFECT[stage]
    assert listed <= used


def test_every_dependency_and_parameter_file_exists() -> None:
    """DVC does not wait for a file that was moved or renamed."""
    for stage in yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"].values():
        parameters = [next(iter(entry)) for entry in stage.get("params", [])]
        for path in [*stage["deps"], *parameters]:
            assert "${" in path or (PROJECT / path).exists(), path

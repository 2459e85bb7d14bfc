"""What a request costs besides its training, in CPU seconds: `uv run python -m tests.benchmarks.overheads`.

The default sweep from start to end, the same again when it is finished, the plan of 200 jobs that differ in a value,
of 200 that differ in their initial biases, and 400 runs of one epoch; all processes of each are counted. Wall time
depends on what else the machine does; CPU seconds hardly do.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.config.schema import PROJECT

RATES = ",".join(f"{0.001 + i / 1e5:.5f}" for i in range(40))
CONSTANTS = ",".join(f"constant({0.001 * i:.3f})" for i in range(1, 201))
COMMANDS = {  # by what the table says
    "default sweep, start to end": ["-m"],
    "the same again, finished": ["-m"],
    "`--plan` of 200 jobs, 40 learning rates of 5 initializers": [
        "-m", "--plan", "seeds=2", "study=rates", "use_bias=true",
        "bias_initializer=zeros,ones,glorot,he_normal,he_uniform",
        f"optimizer.learning_rate={RATES}",
    ],
    "`--plan` of 200 jobs, 200 initializers": [
        "-m", "--plan", "seeds=2", "study=constants", "use_bias=true", f"bias_initializer={CONSTANTS}",
    ],
    "400 seeds of one arm, one epoch": ["seeds=400", "training.epochs=1", "study=seeds", "ablation=false"],
}  # fmt: skip


def main() -> None:
    """Run each command, the smallest of three where it is short, and print the table."""
    table = Table("command", "CPU seconds", "wall time")
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in COMMANDS.items():
            tries = 3 if "again" in name else 1
            cpu, wall = min(
                _measure([*arguments, "tracking=none", f"results={folder}/results"], folder) for _ in range(tries)
            )
            table.add_row(name, f"{cpu:.1f}", f"{wall:.1f}")
    Console().print(table)
    print(f"load {os.getloadavg()[0]:.1f}")


def _measure(arguments: list[str], folder: str) -> tuple[float, float]:
    """CPU and wall seconds of a command, and of the processes that it waits for."""
    before, begun = os.times(), time.monotonic()
    command = [sys.executable, "-m", "pipeline.train", *arguments]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    subprocess.run(
        command, cwd=Path(folder), env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, time.monotonic() - begun


if __name__ == "__main__":
    main()

"""Write the scripts that draw the page of `dvc plots`: `python -m pipeline.report.vega`.

The page of DVC loads them from the network; ours, .dvc/page.html, takes .dvc/vega.js if it is there. `dvc repro` writes
it, and this command does so in a fresh clone. With 900 KB it is not in git.
"""

from pipeline.config.schema import PROJECT
from pipeline.errors import ConfigError
from pipeline.report.render import page_script

SCRIPT = PROJECT / ".dvc" / "vega.js"


def main() -> None:
    """Write the script, from vl-convert's bundle."""
    if not SCRIPT.parent.is_dir():
        raise ConfigError(f"{SCRIPT.parent}: no such folder; allowed: a clone of the project, where DVC runs")
    SCRIPT.write_text(page_script(), encoding="utf-8")
    print(f"{SCRIPT.relative_to(PROJECT)}: dvc plots draws without a network")


if __name__ == "__main__":
    main()

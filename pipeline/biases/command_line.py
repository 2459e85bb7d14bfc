"""The command line of `python -m pipeline.extract`."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pipeline.biases.export import FORMATS, VALUE_FORMATS
from pipeline.biases.selection import KINDS, MEANINGS
from pipeline.config.options import check_wait
from pipeline.errors import ConfigError, require
from pipeline.installation import help_text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise the refusal as one line, without the usage that argparse would print."""
        is_model = message.startswith("unrecognized arguments: ") and not message.split(": ")[1].startswith("-")
        raise ConfigError(f"{message}; a second model is named by --diff OTHER" if is_model else message)


def parse_arguments(arguments: Sequence[str], description: str | None) -> argparse.Namespace:
    """Parse and check the arguments: model, format, output, layer, kind, diff, load, wait.

    description: the text of `--help`. Raises ConfigError for arguments that contradict each other or would overwrite a
    model.
    """
    parser = _Parser(prog=help_text("python -m pipeline.extract"), description=description, allow_abbrev=False,
                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("model", metavar="MODEL", help="what to read")
    parser.add_argument("--format", choices=FORMATS, help="npz and parquet contain the values, the others statistics")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write; its ending is the format")
    parser.add_argument("--layer", metavar="PATTERN", help="only layers or variables like this: 'conv*', 'encoder/*'")
    parser.add_argument(
        "--kind",
        choices=KINDS,
        help=f"only this kind; {'; '.join(f'{kind}: {text}' for kind, text in MEANINGS.items())}",
    )
    parser.add_argument("--diff", metavar="OTHER", help="a second model, to show the differences to it")
    parser.add_argument(
        "--load", action="store_true", help="load a file of Keras 3 with it in safe mode, for layers of other kinds"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="most seconds for a download from MLflow; 60",
    )
    options = parser.parse_args(arguments)
    _check(options)
    return options


def _check(options: argparse.Namespace) -> None:
    """Refuse contradictions, and derive the format from the output's ending where it is not given."""
    check_wait("--wait", options.wait)
    require(options.layer != "", "--layer", "an empty text", "a pattern like 'conv*', or no --layer for all layers")
    ending = options.output.suffix.removeprefix(".").lower() if options.output else "table"
    named = options.format or ending in FORMATS
    require(named, "--output", options.output, f"--format, or an ending of {', '.join(FORMATS[1:])}")
    inputs = [os.path.realpath(name) for name in (options.model, options.diff) if name]  # also of links to themselves
    overwrites = options.output is not None and os.path.realpath(options.output) in inputs
    require(not overwrites, "--output", options.output, "another file than those that are read")
    options.format = options.format or ending
    binary = options.format in VALUE_FORMATS
    require(options.output or not binary, "--format", options.format, "with --output FILE, since it is not text")
    require(not (binary and options.diff is not None), "--diff", f"--format {options.format}", "table, csv, json")

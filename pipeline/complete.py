"""Tab completion: `eval "$(python -m pipeline.complete bash)"`, or zsh, in the shell or its startup file.

It completes every command of this package, as a script (`bias-...`) and as a module, also after `uv run`: groups,
options, keys, their values, and names of files. From another folder than the project it works too.
"""

import sys

from pipeline.config.completion import complete_line
from pipeline.errors import ConfigError
from pipeline.installation import help_text


def main() -> int:
    """Run the command; return its exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--query"]:  # of the shell's code
        print(*complete_line(" ".join(arguments[1:])), sep="\n")
        return 0
    from pipeline.runtime.gate import guard

    return guard(lambda: _print_code(arguments))


def _print_code(arguments: list[str]) -> int:
    """Print the code for a shell, or the help; the exit code."""
    from pipeline.config.shells import SHELLS, shell_code

    if arguments in (["-h"], ["--help"]):
        print(help_text(__doc__ or ""))
        return 0
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        raise ConfigError("shell", " ".join(arguments) or None, list(SHELLS))
    print(shell_code(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

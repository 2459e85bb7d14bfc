"""The console scripts of the installed package: `bias-train` is `python -m pipeline.train`, and so on."""

from typing import NoReturn

from pipeline.runtime.early import KEPT, end_on_signal


def train() -> NoReturn:
    """Run `bias-train`."""
    end_on_signal(KEPT)  # before the imports, which take a second
    from pipeline.runtime.signals import run_command
    from pipeline.train import main

    run_command(main)


def compare() -> NoReturn:
    """Run `bias-compare`."""
    end_on_signal()
    from pipeline.compare import main
    from pipeline.runtime.signals import run_command

    run_command(main, finish_threads=True)


def extract() -> NoReturn:
    """Run `bias-extract`."""
    end_on_signal()
    from pipeline.extract import main
    from pipeline.runtime.signals import run_command

    run_command(main)


def sync() -> NoReturn:
    """Run `bias-sync`."""
    end_on_signal()
    from pipeline.runtime.signals import run_command
    from pipeline.sync import main

    run_command(main)


def complete() -> NoReturn:
    """Run `bias-complete`."""
    from pipeline.complete import main

    raise SystemExit(main())


def prune() -> NoReturn:
    """Run `bias-prune`."""
    end_on_signal()
    from pipeline.prune import main
    from pipeline.runtime.signals import run_command

    run_command(main)


def merge() -> NoReturn:
    """Run `bias-merge`."""
    end_on_signal(KEPT)
    from pipeline.merge import main
    from pipeline.runtime.signals import run_command

    run_command(main)

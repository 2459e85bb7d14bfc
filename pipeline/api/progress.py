"""The progress bar: a line of HTML in a notebook, Rich's bar in a terminal, nothing elsewhere.

No widgets are needed in the notebook, where the bar is one output that is replaced, and empty at the end.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from html import escape
from typing import Any, Protocol

SECONDS_BETWEEN_UPDATES = 0.2


class Bar(Protocol):
    """Shows how far a comparison has come."""

    def begin(self, text: str, done: float | None = None) -> None:
        """Say at once what is being done, with its share of the whole where one is known."""
        ...

    def show(self, text: str, done: float) -> None:
        """Show a share of the whole, from 0 to 1."""
        ...


class _Silent:
    def begin(self, text: str, done: float | None = None) -> None:
        pass

    def show(self, text: str, done: float) -> None:
        pass


class _InNotebook:
    def __init__(self, handle: Any, html: Any) -> None:
        self._handle, self._html, self._last = handle, html, 0.0

    def begin(self, text: str, done: float | None = None) -> None:
        share = "" if done is None else f' value="{done:.4f}" max="1"'
        self._last = time.monotonic()
        self._update(f"<progress{share}></progress> {escape(text)}")

    def show(self, text: str, done: float) -> None:
        if time.monotonic() - self._last > SECONDS_BETWEEN_UPDATES:
            self.begin(text, done)

    def close(self) -> None:
        self._update("")

    def _update(self, content: str) -> None:
        self._handle.update(self._html(content))


class _InTerminal:
    def __init__(self, bar: Any) -> None:
        self._bar, self._task = bar, bar.add_task("", total=None)

    def begin(self, text: str, done: float | None = None) -> None:
        self._bar.update(self._task, description=text, completed=done or 0, total=None if done is None else 1)

    def show(self, text: str, done: float) -> None:
        self.begin(text, done)


@contextlib.contextmanager
def progress_bar(wanted: bool) -> Iterator[Bar]:
    """Within the context, a bar of the kind that fits where the program runs."""
    if wanted and (display := _notebook_display()) is not None:
        show, html = display
        bar = _InNotebook(show(html(""), display_id=True), html)
        try:
            yield bar
        finally:
            bar.close()
    elif wanted and sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as rich_bar:
            yield _InTerminal(rich_bar)
    else:
        yield _Silent()


def _notebook_display() -> tuple[Any, Any] | None:
    """IPython's `display` and `HTML` where a notebook shows them; None in a terminal or a script."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display  # pyright: ignore[reportMissingImports] (only where it runs already)

    return display, HTML

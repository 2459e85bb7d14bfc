"""Render figures to SVG and PNG, and bundle the script that draws them on a page, in a separate process.

vl-convert takes a second for its first figure and three to bundle the script. So `start_renderer` starts a process that
does both while this one still imports pandas and reads results. The process is kept for the figures of the next study.
"""

import contextlib
import functools
import gc
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

MAIN = "__main__"


class Drawn(NamedTuple):
    """What the process has made: the content of each file, and the script that defines `vegaEmbed` for a page."""

    files: dict[Path, bytes]
    script: str


@dataclass(frozen=True)
class Renderer:
    """A process pool of one worker, with the work that it has been given."""

    pool: ProcessPoolExecutor
    worker: BaseProcess
    script: Future[str]
    figures: list[tuple[Path, Future[dict[str, bytes]]]] = field(default_factory=list)


@functools.cache
def start_renderer() -> Renderer:
    """Start the process and its slow first steps, unless it is running; do not wait for them."""
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_prepare_worker)
    others = set(multiprocessing.active_children())
    with _empty_main():
        script = pool.submit(page_script)
    (worker,) = set(multiprocessing.active_children()) - others
    pool.submit(_render_first_figure)
    return Renderer(pool, worker, script)


def stop_renderer() -> None:
    """Kill the process, if there is one. Without this, Python's exit waits for the slow first steps.

    Its semaphores go with the pool, so that no one warns of them where the process ends without Python's exit.
    """
    if start_renderer.cache_info().currsize:
        renderer = start_renderer()
        start_renderer.cache_clear()
        renderer.worker.kill()
        renderer.pool.shutdown(cancel_futures=True)
        del renderer
        gc.collect()


@contextlib.contextmanager
def rendering(wanted: bool) -> Iterator[None]:
    """Within the context, the process starts while this one imports; an error or a signal ends it."""
    try:
        if wanted:
            start_renderer()
        yield
    except BaseException:
        stop_renderer()
        raise


def draw_figure(spec: dict[str, Any], path: Path, pdf: bool = False) -> None:
    """Have a Vega-Lite specification drawn as `path`.svg, and twice as large as `path`.png, for `finish_figures`.

    pdf: whether to draw it for a column of print too, as `path`.pdf, and `path`-2.pdf and so on where a page does not
    hold all of it. That takes longer than the other two.
    """
    renderer = start_renderer()
    try:
        renderer.figures.append((path, renderer.pool.submit(_render, spec, pdf)))
    except BrokenProcessPool:
        stop_renderer()  # so that the next study gets a process that works
        raise


def finish_figures() -> Drawn:
    """Wait until all figures are drawn, and return them. No file is written, so that all can be, or none.

    Raises the error of the first figure that could not be drawn: ValueError, which names it, or BrokenProcessPool if
    the process died.
    """
    renderer = start_renderer()
    figures = renderer.figures.copy()
    renderer.figures.clear()
    files: dict[Path, bytes] = {}
    try:
        for path, figure in figures:
            try:
                contents = figure.result()
            except ValueError as error:
                name = "/".join(path.parts[-3:])
                raise ValueError(f"figure {name} cannot be drawn, so no report is written: {error}") from error
            files |= {path.with_name(path.name + end): content for end, content in contents.items()}
        return Drawn(files, renderer.script.result())
    except BrokenProcessPool:
        stop_renderer()
        raise


def page_script() -> str:
    """Return the script that defines `vegaEmbed`, from the user's cache folder if it is there, else bundled.

    The cache is `$XDG_CACHE_HOME/keras-bias-initializers`, or `~/.cache/...`, with a file per version of vl-convert. A
    cache that cannot be read or written is ignored.
    """
    import vl_convert

    cached = None
    with contextlib.suppress(OSError, RuntimeError, UnicodeError):  # no such file, no home folder, damaged
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cached = cache / "keras-bias-initializers" / f"vega-{vl_convert.__version__}.js"  # pyright: ignore[reportAttributeAccessIssue]
        return cached.read_text(encoding="utf-8")
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    if cached is not None:
        with contextlib.suppress(OSError):
            cached.parent.mkdir(parents=True, exist_ok=True)
            temporary = cached.with_suffix(f".{os.getpid()}")
            temporary.write_text(script, encoding="utf-8")
            temporary.replace(cached)
    return script


@contextlib.contextmanager
def _empty_main() -> Iterator[None]:
    """Make multiprocessing believe that the main module is empty.

    A spawned process imports its parent's main module, which would import a command and all that it needs, and would
    run a user's script a second time unless it guards against that.
    """
    main = sys.modules[MAIN]
    sys.modules[MAIN] = ModuleType(MAIN)
    try:
        yield
    finally:
        sys.modules[MAIN] = main


def _prepare_worker() -> None:
    """Make the worker end silently at Ctrl-C, and when its parent is killed, which alone would leave it behind."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _render_first_figure() -> None:
    import vl_convert

    vl_convert.vegalite_to_svg({"mark": "point", "data": {"values": []}})


def _render(spec: dict[str, Any], pdf: bool) -> dict[str, bytes]:
    """Draw a figure: the end of a file's name -> its content. Raises ValueError, saying what to do without it."""
    import vl_convert

    with _hint("figures=false writes one without figures"):
        svg = _renumber_definitions(vl_convert.vegalite_to_svg(spec))
        files = {".svg": svg.encode(), ".png": vl_convert.svg_to_png(svg, scale=2)}
    if pdf:
        from pipeline.report.figures.column import column_pages  # with pandas, which the main process need not wait for

        with _hint("pdf=false writes one without PDFs"):
            for number, page in enumerate(column_pages(spec), 1):
                files[".pdf" if number == 1 else f"-{number}.pdf"] = vl_convert.svg_to_pdf(page)
    return files


@contextlib.contextmanager
def _hint(what: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}; {error}") from error


def _renumber_definitions(svg: str) -> str:
    """Number an SVG's definitions from 0. Vega continues from figure to figure, so they would depend on their order."""
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"{match[1]}{numbers.setdefault(match[2], len(numbers))}{match[3]}"

    return re.sub(r"""((?:id="|url\(#)(?:clip|gradient_))(\d+)(["\)])""", number, svg)

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
from typing import Any

MAIN = "__main__"


@dataclass(frozen=True)
class Renderer:
    """A process pool of one worker, with the work that it has been given."""

    pool: ProcessPoolExecutor
    worker: BaseProcess
    script: Future[str]
    figures: list[Future[None]] = field(default_factory=list)


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
    """Have a Vega-Lite specification drawn as `path`.svg, and twice as large as `path`.png.

    pdf: whether to draw it for a column of print too, as `path`.pdf, and `path`-2.pdf and so on where a page does not
    hold all of it. That takes longer than the other two.

    The files exist once `finish_figures` has returned.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    renderer = start_renderer()
    try:
        renderer.figures.append(renderer.pool.submit(_render, spec, str(path), pdf))
    except BrokenProcessPool:
        stop_renderer()  # so that the next study gets a process that works
        raise


def finish_figures() -> str:
    """Wait until all figures are drawn, and return the script that defines `vegaEmbed` for a page.

    Raises the error of the first figure that could not be drawn: ValueError for an invalid specification, OSError for a
    file that could not be written, BrokenProcessPool if the process died.
    """
    renderer = start_renderer()
    figures = renderer.figures.copy()
    renderer.figures.clear()
    try:
        for figure in figures:
            figure.result()
        return renderer.script.result()
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


def _render(spec: dict[str, Any], path: str, pdf: bool) -> None:
    import vl_convert

    svg = _renumber_definitions(vl_convert.vegalite_to_svg(spec))
    Path(path + ".svg").write_text(svg, encoding="utf-8")
    Path(path + ".png").write_bytes(vl_convert.svg_to_png(svg, scale=2))
    if pdf:
        from pipeline.report.figures.column import column_pages  # with pandas, which the main process need not wait for

        for number, page in enumerate(column_pages(spec), 1):
            name = f"{path}.pdf" if number == 1 else f"{path}-{number}.pdf"
            Path(name).write_bytes(vl_convert.svg_to_pdf(page))


def _renumber_definitions(svg: str) -> str:
    """Number an SVG's definitions from 0. Vega continues from figure to figure, so they would depend on their order."""
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"{match[1]}{numbers.setdefault(match[2], len(numbers))}{match[3]}"

    return re.sub(r"""((?:id="|url\(#)(?:clip|gradient_))(\d+)(["\)])""", number, svg)

"""Draws figures as SVG and PNG, and bundles the script that draws them on a page: both in a process beside this one.

Bundling takes three seconds of a core, so the script is kept in the user's cache folder (`$XDG_CACHE_HOME`, else
`~/.cache`), a file per version of vl-convert. The first figure takes one. `start` begins with both while the results
are still being read; the process stays for the figures of the next study, and ends with this one.
"""

import atexit
import contextlib
import functools
import json
import os
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any


class _Press:
    """The process, and its answers: first the script, then an empty line for each figure that is drawn."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", __file__]  # -P: this folder's modules must not shadow those of Python
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        atexit.register(self.process.kill)  # it may still be busy when a request has been refused
        self.said: queue.Queue[str] = queue.Queue()
        self.waiting = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Take every line as it comes, so that the process never waits for a reader; an empty text at the end."""
        for line in self.process.stdout or ():
            self.said.put(line)
        self.said.put("")

    def answer(self) -> str:
        """The next line. Raises RuntimeError when the process has ended instead; why stands in standard error."""
        line = self.said.get()
        if not line:
            raise RuntimeError(f"the process that draws the figures ended ({self.process.wait()})")
        return line

    @functools.cached_property
    def script(self) -> str:
        """The bundled script, once it is ready."""
        return json.loads(self.answer())


@functools.cache
def start_renderer() -> _Press:
    """Begin with what takes long, unless that has been done."""
    return _Press()


def draw_figure(spec: dict[str, Any], path: Path) -> None:
    """Have `path`.svg and `path`.png drawn, the latter twice as large. They are there after `finish`."""
    press = start_renderer()
    path.parent.mkdir(parents=True, exist_ok=True)
    assert press.process.stdin is not None
    press.process.stdin.write(json.dumps({"spec": spec, "path": str(path)}) + "\n")
    press.process.stdin.flush()
    press.waiting += 1


def finish_figures() -> str:
    """Wait until all is drawn; the script that defines `vegaEmbed` for a page."""
    press = start_renderer()
    script = press.script
    for _ in range(press.waiting):
        press.answer()
        press.waiting -= 1
    return script


def _renumbered(svg: str) -> str:
    """The same picture with its definitions counted from 0: Vega counts on from one picture to the next."""
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"{match[1]}{numbers.setdefault(match[2], len(numbers))}{match[3]}"

    return re.sub(r"""((?:id="|url\(#)(?:clip|gradient_))(\d+)(["\)])""", number, svg)


def _script() -> str:
    """The script that defines `vegaEmbed`, from the cache, or bundled and put there. No cache is no error."""
    import vl_convert

    kept = None
    with contextlib.suppress(OSError, RuntimeError, UnicodeError):  # not there, no home, damaged
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        kept = cache / "keras-bias-initializers" / f"vega-{vl_convert.__version__}.js"
        return kept.read_text(encoding="utf-8")
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    if kept is not None:
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            aside = kept.with_suffix(f".{os.getpid()}")
            aside.write_text(script, encoding="utf-8")
            aside.replace(kept)
    return script


def _work() -> None:
    """What the process does: the script first, then each figure as it comes."""
    import vl_convert

    print(json.dumps(_script()), flush=True)
    vl_convert.vegalite_to_svg({"mark": "point", "data": {"values": []}})  # the first takes longest
    for line in sys.stdin:
        figure = json.loads(line)
        svg = _renumbered(vl_convert.vegalite_to_svg(figure["spec"]))
        Path(figure["path"] + ".svg").write_text(svg, encoding="utf-8")
        Path(figure["path"] + ".png").write_bytes(vl_convert.svg_to_png(svg, scale=2))
        print(flush=True)


if __name__ == "__main__":
    try:
        _work()
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(1)  # without a last attempt to write to what is closed

"""The process that draws figures: what it writes, what it raises, and how it ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest
import vl_convert
from factories import put

from pipeline import compare
from pipeline.config.schema import PROJECT
from pipeline.report.render import draw_figure, finish_figures, page_script, start_renderer

POINT = {"mark": "point", "data": {"values": [{}]}}


def drawn(*paths: Path) -> bool:
    """Whether these figures alone were asked for, and are there."""
    files = finish_figures().files
    ends = {path.with_suffix(ending) for path in paths for ending in (".svg", ".png")}
    return files.keys() == ends and all(len(content) > 100 for content in files.values())


def test_one_process_draws_the_figures_of_every_study(tmp_path: Path) -> None:
    """`finish_figures` returns when a study's figures exist, and the next study can follow."""
    for name in ("first", "second"):
        draw_figure(POINT, tmp_path / name / "figure")
        assert drawn(tmp_path / name / "figure")
    assert "vegaEmbed" in finish_figures().script


def test_a_figure_that_cannot_be_drawn_raises(tmp_path: Path) -> None:
    """The error names the figure and what to do, comes out of `finish_figures`, and no file exists; later ones do."""
    draw_figure(POINT, tmp_path / "s" / "figures" / "first")
    draw_figure({"mark": 3, "data": {"values": []}}, tmp_path / "s" / "figures" / "bad")
    with pytest.raises(ValueError, match=r"figure s/figures/bad cannot be drawn.*figures=false.*Vega-Lite"):
        finish_figures()
    assert not any(tmp_path.iterdir())
    draw_figure(POINT, tmp_path / "good")
    assert drawn(tmp_path / "good")


def test_a_killed_process_raises_and_is_replaced(tmp_path: Path) -> None:
    """If the drawing process dies, that study's report fails, and the next study gets a new process."""
    start_renderer().worker.kill()
    with pytest.raises(BrokenProcessPool):
        for _ in range(2):  # the second submit may be the one that notices
            draw_figure(POINT, tmp_path / "lost")
            finish_figures()
    draw_figure(POINT, tmp_path / "figure")
    assert drawn(tmp_path / "figure")


def run_script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has no `if __name__ == "__main__"`."""
    (folder / "script.py").write_text(text)
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, str(folder / "script.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_the_process_does_not_run_the_main_module_again(tmp_path: Path) -> None:
    """A user's script without a guard runs once, and multiprocessing does not complain."""
    result = run_script(
        tmp_path,
        "from pipeline.report.render import finish_figures\nprint('ran')\n"
        "assert 'vegaEmbed' in finish_figures().script\n",
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "ran\n", "")


def test_stopping_does_not_wait_for_the_process(tmp_path: Path) -> None:
    """A refused request kills the process, though it is still starting, and exits at once."""
    result = run_script(
        tmp_path,
        "from pipeline.report.render import start_renderer, stop_renderer\n"
        "print(start_renderer().worker.pid)\nstop_renderer()\nstop_renderer()\n",
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert not psutil.pid_exists(int(result.stdout))


def test_a_refused_comparison_stops_the_process(tmp_path: Path) -> None:
    """`compare` with a wrong option exits with code 2, and does not wait for what it has started."""
    put(tmp_path / "results", "zeros", 0, 0.9)
    options = [f"results={tmp_path / 'results'}", f"reports={tmp_path / 'reports'}", "metric=nonsense"]
    start_renderer()
    assert compare.main(options) == 2
    for process in multiprocessing.active_children():
        process.join(timeout=10)  # it may take a moment to die
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_the_process_ends_with_its_parent(kill: signal.Signals, tmp_path: Path) -> None:
    """No process stays behind when the command is killed, or interrupted by Ctrl-C, and only the command complains."""
    script = (
        "import signal, time\nfrom pipeline.report.render import start_renderer\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a shell's background jobs ignore
        "print(start_renderer().worker.pid, flush=True)\ntime.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None and parent.stderr is not None
        worker = int(parent.stdout.readline())
        time.sleep(2)  # until the worker has started
        if kill == signal.SIGINT:
            os.killpg(parent.pid, kill)
        else:
            os.kill(parent.pid, kill)
        parent.wait(timeout=30)
        deadline = time.time() + 30
        while psutil.pid_exists(worker) and time.time() < deadline:
            time.sleep(0.1)
        assert not psutil.pid_exists(worker)
        if kill == signal.SIGINT:
            assert parent.stderr.read().count("Traceback") == 1


def test_the_cached_script_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script that an earlier run bundled is read, not bundled again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = tmp_path / "keras-bias-initializers" / f"vega-{vl_convert.__version__}.js"
    cached.parent.mkdir()
    cached.write_text("cached")
    assert page_script() == "cached"


@pytest.mark.slow
def test_the_script_is_bundled_once_and_a_cache_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled script is cached; a cache folder that cannot be made is no error."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundled = page_script()
    (cached,) = (tmp_path / "cache").rglob("*.*")
    assert cached.read_text(encoding="utf-8") == bundled
    assert "vegaEmbed" in bundled and len(bundled) > 500_000
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert page_script() == bundled

"""The benchmark of growth, in small sizes: `python -m tests.benchmarks.growth`."""

import json

import numpy as np
import pytest

from tests.benchmarks.growth import AXES, Work, fit_growth, fit_points, main, measure, tables
from tests.benchmarks.growth_figure import draw, memory_per_seed


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("fixed", [0.0, 0.2, 3.0])
def test_the_slope_beyond_a_fixed_part_is_found(fixed: float, slope: float) -> None:
    """Of seconds made up as a fixed part and a power of the size, from noiseless ones and from some with 2 % noise."""
    sizes = np.array([1, 3, 10, 30, 100])
    seconds = fixed + 0.05 * sizes**slope
    found = fit_growth(sizes.tolist(), seconds.tolist())
    assert found.slope == pytest.approx(slope, abs=0.01)
    assert found.at(100) == pytest.approx(seconds[-1], rel=0.01)
    noise = np.exp(0.02 * np.random.default_rng(0).standard_normal((10, len(sizes))))
    noisy = [fit_growth(sizes.tolist(), (seconds * row).tolist()).slope for row in noise]
    if seconds[-1] > 2 * fixed:  # else the noise hides the growth
        assert np.mean(noisy) == pytest.approx(slope, abs=0.08)


def test_few_points_have_no_fixed_part() -> None:
    """Two points and three give the slope of the logarithms, not what a fixed part could make of them."""
    assert fit_growth([1, 8], [1, 8]).slope == pytest.approx(1)
    assert fit_growth([1, 2, 4], [3, 12, 48]).slope == pytest.approx(2)


def test_seeds_are_fitted_from_where_stacks_are_full() -> None:
    """The places of a stack all train, so few seeds cost alike; the fastest try of each size counts."""
    sizes, seconds = [1, 10, 30, 100, 300, 1000], [2, 2, 4, 10, 30, 100]
    points = [{"size": size, "elapsed": [9 * t, t], "cpu": [t, 9 * t]} for size, t in zip(sizes, seconds, strict=True)]
    for kind in ("elapsed", "cpu"):
        fit = fit_points("seeds", points, kind)
        assert (fit.start, fit.slope) == (100, pytest.approx(1))


def test_the_parameters_are_those_of_the_digits_mlp() -> None:
    """64 and 32 units on 64 features and 10 classes: 65 * 64 + 65 * 32 + 33 * 10."""
    assert Work().parameters == 6570


def made_up_points() -> list[dict]:
    """Points whose memory grows by 2 MB a seed at the end."""
    peaks = {1: 1000, 10: 1000, 100: 1010, 300: 1410}
    return [
        {"size": n, "elapsed": [0.1 * n], "cpu": [0.2 * n], "built": [0.01], "peak": p * 2**20}
        for n, p in peaks.items()
    ]


def test_the_table_holds_the_slopes() -> None:
    """A row per axis with both slopes, and the memory that each seed adds."""
    measured = {"seeds": made_up_points()}
    fits = {"seeds": [fit_points("seeds", measured["seeds"], kind) for kind in ("elapsed", "cpu")]}
    assert "| seeds | 1, 300 | 0.1, 30 s | 1.00 | 0.2, 60 s | 1.00 | 1,000, 1,410 MB |" in tables(measured, fits)
    assert memory_per_seed(measured["seeds"]) == 2 * 2**20


@pytest.mark.slow
def test_the_figure_is_a_small_png() -> None:
    """A panel of each axis, and one of memory."""
    measured = {axis: made_up_points() for axis in AXES}
    png = draw(
        measured, {axis: [fit_points(axis, measured[axis], kind) for kind in ("elapsed", "cpu")] for axis in AXES}
    )
    assert png.startswith(b"\x89PNG")
    assert len(png) < 100_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axis", "sizes"), [("seeds", (3, 1)), ("arms", (2, 1)), ("rows", (400, 200)), ("parameters", (8, 4))]
)
def test_each_axis_is_measured(axis: str, sizes: tuple[int, ...]) -> None:
    """Smallest first, at least two tries each, with CPU seconds, and memory that does not shrink."""
    small, large = measure(axis, sizes)
    assert small["work"][AXES[axis].field] == sizes[1]
    assert small["size"] < large["size"]
    assert 0 < small["peak"] <= large["peak"]
    for kind in ("elapsed", "cpu", "built"):
        assert len(small[kind]) >= 2
        assert min(small[kind]) > 0


@pytest.mark.slow
def test_the_benchmark_writes_its_file_and_its_figure(tmp_path, capsys) -> None:
    """From a process of its own; axes that were measured before stay."""
    (tmp_path / "growth.json").write_text(json.dumps({"seeds": made_up_points()}))
    main(["axes=epochs", "sizes=1;2", f"folder={tmp_path}"])
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert list(json.loads((tmp_path / "growth.json").read_text())) == ["seeds", "epochs"]
    shown = capsys.readouterr().out
    assert "| seeds | 1, 300 |" in shown
    assert "| epochs | 1, 2 |" in shown

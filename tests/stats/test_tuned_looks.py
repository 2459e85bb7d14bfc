"""A first look that chooses values and later looks that judge them, in simulated studies."""

import numpy as np
import pytest

from pipeline.stats.sequential import Design, toss_signs
from pipeline.stats.tuning import choose_once
from tests.benchmarks.simulated import looks_that_end

FIRST, JUDGING = 10, (10, 30, 70, 150)  # the default looks, less the seeds that choose
DESIGN = Design(JUDGING)


def grid(gap: float, best: int) -> np.ndarray:
    """True means of an arm at five values: 0 at its best one, and a gap less with each step away from it."""
    return -gap * np.abs((np.arange(5.0) - best + 2) % 5 - 2)


def found(gap: float, studies: int, seed: int = 0, reuse: bool = False) -> tuple[float, float]:
    """Shares of studies of two arms with the same best, at different values, that find a difference between them: of
    all studies, and of those whose chosen values are equally good.

    reuse: let the seeds that chose judge as well.
    """
    rng, of_all, of_equal, equal = np.random.default_rng(seed), 0, 0, 0
    for study in range(studies):
        curves = [grid(gap, best) for best in (1, 3)]
        chosen, first = [], []
        for curve in curves:
            run = curve + rng.normal(0, 0.5**0.5, (FIRST, 5))
            validation, test = run + rng.normal(0, 0.5**0.5, (2, FIRST, 5))
            result = choose_once(validation, test, True)
            chosen.append(curve[result.chosen[0]])
            first.append(result.judged)
        fresh = rng.normal(chosen[1] - chosen[0], 2**0.5, JUDGING[-1])
        looks, design = JUDGING, DESIGN
        if reuse:
            fresh, looks = np.concatenate([first[1] - first[0], fresh]), tuple(FIRST + n for n in JUDGING)
            design = Design(looks)
        tossed = toss_signs(fresh, looks, paths=400, seed=study)
        ended = looks_that_end(tossed, design, [design.alpha])[0] < len(looks)
        of_all += ended
        equal += chosen[0] == chosen[1]
        of_equal += ended and chosen[0] == chosen[1]
    return of_all / studies, of_equal / max(equal, 1)


def test_what_chose_does_not_say_how_good_it_is() -> None:
    """The value is chosen by the validation metric over all seeds; those that they cannot tell from it are named."""
    validation = np.array([[0.9, 0.5, 0.91], [0.8, 0.4, 0.79], [0.9, 0.5, 0.9]] * 4)
    result = choose_once(validation, validation + 1, True)
    assert result.chosen == (0, 0) and result.rivals == (2,)
    assert result.judged.tolist() == (validation[:, 0] + 1).tolist()
    assert choose_once(-validation, validation, False).chosen == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.0, 0.25, 1.5])
def test_without_a_difference_at_the_chosen_values_the_level_holds(gap: float) -> None:
    """Whether or not ten seeds can tell the values apart: at most 5 % of 1,000 studies, but for their noise."""
    _, equal = found(gap, 1000)
    assert equal <= 0.05 + 2 * (0.05 * 0.95 / (1000 if gap != 0.25 else 400)) ** 0.5


@pytest.mark.slow
def test_a_first_look_that_cannot_tell_values_apart_may_leave_a_difference() -> None:
    """The chosen values then differ though the best ones do not, which later seeds find; so the report warns of it."""
    assert 0.3 < found(0.25, 300)[0] < 0.5
    assert found(1.5, 300)[0] < 0.09

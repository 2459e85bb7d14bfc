"""Friedman's test gives Demsar's numbers, and no certainty from few datasets."""

import numpy as np
import pytest
from factories import DEMSAR
from scipy import stats

from pipeline.stats.friedman import friedman


def test_friedman_gives_demsars_numbers():
    """Ranks, chi square, Iman and Davenport's F and Nemenyi's critical difference are those of his worked example."""
    result = friedman(DEMSAR)
    np.testing.assert_allclose(result["ranks"], [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert result["chi2"] == pytest.approx(9.28, abs=0.01)
    assert result["F"] == pytest.approx(3.69, abs=0.01)
    assert result["p"] == pytest.approx(stats.f.sf(3.69, 3, 39), abs=5e-4)
    assert result["critical_difference"] == pytest.approx(1.25, abs=0.01)
    np.testing.assert_allclose(friedman(1 - DEMSAR, higher_is_better=False)["ranks"], result["ranks"])
    with pytest.raises(ValueError, match="1 datasets"):
        friedman(DEMSAR[:1])


def test_without_ties_chi_square_is_scipys():
    """SciPy differs only in its correction for ties."""
    table = np.random.default_rng(0).normal(size=(9, 4))
    assert friedman(table)["chi2"] == pytest.approx(stats.friedmanchisquare(*table.T).statistic)


def test_few_datasets_that_rank_alike_are_no_certainty():
    """p is not 0 but the probability of ranking alike by chance: 1 / 2 for two arms in two datasets."""
    assert friedman([[0.9, 0.8], [0.7, 0.6]])["p"] == 0.5
    assert friedman([[0.9, 0.8, 0.7]] * 2)["p"] == pytest.approx(1 / 6)
    assert friedman([[0.9, 0.9, 0.9]] * 2)["p"] == 1

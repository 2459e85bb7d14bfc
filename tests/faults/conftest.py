"""Fixtures of the fault tests."""

from collections.abc import Iterator

import pytest
from faults.forks import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts real commands without waiting for an import of TensorFlow."""
    forks = Forks()
    yield forks
    forks.close()

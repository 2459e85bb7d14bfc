"""What is recorded with a result about the packages that decide its numbers."""

from importlib.metadata import version

from pipeline.runtime import environment


def test_versions_are_looked_up_once_for_all_runs() -> None:
    """A run's description took five milliseconds, in which files of the packages were read."""
    found = environment.package_versions()
    assert found == {name: version(name) for name in environment.PACKAGES}
    looked_up = environment._version.cache_info().misses
    assert environment.describe_environment("CPU")["packages"] == found
    assert environment._version.cache_info().misses == looked_up == len(environment.PACKAGES)

"""Each job of a sweep is composed once, to what Hydra alone makes of it."""

from collections.abc import Iterator

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_repository import ConfigRepository
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from pipeline.config.load import register_schema
from pipeline.config.schema import CONF
from pipeline.experiment import compositions
from pipeline.experiment.compositions import remember_compositions

JOBS = (["data=iris", "model=linear"], ["bias_initializer=zeros", "seeds=3"], ["data=iris", "bias_initializer=glorot"])


@pytest.fixture
def loader() -> Iterator:
    """Hydra's loader of the settings."""
    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield GlobalHydra.instance().config_loader()


def test_jobs_are_composed_as_by_hydra_alone(loader) -> None:
    """Also the second time, and though a job is changed afterwards, as launchers do."""
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    alone = [loader.load_sweep_config(master, list(job)) for job in JOBS]
    remember_compositions(loader)
    for _ in range(2):
        for job, expected in zip(JOBS, alone, strict=True):
            composed = loader.load_sweep_config(master, list(job))
            assert OmegaConf.to_container(composed) == OmegaConf.to_container(expected)
            assert OmegaConf.get_type(composed) == OmegaConf.get_type(expected)
            assert OmegaConf.is_struct(composed) == OmegaConf.is_struct(expected)
            composed.seeds = 7


def test_files_of_settings_are_read_once(loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's loader has the repository that is wrapped; were it another, every job would read all files again."""
    read = list[str]()
    original = ConfigRepository.load_config
    monkeypatch.setattr(
        compositions.ConfigRepository, "load_config", lambda self, path: [read.append(path), original(self, path)][1]
    )
    assert type(loader.repository) is ConfigRepository
    remember_compositions(loader)
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    for job in JOBS:
        loader.load_sweep_config(master, list(job))
    assert len(read) == len(set(read)) > 10

"""Each job of a sweep is composed once, to what Hydra alone makes of it."""

from collections.abc import Iterator, Sequence

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

JOBS = (
    ["data=iris", "model=linear"],
    ["bias_initializer=zeros", "seeds=3"],
    ["data=iris", "bias_initializer=glorot"],
)
MORE_JOBS = (
    ["seeds=3", "bias_initializer=zeros", "optimizer.learning_rate=0.1", "++training.xla=false"],
    ["bias_initializer=zeros", "optimizer.learning_rate=0.1"],
    ["bias_initializer={class_name:Zeros}", "seeds=[3,7]"],
    ["bias_initializer=random_normal", "bias_initializer.config.stddev=0.1", "+bias_initializer.config.new=x"],
    [
        "bias_initializer=random_normal",
        "~bias_initializer.config.stddev",
        "study=of_${data.name}",
        "++optimizer.learning_rate=3",
        "optimizer=sgd",
    ],
    ["hydra.job.name=other", "seeds=4"],
)
REFUSED = (
    ["nothing=1"],
    ["optimizer.nothing=1"],
    ["training.epochs=x"],
    ["optimizer=nothing"],
    ["+seeds=3"],
    ["model@x=mlp"],
)


@pytest.fixture
def loader() -> Iterator:
    """Hydra's loader of the settings."""
    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield GlobalHydra.instance().config_loader()


@pytest.mark.parametrize("jobs", [JOBS, pytest.param(MORE_JOBS, marks=pytest.mark.slow)], ids=["some", "more"])
def test_jobs_are_composed_as_by_hydra_alone(loader, jobs: Sequence[list[str]]) -> None:
    """Also the second time, and though a job is changed afterwards, as launchers do."""
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    alone = [loader.load_sweep_config(master, list(job)) for job in jobs]
    remember_compositions(loader)
    for _ in range(2):
        for job, expected in zip(jobs, alone, strict=True):
            composed = loader.load_sweep_config(master, list(job))
            assert OmegaConf.to_container(composed) == OmegaConf.to_container(expected)
            assert OmegaConf.get_type(composed) == OmegaConf.get_type(expected)
            assert OmegaConf.is_struct(composed) == OmegaConf.is_struct(expected)
            assert OmegaConf.to_container(composed.optimizer, resolve=True) == OmegaConf.to_container(
                expected.optimizer, resolve=True
            )
            composed.seeds = 7


@pytest.mark.slow
@pytest.mark.parametrize("job", REFUSED)
def test_jobs_are_refused_as_by_hydra_alone(loader, job: list[str]) -> None:
    """The words are Hydra's own, which the refusal of the command is made from."""
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    with pytest.raises(Exception) as alone:
        loader.load_sweep_config(master, list(job))
    remember_compositions(loader)
    with pytest.raises(type(alone.value)) as raised:
        loader.load_sweep_config(master, list(job))
    assert str(raised.value) == str(alone.value)


def test_jobs_with_the_same_options_are_composed_once(loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra composes once for 30 jobs of three initializers that differ in values; so its loader is the one known."""
    composed = list[object]()
    compose = loader._compose_config_from_defaults_list
    monkeypatch.setattr(
        loader, "_compose_config_from_defaults_list", lambda **given: [composed.append(given), compose(**given)][1]
    )
    master = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
    remember_compositions(loader)
    composed.clear()
    for name in ("zeros", "ones", "glorot"):
        for i in range(10):
            job = ["seeds=3", f"bias_initializer={name}", f"optimizer.learning_rate={0.1 * (i + 1)}"]
            assert loader.load_sweep_config(master, job).hydra.overrides.task == job
    assert len(composed) == 3


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

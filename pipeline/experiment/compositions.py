"""Compose the config of each job once: else it would be done for the plan, for Hydra's check and for the launch.

And read each file of settings once for all jobs. `ConfigLoaderImpl.repository` and what it is made of are Hydra's own;
where they are others, files are read as often as Hydra reads them.
"""

import copy
import pickle
from typing import Any

from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf


class _RememberedFiles(ConfigRepository):
    """A repository that parses each file of settings once, also in the copies that Hydra makes for each composition."""

    def __init__(self, sources: list[Any], known: dict[tuple[str, ...], bytes]) -> None:
        self.sources, self._known = sources, known

    def __deepcopy__(self, memo: dict[int, Any]) -> "_RememberedFiles":
        return _RememberedFiles(copy.deepcopy(self.sources, memo), self._known)

    def load_config(self, config_path: str) -> Any:
        key = (*(source.full_path() for source in self.sources), config_path)
        if key not in self._known:
            self._known[key] = pickle.dumps(super().load_config(config_path))
        return pickle.loads(self._known[key])


def remember_compositions(loader: ConfigLoader) -> None:
    """Have a loader of Hydra return, for overrides that it has composed already, what it composed then.

    A file of settings that is edited while a sweep trains so changes no job that was planned. Kept as bytes, which of
    thousands of jobs take a hundredth of the memory.
    """
    if "load_sweep_config" in vars(loader):
        return
    compose, known = loader.load_sweep_config, dict[tuple[Any, ...], bytes]()
    if type(getattr(loader, "repository", None)) is ConfigRepository:
        loader.repository = _RememberedFiles(loader.repository.sources, {})  # type: ignore[attr-defined]

    def load_sweep_config(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        job = master_config.hydra.job.config_name
        key = (job, *map(str, master_config.hydra.overrides.hydra), None, *sweep_overrides)
        if key not in known:
            composed = compose(master_config, sweep_overrides)
            known[key] = pickle.dumps(composed)
            return composed
        composed = pickle.loads(known[key])
        OmegaConf.copy_cache(from_config=master_config, to_config=composed)  # as Hydra does, of ${now:...}
        return composed

    loader.load_sweep_config = load_sweep_config  # type: ignore[method-assign]

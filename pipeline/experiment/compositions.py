"""Compose the config of each job once: else it would be done for the plan, for Hydra's check and for the launch."""

import pickle
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf


def remember_compositions(loader: ConfigLoader) -> None:
    """Have a loader of Hydra return, for overrides that it has composed already, what it composed then.

    A file of settings that is edited while a sweep trains so changes no job that was planned. Kept as bytes, which of
    thousands of jobs take a hundredth of the memory.
    """
    if "load_sweep_config" in vars(loader):
        return
    compose, known = loader.load_sweep_config, dict[tuple[Any, ...], bytes]()

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

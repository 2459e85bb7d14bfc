"""Compose once what the jobs of a sweep have in common.

Hydra composes each job from all its files, which takes a tenth of a second, both for the plan and to launch.
Jobs that choose the same options differ in values alone: these are set in a copy of what Hydra made of the options, and
each file of settings is parsed once. Initializers that are no file, `constant(0.1)`, are such values too: what they
hold is merged into a copy of what Hydra made of an option that holds nothing. `ConfigLoaderImpl`, its repository and
what that is made of are Hydra's own; where they are others, Hydra composes as it does.
"""

import copy
import pickle
from contextlib import suppress
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, flag_override

from pipeline.config.calls import GROUP

# Options of `bias_initializer` that stand for any made one: one that holds nothing, and one that sets every key.
_EMPTY, _FULL = "option_that_holds_nothing", "option_that_sets_every_key"
_STAND_INS: dict[str, dict[str, Any]] = {
    _EMPTY: {},
    _FULL: {"class_name": _FULL, "config": {_FULL: _FULL}, "layers": {_FULL: {"class_name": _FULL, "config": {}}}},
}


class _RememberedFiles(ConfigRepository):
    """A repository that parses each file of settings once, also in the copies that Hydra makes for each composition."""

    def __init__(self, sources: list[Any], known: dict[tuple[str, ...], bytes]) -> None:
        self.sources, self._known = sources, known

    def __deepcopy__(self, memo: dict[int, Any]) -> "_RememberedFiles":
        return _RememberedFiles(copy.deepcopy(self.sources, memo), self._known)

    def load_config(self, config_path: str) -> Any:
        if name := next((name for name in _STAND_INS if name in config_path), None):
            if config_path != f"{GROUP}/{name}":
                raise ConfigCompositionException(f"{config_path}: depends on the option's name, which has no stand-in")
            content = OmegaConf.create(_STAND_INS[name])
            return ConfigResult("schema", "structured://", content, {"package": None}, [], is_schema_source=True)
        key = (*(source.full_path() for source in self.sources), config_path)
        if key not in self._known:
            loaded = super().load_config(config_path)
            if loaded is None and config_path.startswith(f"{GROUP}/"):  # it may be made later
                return None
            self._known[key] = pickle.dumps(loaded)
        return pickle.loads(self._known[key])


def remember_compositions(loader: ConfigLoader) -> None:
    """Have a loader of Hydra compose once what several jobs of a sweep have in common.

    A file of settings that is edited while a sweep trains so changes no job that was planned.
    """
    if "load_sweep_config" in vars(loader):
        return
    repository: Any = getattr(loader, "repository", None)
    if type(repository) is ConfigRepository:
        loader.repository = _RememberedFiles(repository.sources, {})  # type: ignore[attr-defined]
    loader.load_sweep_config = _Composer(loader).load_sweep_config  # type: ignore[method-assign]


class _Composer:
    """Composes the jobs of a sweep; what it keeps are bytes, which take a hundredth of the memory."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader, self._compose = loader, loader.load_sweep_config
        self._known: dict[tuple[str | None, ...], bytes] = {}
        self._repositories: dict[tuple[str, ...], Any] = {}
        self._parsed: dict[str, Override] = {}
        self._merged_last: dict[tuple[str, ...], bool] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose a job: what Hydra's function of this name returns, and raises."""
        if type(self._loader) is ConfigLoaderImpl and (parts := self._divided(master_config, sweep_overrides)):
            options, values = parts
            with suppress(Exception):  # Hydra tells below what is wrong
                overrides = [self._parsed[text] for text in sweep_overrides]
                composed = self._with_made_option(master_config, options) or self._composed(master_config, options)
                return _with_values(composed, overrides, values)
        return self._composed(master_config, sweep_overrides)

    def _composed(self, master_config: DictConfig, overrides: list[str]) -> DictConfig:
        """What Hydra composes, also where it has done so before."""
        job = master_config.hydra.job.config_name
        key = (job, *_of_hydra(master_config), None, *overrides)
        if key not in self._known:
            self._known[key] = pickle.dumps(self._compose(master_config, overrides))
        composed = pickle.loads(self._known[key])
        OmegaConf.copy_cache(from_config=master_config, to_config=composed)  # as Hydra does, of ${now:...}
        return composed

    def _with_made_option(self, master_config: DictConfig, options: list[str]) -> DictConfig | None:
        """The config of options of which one is an initializer that is no file; None where Hydra must compose it."""
        chosen = [text for text in options if self._parsed[text].key_or_group == GROUP]
        override = self._parsed[chosen[0]] if len(chosen) == 1 else None
        option = override.value() if override is not None and override.type is OverrideType.CHANGE else None
        if not isinstance(option, str) or "${" in option:
            return None
        made = self._repository(master_config).load_config(f"{GROUP}/{option}")
        if made is None or not made.is_schema_source or made.header["package"] is not None or made.defaults_list:
            return None
        if "class_name" not in made.config or not set(made.config) <= set(_STAND_INS[_FULL]):
            return None
        stand_in = {name: [f"{GROUP}={name}" if text == chosen[0] else text for text in options] for name in _STAND_INS}
        key = tuple(stand_in[_EMPTY])
        if key not in self._merged_last:
            self._merged_last[key] = False
            self._merged_last[key] = _is_merged_last(self._composed(master_config, stand_in[_FULL]))
        if not self._merged_last[key]:
            return None
        composed = self._composed(master_config, stand_in[_EMPTY])
        _merge(composed, made.config)
        composed.hydra.runtime.choices[GROUP] = option
        return composed

    def _divided(self, master_config: DictConfig, overrides: list[str]) -> tuple[list[str], list[Override]] | None:
        """The overrides of a job that choose options, and those that set values; None for a job for Hydra alone."""
        repository = self._repository(master_config)
        options, values = [], []
        for text in overrides:
            if text not in self._parsed:
                self._parsed[text] = OverridesParser.create().parse_overrides([text])[0]
            override = self._parsed[text]
            if override.is_hydra_override() or override.is_sweep_override() or override.package is not None:
                return None
            if isinstance(override.value(), dict) or not repository.group_exists(override.key_or_group):
                values.append(override)
            else:
                options.append(text)
        return options, values

    def _repository(self, master_config: DictConfig) -> Any:
        """Where Hydra looks for options, `hydra.searchpath` included."""
        loader: Any = self._loader
        hydra_overrides = _of_hydra(master_config)
        if hydra_overrides not in self._repositories:
            self._repositories[hydra_overrides] = loader._parse_overrides_and_create_caching_repo(
                master_config.hydra.job.config_name, list(hydra_overrides)
            )[1]
        return self._repositories[hydra_overrides]


def _of_hydra(master_config: DictConfig) -> tuple[str, ...]:
    """The overrides of Hydra's own settings as they were typed, interpolations included."""
    return tuple(map(str, OmegaConf.to_container(master_config.hydra.overrides.hydra) or ()))


def _is_merged_last(full: DictConfig) -> bool:
    """Whether nothing else sets keys in an initializer, before its option or after it, by the one that sets all."""
    return OmegaConf.to_container(full[GROUP]) == _STAND_INS[_FULL]


def _merge(composed: DictConfig, option: DictConfig) -> None:
    """Merge what an initializer's option holds, as Hydra does before it closes the config to new keys."""
    with flag_override(composed, ["struct", "readonly"], False):
        composed[GROUP].merge_with(option)


def _with_values(composed: DictConfig, overrides: list[Override], values: list[Override]) -> DictConfig:
    """The config of a job, made of that of its options as `ConfigLoaderImpl` goes on from there.

    overrides: all of the job. values: those that set values.
    """
    ConfigLoaderImpl._apply_overrides_to_config(values, composed)
    job = composed.hydra.job
    spelled = job.config.override_dirname
    composed.hydra.overrides.task = [override.input_line for override in overrides]
    job.override_dirname = get_overrides_dirname(
        overrides, exclude_keys=spelled.exclude_keys, item_sep=spelled.item_sep, kv_sep=spelled.kv_sep
    )
    return composed

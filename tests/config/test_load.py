"""A composed config becomes a frozen `Config`, or is refused."""

import dataclasses
import re
from typing import Any

import pytest
from factories import compose_config
from omegaconf import OmegaConf

from pipeline.config import load
from pipeline.config.load import load_config, parse_seeds, structured_schema
from pipeline.config.overrides import parse_overrides
from pipeline.config.schema import Config, Settings
from pipeline.config.spelling import spell_overrides
from pipeline.errors import ConfigError

DATA = {"name": "d", "source": "iris"}
FILES = {
    "seeds": 2,
    "bias_initializer": {"class_name": "Zeros"},
    "model": {"name": "m", "layers": [{"class_name": "Dense"}]},
    "data": DATA,
    "optimizer": {"class_name": "Adam", "learning_rate": 0.1},
    "training": {"epochs": 1, "batch_size": 8},
}
COMPOSED: dict[str, Any] = OmegaConf.to_container(OmegaConf.merge(structured_schema(Settings), FILES))  # type: ignore


@pytest.mark.parametrize(
    ("given", "seeds"),
    [(1, (0,)), (3, (0, 1, 2)), ([3, 7], (3, 7)), ([7, 3], (3, 7)), ([0], (0,)), ([2**31 - 1], (2**31 - 1,))],
)
def test_seeds_are_a_count_or_a_list(given: object, seeds: tuple[int, ...]) -> None:
    """A count n stands for the seeds 0 to n - 1; a list for its own numbers, in ascending order."""
    assert parse_seeds(given) == seeds


@pytest.mark.parametrize(
    "given", [0, -1, 1.5, "3", "", None, True, [], [1, 1], [-1], [1.5], [True], [2**31], ["1"], 10**9], ids=repr
)
def test_other_seeds_are_refused(given: object) -> None:
    """Anything but a count or a list of different whole numbers is refused, with what was given."""
    shown = "null" if given is None else str(given).lower() if isinstance(given, bool) else str(given) or '""'
    with pytest.raises(ConfigError, match=f"^{re.escape(f'seeds: {shown} given; allowed: ')}"):
        parse_seeds(given)


def test_config_is_the_composed_one_with_defaults() -> None:
    """Keys that no file sets have the schema's defaults, interpolations are resolved, and nothing can be changed."""
    config = load_config(OmegaConf.create(COMPOSED), ["seeds=2"])
    assert (config.study, config.seeds, config.data.test_fraction) == ("d-m", (0, 1), 0.2)
    assert config.overrides == ("seeds=2",)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.study = "other"  # type: ignore[misc]


def test_a_file_may_have_the_letters_of_an_interpolation(tmp_path, monkeypatch) -> None:
    """`data.path=${foo}.csv` is that file where there is one, and can be written `\\${foo}.csv` anywhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "${foo}.csv").touch()
    for word in spell_overrides(["data.path=${foo}.csv", r"data.path=\${foo}.csv"], is_sweep=False):
        value = parse_overrides([word])[0].value()
        composed = OmegaConf.merge(OmegaConf.create(COMPOSED), {"data": {"path": value}})
        assert load_config(composed, []).data.path == "${foo}.csv"
    assert spell_overrides(["data.path=${bar}.csv"], is_sweep=False) == ["data.path=${bar}.csv"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"bias_initializer": None}, "bias_initializer: null given, which Keras reads as glorot_uniform; allowed: "),
        ({"tracking": None}, "tracking: null given; allowed: a name from conf/tracking"),
        ({"data": {"name": "d", "source": "???"}}, "data.source: no value given"),
        ({"data": DATA | {"nme": "d"}}, "data.nme: no such key; nearest: data.name"),
        ({"data": DATA | {"test_fraction": "half"}}, "data.test_fraction: half given; allowed: a number or null"),
        ({"training": {"epochs": 1.5, "batch_size": 8}}, "training.epochs: 1.5 given; allowed: a whole number"),
        ({"study": "${name}"}, "study: ${name} given, which cannot be resolved: "),
        ({"results": "${oc.env:NOT_SET}"}, "results: ${oc.env:NOT_SET} given, which cannot be resolved: "),
    ],
)
def test_what_cannot_be_a_config_is_refused(change: dict[str, object], line: str) -> None:
    """Errors of OmegaConf come out as one line with the key, by the error's class and attributes."""
    with pytest.raises(ConfigError) as refusal:
        load_config(OmegaConf.create(COMPOSED | {"study": "s"} | change), [])
    assert str(refusal.value).startswith(line) and "\n" not in str(refusal.value)


def test_schema_can_be_composed_into() -> None:
    """OmegaConf still lets a frozen dataclass's node be written to, and its `config` dicts take keys of any name.

    If this fails, OmegaConf has changed `set_readonly` or `set_struct`, and Hydra can compose nothing into the schema.
    """
    schema = structured_schema(Config)
    OmegaConf.set_struct(schema, True)  # as Hydra does while it applies overrides
    OmegaConf.update(schema, "training.epochs", 3)
    OmegaConf.update(schema, "optimizer.config.beta_1", 0.8)
    assert (schema.training.epochs, schema.optimizer.config.beta_1) == (3, 0.8)
    with pytest.raises(AttributeError):
        OmegaConf.update(schema, "training.epoch", 3)


def test_arguments_of_a_class_need_no_plus_sign() -> None:
    """An argument below `config` can be set whether or not the chosen file lists it, with Hydra's plus or without."""
    with_plus, without = (compose_config(f"{sign}optimizer.config.beta_1=0.8") for sign in ("+", ""))
    assert with_plus.optimizer == without.optimizer
    assert without.optimizer.config == {"beta_1": 0.8}


JOBS = (
    {},
    {"optimizer.learning_rate": 0.2},
    {"optimizer.learning_rate": 1, "training.epochs": 3},
    {"training.class_weight": {0: 1, 1: 2}},
    {"training.class_weight": {0: 2, 1: 2}},
    {"training.class_weight": {"0": 2}},
    {"training.class_weight": "balanced"},
    {"optimizer.config": {"beta_1": 0.8}},
    {"optimizer.config": {"beta_1": 0.8, "beta_2": 0.9}},
    {"seeds": [3, 7]},
    {"seeds": True},
    {"training.xla": 1},
    {"training.xla": True},
    {"data.path": "a"},
    {"data.path": "\\${a}"},
    {"training.epochs": 0},
)


def _loaded(job: dict[str, Any]) -> str:
    composed = OmegaConf.create(COMPOSED)
    for key, value in job.items():
        OmegaConf.update(composed, key, value, merge=False)
    try:
        return repr(load_config(composed, []))
    except ConfigError as error:
        return str(error)


def test_a_job_is_loaded_alike_whatever_was_loaded_before() -> None:
    """OmegaConf converts what differs from the job before; the config, or the refusal, is that of the job alone."""
    alone = []
    for job in JOBS:
        load._last.clear()
        alone.append(_loaded(job))
    assert len(set(alone)) == len(JOBS)
    assert [_loaded(job) for job in JOBS] == alone
    assert [_loaded(job) for job in reversed(JOBS)] == alone[::-1]


def test_values_alone_do_not_have_all_settings_converted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 jobs that would be two seconds."""
    _loaded({})
    monkeypatch.delattr(load, "_config_schema")
    assert "learning_rate=0.3," in _loaded({"optimizer.learning_rate": 0.3})
    with pytest.raises(NameError):  # where more than values differ, all are
        _loaded({"optimizer.config": {"beta_1": 0.8}})

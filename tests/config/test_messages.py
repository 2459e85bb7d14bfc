"""Errors of Hydra and OmegaConf come out as one line."""

import pytest
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.load import structured_schema
from pipeline.config.messages import as_refusal
from pipeline.config.schema import Settings
from pipeline.errors import ConfigError


def composing(key: str, value: object) -> ConfigCompositionException:
    """The error of Hydra for a file that sets this key, raised in the place of OmegaConf's."""
    schema = structured_schema(Settings)
    OmegaConf.set_struct(schema, True)
    try:
        try:
            OmegaConf.update(schema, key, value)
        except OmegaConfBaseException as error:
            raise ConfigCompositionException(f"In 'model/mine': {error}")  # noqa: B904
    except ConfigCompositionException as error:
        return error
    raise AssertionError(f"{key}={value} is valid")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("seeds", 0, "a count"), "seeds: 0 given; allowed: a count"),
        (composing("training.epochs", 1.5), "training.epochs: 1.5 given; allowed: a whole number"),
        (composing("training.epoch", 3), "training.epoch: no such key; nearest: training.epochs"),
        (composing("model.nme", "x"), "model.nme: no such key; nearest: model.name"),
        (composing("optimizer.schedule.class_name", "x"),
         "optimizer.schedule.class_name: no such key; allowed: +optimizer.schedule.class_name=..., which adds it"),
        (MissingConfigException("", "data/irish", ["iris", "wine"]), "data: irish given; nearest: iris"),
        (MissingConfigException("", "data/irish"), "data: irish given; nearest: iris"),
        (OverrideParseException("seeds=[1", "LexerNoViableAltException"), "seeds=[1: cannot be parsed; allowed: "),
        (HydraException("Something\n  quite new."), "Something quite new."),
        (ConfigCompositionException(""), "ConfigCompositionException"),
        (HydraException("x" * 1000), "x" * 100),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
def test_every_error_is_one_line(error: Exception, line: str) -> None:
    """Known errors are explained by their class and attributes; an unknown one keeps its words, in one line."""
    explained = str(as_refusal(error))
    assert explained.startswith(line) and "\n" not in explained and len(explained) <= 300

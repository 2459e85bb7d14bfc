"""Interpolations are resolved, and the environment is read only for keys that name a place."""

from typing import Any

import pytest
from factories import compose_config

from pipeline.config.schema import PATHS, Config, key_types
from pipeline.errors import ConfigError

QUICK = ("data=iris", "model=linear", "seeds=1")


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        (["results=${oc.env:SECRET}/results"], "results", "hunter2/results"),
        (["results=${oc.env:NOT_SET,elsewhere}"], "results", "elsewhere"),
        (["tracking.uri=http://me:${oc.env:SECRET}@host"], "tracking.uri", "http://me:hunter2@host"),
        (["data=file", "data.path=${oc.env:SECRET}.csv"], "data.path", "hunter2.csv"),
        (["study=${data.name}_${model.name}"], "study", "iris_linear"),
        (["training.epochs=${seeds}"], "training.epochs", 1),
        (["training.loss=${oc.decode:'auto'}"], "training.loss", "auto"),
        (["study=${file_stem:a/b.csv}"], "study", "b"),
    ],
    ids=str,
)
def test_interpolations_are_resolved(overrides: list[str], key: str, value: object) -> None:
    """References to other settings work everywhere; the environment where a place is named."""
    config: Any = compose_config(*QUICK, *overrides)
    for part in key.split("."):
        config = getattr(config, part)
    assert config == value


def refusal(*overrides: str) -> str:
    """The line that refuses a request with these overrides."""
    with pytest.raises(ConfigError) as error:
        config: Config = compose_config(*QUICK, *overrides)
        raise AssertionError(config)
    return str(error.value)


@pytest.mark.parametrize("resolver", ["oc.env:SECRET", "oc.decode:${oc.env:SECRET}", "hydra:runtime.cwd", "now:%Y"])
@pytest.mark.parametrize("key", ["study", "training.loss", "bias_layers", "seeds"])
def test_settings_do_not_read_the_environment(key: str, resolver: str) -> None:
    """What would be stored in a folder name, run.json or MLflow reads neither the environment nor the clock."""
    line = refusal(f"{key}='${{{resolver}}}'")  # in quotes, since Hydra's grammar nests no interpolations
    assert line.startswith(f"{key}: ${{{resolver}}} given, which reads ${{")
    assert line.endswith(f"; allowed: that only in {', '.join(PATHS)}")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["results=${oc.env:SECRET}", "study=${results}"], "study"),
        (["results=${oc.env:SECRET}", "study=a-${oc.select:results}"], "study"),
        (["tracking.uri=${oc.env:SECRET}", "training.metrics=[${tracking.uri}]"], "training.metrics"),
        (["tracking.uri=${oc.env:SECRET}", "+optimizer.config={name:{a:[${tracking.uri}]}}"], "optimizer.config"),
        (["data=file", "data.path=a.csv", "data.name=${oc.env:SECRET}"], "data.name"),
        (["data=file", "data.path=${oc.env:SECRET}.csv", "study=${data.path}"], "study"),
        (["model.layers=[{class_name:Dense,config:{name:${oc.env:SECRET}}}]"], "model.layers"),
    ],
    ids=str,
)
def test_no_detour_leads_to_the_environment(overrides: list[str], key: str) -> None:
    """A setting that refers to a place, or holds a reference deep inside, is refused like a plain one."""
    line = refusal(*overrides)
    assert line.startswith(f"{key}: ") and "which reads ${oc.env:...}" in line and "hunter2" not in line


@pytest.mark.parametrize("key", [key for key, hint in key_types().items() if "Path" not in str(hint)])
def test_every_other_key_is_closed(key: str) -> None:
    """Each key of the schema either names a place or is refused the environment."""
    if "." not in key and any(known.startswith(f"{key}.") for known in key_types()):
        pytest.skip("a group")
    overrides = ["data=file", "data.path=a.csv"] if key.startswith("data.") else []
    try:
        compose_config(*QUICK, *overrides, f"++{key}=${{oc.env:SECRET}}")
    except ConfigError as error:
        assert "which reads ${oc.env:...}" in str(error) and key not in PATHS
    else:
        assert key in PATHS

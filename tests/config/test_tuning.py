"""`tune=`: the values that are tried, the sweep that it becomes, and what is refused."""

import pytest
from factories import compose_config

from pipeline.config.arguments import read_arguments
from pipeline.config.naming import block_name
from pipeline.config.tuning import around, check_tune, read_tune, wider
from pipeline.config.tuning_sweep import expand_tuning
from pipeline.errors import ConfigError

RATE = "optimizer.learning_rate"


@pytest.mark.parametrize(
    ("configured", "values"),
    [
        (0.001, (0.0001, 0.0003, 0.001, 0.003, 0.01)),
        (0.002, (0.0002, 0.0006, 0.002, 0.006, 0.02)),
        (32, (3, 10, 32, 100, 300)),
        (2, (2, 6, 20)),
    ],
)
def test_values_are_half_a_decade_apart(configured: float, values: tuple[float, ...]) -> None:
    """Five values around the configured one, as people write them; whole numbers stay whole, and from 1 up."""
    assert around("key", configured) == values
    assert [type(value) for value in around("key", configured)] == [type(configured)] * len(values)


def test_a_grid_is_widened_by_half_a_decade() -> None:
    """One value more at the end that was chosen; a whole number below 1 is none."""
    assert wider(RATE, (0.001, 0.003, 0.01), upwards=True) == (0.001, 0.003, 0.01, 0.03)
    assert wider(RATE, (0.001, 0.003), upwards=False) == (0.0003, 0.001, 0.003)
    assert wider(RATE, (0.001, 0.003), upwards=True) == (0.001, 0.003, 0.01)
    assert wider(RATE, (0.0003, 0.001), upwards=False) == (0.0001, 0.0003, 0.001)
    assert wider("training.epochs", (1, 3), upwards=False) == (1, 3)
    assert wider("training.epochs", (3, 10), upwards=True) == (3, 10, 30)


@pytest.mark.parametrize(
    ("text", "tuned"),
    [
        (RATE, {RATE: ()}),
        (f"{RATE},training.batch_size", {RATE: (), "training.batch_size": ()}),
        (f"[{RATE},training.batch_size]", {RATE: (), "training.batch_size": ()}),
        (f"{{{RATE}:[0.1,0.01],training.epochs:[5,10]}}", {RATE: (0.1, 0.01), "training.epochs": (5, 10)}),
        ("{optimizer.config.beta_1:[0.8,0.9]}", {"optimizer.config.beta_1": (0.8, 0.9)}),
    ],
)
def test_keys_and_values_are_read(text: str, tuned: dict[str, tuple[float, ...]]) -> None:
    """A key, several, or named lists."""
    assert read_tune(text) == tuned


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([f"tune={{{RATE}:[0.001]}}"], "two or more different numbers"),
        ([f"tune={{{RATE}:[0.1,0.1]}}"], "two or more different numbers"),
        ([f"tune={{{RATE}:[a,b]}}"], "two or more different numbers"),
        (["tune={training.epochs:[1.5,2]}"], "two or more different whole numbers"),
        (["tune=training.loss"], "one or two numbers of optimizer or training"),
        (["tune=optimizer.class_name"], "one or two numbers of optimizer or training"),
        (["tune=seeds"], "one or two numbers of optimizer or training"),
        (["tune=data.test_fraction"], "one or two numbers of optimizer or training"),
        (["tune=optimizer.nix"], "one or two numbers of optimizer or training"),
        ([f"tune=[{RATE},training.epochs,training.batch_size]"], "3 keys"),
        (["tune=[]"], "0 keys"),
        (["tune=optimizer.config.beta_1"], "allowed: a list, tune={optimizer.config.beta_1:"),
        ([f"tune={RATE}", f"{RATE}=0.1,0.01"], "swept besides; allowed: tune={optimizer.learning_rate:[0.1,0.01]}"),
        ([f"tune={RATE}", "optimizer=adam,sgd"], "different optimizer.learning_rate, 0.001, 0.01; allowed: a list"),
        ([f"tune={RATE}", f"tune={RATE}"], "given twice"),
    ],
)
def test_what_cannot_be_tuned_is_refused(given: list[str], message: str) -> None:
    """One line that names the key, what was given and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        expand_tuning(read_arguments(["-m", *given]))
    assert message in str(caught.value) and str(caught.value).startswith("tune") and "\n" not in str(caught.value)


def test_without_a_sweep_it_is_refused_with_the_command() -> None:
    """Several values are a sweep."""
    with pytest.raises(ConfigError, match=r"tune: given without -m; allowed: .* -m tune=optimizer.learning_rate"):
        expand_tuning(read_arguments([f"tune={RATE}"]))


def test_it_becomes_a_sweep_with_the_configured_value_first() -> None:
    """Other words stay as they are; of a list without the configured value the first one is shared."""
    words = ["-m", f"tune={RATE}", "data=iris", f"{RATE}=0.002", "bias_initializer=zeros,ones"]
    assert expand_tuning(read_arguments(words)).overrides == [
        "data=iris", "bias_initializer=zeros,ones", f"{RATE}=0.002,0.0002,0.0006,0.006,0.02",
        f"tune={{{RATE}:[0.002,0.0002,0.0006,0.006,0.02]}}",
    ]  # fmt: skip
    words = ["-m", "tune={optimizer.learning_rate:[0.1,0.001],optimizer.config.beta_1:[0.8,0.9]}"]
    assert expand_tuning(read_arguments(words)).overrides[:2] == [
        f"{RATE}=0.001,0.1", "++optimizer.config.beta_1=0.8,0.9"
    ]  # fmt: skip
    plain = read_arguments(["-m", "data=iris"])
    assert expand_tuning(plain) is plain


def test_it_is_no_part_of_a_name() -> None:
    """A job's arm is that of the same value swept by hand; a tune that made no sweep is refused."""
    config = compose_config(f"tune={{{RATE}:[0.001,0.1]}}", f"{RATE}=0.1")
    assert config.tune == {RATE: [0.001, 0.1]} and block_name(config) == f"{RATE}=0.1"
    assert check_tune(compose_config()) is None
    with pytest.raises(ConfigError, match="given in a file of settings"):
        compose_config(f"tune={{{RATE}:[0.001,0.1]}}")

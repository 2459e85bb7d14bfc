"""Initializers with arguments in brackets: `constant(0.1)`."""

from pathlib import Path

import pytest
from factories import compose_config

from pipeline.config.naming import bias_setting
from pipeline.errors import ConfigError
from pipeline.experiment.plan import plan_job
from pipeline.experiment.validate import compose_jobs
from pipeline.models.initializers.registry import initializer_defaults


@pytest.mark.parametrize(
    ("call", "class_name", "config"),
    [
        ("constant(0.1)", "Constant", {"value": 0.1}),
        ("constant(value=0.1)", "Constant", {"value": 0.1}),
        ("constant(-1e-3)", "Constant", {"value": -0.001}),
        ("constant()", "Constant", {"value": 0.0}),
        ("zeros()", "Zeros", {}),
        ("random_normal(0.1)", "RandomNormal", {"mean": 0.0, "stddev": 0.1}),
        ("random_normal(1,0.1)", "RandomNormal", {"mean": 1, "stddev": 0.1}),
        ("random_normal(mean=1)", "RandomNormal", {"mean": 1, "stddev": 0.05}),
        ("random_uniform(-0.1,0.2)", "RandomUniform", {"minval": -0.1, "maxval": 0.2}),
        ("variance_scaling(2.0,mode=fan_out)", "VarianceScaling",
         {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"}),
        ("relu_small(0.1)", "ReluSmall", {"value": 0.1}),
        ("mean_field(0.2)", "MeanField", {"variance": 0.2}),
        ("random_asymmetric(0.2)", "RandomAsymmetric", {"stddev": 0.2}),
        ("sklearn_uniform(2.0)", "SklearnUniform", {"factor": 2.0}),
    ],
)  # fmt: skip
def test_arguments_in_brackets(call: str, class_name: str, config: dict[str, object]) -> None:
    """Arguments in brackets are those of the option's class; one without a name is the obvious one."""
    composed = compose_config("data=iris", f"bias_initializer={call}")
    assert (composed.bias_initializer.class_name, composed.bias_initializer.config) == (class_name, config)


def test_an_option_in_a_folder_of_the_users(tmp_path: Path) -> None:
    """The arguments of an option in a folder of the user's are known too."""
    from pipeline.config.made_options import make_option

    (tmp_path / "bias_initializer").mkdir()
    (tmp_path / "bias_initializer" / "mine.yaml").write_text("class_name: Constant\nconfig: {value: 3.0}\n")
    (tmp_path / "bias_initializer" / "other.yaml").write_text("defaults: [mine]\n")
    for name in ("mine", "other"):
        assert make_option(f"{name}(0.5)", [tmp_path]) == {"bias_initializer.config.value": 0.5}


@pytest.mark.parametrize("call", ["constant(0.1)", "random_normal(stddev=0.2)", "random_uniform(maxval=0.2)"])
def test_an_arm_is_called_as_it_is_typed(call: str) -> None:
    """The name of an arm's bias setting can be typed as its initializer."""
    config = compose_config("data=iris", f"bias_initializer={call}")
    assert bias_setting(config, initializer_defaults(config.bias_initializer.class_name)) == call


def test_both_spellings_are_one_arm() -> None:
    """`constant(0.1)` and `constant` with its value are the same arm and the same runs, however the number is typed."""
    spellings = [
        ["bias_initializer=constant(0.1)"],
        ["bias_initializer=constant(value=0.10)"],
        ["bias_initializer=constant", "bias_initializer.config.value=0.1"],
    ]
    plans = [plan_job(compose_config("data=iris", "seeds=1", *spelling)) for spelling in spellings]
    assert {plan.arm for plan in plans} == {"constant(0.1)"} and len({plan.keys[0] for plan in plans}) == 1


def test_calls_are_swept_over() -> None:
    """A sweep has options with and without arguments side by side."""
    jobs = compose_jobs(["data=iris", "bias_initializer=zeros,constant(0.1),constant(0.5)"])
    assert [job.bias_initializer.config for job in jobs] == [{}, {"value": 0.1}, {"value": 0.5}]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ("bias_initializer=random_uniform(0.2)", "bias_initializer: random_uniform(0.2) given; allowed: random_unifo"),
        ("bias_initializer=zeros(1)", "bias_initializer: zeros(1) given; allowed: zeros"),
        ("bias_initializer=constant(1,2)", "bias_initializer: constant(1,2) given; allowed: constant(value=...)"),
        ("bias_initializer=constant(1,value=2)", "bias_initializer: constant(1,value=2) given; allowed: constant(val"),
        ("bias_initializer=constant(value=1,value=2)", "bias_initializer: constant(value=1,value=2) given, with valu"),
        ("bias_initializer=constant(valu=1)", "bias_initializer.config.valu: Constant has no such argument; nearest:"),
        ("bias_initializer=constant(big)", "bias_initializer.config.value: big given; allowed: a number"),
        ("bias_initializer=constnt(1)", "bias_initializer: constnt(1) given; nearest: constant"),
        ("bias_initializer=Constant(0.1)", "bias_initializer: Constant(0.1) given; allowed: 'bias_initializer=consta"),
        ("bias_initializer=constant(0.1) bias_initializer.config.value=0.5", "bias_initializer.config.value: given t"),
        ("bias_initializer=zeros bias_initializer.config.value=0.5", "bias_initializer.config.value: Zeros has no su"),
        ("optimizer=sgd(0.1)", "optimizer: sgd(0.1) given; allowed: optimizer=sgd, and its settings by optimizer.<ke"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(overrides: str, line: str) -> None:
    """An argument that is missing, unknown, given twice or of the wrong type is named."""
    with pytest.raises(ConfigError) as refusal:
        plan_job(compose_jobs(["data=iris", *overrides.split()])[0])
    assert str(refusal.value).startswith(line)

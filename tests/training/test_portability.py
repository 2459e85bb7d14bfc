"""`runtime.portable` is refused for what the processor decides, whatever libraries are told."""

import pytest
from factories import compose_config

from pipeline.errors import ConfigError
from pipeline.experiment.check import first_model
from pipeline.experiment.plan import plan_job
from pipeline.training.portability import check_portable

SMALL = ("data=iris", "model=linear", "tracking=none")


def layers(*descriptions: str) -> str:
    return f"model.layers=[{','.join(descriptions)},{{class_name:Dense,config:{{name:output}}}}]"


@pytest.mark.parametrize(("override", "reason"), [
    (layers("{class_name:BatchNormalization}"), "a BatchNormalization layer gives other numbers"),
    (layers("{class_name:Dense,config:{units:4,activation:gelu}}"), "gelu of dense gives other numbers"),
    (layers("{class_name:Dense,config:{units:4,activation:softmax}}"), "softmax of dense gives other numbers"),
    (layers("{class_name:Dense,config:{units:257}}"), "dense has more than 256 inputs or units"),
    (layers("{class_name:Dense,config:{units:4,kernel_constraint:max_norm}}"), "the constraint of dense gives other"),
    ("optimizer=rmsprop", "only optimizer SGD or Adam is known"),
    ("optimizer.config={clipnorm:1}", "only optimizer.config without clipping is known"),
    ("training.loss=CategoricalCrossentropy", "only training.loss=auto is known"),
    ("training.xla=false", "without XLA"),
])  # fmt: skip
def test_what_the_processor_decides_is_refused(override: str, reason: str) -> None:
    """The line says which part of the training it is, and that portable=false is allowed."""
    plan = plan_job(compose_config(*SMALL, override))
    model, _, _ = first_model(plan)
    with pytest.raises(ConfigError, match=rf"^runtime.portable: true given, but {reason}.*; allowed: false$"):
        check_portable(model, plan.config.optimizer, plan.config.training)


def test_a_batch_may_not_be_too_large() -> None:
    """The rows of a batch are an inner dimension of the gradients' products; fewer rows make a smaller batch."""
    plan = plan_job(compose_config("data=digits", "tracking=none", "training.batch_size=257"))
    model, _, _ = first_model(plan)
    with pytest.raises(ConfigError, match="the sums over more than 256 rows of a batch"):
        check_portable(model, plan.config.optimizer, plan.config.training)


def test_models_of_dense_layers_are_portable() -> None:
    """The default study and the linear model are not refused."""
    for overrides in ((), SMALL, ("data=diabetes", "model=linear"), ("data=breast_cancer", "optimizer=sgd")):
        plan = plan_job(compose_config(*overrides))
        check_portable(first_model(plan)[0], plan.config.optimizer, plan.config.training)

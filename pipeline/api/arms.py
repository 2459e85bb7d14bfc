"""The `arms` of a comparison in Python, as settings: each a bias setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.api.classes import is_own, own_form
from pipeline.api.objects import is_keras_object, serialized, without_defaults
from pipeline.config.hints import NO_BIAS
from pipeline.config.user_classes import UserClass
from pipeline.errors import ConfigError, is_number, kind_of
from pipeline.models.stable_names import in_stable_names

ALLOWED = (
    "names such as zeros or no_bias, calls such as constant(0.1), initializers of Keras or of your own, or mappings of "
    "layers to these"
)
DEFAULT = ("no_bias", "zeros", "ones", "glorot_uniform")


@dataclass(frozen=True)
class GivenArm:
    """An arm. initializer: a name, `{class_name, config}` or one of these by layer; None without biases."""

    given: Any
    initializer: Any = None
    classes: tuple[UserClass, ...] = ()

    @property
    def use_bias(self) -> bool:
        """Whether the layers have biases."""
        return self.initializer is not None


def read_arms(arms: Any) -> list[GivenArm]:
    """What each arm is. Raises ConfigError."""
    if isinstance(arms, (str, Mapping)) or is_keras_object(arms) or not isinstance(arms, Sequence) or not arms:
        shown = arms if isinstance(arms, (str, int, float)) or arms is None else kind_of(arms)
        raise ConfigError("arms", shown if arms != [] else "[]", f"a list of {ALLOWED}")
    return [_arm(arm) for arm in arms]


def check_several(given: Sequence[Any], arms: Sequence[str], shown: Sequence[str]) -> list[str]:
    """Say which arms are given more than once. arms: the unique name of each. Raises ConfigError for a single arm."""
    names = dict(zip(arms, shown, strict=True))
    if len(names) == 1:
        alone = f"{shown[0]} is the only one{f', given {len(given)} times' if len(given) > 1 else ''}"
        raise ConfigError(f"arms: {alone}; allowed: two or more, of which one is the baseline")
    times = {arm: arms.count(arm) for arm in names}
    return [f"arms: {names[arm]} is given {n} times and trained once" for arm, n in times.items() if n > 1]


def in_layer_names(arms: Sequence[GivenArm], names: Mapping[str, str]) -> list[GivenArm]:
    """The arms with the layers of a live model called as they are here, see `models.stable_names`."""
    named = []
    for arm in arms:
        if isinstance(arm.initializer, Mapping) and "class_name" not in arm.initializer:
            stable = in_stable_names(arm.initializer, names, "arms")
            arm = replace(arm, initializer={stable[layer]: form for layer, form in arm.initializer.items()})
        named.append(arm)
    return named


def _arm(arm: Any) -> GivenArm:
    if isinstance(arm, str):
        if arm.strip().lower() in NO_BIAS:
            return GivenArm(arm)
        return GivenArm(arm, arm.strip())
    if arm is False:
        return GivenArm(arm)
    if is_number(arm):
        raise ConfigError("arms", arm, f'"constant({arm})"')
    if isinstance(arm, Mapping) and "class_name" not in arm:
        forms, classes = {}, ()
        for layer, inner in arm.items():
            form, own = _initializer(inner)
            forms[str(layer)], classes = form, (*classes, *own)
        return GivenArm(arm, forms, classes=classes)
    form, classes = _initializer(arm)
    return GivenArm(arm, form, classes=classes)


def _initializer(value: Any) -> tuple[Any, tuple[UserClass, ...]]:
    """The settings of an initializer given as a name, an object, a class or in Keras' form; classes of the user's."""
    if isinstance(value, str):
        return value, ()
    if isinstance(value, type):
        try:
            value = value()
        except TypeError as error:
            raise ConfigError("arms", value.__name__, f"an instance, {value.__name__}(...), not the class") from error
    if not callable(value) and not isinstance(value, Mapping):
        raise ConfigError("arms", kind_of(value), ALLOWED)
    if isinstance(value, Mapping):
        return serialized(value, "arms"), ()
    if is_keras_object(value) and is_own(value):
        form, known = own_form(value, "arms")
        return form, (known,)
    if not is_keras_object(value):
        shown = getattr(value, "__name__", None) or kind_of(value)
        raise ConfigError("arms", shown, "names, initializers of Keras, or an object of your own subclass of "
                          "keras.initializers.Initializer")  # fmt: skip
    form = serialized(value, "arms")
    return form | {"config": without_defaults("initializers", form["class_name"], form["config"])}, ()

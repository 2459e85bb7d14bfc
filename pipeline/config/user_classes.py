"""The classes of the user's own that this process knows, by the names under which Keras has them registered.

`pipeline.models.user_code` fills the table, from files that the user trusts (`code`) or from classes that a Python
program hands over. Whatever looks up a class of Keras by name looks here too. Imports no Keras.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

REQUIRED: Any = object()  # stands for the default of an argument that has none


@dataclass(frozen=True)
class UserClass:
    """A registered class or function.

    group: `layers`, `initializers`, ..., as in `keras.<group>`; `functions` of a loss or metric that is one. digest: of
    the code that it comes from. file: the name of its file; empty for a class of a running program.
    """

    name: str
    group: str
    object: Any
    digest: str
    file: str = ""


_known: dict[str, UserClass] = {}


def add_user_class(known: UserClass) -> None:
    """Make a class known by its name, which another may have had before."""
    _known[known.name] = known


def forget_user_classes() -> None:
    """Begin another command, which knows the classes of its own code alone."""
    _known.clear()


def user_class(group: str, name: str) -> Any:
    """The class or function of this registered name; None where the group has none."""
    known = _known.get(name)
    return known.object if known is not None and known.group == group else None


def is_user_class(cls: Any) -> bool:
    """Whether this very class is known."""
    return any(known.object is cls for known in _known.values())


def user_names(group: str = "") -> list[str]:
    """The registered names of a group, such as `mine>MyInitializer`; of all groups for ""."""
    return sorted(name for name, known in _known.items() if group in ("", known.group))


def full_name(group: str, name: Any) -> Any:
    """The registered name that a name without its package stands for, if exactly one class has it; else the name."""
    known = [known for known in user_names(group) if known.rpartition(">")[2] == name]
    return known[0] if len(known) == 1 and name not in known else name


def used_classes(settings: Any) -> set[UserClass]:
    """The known classes that settings name, at any depth."""
    return {_known[text] for text in _texts(settings) if text in _known}


def user_arguments(cls: Any) -> dict[str, object]:
    """The arguments of a class's constructor and their defaults, REQUIRED without one, None for one that is no literal.

    Where it passes `**kwargs` on, those of its base class are among them.
    """
    arguments: dict[str, object] = {}
    for base in inspect.getmro(cls):
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                arguments.setdefault(parameter.name, _literal(parameter))
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
            break
    return arguments


def _literal(parameter: inspect.Parameter) -> object:
    if parameter.default is parameter.empty:
        return REQUIRED
    return parameter.default if isinstance(parameter.default, (str, int, float, bool, list, tuple, dict)) else None


def _texts(settings: Any) -> Iterator[str]:
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, dict):
        for value in settings.values():
            yield from _texts(value)
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from _texts(value)

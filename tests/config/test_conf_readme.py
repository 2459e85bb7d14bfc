"""conf/README.md lists every group, option and key, as the schema and the files of conf/ describe them."""

import ast
import re
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from factories import compose_config

from pipeline.config import schema
from pipeline.config.load import list_options
from pipeline.config.metrics import METRICS
from pipeline.config.overrides import validate_overrides
from pipeline.config.schema import CONF, Model, Settings, describe_type
from pipeline.experiment.plan import plan_job

README = (CONF / "README.md").read_text()
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name != "hydra")
PLACEHOLDERS = {"group=option", "key=value", "model=mine"}
INLINE_OVERRIDES = sorted(set(re.findall(r"`((?:[\w.]+=[^`\s]+ ?)+)`", README)) - PLACEHOLDERS)


def meanings() -> dict[str, dict[str, str]]:
    """The docstring of each field of each dataclass of the schema: class -> field -> docstring, without full stop."""
    classes = {node.name: node for node in ast.parse(Path(schema.__file__).read_text()).body
               if isinstance(node, ast.ClassDef)}  # fmt: skip
    return {
        name: {
            field.target.id: text.value.value.rstrip(".").replace("\n    ", " ")
            for field, text in zip(node.body, node.body[1:], strict=False)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        }
        for name, node in classes.items()
    }  # fmt: skip


def key_rows(cls: type, group: str = "") -> list[str]:
    """The rows of the table of a dataclass's keys: type, default of a command line without overrides, and meaning."""
    config: Any = getattr(compose_config(), group) if group else compose_config()
    defaults = {name: f"`{in_yaml(getattr(config, name))}`" for name in get_type_hints(cls)}
    defaults |= {"study": f"`{Settings.study}`", "seeds": "`10`"}  # not as in a Config
    defaults |= {"layers": "those of `mlp`"} if group == "model" else {}
    prefix, meaning = f"{group}." if group else "", meanings()[cls.__name__]
    return [
        f"| `{prefix}{name}` | {type_word(hint)} | {defaults[name]} | {meaning[name]} |"
        for name, hint in get_type_hints(cls).items()
        if not is_dataclass(hint)
    ]


def in_yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def type_word(hint: Any) -> str:
    """The type of a key as the tables name it; the meaning says what a key of several types takes."""
    return "several" if Any in (hint, *get_args(hint)[:1]) else describe_type(hint).removeprefix("a ")


def option_rows(group: str) -> list[str]:
    """The rows of the table of a group's options, described by the first line of each file's comment."""
    rows = []
    for path in sorted((CONF / group).glob("*.yaml")):
        comments = [line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# ")]
        rows.append(f"| `{path.stem}` | {next(c for c in comments if not c.startswith('@package')).rstrip('.')} |")
    return rows


@pytest.mark.parametrize("group", ["", *(group for group in GROUPS if group != "experiment")])
def test_every_key_is_listed(group: str) -> None:
    """Each key has a row with its type, default and meaning; the message of a failure is the table to write."""
    hints = get_type_hints(Settings)
    rows = "\n".join(key_rows(hints[group], group) if group else key_rows(Settings))
    assert rows in README, f"conf/README.md lacks these rows:\n{rows}"


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_is_listed(group: str) -> None:
    """Each option has a row with the first line of its file's comment; a failure's message is the table to write."""
    rows = "\n".join(option_rows(group))
    assert rows in README, f"conf/README.md lacks these rows:\n{rows}"


def test_every_metric_is_listed() -> None:
    """Each metric has a row with its targets, direction and meaning; a failure's message is the table to write."""
    rows = "\n".join(
        f"| `{m.name}` | {', '.join(m.tasks)} | {'higher' if m.higher else 'lower'} | {m.meaning} |"
        for m in METRICS.values()
    )
    assert rows in README, f"conf/README.md lacks these rows:\n{rows}"


@pytest.mark.parametrize("words", INLINE_OVERRIDES)
def test_every_override_shown_is_valid(words: str) -> None:
    """Each override in the running text passes the checks that come before composing."""
    validate_overrides(words.split())


def test_the_model_file_shown_is_valid() -> None:
    """The model file that the text shows is taken for digits, the default data."""
    model = yaml.safe_load(README.partition("```yaml\n")[2].partition("```")[0])
    plan_job(replace(compose_config(), model=Model(**model)))


def test_help_lists_every_option() -> None:
    """`--help` names each option under its group, in lines that fit a terminal of 80 columns."""
    text = list_options()
    assert all(len(line) <= 80 for line in text.splitlines())
    words = text.replace(",", " ").replace(":", " ").split()
    launchers = {path.stem for path in CONF.glob("hydra/launcher/*.yaml")}
    assert set(words) == {
        *GROUPS,
        *(path.stem for path in CONF.glob("*/*.yaml")),
        "hydra/launcher",
        "basic",
        *launchers,
    }


def test_every_launcher_is_listed() -> None:
    """With every option that its file has."""
    for path in CONF.glob("hydra/launcher/*.yaml"):
        (row,) = [line for line in README.splitlines() if line.startswith(f"| `{path.stem}` |") and path.stem in line]
        assert all(f"`{name}`" in row for name in yaml.safe_load(path.read_text()) if name != "_target_"), path

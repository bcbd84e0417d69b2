"""A recipe made readable: each value with its meaning and where it came from, and as YAML for an editor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import yaml

from recipes.loading import Loaded, field_of, flatten

HEADER = ("name", "summary", "notes")


@dataclass(frozen=True)
class Setting:
    """One value of a recipe. `choices` is empty where any value of the right type is allowed."""

    key: str
    value: Any
    text: str
    default: Any
    meaning: str
    origin: str
    choices: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """True where the value differs from the schema's default."""
        return bool(self.value != self.default)


def settings(loaded: Loaded) -> list[Setting]:
    """Every value of the recipe in the schema's order, the header (name, summary, notes) left out."""
    return [
        Setting(key, value, in_text(value), default(key), meaning(key), loaded.origin(key), choices(key))
        for key, value in flatten(loaded.recipe)
        if key not in HEADER
    ]


def default(key: str) -> Any:
    """What the schema sets a dotted key to, None where it has to be given."""
    field = field_of(key)
    return None if field is None or field.is_required() else field.get_default(call_default_factory=True)


def meaning(key: str) -> str:
    """What the schema says of a dotted key."""
    field = field_of(key)
    return field.description or "" if field else ""


def choices(key: str) -> tuple[str, ...]:
    """The values that a key may take, where they are a closed set."""
    field = field_of(key)
    annotation = field.annotation if field else None
    if annotation is bool:
        return ("true", "false")
    if get_origin(annotation) is Literal:
        return tuple(str(value) for value in get_args(annotation))
    return ()


def in_text(value: Any) -> str:
    """A value as `--set` takes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | dict):
        return _flow(value)
    return str(value)


def _flow(value: Any) -> str:
    """`value` as YAML on one line."""
    return str(yaml.safe_dump([value], default_flow_style=True, width=10**6, allow_unicode=True)).strip()[1:-1]


def as_yaml(loaded: Loaded) -> str:
    """The whole recipe as YAML text, each value under its meaning: what `$EDITOR` opens and a file can keep."""
    lines: list[str] = []
    open_groups: tuple[str, ...] = ()
    for key, value in flatten(loaded.recipe):
        *groups, name = key.split(".")
        shared = 0
        while shared < min(len(groups), len(open_groups)) and groups[shared] == open_groups[shared]:
            shared += 1
        lines += ["  " * depth + f"{groups[depth]}:" for depth in range(shared, len(groups))]
        open_groups = tuple(groups)
        indent = "  " * len(groups)
        lines += [f"{indent}# {meaning(key)}", f"{indent}{name}: {_flow(value)}"]
    return "\n".join(lines) + "\n"

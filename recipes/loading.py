"""Recipes from YAML files and `--set`: merged, checked against the schema, each value knowing where it came from."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from recipes.errors import RecipeError
from recipes.schema import Method, Recipe, is_read

LIBRARY = Path(__file__).with_name("library")
DEFAULT = "default"
_ORDER: tuple[Method, ...] = ("sft", "dpo", "kto", "grpo", "reward", "rloo", "ppo", "cpt")


@dataclass(frozen=True)
class Loaded:
    """A recipe with, for each dotted key that was set, where its value came from; keys not named are defaults."""

    recipe: Recipe
    origins: dict[str, str]
    source: str  # the library name or the file it was loaded from

    def origin(self, key: str) -> str:
        """Where the value of a dotted key came from: `default`, `library NAME`, `FILE:LINE`, `--set` or `edited`."""
        if key in self.origins:
            return self.origins[key]
        inside = [origin for known, origin in self.origins.items() if known.startswith(f"{key}.")]
        around = [origin for known, origin in self.origins.items() if key.startswith(f"{known}.")]
        return (inside or around or [DEFAULT])[-1]


def names() -> list[str]:
    """Names of the library's recipes, sorted."""
    return sorted(path.stem for path in LIBRARY.glob("*.yaml"))


def library() -> list[Loaded]:
    """The library's recipes in the order of the work: imitate, prefer, be rewarded; of a kind, the first to try first."""

    def place(loaded: Loaded) -> tuple[int, bool, int, str]:
        recipe = loaded.recipe
        tuning = ("qlora", "lora", "full").index(recipe.model.tuning)
        return _ORDER.index(recipe.method), recipe.model.base != "pocket", tuning, recipe.name

    return sorted(map(load, names()), key=place)


def load(name_or_path: str, overrides: Sequence[str] = ()) -> Loaded:
    """The recipe of that library name or YAML file, with `KEY=VALUE` overrides applied in order.

    Raises RecipeError, naming file, line and key, for a file that cannot be read, an unknown key or a wrong type.
    """
    values: dict[str, _Value] = {}
    source = _read(name_or_path, values, seen=())
    return override(_check(values, source), overrides)


def override(loaded: Loaded, overrides: Sequence[str], origin: str = "--set") -> Loaded:
    """`loaded` with `KEY=VALUE` overrides applied; values are read as YAML, and as plain text where text is asked for."""
    if not overrides:
        return loaded
    values = {
        key: _Value(value, loaded.origin(key), loaded.source)
        for key, value in flatten(loaded.recipe)
        if loaded.origin(key) != DEFAULT
    }
    for text in overrides:
        key, separator, raw = text.partition("=")
        key = key.strip()
        if not separator:
            raise RecipeError(f"`{text}` is not KEY=VALUE", "for example --set training.learning_rate=1e-4")
        _require_known(key, where=origin)
        for inner in [known for known in values if known.startswith(f"{key}.")]:
            del values[inner]
        values[key] = _Value(_parse(key, raw.strip(), origin), origin, f"{origin} {text}")
    return _check(values, loaded.source)


def from_text(text: str, source: str, name: str) -> Loaded:
    """A recipe from YAML text, as an editor hands it back; `name` stands for the file in messages and origins."""
    values: dict[str, _Value] = {}
    _merge(text, name, name, values, seen=())
    return _check(values, source)


def from_record(recipe: dict[str, Any]) -> Recipe:
    """A recipe from the plain data that `run.json` holds."""
    try:
        return Recipe.model_validate(recipe)
    except ValidationError as error:
        raise RecipeError(f"run.json: {_first_problem(error)[1]}", "the run was made by another version") from error


def flatten(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Every leaf that the recipe's method reads as (dotted key, value), in the schema's order; free maps are leaves."""
    yield from _flatten(recipe, recipe.method, "")


def keys() -> list[str]:
    """Every dotted key of the schema, whatever the method, in its order; `rewards` stands for all rewards."""
    return list(_keys(Recipe, ""))


def field_of(key: str) -> FieldInfo | None:
    """The schema's field of a dotted leaf key, None where there is none; of a key in a map, the map's."""
    kinds: tuple[type[BaseModel], ...] = (Recipe,)
    parts = key.split(".")
    while parts:
        part = parts.pop(0)
        field = next((kind.model_fields[part] for kind in kinds if part in kind.model_fields), None)
        if field is None or not parts:
            return field
        if _holds_blocks(field):  # the next part is the name of a reward
            parts.pop(0)
            if not parts:
                return field
            kinds = _blocks_in(field)
        elif _is_block(field):
            kinds = (cast(type[BaseModel], field.annotation),)
        else:
            return field if _is_map(field) and len(parts) == 1 else None
    return None


def _flatten(block: BaseModel, method: Method, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in type(block).model_fields.items():
        value = getattr(block, name)
        if not is_read(field, method):
            continue
        if isinstance(value, BaseModel):
            yield from _flatten(value, method, f"{prefix}{name}.")
        elif _holds_blocks(field):
            for inner, reward in value.items():
                yield from _flatten(reward, method, f"{prefix}{name}.{inner}.")
        else:
            yield f"{prefix}{name}", value


def _keys(block: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in block.model_fields.items():
        if _is_block(field):
            yield from _keys(cast(type[BaseModel], field.annotation), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@dataclass(frozen=True)
class _Value:
    value: Any
    origin: str
    where: str  # for messages: FILE:LINE, or the text of the override


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 2e-4 is a number, as everyone who writes a learning rate expects."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def _read(name_or_path: str, values: dict[str, _Value], seen: tuple[Path, ...]) -> str:
    """Merge a recipe file, after the one that it extends, into `values`; returns what to call it."""
    path = LIBRARY / f"{name_or_path}.yaml"
    from_library = "/" not in name_or_path and path.exists()
    if not from_library:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            near = difflib.get_close_matches(name_or_path, names(), 1)
            hint = f"did you mean {near[0]}?" if near else f"the library has: {', '.join(names())}"
            raise RecipeError(f"no recipe or file `{name_or_path}`", hint)
    path = path.resolve()
    if path in seen:
        raise RecipeError(f"{name_or_path} extends itself", "remove one `extends:` of the circle")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{name_or_path} cannot be read: {error}", "a recipe is a UTF-8 YAML file") from error
    origin = f"library {path.stem}" if from_library else name_or_path
    _merge(text, name_or_path, origin, values, (*seen, path))
    return path.stem if from_library else name_or_path


def _merge(text: str, name: str, origin: str, values: dict[str, _Value], seen: tuple[Path, ...]) -> None:
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is not None and not isinstance(node, yaml.MappingNode):
            raise RecipeError(f"{name}:1 is not a map of keys", "a recipe starts with lines such as `method: sft`")
        leaves = list(_leaves(node, "")) if node else []
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise RecipeError(f"{name}{at} is not YAML: {problem}", "check the indentation and the colons") from error
    for key, value, _ in leaves:
        if key == "extends":
            if not isinstance(value, str):
                raise RecipeError(f"{name}: `extends` takes one recipe", "for example extends: sft-qlora")
            beside = seen[-1].parent / value if seen else Path(value)
            _read(str(beside) if beside.is_file() else value, values, seen)
    if any(key.startswith("rewards.") for key, _, _ in leaves):  # rewards are a whole: none of another recipe stays
        for inherited in [key for key in values if key.startswith("rewards.")]:
            del values[inherited]
    for key, value, line in leaves:
        if key == "extends":
            continue
        _require_known(key, where=f"{name}:{line}")
        where = f"{name}:{line}"
        values[key] = _Value(value, origin if origin.startswith("library ") else where, where)


def _leaves(node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, Any, int]]:
    """(dotted key, value, line) of a map; maps under free-form fields are values, not levels."""
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        field = field_of(key)
        if isinstance(value_node, yaml.MappingNode) and (field is None or _is_block(field) or _holds_blocks(field)):
            yield from _leaves(value_node, f"{key}.")
        else:
            loader = _Loader("")
            yield key, loader.construct_document(value_node), key_node.start_mark.line + 1


def _require_known(key: str, where: str) -> None:
    field = field_of(key)
    if field is not None and not _is_block(field):
        return
    if field is not None:
        inside = ", ".join(field.annotation.model_fields)  # type: ignore[union-attr]
        raise RecipeError(f"{where}: `{key}` is a group of settings, not one", f"it holds: {inside}")
    known = keys()
    last = key.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(key, known, 1, 0.75) or [
        name
        for name in known
        if name.rsplit(".", 1)[-1] in difflib.get_close_matches(last, [last_of(n) for n in known], 1)
    ]
    hint = f"did you mean `{near[0]}`?" if near else "`burnish recipes sft-qlora` lists every key"
    if key.startswith("training."):
        hint += " A field of TRL's config that has no key here goes under training.extra"
    raise RecipeError(f"{where}: unknown key `{key}`", hint)


def last_of(key: str) -> str:
    """The last part of a dotted key."""
    return key.rsplit(".", 1)[-1]


def _parse(key: str, raw: str, where: str) -> Any:
    """The value that `raw` means for `key`: YAML, but plain text where the field takes text."""
    field = field_of(key)
    try:
        value = yaml.load(raw, Loader=_Loader)
    except yaml.YAMLError as error:
        if _takes(field, str):
            return raw
        raise RecipeError(f"{where} {key}: `{raw}` is not a value", "quote it as you would in YAML") from error
    if raw.lower() == "none" and _takes(field, type(None)):
        return None
    if _takes(field, str) and not isinstance(value, list | dict | type(None)):
        return raw if not isinstance(value, str) else value
    return value


def _takes(field: FieldInfo | None, kind: type) -> bool:
    annotation = field.annotation if field else None
    if field and _is_map(field):  # asked for a key inside the map
        return kind is get_args(annotation)[1]
    return kind is annotation or kind in get_args(annotation)


def _is_block(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _is_map(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is dict


def _holds_blocks(field: FieldInfo) -> bool:
    """Whether the field maps names to groups of settings, as `rewards` does."""
    return bool(_blocks_in(field))


def _blocks_in(field: FieldInfo) -> tuple[type[BaseModel], ...]:
    if not _is_map(field):
        return ()
    held = get_args(get_args(field.annotation)[1])  # of Annotated[A | B, ...]
    return tuple(kind for kind in get_args(held[0]) if issubclass(kind, BaseModel)) if held else ()


def _check(values: dict[str, _Value], source: str) -> Loaded:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        at = nested
        *groups, last = key.split(".")
        for group in groups:
            at = at.setdefault(group, {})
        at[last] = copy.deepcopy(value.value)
    try:
        recipe = Recipe.model_validate(nested)
    except ValidationError as error:
        key, problem = _first_problem(error)
        wheres = [value.where for known, value in values.items() if known == key or key.startswith(f"{known}.")]
        where = f"{wheres[0] if wheres else source}: "
        field = field_of(key)
        raise RecipeError(where + problem, f"{key}: {field.description}" if field else "") from error
    if not recipe.name:
        recipe = recipe.model_copy(update={"name": Path(source).stem})
    return Loaded(recipe, {key: value.origin for key, value in values.items()}, source)


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """(dotted key, one sentence) of the first thing that pydantic found."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    key = ""
    for part in map(str, first["loc"]):  # the names of union members, which pydantic adds, are no part of a key
        longer = f"{key}.{part}" if key else part
        key = longer if field_of(longer) else key
    if not key:  # a rule over several keys names the one that it is about
        return message.split("`")[1], message
    return key, f"`{key}` cannot be `{first.get('input')!r}`: {message[0].lower()}{message[1:]}"

"""What of the rewards can be told to be wrong before a launch. Nothing of the user's is executed for it."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from recipes.errors import InputError
from recipes.rewards import Function, Json, Length, Match, Numeric, Regex, Reward, RewardBlock, Tags, column

_TAG = re.compile(r"[A-Za-z_][\w:.-]*")


def check_rewards(rewards: Mapping[str, Reward], columns: set[str]) -> None:
    """Raises InputError for the first thing that would fail: a pattern, a schema, a file, a column that rows lack."""
    if not rewards:
        raise InputError("the recipe has no rewards", "Name at least one under `rewards:`.")
    if not any(reward.weight for reward in rewards.values()):
        raise InputError("every reward has weight 0", "Give one a weight: with 0 it is measured and teaches nothing.")
    for name, reward in rewards.items():
        for field, fault in _faults(reward, columns):
            raise InputError(f"`rewards.{name}.{field}`: {fault}", "Correct the recipe; nothing was started.")


def _faults(reward: RewardBlock, columns: set[str]) -> Iterator[tuple[str, str]]:
    match reward:
        case Regex():
            yield from _pattern("pattern", reward.pattern, groups=0)
        case Numeric() | Match() if reward.extract is not None:
            yield from _pattern("extract", reward.extract, groups=1)
        case Json() if reward.json_schema is not None:
            yield from _schema(reward.json_schema)
        case Length() if reward.soft >= reward.hard:
            yield "soft", f"{reward.soft} has to be below `hard`, {reward.hard}"
        case Tags() if not reward.tags:
            yield "tags", "no tag is named"
        case Tags():
            for tag in reward.tags:
                if not _TAG.fullmatch(tag):
                    yield "tags", f"`{tag}` is no name of a tag: write it without brackets"
        case Function():
            yield from _function(reward, columns)
    needed = column(reward)
    if needed is not None and needed not in columns:
        yield _column_field(reward), _lacking(needed, columns)


def _pattern(field: str, pattern: str, groups: int) -> Iterator[tuple[str, str]]:
    try:
        compiled = re.compile(pattern, re.DOTALL)
    except (re.error, RecursionError, OverflowError) as error:
        yield field, f"no regular expression: {error}"
        return
    if compiled.groups < groups:
        yield field, "has no group: put what is to be taken in parentheses"


def _schema(schema: dict[str, object]) -> Iterator[tuple[str, str]]:
    from jsonschema.exceptions import SchemaError

    from trainer.rewards.json_value import check_schema

    try:
        check_schema(schema)
    except SchemaError as error:
        yield "json_schema", f"no JSON Schema: {error.message} (at {error.json_path})"


def _function(reward: Function, columns: set[str]) -> Iterator[tuple[str, str]]:
    path = Path(reward.file).expanduser()
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        yield "file", f"{path} cannot be read: {error.strerror}"
        return
    except (SyntaxError, ValueError, RecursionError) as error:
        where = f" at line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else f": {error}"
        yield "file", f"{path} does not parse{where}"
        return
    if not {reward.name, "*"} & set(_names(tree)):
        yield "name", f"{path} defines no `{reward.name}`"
    for found in tree.body:
        if isinstance(found, ast.FunctionDef) and found.name == reward.name:
            yield from _parameters(found.args, columns)
        if isinstance(found, ast.AsyncFunctionDef) and found.name == reward.name:
            yield "name", f"`{reward.name}` is async: only ordinary functions are called"


def _names(tree: ast.Module) -> Iterator[str]:
    """The names that a file binds at its top, in branches too; * where it takes all of another file."""
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.alias):
                yield (node.asname or node.name).partition(".")[0]


def _parameters(arguments: ast.arguments, columns: set[str]) -> Iterator[tuple[str, str]]:
    """A parameter without a default has to be a column, for the function is called by keyword."""
    plain = [*arguments.posonlyargs, *arguments.args]
    required = plain[: len(plain) - len(arguments.defaults)]
    required += [one for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if not default]
    for one in required:
        if one.arg not in {"prompts", "completions"} | columns:
            yield "name", f"its parameter `{one.arg}` is not prompts or completions, and {_lacking(one.arg, columns)}"
    if arguments.posonlyargs:
        yield "name", "it takes parameters by position only, and is called by keyword"


def _column_field(reward: RewardBlock) -> str:
    return {"json": "column", "python_tests": "tests"}.get(getattr(reward, "kind", ""), "answer")


def _lacking(name: str, columns: set[str]) -> str:
    near = difflib.get_close_matches(name, columns, n=1, cutoff=0.8)
    have = ", ".join(sorted(columns)) or "none"
    return f"the rows have no column `{name}`" + (f"; did you mean `{near[0]}`?" if near else f"; they have: {have}")

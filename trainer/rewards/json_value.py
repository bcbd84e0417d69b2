"""The rewards `json` and `json_answer`: the completion is JSON. And what equal means there."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from recipes.rewards import Json, JsonAnswer
from trainer.rewards.score import Score, short


class NotJson(ValueError):
    """A text is no JSON: the message says where."""


def parse(text: str) -> Any:
    """The value that `text` is, all of it. Raises NotJson."""
    try:
        return json.loads(text.strip(), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: line {error.lineno} column {error.colno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise NotJson(f"not JSON: {short(error)}") from error


def same(left: Any, right: Any) -> bool:
    """Equal as JSON: 3 is 3.0, but neither "3" nor true."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def score_json(block: Json, completion: str, row_schema: Any) -> Score:
    """1 where the completion is JSON and fits the row's schema, or else the recipe's, where there is one; else 0."""
    try:
        value = parse(completion)
    except NotJson as error:
        return Score(0.0, str(error))
    try:
        schema = parse(row_schema) if isinstance(row_schema, str) else row_schema
        schema = block.json_schema if schema is None else schema
        fault = _misfit(schema, value)
    except (NotJson, SchemaError, Unresolvable) as error:
        return Score(None, f"the row's schema is no schema: {short(error)}")
    return Score(0.0, fault) if fault else Score(1.0, "JSON" if schema is None else "fits the schema")


def score_json_answer(block: JsonAnswer, completion: str, answer: Any) -> Score:
    """1 where the completion is a JSON object whose field is the answer, else 0."""
    try:
        value = parse(completion)
    except NotJson as error:
        return Score(0.0, str(error))
    if not isinstance(value, dict):
        return Score(0.0, "JSON, but no object")
    if block.field not in value:
        return Score(0.0, f"no field `{block.field}`")
    got, want = short(json.dumps(value[block.field])), short(json.dumps(answer, default=str))
    right = same(value[block.field], answer) or same(value[block.field], _typed(answer))
    return Score(1.0, f"got {got}") if right else Score(0.0, f"got {got}, want {want}")


def _typed(answer: Any) -> Any:
    """An answer that a file without types holds as text, as the JSON value that the text is."""
    try:
        return parse(answer) if isinstance(answer, str) else answer
    except NotJson:
        return answer


def check_schema(schema: Any) -> None:
    """Raises jsonschema's SchemaError where `schema` is no JSON Schema."""
    validator_for(schema, default=Draft202012Validator).check_schema(schema)


def _misfit(schema: Any, value: Any) -> str:
    """Where `value` does not fit `schema`, and how; empty where it fits."""
    if schema is None:
        return ""
    check_schema(schema)
    # The empty registry: a $ref to an address must not be fetched.
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
    error = best_match(validator.iter_errors(value))
    return f"does not fit the schema at {error.json_path}: {short(error.message)}" if error else ""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")

"""What a perfect model would say to a row: the answer of the data, in the form that the rewards ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recipes.rewards import Json, JsonAnswer, Match, Numeric, PythonTests, Reward, Tags, ToolCall
from trainer.datasets.formats import Layout, convert
from trainer.datasets.turns import Unusable
from trainer.rewards.json_value import NotJson
from trainer.rewards.tool_call import NoCall, calls_of

_PLACEHOLDERS: dict[str, Any] = {
    "object": {}, "array": [], "string": "", "integer": 0, "number": 0, "boolean": False, "null": None,
}  # fmt: skip
_SOLUTIONS = ("canonical_solution", "code")  # HumanEval's column and MBPP's


def reference(
    row: Mapping[str, Any], layout: Layout, columns: Mapping[str, Any], rewards: Mapping[str, Reward]
) -> str | None:
    """The completion that the row has, else one made of the columns that the rewards read, None where neither is there."""
    text = _said(row, layout) or _made(columns, rewards) or _code(row, rewards)
    if text is not None and any(_is_bare(text, columns, reward) for reward in rewards.values()):
        text = f"\\boxed{{{text}}}"
    tags = next((reward.tags for reward in rewards.values() if isinstance(reward, Tags)), [])
    if text is None or any(f"<{tag}>" in text for tag in tags):
        return text
    return _tagged(text, tags)


def skeleton(schema: Any) -> Any:
    """The least that has the form of a JSON Schema: what it requires, with empty values."""
    if not isinstance(schema, dict):
        return {}
    if isinstance(options := schema.get("enum"), list) and options:
        return options[0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind != "object":
        return _PLACEHOLDERS.get(kind) if isinstance(kind, str) else {}
    inside, required = schema.get("properties"), schema.get("required")
    known = inside if isinstance(inside, dict) else {}
    names = required if isinstance(required, list) else []
    return {name: skeleton(known[name]) if name in known else "" for name in names}


def schema_of(reward: Json, columns: Mapping[str, Any]) -> Any:
    """The schema that a row is held to: its own, else the recipe's."""
    own = columns.get(reward.column) if reward.column else None
    if isinstance(own, str):
        try:
            own = json.loads(own)
        except ValueError:
            own = None
    return own or reward.json_schema


def _said(row: Mapping[str, Any], layout: Layout) -> str | None:
    """The answer that the row has as a completion to imitate, calls of tools as text."""
    if layout.format == "prompt":
        return None
    try:
        made = convert(replace(layout, method="sft"), row)
    except (Unusable, KeyError, TypeError, ValueError):
        return None
    last = (made.get("completion") or made.get("messages") or [{}])[-1]
    if last.get("role") != "assistant":
        return None
    calls = [_call_text(call.get("function", call)) for call in last.get("tool_calls") or []]
    return "\n".join(part for part in (last.get("content"), *calls) if part) or None


def _made(columns: Mapping[str, Any], rewards: Mapping[str, Reward]) -> str | None:
    """A completion of the columns, by the first reward that knows a right answer."""
    for reward in rewards.values():
        value = columns.get(getattr(reward, "answer", ""))
        if value is None:
            continue
        match reward:
            case JsonAnswer():
                forms = [schema_of(form, columns) for form in rewards.values() if isinstance(form, Json)]
                form = skeleton(forms[0]) if forms else {}
                return json.dumps({**(form if isinstance(form, dict) else {}), reward.field: value}, default=str)
            case ToolCall():
                return _calls_text(value)
            case Match() | Numeric():
                return str(value[0] if isinstance(value, list) and value else value)
    return None


def _code(row: Mapping[str, Any], rewards: Mapping[str, Reward]) -> str | None:
    """The solution that stands beside the tests; an indented one goes on where the prompt ends."""
    if not any(isinstance(reward, PythonTests) for reward in rewards.values()):
        return None
    code = next((value for name in _SOLUTIONS if isinstance(value := row.get(name), str)), None)
    prompt = row.get("prompt")
    return prompt + code if code and code[0].isspace() and isinstance(prompt, str) else code


def _is_bare(text: str, columns: Mapping[str, Any], reward: Reward) -> bool:
    """Whether a text is the answer that `reward` looks for, without a word that says so: a formula would not be found."""
    if not isinstance(reward, Numeric) or reward.extract is not None:
        return False
    marked = "####" in text or "boxed" in text
    return not marked and text.strip() == str(columns.get(reward.answer)).strip()


def _calls_text(expected: Any) -> str | None:
    try:
        calls = calls_of(expected)
    except (NoCall, NotJson):
        return None
    return "\n".join(_call_text({"name": call.name, "arguments": call.arguments}) for call in calls)


def _call_text(call: Any) -> str:
    return f"<tool_call>\n{json.dumps(call, default=str)}\n</tool_call>"


def _tagged(text: str, tags: list[str]) -> str:
    """`text` in every tag; in the last one what stands after ####, where the text has that."""
    if not tags:
        return text
    *before, last = tags
    answer = text.rpartition("####")[2].strip()
    return "\n".join([*(f"<{tag}>\n{text}\n</{tag}>" for tag in before), f"<{last}>\n{answer}\n</{last}>"])

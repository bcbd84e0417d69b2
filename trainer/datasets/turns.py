"""The values of a row as text and turns in TRL's form, or the rule by which a row without them is counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Turn = dict[str, Any]

# ShareGPT's names for the roles of TRL's messages.
ROLES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "bot": "assistant", "model": "assistant",
    "system": "system", "tool": "tool", "observation": "tool", "function": "tool", "function_call": "assistant",
}  # fmt: skip


class Unusable(ValueError):
    """A row that cannot be converted; the message is the rule by which it is counted."""


class Futile(Unusable):
    """A row that is whole and teaches nothing, such as a pair of equal answers."""


def text(value: Any, name: str) -> str:
    """`value` where it is text that says something. Raises Unusable."""
    if value is None or value == "":
        raise Unusable(f"{name} is empty")
    if not isinstance(value, str):
        raise Unusable(f"{name} is {type(value).__name__}, not text")
    if not value.strip():
        raise Unusable(f"{name} is empty")
    _refuse_surrogates(value)
    return value


def text_of(said: Any) -> str:
    """The text of a prompt or completion in TRL's form, which is text already or a list of turns."""
    return said if isinstance(said, str) else "\n".join(str(turn.get("content") or "") for turn in said)


def user(content: str) -> Turn:
    return {"role": "user", "content": content}


def assistant(content: str) -> Turn:
    return {"role": "assistant", "content": content}


def is_turns(value: Any, *role_keys: str) -> bool:
    """Whether `value` is a list of turns that name their role by one of `role_keys`."""
    return (
        isinstance(value, list)
        and bool(value)
        and any(all(isinstance(turn, dict) and key in turn for turn in value) for key in role_keys)
    )


def turns(value: Any, name: str = "conversation") -> list[Turn]:
    """A list of turns in the dialect of messages or of ShareGPT. Raises Unusable."""
    if not isinstance(value, list) or not value:
        raise Unusable(f"{name} is empty")
    sharegpt = isinstance(value[0], dict) and "from" in value[0]
    keys = ("from", "value") if sharegpt else ("role", "content")
    return [_turn(turn, *keys) for turn in value]


def says_something(said: Iterable[Turn]) -> bool:
    """Whether any turn has words or calls a tool."""
    return any(turn["content"].strip() or turn.get("tool_calls") for turn in said)


def ending_with_assistant(said: list[Turn]) -> list[Turn]:
    """`said` up to the last answer: what stands after it could not be learned from. Raises Unusable."""
    while said and said[-1]["role"] != "assistant":
        said = said[:-1]
    if not says_something(turn for turn in said if turn["role"] == "assistant"):
        raise Unusable("no turn of the assistant")
    return said


def with_system(said: list[Turn], system: Any) -> list[Turn]:
    """`said` with a system message put before it, where there is one to put and none yet."""
    if not system or (said and said[0]["role"] == "system"):
        return said
    return [{"role": "system", "content": str(system)}, *said]


def tools(row: Mapping[str, Any]) -> dict[str, Any]:
    """The tool definitions of a row, which templates print; given as JSON text in some dialects."""
    given = row.get("tools")
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except json.JSONDecodeError:
            raise Unusable("tools are not JSON") from None
    return {"tools": given} if given else {}


def _turn(turn: Any, role_key: str, content_key: str) -> Turn:
    if not isinstance(turn, dict) or role_key not in turn:
        raise Unusable(f"a turn has no {role_key}")
    role = ROLES.get(str(turn[role_key]).lower())
    if role is None:
        raise Unusable(f"unknown role {str(turn[role_key])[:30]!r}")
    content = _joined(turn.get(content_key))
    kept = {key: turn[key] for key in ("tool_calls", "name", "tool_call_id", "reasoning_content") if turn.get(key)}
    if content is None and not kept.get("tool_calls"):
        raise Unusable(f"a turn has no {content_key}")
    if content is not None and not isinstance(content, str):
        raise Unusable("a turn's content is not text")
    _refuse_surrogates(content or "")
    if turn[role_key] == "function_call":  # ShareGPT puts the call where others put the words
        kept["tool_calls"], content = _calls(content or ""), ""
    return {"role": role, "content": content or "", **kept}


def _joined(content: Any) -> Any:
    """Content given as a list of text parts as one text; anything else, pictures among them, as it is."""
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    texts = [text for part in parts if isinstance(text := part.get("text", part.get("value")), str)]
    return "".join(texts) if len(texts) == len(content) else content


def _calls(text: str) -> list[dict[str, Any]]:
    try:
        calls = json.loads(text)
    except json.JSONDecodeError:
        raise Unusable("a function_call is not JSON") from None
    return [{"type": "function", "function": call} for call in (calls if isinstance(calls, list) else [calls])]


def _refuse_surrogates(words: str) -> None:
    try:
        words.encode()
    except UnicodeEncodeError:
        raise Unusable("text has a lone surrogate") from None

"""The layouts of training rows: which one a row has, and the same row in TRL's own form.

TRL's forms are `{"text"}`, `{"messages"}` and `{"prompt", "completion"}`, the last two of plain text or of messages
(TRL, "Dataset formats and types"). The dialects of other tools are converted to these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Format = Literal["text", "messages", "prompt-completion", "question-answer", "alpaca", "sharegpt"]

# ShareGPT's names for the roles of TRL's messages.
ROLES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "bot": "assistant", "model": "assistant",
    "system": "system", "tool": "tool", "observation": "tool", "function": "tool", "function_call": "assistant",
}  # fmt: skip


class Unusable(ValueError):
    """A row that cannot be converted; the message is the rule by which it is counted."""


@dataclass(frozen=True)
class Layout:
    """A recognised layout: its name, the columns it needs (ours to theirs), and why it was chosen."""

    format: Format
    columns: dict[str, str]
    evidence: str


# What each layout needs, in the order in which they are tried, with the names under which the field is known.
_NEEDS: dict[Format, dict[str, tuple[str, ...]]] = {
    "messages": {"messages": ("messages", "conversation", "dialogue")},
    "sharegpt": {"conversations": ("conversations", "conversation", "items")},
    "prompt-completion": {"prompt": ("prompt",), "completion": ("completion", "response", "output")},
    "alpaca": {"instruction": ("instruction",), "output": ("output", "response", "answer")},
    "question-answer": {
        "question": ("question", "query", "problem", "input"),
        "answer": ("answer", "response", "solution", "output"),
    },
    "text": {"text": ("text", "content", "document")},
}


def recognise(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str] | None = None) -> Layout | None:
    """The layout that the given first rows share, None where there is none. `columns` maps our names to theirs."""
    sample = list(rows)
    if any({"chosen", "rejected"} <= row.keys() for row in sample):  # preference pairs are no answers to imitate
        return None
    for name in _NEEDS:
        layout = as_layout(name, sample, columns or {})
        if layout and all(_fits(layout, row) for row in sample):
            return layout
    return None


def as_layout(name: Format, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Layout | None:
    """The layout `name` with its columns found in `rows`, None where one is missing."""
    found: dict[str, str] = {}
    for needed, known in _NEEDS[name].items():
        given = (columns[needed],) if needed in columns else known
        match = next((column for column in given if rows and all(column in row for row in rows)), None)
        if match is None:
            return None
        found[needed] = match
    for optional in ("input", "system", "history") if name == "alpaca" else ("system",) if name == "sharegpt" else ():
        if any(columns.get(optional, optional) in row for row in rows):
            found[optional] = columns.get(optional, optional)
    return Layout(name, found, f"columns {', '.join(found.values())}")


def _fits(layout: Layout, row: Mapping[str, Any]) -> bool:
    """Whether the values have the kind that the layout needs; empty ones do, they are counted later."""
    if layout.format == "messages":
        return _is_turns(row[layout.columns["messages"]], "role", "content")
    if layout.format == "sharegpt":
        turns = row[layout.columns["conversations"]]
        return _is_turns(turns, "from", "value") or _is_turns(turns, "role", "content")
    if layout.format == "prompt-completion":
        return all(isinstance(row[c], str) or _is_turns(row[c], "role", "content") for c in layout.columns.values())
    return True


def _is_turns(value: Any, role: str, content: str) -> bool:
    return isinstance(value, list) and all(isinstance(turn, dict) and role in turn for turn in value) and bool(value)


def convert(layout: Layout, row: Mapping[str, Any], system: str | None = None) -> dict[str, Any]:
    """`row` in TRL's form: {"text"}, {"messages"} or conversational {"prompt", "completion"}. Raises Unusable."""
    converted = _CONVERTERS[layout.format](layout, row)
    if system is not None:
        key = "messages" if "messages" in converted else "prompt"
        turns = converted.get(key)
        if isinstance(turns, list) and turns and turns[0]["role"] != "system":
            converted[key] = [{"role": "system", "content": system}, *turns]
    return converted


def _text(layout: Layout, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": _string(row[layout.columns["text"]], "text is empty")}


def _messages(layout: Layout, row: Mapping[str, Any]) -> dict[str, Any]:
    turns = [_turn(turn, "role", "content") for turn in _list(row[layout.columns["messages"]])]
    return {"messages": _ending_with_assistant(turns), **_tools(row)}


def _sharegpt(layout: Layout, row: Mapping[str, Any]) -> dict[str, Any]:
    raw = _list(row[layout.columns["conversations"]])
    keys = ("from", "value") if raw and "from" in raw[0] else ("role", "content")
    turns = [_turn(turn, *keys) for turn in raw]
    if (column := layout.columns.get("system")) and row.get(column):
        turns.insert(0, {"role": "system", "content": str(row[column])})
    return {"messages": _ending_with_assistant(turns), **_tools(row)}


def _prompt_completion(layout: Layout, row: Mapping[str, Any]) -> dict[str, Any]:
    prompt, completion = row[layout.columns["prompt"]], row[layout.columns["completion"]]
    if isinstance(prompt, list) and isinstance(completion, list):
        turns = [_turn(turn, "role", "content") for turn in completion]
        if not turns or not any(turn["content"] or turn.get("tool_calls") for turn in turns):
            raise Unusable("completion is empty")
        return {"prompt": [_turn(turn, "role", "content") for turn in prompt], "completion": turns, **_tools(row)}
    return _pair(_string(prompt, "prompt is empty"), _string(completion, "completion is empty"))


def _question_answer(layout: Layout, row: Mapping[str, Any]) -> dict[str, Any]:
    question = _string(row[layout.columns["question"]], "question is empty")
    return _pair(question, _string(row[layout.columns["answer"]], "answer is empty"))


def _alpaca(layout: Layout, row: Mapping[str, Any]) -> dict[str, Any]:
    instruction = _string(row[layout.columns["instruction"]], "instruction is empty")
    extra = row.get(layout.columns.get("input", ""))
    prompt = f"{instruction}\n{extra}" if extra else instruction
    converted = _pair(prompt, _string(row[layout.columns["output"]], "output is empty"))
    history = row.get(layout.columns.get("history", "")) or []
    if isinstance(history, list):
        for asked, answered in reversed(history):
            converted["prompt"][:0] = [
                {"role": "user", "content": str(asked)}, {"role": "assistant", "content": str(answered)},
            ]  # fmt: skip
    if (column := layout.columns.get("system")) and row.get(column):
        converted["prompt"].insert(0, {"role": "system", "content": str(row[column])})
    return converted


_CONVERTERS: dict[Format, Callable[[Layout, Mapping[str, Any]], dict[str, Any]]] = {
    "text": _text,
    "messages": _messages,
    "sharegpt": _sharegpt,
    "prompt-completion": _prompt_completion,
    "question-answer": _question_answer,
    "alpaca": _alpaca,
}


def _pair(prompt: str, completion: str) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": completion}],
    }


def _string(value: Any, empty: str) -> str:
    if value is None or value == "":
        raise Unusable(empty)
    if not isinstance(value, str):
        raise Unusable(f"{empty.split()[0]} is {type(value).__name__}, not text")
    if not value.strip():
        raise Unusable(empty)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unusable("text has a lone surrogate") from None
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise Unusable("conversation is empty")
    return value


def _turn(turn: Any, role_key: str, content_key: str) -> dict[str, Any]:
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


def _ending_with_assistant(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`turns` up to the last answer: what stands after it could not be learned from."""
    while turns and turns[-1]["role"] != "assistant":
        turns = turns[:-1]
    if not any(turn["role"] == "assistant" and (turn["content"].strip() or turn.get("tool_calls")) for turn in turns):
        raise Unusable("no turn of the assistant")
    return turns


def _tools(row: Mapping[str, Any]) -> dict[str, Any]:
    """The tool definitions of a row, which templates print; given as JSON text in some dialects."""
    tools = row.get("tools")
    if isinstance(tools, str) and tools.strip():
        try:
            tools = json.loads(tools)
        except json.JSONDecodeError:
            raise Unusable("tools are not JSON") from None
    return {"tools": tools} if tools else {}

"""The reward `tool_call`: the right tool is called with the right arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recipes.rewards import ToolCall
from trainer.rewards.json_value import NotJson, parse, same
from trainer.rewards.score import Score, short


@dataclass(frozen=True)
class Call:
    """One call of a tool."""

    name: str
    arguments: Any


class NoCall(ValueError):
    """A value that should be a call is none: the message says why."""


def score_tool_call(block: ToolCall, completion: str, expected: Any) -> Score:
    """1 for the right calls, 0.5 for the right tools with other arguments, else 0. Their order does not count."""
    try:
        wanted = calls_of(expected)
    except (NoCall, NotJson) as error:
        return Score(None, f"the row's `{block.answer}` is no call: {short(error)}")
    try:
        made = calls_in(completion)
    except (NoCall, NotJson) as error:
        return Score(0.0, short(error))
    if _same_calls(made, wanted):
        return Score(1.0, f"called {_names(made)}")
    if sorted(call.name for call in made) == sorted(call.name for call in wanted):
        return Score(0.5, f"called {_names(made)} with other arguments: {_difference(made, wanted)}")
    return Score(0.0, f"called {_names(made)}, want {_names(wanted)}")


def calls_in(text: str) -> list[Call]:
    """The calls that a completion makes; none where it is ordinary text. Raises NoCall, NotJson.

    Understood: <tool_call>{...}</tool_call> with any text around (Hermes, Qwen), and a completion that is nothing but
    the object or a list of them (Llama), with Mistral's [TOOL_CALLS] before it or without.
    """
    tagged = re.findall(r"<tool_call>(.*?)</tool_call>", text, re.DOTALL)
    if tagged:
        return [call for one in tagged for call in calls_of(parse(one))]
    bare = text.strip().removeprefix("[TOOL_CALLS]").strip()
    return calls_of(parse(bare)) if bare[:1] in ("{", "[") else []


def calls_of(value: Any) -> list[Call]:
    """The calls in a value: one or a list, in any of the usual forms, or JSON text of that. Raises NoCall, NotJson."""
    if isinstance(value, str):
        return calls_of(parse(value))
    return [_call(one) for one in value] if isinstance(value, list) else [_call(value)]


def _call(value: Any) -> Call:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise NoCall("no object with a `name`")
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        arguments = parse(arguments or "{}")
    return Call(value["name"], {} if arguments is None else arguments)


def _same_calls(made: Sequence[Call], wanted: Sequence[Call]) -> bool:
    left = list(wanted)
    for call in made:
        hit = next((one for one in left if one.name == call.name and same(one.arguments, call.arguments)), None)
        if hit is None:
            return False
        left = [one for one in left if one is not hit]
    return not left


def _difference(made: Sequence[Call], wanted: Sequence[Call]) -> str:
    """The first argument that differs, for the reason."""
    for call in made:
        if any(_same_calls([call], [one]) for one in wanted):
            continue
        other = next(one for one in wanted if one.name == call.name)
        if not isinstance(call.arguments, dict) or not isinstance(other.arguments, dict):
            break
        for key in [*other.arguments, *call.arguments]:
            got, want = call.arguments.get(key, "nothing"), other.arguments.get(key, "nothing")
            if not same(got, want):
                return f"`{short(key, 30)}` is {short(got, 40)}, want {short(want, 40)}"
    return "they differ"


def _names(calls: Sequence[Call]) -> str:
    return short(", ".join(call.name for call in calls)) or "no tool"

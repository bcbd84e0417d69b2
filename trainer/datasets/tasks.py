"""Prompts to be answered by the model itself, with what its answers are judged by: {"prompt", "answer", …}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.datasets.answers import asked, conversation
from trainer.datasets.turns import Unusable, says_something, tools, turns

_PROMPT, _ANSWER = ("prompt", "question", "instruction"), ("completion", "output")
_WHOLE = ("messages", "conversations")


def task(columns: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt of a row, its right answer, None where the layout has none, and the columns that the layout left.

    Raises Unusable.
    """
    said_last: Any = None
    if name := next((name for name in _WHOLE if name in columns), None):
        prompt = conversation(columns, row)
        if prompt[-1]["role"] == "assistant":
            said_last = prompt.pop()["content"]
    else:
        name = next(name for name in _PROMPT if name in columns)
        prompt = asked(columns, row, name)
    if not says_something(prompt):
        raise Unusable("prompt is empty")
    answer = _answer(columns, row, said_last)
    rest = {key: value for key, value in row.items() if key not in columns.values()}
    return {**rest, "prompt": prompt, "answer": answer, **tools(row)}


def _answer(columns: Mapping[str, str], row: Mapping[str, Any], said_last: Any) -> Any:
    """A column named `answer` first, then what the layout has for one."""
    if "answer" in columns or "answer" in row:
        name, value = "answer", row.get(columns.get("answer", "answer"))
    elif "reward_model" in columns:
        rule = row[columns["reward_model"]]
        name, value = "reward_model.ground_truth", rule.get("ground_truth") if isinstance(rule, dict) else None
    elif name := next((name for name in _ANSWER if name in columns), ""):
        value = row[columns[name]]
        value = turns(value, name)[-1]["content"] if isinstance(value, list) else value
    else:
        return said_last
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Unusable(f"{name} is empty")
    return value

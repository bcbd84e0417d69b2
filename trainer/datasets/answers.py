"""Rows with answers to imitate, in the forms that SFT takes: {"text"}, {"messages"}, {"prompt", "completion"}.

Each function takes the columns of the layout, ours to theirs, and a row. All raise Unusable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.datasets import hh
from trainer.datasets.turns import (
    Turn,
    Unusable,
    assistant,
    ending_with_assistant,
    says_something,
    text,
    tools,
    turns,
    user,
    with_system,
)

Columns = Mapping[str, str]
Row = Mapping[str, Any]


def plain_text(columns: Columns, row: Row) -> dict[str, Any]:
    return {"text": text(row[columns["text"]], "text")}


def messages(columns: Columns, row: Row) -> dict[str, Any]:
    return {"messages": ending_with_assistant(conversation(columns, row)), **tools(row)}


def prompt_completion(columns: Columns, row: Row) -> dict[str, Any]:
    prompt, completion = row[columns["prompt"]], row[columns["completion"]]
    if isinstance(prompt, list) and isinstance(completion, list):
        answer = turns(completion, "completion")
        if not says_something(answer):
            raise Unusable("completion is empty")
        return {"prompt": turns(prompt, "prompt"), "completion": answer, **tools(row)}
    return {"prompt": [user(text(prompt, "prompt"))], "completion": [assistant(text(completion, "completion"))]}


def question_answer(columns: Columns, row: Row) -> dict[str, Any]:
    prompt = [user(text(row[columns["question"]], "question"))]
    return {"prompt": prompt, "completion": [assistant(text(row[columns["answer"]], "answer"))]}


def alpaca(columns: Columns, row: Row) -> dict[str, Any]:
    prompt = asked(columns, row, "instruction")
    return {"prompt": prompt, "completion": [assistant(text(row[columns["output"]], "output"))]}


def conversation(columns: Columns, row: Row) -> list[Turn]:
    """The turns of a whole conversation, with the system message that stands in a column of its own."""
    value = row[columns["messages" if "messages" in columns else "conversations"]]
    return with_system(turns(value), system(columns, row))


def asked(columns: Columns, row: Row, name: str) -> list[Turn]:
    """What is asked, as turns: a conversation, a transcript, or text with Alpaca's input, history and system."""
    value = row.get(columns[name])
    if isinstance(value, list):
        prompt = turns(value, name)
    elif hh.is_open(value):
        prompt = hh.open_prompt(value)
    else:
        extra = row.get(columns.get("input", ""))
        prompt = [user(text(value, name) + (f"\n{extra}" if extra else ""))]
    history = row.get(columns.get("history", "")) or []
    if isinstance(history, list):
        for question, answer in reversed(history):
            prompt[:0] = [user(str(question)), assistant(str(answer))]
    return with_system(prompt, system(columns, row))


def system(columns: Columns, row: Row) -> Any:
    return row.get(columns.get("system", ""))

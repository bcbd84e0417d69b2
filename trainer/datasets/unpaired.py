"""Answers that are good or bad each by itself, in TRL's form: {"prompt", "completion", "label"}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.datasets.answers import asked, conversation
from trainer.datasets.turns import Unusable, assistant, ending_with_assistant, says_something, text, tools, turns

_OWN = {"prompt": "prompt", "completion": "completion", "label": "label"}
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


def truth(value: Any) -> bool | None:
    """A label as true or false, None where it is neither."""
    return _TRUTH.get(str(value).strip().lower())


def is_graded(value: Any) -> bool:
    """Whether a column holds an answer and its grade at once, as those of GSM8K's model solutions do."""
    return isinstance(value, dict) and {"solution", "is_correct"} <= value.keys()


def graded(columns: Mapping[str, str], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row of several graded answers as one row an answer, under the names of TRL's form."""
    prompt = row.get(columns["prompt"])
    answers = [value for value in row.values() if is_graded(value)]
    return [{"prompt": prompt, "completion": one["solution"], "label": one["is_correct"]} for one in answers]


def labelled(columns: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt, completion and label of a row. Raises Unusable."""
    if "graded" in columns:  # one of the rows that `graded` made
        columns = _OWN
    label = truth(row[columns["label"]])
    if label is None:
        raise Unusable("label is neither true nor false")
    if "messages" in columns:
        said = ending_with_assistant(conversation(columns, row))
        prompt, completion = said[:-1], said[-1:]
    else:
        prompt, value = asked(columns, row, "prompt"), row[columns["completion"]]
        completion = turns(value, "completion") if isinstance(value, list) else [assistant(text(value, "completion"))]
    if not says_something(prompt):
        raise Unusable("prompt is empty")
    if not says_something(completion):
        raise Unusable("completion is empty")
    if completion[0]["role"] != "assistant":
        raise Unusable("completion does not begin with an answer")
    return {"prompt": prompt, "completion": completion, "label": label, **tools(row)}


def unpaired(pair: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A preference pair as a good and a bad answer, one after the other."""
    rest = {key: value for key, value in pair.items() if key not in ("chosen", "rejected")}
    return [{**rest, "completion": pair[side], "label": side == "chosen"} for side in ("chosen", "rejected")]

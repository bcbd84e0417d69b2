"""Preference pairs, in TRL's explicit form: {"prompt", "chosen", "rejected"}, each a list of turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.datasets import hh
from trainer.datasets.answers import asked, system
from trainer.datasets.turns import (
    ROLES,
    Futile,
    Turn,
    Unusable,
    assistant,
    says_something,
    text,
    tools,
    turns,
    with_system,
)


def dialect(columns: Mapping[str, str], row: Mapping[str, Any]) -> str:
    """What kind of pairs `row` shows, in words."""
    if "output_1" in columns:
        return "two outputs and the number of the better one"
    chosen = row[columns["chosen"]]
    if hh.is_transcript(chosen):
        return "hh-rlhf transcripts"
    if isinstance(chosen, list) and chosen and not _is_answer(chosen[0]):
        return "whole conversations"
    prompt = row.get(columns.get("prompt", ""))
    if isinstance(prompt, list):
        return "a conversation and two answers"
    return "a prompt and two answers" if "input" not in columns else "an instruction and two answers"


def pair(columns: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, Any]:
    """The pair of a row. Raises Unusable, or Futile where its sides are equal or answer different prompts."""
    first, second = _sides(columns, row)
    chosen, rejected = _side(first, "chosen"), _side(second, "rejected")
    if _is_whole(chosen) and _is_whole(rejected):
        prompt: list[Turn] = []  # a column of prompts beside whole conversations only says the same again
    elif "prompt" in columns:
        prompt = asked(columns, row, "prompt")
    else:
        raise Unusable("chosen and rejected are answers without a prompt")
    prompt, chosen, rejected = shared_prompt(_after(prompt, chosen), _after(prompt, rejected))
    if hh.is_transcript(first):
        prompt = hh.alternating(prompt)
    return {"prompt": with_system(prompt, system(columns, row)), "chosen": chosen, "rejected": rejected, **tools(row)}


def shared_prompt(chosen: list[Turn], rejected: list[Turn]) -> tuple[list[Turn], list[Turn], list[Turn]]:
    """(prompt, chosen, rejected) of two whole conversations: they part at the first turn in which they differ.

    Neither side is left empty. Raises Unusable, or Futile where they part before the last answer.
    """
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    prompt, first, second = chosen[:shared], chosen[shared:], rejected[shared:]
    if not says_something(first):
        raise Unusable("chosen is empty")
    if not says_something(second):
        raise Unusable("rejected is empty")
    if [_stripped(turn) for turn in first] == [_stripped(turn) for turn in second]:
        raise Futile("chosen and rejected are the same")
    if not _one_answer(first) or not _one_answer(second):
        raise Futile("prompts of chosen and rejected differ")
    if not says_something(prompt):
        raise Unusable("prompt is empty")
    return prompt, first, second


def _one_answer(said: list[Turn]) -> bool:
    """Whether `said` is one answer: the assistant's turn, with calls of tools and their results before it or without."""
    calls = all(turn["role"] == "tool" or turn.get("tool_calls") for turn in said[:-1])
    return calls and said[-1]["role"] == "assistant"


def _sides(columns: Mapping[str, str], row: Mapping[str, Any]) -> tuple[Any, Any]:
    if "output_1" not in columns:
        return row[columns["chosen"]], row[columns["rejected"]]
    outputs, better = (row[columns["output_1"]], row[columns["output_2"]]), row[columns["label"]]
    if better in (None, "", 1.5):  # the ways in which AlpacaEval writes a tie
        raise Futile("neither output is preferred")
    if str(better) not in ("1", "1.0", "2", "2.0"):
        raise Unusable("label is neither 1 nor 2")
    return outputs if float(better) == 1 else outputs[::-1]


def _side(value: Any, name: str) -> list[Turn]:
    """A side as turns up to its last answer: text, one turn, turns, or a transcript."""
    if hh.is_transcript(value):
        said = hh.transcript(value, name)
    elif isinstance(value, dict):
        said = turns([value], name)
    elif isinstance(value, list):
        said = turns(value, name)
    else:
        return [assistant(text(value, name))]
    while said and said[-1]["role"] != "assistant":
        said = said[:-1]
    if not said:
        raise Unusable(f"{name} is empty")
    return said


def _is_answer(turn: Any) -> bool:
    return isinstance(turn, dict) and ROLES.get(str(turn.get("role", turn.get("from"))).lower()) == "assistant"


def _is_whole(said: list[Turn]) -> bool:
    return said[0]["role"] in ("user", "system")


def _after(prompt: list[Turn], side: list[Turn]) -> list[Turn]:
    return side if _is_whole(side) else prompt + side


def _stripped(turn: Turn) -> Turn:
    return {**turn, "content": turn["content"].strip()}

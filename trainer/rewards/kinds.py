"""The table of the kinds that score one completion by itself. `function` scores a batch, `model` needs torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recipes.rewards import RewardBlock, column
from trainer.rewards.json_value import score_json, score_json_answer
from trainer.rewards.length import score_length
from trainer.rewards.match import score_match
from trainer.rewards.numeric import score_numeric
from trainer.rewards.python_tests import score_tests
from trainer.rewards.regex import score_regex
from trainer.rewards.score import Score
from trainer.rewards.tags import score_tags
from trainer.rewards.tool_call import score_tool_call

KINDS: dict[str, Callable[[Any, str, Any], Score]] = {
    "numeric": score_numeric,
    "match": score_match,
    "regex": score_regex,
    "json": score_json,
    "json_answer": score_json_answer,
    "tool_call": score_tool_call,
    "tags": score_tags,
    "length": score_length,
    "python_tests": score_tests,
}


def score_one(kind: str, block: RewardBlock, completion: str, value: Any) -> Score:
    """The score of one completion; `value` is what the row has in the column that the reward reads."""
    needed = column(block)
    if needed is not None and value is None and getattr(block, "json_schema", None) is None:
        return Score(None, f"the row has no `{needed}`")
    return KINDS[kind](block, completion, value)

"""The reward `regex`: a pattern is found."""

from __future__ import annotations

import re

from recipes.rewards import Regex
from trainer.rewards.score import Score


def score_regex(block: Regex, completion: str, _: object) -> Score:
    """1 where the pattern is found, with `full` where it spans the completion, else 0."""
    search = re.fullmatch if block.full else re.search
    if search(block.pattern, completion, re.DOTALL):
        return Score(1.0, "the pattern matches")
    return Score(0.0, "the pattern does not match" + (" all of it" if block.full else ""))

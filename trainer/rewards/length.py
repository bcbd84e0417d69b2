"""The reward `length`: a penalty on what is too long."""

from __future__ import annotations

from recipes.rewards import Length
from trainer.rewards.score import Score


def score_length(block: Length, completion: str, _: object) -> Score:
    """0 up to `soft` characters, -1 from `hard` on, a straight line between."""
    over = len(completion) - block.soft
    penalty = min(max(over / (block.hard - block.soft), 0.0), 1.0)
    return Score(-penalty if penalty else 0.0, f"{len(completion)} characters")

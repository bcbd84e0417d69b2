"""The reward `tags`: the completion has the parts that it should have."""

from __future__ import annotations

from recipes.rewards import Tags
from trainer.rewards.score import Score


def score_tags(block: Tags, completion: str, _: object) -> Score:
    """The share of the tags that stand once, after those before them, with text inside."""
    wrong, end = [], 0
    for tag in block.tags:
        fault, end = _fault(tag, completion, end)
        if fault:
            wrong.append(fault)
    return Score(1 - len(wrong) / len(block.tags), ", ".join(wrong) or "all tags in order")


def _fault(tag: str, text: str, after: int) -> tuple[str, int]:
    """What is wrong with a tag that has to begin at `after` or later, and where the next one may begin."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    counts = text.count(opening), text.count(closing)
    if 0 in counts:
        return f"no {opening if not counts[0] else closing}", after
    if counts != (1, 1):
        return f"{opening} more than once", after
    start, end = text.index(opening), text.index(closing)
    if start < after or end < start:
        return f"{opening} out of order", after
    if not text[start + len(opening) : end].strip():
        return f"{opening} is empty", after
    return "", end + len(closing)

"""The reward `match`: the completion is the answer."""

from __future__ import annotations

import unicodedata
from typing import Any

from recipes.rewards import Match
from trainer.rewards.extract import last_group
from trainer.rewards.score import Score, short

_OPENING = " \t\n\"'`“”‘’«»()[]{}<>*_"
_ENDING = ".,;:!?…"  # not at the start: .5 is another number than 5


def score_match(block: Match, completion: str, answer: Any) -> Score:
    """1 where the completion, or what `extract` takes from it, is the answer or one of the answers in a list, else 0."""
    got = completion if block.extract is None else last_group(block.extract, completion)
    if got is None:
        return Score(0.0, "`extract` matches nothing")
    wanted = [str(one) for one in (answer if isinstance(answer, list) else [answer])]
    form = normalised if block.normalise else str
    if form(got) in {form(one) for one in wanted}:
        return Score(1.0, f"got {short(got)}")
    return Score(0.0, f"got {short(got) or 'nothing'}, want {short(' or '.join(wanted))}")


def normalised(text: str) -> str:
    """`text` without case, articles, punctuation at its ends, and runs of white space."""
    plain = unicodedata.normalize("NFKC", text).casefold().strip()
    words = plain.lstrip(_OPENING).rstrip(_OPENING + _ENDING).split()
    return " ".join([word for word in words if word not in ("a", "an", "the")] or words)
